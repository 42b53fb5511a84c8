// Where trouble comes from, and what cannot be seen: sentences that several views need.

import { h } from "./dom.js";
import { badge, link, sloLink } from "./parts.js";

const comes = "; the trouble is in ";
const waits = "; no answer until the log is whole: ";

/** cut splits a reason of the guard's before what it was given to say more. */
function cut(reason, mark) {
  const at = reason.lastIndexOf(mark);
  return at < 0 ? [reason, null] : [reason.slice(0, at), reason.slice(at + mark.length)];
}

/** explained splits the reason of a breach from the service that it comes from, by the traces. */
export function explained(reason) {
  const [what, rest] = cut(reason || "", comes);
  const service = rest?.split(": ")[0];
  return { what, service, shares: service ? rest.slice(service.length + 2) : "" };
}

/** suspect names the service that a breach comes from, with what the guard knows of it. */
export function suspect(c, slo) {
  const { service, shares } = explained(slo.verdict.reason);
  if (!service || slo.verdict.state !== "breach") return null;
  const own = slo.series.service === service;
  const others = c.live.slos.all().filter((s) => s.name !== slo.name && s.series.service === service);
  return h(
    "p",
    { class: "suspect" },
    h("strong", {}, own ? "The trouble is in the service itself" : `The trouble is in ${service}`),
    shares ? `: ${shares}.` : ".",
    others.length ? [" ", own ? "Other SLOs of it: " : "SLOs of it: ", listed(others.slice(0, 4).map((s) => [sloLink(s.name), " ", badge(s.verdict.state, s.verdict.severity)]))] : null,
  );
}

const listed = (items) => items.map((item, i) => [i ? ", " : "", item]);

/** waiting splits the reason of a run from why it must not be answered yet. */
export function waiting(run) {
  const [what, why] = cut(run.reason || "", waits);
  return { what, why: run.state === "running" ? why : null };
}

/** onSource sorts the SLOs that a source feeds: those that see nothing now, and the others. */
export function onSource(c, name) {
  const silent = new Set((c.live.status?.sources || []).filter((s) => s.silent).map((s) => s.name));
  const on = c.live.slos.all().filter((s) => s.sources?.includes(name));
  const blind = on.filter((s) => s.sources.every((n) => silent.has(n)));
  return { on, blind, seen: on.filter((s) => !blind.includes(s)) };
}

/** consequence says what the silence of a source means. */
export function consequence(c, name) {
  const { on, blind, seen } = onSource(c, name);
  if (!on.length) return "No SLO lives on it.";
  const names = (list) => [listed(list.slice(0, 5).map((s) => sloLink(s.name))), list.length > 5 ? ` and ${list.length - 5} more` : ""];
  return [
    blind.length ? ["Nothing can be said of ", names(blind), "."] : null,
    blind.length && seen.length ? " " : null,
    seen.length ? [names(seen), seen.length === 1 ? " is" : " are", " still seen by others."] : null,
  ];
}

const signals = [
  [(s) => !s, null, "the requests in Kong's log"],
  [(s) => s === "traces", "spans", "the spans of its service, as it traced them"],
  [(s) => s.startsWith("prometheus:"), "PromQL", "what a query counts in Prometheus"],
];

const signal = (slo) => signals.find(([is]) => is(slo.series.signal || "")) || [null, slo.series.signal, slo.series.signal];

/** signalName is short, and null for Kong's requests, which are the rule. */
export const signalName = (slo) => signal(slo)[1];
export const signalWords = (slo) => signal(slo)[2];

export const tag = (slo) => (signalName(slo) ? h("span", { class: "tag", title: `It counts ${signalWords(slo)}.` }, signalName(slo)) : null);

/** lacking lists the services of whose log too much is missing to judge by it. */
export const lacking = (status) => (status?.completeness?.services || []).filter((s) => s.lacking);

export const sourcesLink = (...text) => link("#/sources", ...text);

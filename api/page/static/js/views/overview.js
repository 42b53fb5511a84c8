// The overview answers at a glance: is it real, what is broken, what has been done, what can
// I do.

import { h } from "../dom.js";
import { count, times, ago, series, duration, seconds } from "../format.js";
import { badge, sloLink, canaryLink, actionLink, empty, budgetBar, budgetLeft, burning, forecast, inPlace, step, leaseLeft, link, notSeen, takable } from "../parts.js";
import { approve, reject, revert } from "../orders.js";
import { spark, isYoung } from "../chart.js";
import { consequence, explained, lacking, sourcesLink, suspect, tag, waiting } from "../cause.js";
import { limitNow } from "../limit.js";
import { eventRow } from "./timeline.js";

const sparkURL = (window) => `api/v1/history?window=${window}&points=61`;
const mostShown = 200;

export function overview(c) {
  const slos = c.live.slos.all();
  return [h("h1", { class: "unseen" }, "Overview"), h("div", { class: "overview" }, now(c, slos), list(c, slos), happened(c))];
}

function now(c, slos) {
  const broken = slos.filter((s) => s.verdict.state === "breach");
  const unjudged = slos.filter((s) => s.verdict.state === "inconclusive");
  const actions = c.live.actions.all();
  return h(
    "section",
    { class: "now", "aria-labelledby": "now" },
    h("h2", { id: "now" }, "Now"),
    h("div", { class: "headline" }, headline(c, slos, broken, unjudged)),
    group("broken", "What is broken", [
      broken.map((s) => card("bad", "slo-" + s.name, [badge("breach", s.verdict.severity), " ", sloLink(s.name)], [explained(s.verdict.reason).what, suspect(c, s)])),
      c.live.canaries.all().filter((k) => k.run?.state === "fail" && recently(k.run.ended_at, c.now)).map((k) => card("bad", "canary-" + k.name, [badge("fail"), " ", canaryLink(k.name)], k.run.reason)),
      drift(c.live.status),
    ]),
    group("", "What waits for you", inOrder(actions.filter((a) => a.status === "waiting")).map((a) => card("warn", a.id, [badge("waiting"), " ", actionLink(a.id)], [step(a.spec), h("br"), a.trigger.reason], [h("button", { type: "button", class: "primary", onclick: () => approve(a) }, "Approve"), h("button", { type: "button", onclick: () => reject(a) }, "Turn down")]))),
    group("done", "What has been done and is in place", actions.filter(inPlace).map((a) => card(a.status === "unverified" ? "warn" : "note", a.id, [badge(a.status), " ", actionLink(a.id)], [a.change || step(a.spec), notSeen(a), limitNow(a, c.now), h("div", { class: "faint" }, leaseLeft(a, c.now))], takable(a) ? [h("button", { type: "button", onclick: () => revert(a) }, "Take back")] : null))),
    group("limits", "What it cannot see, or not do", [...silences(c), ...incomplete(c), problems(c.live.status)]),
  );
}

function happened(c) {
  return h(
    "section",
    { class: "last", "aria-labelledby": "last" },
    h("h2", { id: "last" }, "What happened last"),
    c.live.events.length
      ? h("ol", { class: "events short" }, c.live.events.slice(-6).reverse().map((e, i) => eventRow(c, e, false, "place" + i)))
      : h("p", { class: "none" }, c.live.status ? "Nothing yet." : "…"),
    h("p", {}, link("#/timeline", "The whole timeline")),
  );
}

/** inOrder puts the step that comes first first. */
const inOrder = (actions) => actions.sort((a, b) => seconds(a.planned_at) - seconds(b.planned_at) || a.step - b.step);

const recently = (iso, now) => iso && seconds(now) - seconds(iso) < 3600;

/** group keeps its place when it is empty, so that what comes moves nothing. */
const group = (room, title, cards) => {
  const all = cards.flat().filter(Boolean);
  return h("div", { class: `group ${room}`, key: title }, h("h3", {}, title), h("div", { class: "group-body" }, all.length ? all : h("p", { class: "none" }, "Nothing.")));
};

const card = (kind, key, head, text, buttons) =>
  h("article", { class: `card ${kind}`, key }, h("h4", {}, head), h("div", {}, text), buttons ? h("p", { class: "buttons" }, buttons) : null);

const silences = (c) =>
  (c.live.status?.sources || [])
    .filter((s) => s.silent)
    .map((s) => card("warn", "source-" + s.name, [badge("silent"), " ", sourcesLink(s.name)], [s.last_record ? `Nothing has come from it for ${duration(seconds(c.now) - seconds(s.last_record))}. ` : "Nothing has come from it yet. ", consequence(c, s.name)]));

/** incomplete says of whose log too much is missing, and which runs wait for it. */
function incomplete(c) {
  const waits = c.live.canaries.all().filter((k) => k.run && waiting(k.run).why);
  const lacks = lacking(c.live.status);
  const runs = (list) => (list.length ? [" No answer until it is whole for ", list.map((k, i) => [i ? ", " : "", canaryLink(k.name)]), "."] : null);
  const other = waits.filter((k) => !lacks.some((s) => s.service === k.series.service));
  return [
    ...lacks.map((s) => card("warn", "lacks-" + s.service, [badge("incomplete"), " ", sourcesLink(`the log of ${s.service}`)], [`Not judged: ${s.why || "too much of it is missing"}.`, runs(waits.filter((k) => k.series.service === s.service))])),
    ...other.map((k) => card("warn", "waits-" + k.name, [badge("waiting"), " ", canaryLink(k.name)], `No answer until the log is whole: ${waiting(k.run).why}.`)),
  ];
}

/** drift is news when nodes of Kong's differ, or what actions rely on is gone. */
function drift(status) {
  const d = status?.drift;
  if (d?.state !== "breach") return null;
  return card("warn", "drift", [badge("breach", "drift"), " ", sourcesLink("Kong's nodes")], `${d.reason}${d.since ? `, since ${ago(d.since, status.now)}` : ""}.`);
}

function problems(status) {
  const list = [];
  if (status?.config.error) list.push(card("warn", "config", "The newest files are not in force", [status.config.error, ". Correct them; they are read again by themselves. If Kong or Jenkins was corrected instead, reload: SIGHUP, or POST /-/reload."]));
  for (const [i, unfit] of (status?.config.unfit || []).entries()) list.push(card("warn", "unfit" + i, "A step would be refused", unfit));
  return list;
}

function headline(c, slos, broken, unjudged) {
  if (!c.live.slos.known) return h("p", { class: "quiet" }, "Asking the guard…");
  if (!slos.length) return h("p", { class: "quiet" }, "Nothing is promised yet.");
  const spent = slos.filter((s) => s.verdict.slo?.budget <= 0);
  if (broken.length) return h("p", { class: "bad" }, h("span", { class: "sign", "aria-hidden": "true" }, "✕ "), `${broken.length} of ${slos.length} SLOs ${broken.length === 1 ? "is" : "are"} broken`);
  if (unjudged.length) return h("p", { class: "warn" }, h("span", { class: "sign", "aria-hidden": "true" }, "? "), `${unjudged.length} of ${slos.length} SLOs cannot be judged`);
  if (spent.length) return h("p", { class: "warn" }, h("span", { class: "sign", "aria-hidden": "true" }, "! "), `Nothing burns now; ${spent.length} of ${slos.length} budgets ${spent.length === 1 ? "is" : "are"} spent`);
  return h("p", { class: "good" }, h("span", { class: "sign", "aria-hidden": "true" }, "✓ "), `All ${slos.length} SLOs are kept`);
}

function list(c, slos) {
  const filter = (c.memo.filter || "").toLowerCase();
  const matching = slos.filter((s) => !filter || s.name.toLowerCase().includes(filter) || series(s.series).toLowerCase().includes(filter));
  const shown = matching.slice(0, mostShown);
  const window = c.memo.sparks || "1h";
  const url = slos.length > mostShown ? sparkURL(window) + shown.slice(0, 100).map((s) => "&name=" + encodeURIComponent(s.name)).join("") : sparkURL(window);
  const past = slos.length ? c.get(url, 4000).data?.histories || [] : [];
  if (past.length && !c.memo.sparks) c.memo.sparks = past.every((x) => isYoung(x.points)) ? "10m" : "1h";
  const histories = new Map(past.map((x) => [x.name, x.points]));
  return h(
    "section",
    { class: "slos", "aria-labelledby": "slos" },
    h("div", { class: "section-head" }, h("h2", { id: "slos" }, "SLOs"), slos.length > 10 ? h("label", { class: "filter" }, h("span", { class: "unseen" }, "Show only names with"), h("input", { type: "search", placeholder: "filter", value: c.memo.filter || "", oninput: (e) => ((c.memo.filter = e.target.value), c.again()) })) : null),
    !c.live.slos.known
      ? h("div", { class: "skeleton", "aria-hidden": "true" })
      : !slos.length
        ? empty("No SLO is defined.", "Write one into the rules, under ", h("code", {}, "slos:"), ", with a service of Kong's and an objective; ", h("code", {}, "gatewarden check"), " says whether it is right. It is in force two seconds after the file is saved.")
        : !shown.length
          ? empty("No name matches the filter.", "Clear it to see all of them.")
          : h("ul", { class: "slo-list" }, shown.slice(0, c.room).map((s) => row(c, s, histories.get(s.name), window))),
    matching.length > shown.length ? h("p", { class: "faint" }, `${count(matching.length - shown.length)} more: narrow the filter.`) : null,
  );
}

function row(c, s, points, window) {
  const e = s.verdict.slo;
  const known = !!e && e.count.good + e.count.bad > 0;
  const fast = burning(e);
  const bad = (points || []).reduce((n, p) => n + p.bad, 0);
  const end = e && e.budget > 0 && e.exhausted;
  return h(
    "li",
    { key: s.name, class: "slo-row" },
    h("div", { class: "slo-state" }, badge(s.verdict.state, s.verdict.severity)),
    h("div", { class: "slo-name" }, h("h3", {}, sloLink(s.name), tag(s)), h("p", { class: "reason", title: s.verdict.reason }, s.verdict.reason)),
    h("div", { class: "slo-objective" }, h("span", { class: "label" }, "promised"), h("b", {}, `${s.objective} %`), h("span", { class: "faint" }, ` in ${s.window}`)),
    h("div", { class: "slo-budget" }, h("span", { class: "label" }, "budget left"), h("b", {}, known ? budgetLeft(e.budget) : "–"), budgetBar(e?.budget ?? 0, known)),
    h("div", { class: "slo-burn" }, h("span", { class: "label" }, fast ? `burn, ${fast.long}` : "burn"), h("b", {}, fast ? times(fast.long_burn || 0) : "–")),
    h("div", { class: "slo-forecast" }, h("span", { class: "label" }, "forecast"), h("b", {}, known ? (end ? `${duration(seconds(e.exhausted) - seconds(c.now))} left` : forecast(e, c.now)) : "–")),
    h("div", { class: "slo-spark" }, h("span", { class: "label" }, `bad, last ${window}`), spark(points, 1 - s.objective / 100, `${count(bad)} bad in the last ${window}`)),
  );
}

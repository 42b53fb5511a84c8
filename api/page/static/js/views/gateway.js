// What the guard knows of the gateway: how much of its log comes, how its nodes are, and
// whether they are alike.

import { h } from "../dom.js";
import { count, ago, percent } from "../format.js";
import { badge, facts, table } from "../parts.js";

/** completeness compares what the log brought with what Kong counted. */
export function completeness(k) {
  if (!k) return null;
  return h(
    "section",
    { "aria-labelledby": "complete" },
    h("h2", { id: "complete" }, "How complete Kong's log is"),
    facts(["of all requests", `${percent(k.all.ratio)} of ${count(k.all.counted)} that Kong counted`], ["needed", `${percent(k.limit)}; below it nothing is judged`], !k.whole && ["for now", "the counters of some of Kong's nodes are not known for the whole time"]),
    k.services?.length ? table("Completeness by service", [["service"], ["counted by Kong", "num"], ["in the log", "num"], ["share", "num"], ["why", "long"]], k.services.map((x) => Object.assign([x.service || "–", count(x.counted), count(x.logged), percent(x.ratio), x.lacking ? x.why || "too little to judge by" : "–"], { key: x.service, cls: x.lacking ? "firing" : null }))) : null,
  );
}

/** nodes shows Kong's nodes as they describe themselves, and whether they are alike. */
export function nodes(s) {
  const list = s.nodes || [];
  const d = s.drift;
  return h(
    "section",
    { "aria-labelledby": "nodes" },
    h("h2", { id: "nodes" }, "Kong's nodes"),
    d && (d.state !== "inconclusive" || list.length) ? h("p", {}, badge(d.state, d.state === "breach" ? "drift" : null), " ", d.reason, d.since ? `, since ${ago(d.since, s.now)}` : null) : null,
    d?.findings?.length ? findings(d, s.now) : null,
    list.length
      ? table("Kong's nodes", [["node"], ["version"], ["database", "long"], ["targets"], ["configuration"], ["data planes"], ["asked", "num"]], list.map((n) => node(n, s.now)))
      : d?.state === "healthy" || d?.state === "breach"
        ? null
        : h("p", { class: "none" }, "No node has described itself yet. A source ", h("code", {}, "kongmetrics"), " asks them."),
  );
}

const findings = (d, now) =>
  table("What differs, and what is gone", [["kind"], ["what"], ["since", "num"], ["why", "long"], ["counts"]], d.findings.map((x) => Object.assign([x.kind, x.subject, ago(x.since, now), x.reason, x.counts ? "yes" : "not yet, or ignored"], { key: `${x.kind} ${x.subject}`, cls: x.counts ? "firing" : null })));

function node(n, now) {
  const sick = (n.targets || []).filter((t) => t.state === "unhealthy" || t.state === "dns_error");
  const row = [
    n.address,
    n.version || "–",
    n.problem ? [badge("unreachable"), " ", n.problem] : n.datastore_reachable === false ? badge("no database") : n.datastore_reachable ? "reached" : "–",
    n.targets?.length ? (sick.length ? sick.map((t) => `${t.target} of ${t.upstream}: ${t.state}`).join("; ") : `${count(n.targets.length)}, none of them ill`) : "–",
    n.config_hash ? h("code", {}, n.config_hash.slice(0, 12)) : "–",
    n.data_planes?.length ? planes(n.data_planes) : "–",
    ago(n.at, now),
  ];
  row.key = n.address;
  row.cls = n.problem || sick.length || n.datastore_reachable === false ? "firing" : null;
  return row;
}

function planes(list) {
  const hashes = new Set(list.map((p) => p.config_hash).filter(Boolean));
  return `${count(list.length)}${hashes.size ? `, ${hashes.size === 1 ? "one configuration" : `${count(hashes.size)} configurations`}` : ""}`;
}

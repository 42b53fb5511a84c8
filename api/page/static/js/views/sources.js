// The sources: what comes in, whether it comes, and what the guard runs on.

import { h } from "../dom.js";
import { count, ago, at, decimal, percent } from "../format.js";
import { badge, empty, facts, table, time } from "../parts.js";

export function sources(c) {
  const s = c.live.status;
  if (!s) return [h("h1", {}, "Sources"), h("div", { class: "skeleton", "aria-hidden": "true" })];
  return [
    h("h1", {}, "Sources"),
    s.sources?.length
      ? table(
          "Sources",
          [["source"], ["state"], ["kind"], ["records", "num"], ["newest record", "num"], ["lag", "num"], ["completeness", "num"]],
          s.sources.map((x) => {
            const row = [x.name, badge(x.silent ? "silent" : "seeing"), x.kind, count(x.records), x.last_record ? ago(x.last_record, s.now) : "none yet", x.last_record ? `${decimal(x.lag_seconds, 2)} s` : "–", x.completeness === undefined ? "not known" : percent(x.completeness)];
            row.key = x.name;
            return row;
          }),
        )
      : empty("No source is configured.", "Name one in gatewarden.yaml under ", h("code", {}, "sources:"), ", and let Kong send its log there."),
    s.sources?.some((x) => x.silent) ? h("div", { class: "problem" }, h("strong", {}, "A source is silent, so nothing can be judged by it."), h("p", {}, "Does Kong send its log? Look at its http-log plugin and at Kong's error log; ", h("code", {}, "curl -d @kong.log http://GUARD:8081/ingest/kong"), " tries the way in.")) : null,
    completeness(s.completeness),
    drift(s.drift, s.now),
    h("section", { "aria-labelledby": "config" }, h("h2", { id: "config" }, "Configuration"), s.config.error ? h("div", { class: "problem" }, h("strong", {}, "The newest files are not in force."), h("p", {}, s.config.error)) : null, s.config.unfit?.length ? h("div", { class: "problem" }, h("strong", {}, "Steps that would be refused"), h("ul", {}, s.config.unfit.map((u) => h("li", {}, u)))) : null, facts(["file", h("code", {}, s.config.file)], ["loaded", time(s.config.loaded_at, s.now)])),
    h(
      "section",
      { "aria-labelledby": "guard-facts" },
      h("h2", { id: "guard-facts" }, "The guard"),
      facts(["version", s.version], ["running since", at(s.started_at, s.now), ` (${ago(s.started_at, s.now).replace(" ago", "")})`], ["its clock", at(s.now, s.now)], ["series kept", count(s.series)], ...Object.entries(s.listeners || {}).map(([name, address]) => [`listens for ${name}`, h("code", {}, address)])),
    ),
  ];
}

/** completeness says how much of what Kong counted its log has brought. */
function completeness(k) {
  if (!k) return null;
  return h(
    "section",
    { "aria-labelledby": "complete" },
    h("h2", { id: "complete" }, "How complete Kong's log is"),
    facts(["of all requests", `${percent(k.all.ratio)} of ${count(k.all.counted)} that Kong counted`], ["needed", `${percent(k.limit)}; below it nothing is judged`], !k.whole && ["for now", "the counters of some of Kong's nodes are not known for the whole time"]),
    k.services?.length ? table("Completeness by service", [["service"], ["counted by Kong", "num"], ["in the log", "num"], ["share", "num"], ["why"]], k.services.map((x) => Object.assign([x.service || "–", count(x.counted), count(x.logged), percent(x.ratio), x.lacking ? x.why || "too little to judge by" : "–"], { key: x.service, cls: x.lacking ? "firing" : null }))) : null,
  );
}

/** drift says whether Kong's nodes are alike and what actions rely on is there. */
function drift(d, now) {
  if (!d || (d.state === "inconclusive" && !d.findings?.length)) return null;
  return h(
    "section",
    { "aria-labelledby": "drift" },
    h("h2", { id: "drift" }, "Whether Kong's nodes are alike"),
    h("p", {}, badge(d.state), " ", d.reason),
    d.findings?.length ? table("Drift", [["kind"], ["what"], ["since", "num"], ["why"]], d.findings.map((x) => Object.assign([x.kind, x.subject, ago(x.since, now), x.reason], { key: `${x.kind} ${x.subject}`, cls: x.counts ? "firing" : null }))) : null,
  );
}

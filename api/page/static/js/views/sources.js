// The sources: what comes in, whether it comes, and what the guard runs on.

import { h } from "../dom.js";
import { count, ago, at, decimal, percent } from "../format.js";
import { badge, empty, facts, table, time, sloLink } from "../parts.js";
import { consequence, onSource } from "../cause.js";
import { completeness, nodes } from "./gateway.js";

export function sources(c) {
  const s = c.live.status;
  if (!s) return [h("h1", {}, "Sources"), h("div", { class: "skeleton", "aria-hidden": "true" })];
  return [
    h("h1", {}, "Sources"),
    s.sources?.length
      ? table(
          "Sources",
          [["source"], ["state"], ["kind"], ["records", "num"], ["a second", "num"], ["newest record", "num"], ["lag", "num"], ["duplicates", "num"], ["dropped", "num"], ["errors", "num"], ["completeness", "num"], ["SLOs that live on it", "long"]],
          s.sources.map((x) => {
            const row = [x.name, badge(x.silent ? "silent" : "seeing"), x.kind, count(x.records), rate(x.records_per_second), x.last_record ? ago(x.last_record, s.now) : "none yet", x.last_record ? `${decimal(x.lag_seconds, 2)} s` : "–", count(x.duplicates), count(x.dropped), count(x.errors), x.completeness === undefined ? "not known" : percent(x.completeness), living(c, x.name)];
            row.key = x.name;
            return row;
          }),
        )
      : empty("No source is configured.", "Name one in gatewarden.yaml under ", h("code", {}, "sources:"), ", and let Kong send its log there."),
    ...(s.sources || []).filter((x) => x.silent).map((x) => silence(c, x)),
    completeness(s.completeness),
    nodes(s),
    guards(s),
    h("section", { "aria-labelledby": "config" }, h("h2", { id: "config" }, "Configuration"), s.config.error ? h("div", { class: "problem" }, h("strong", {}, "The newest files are not in force."), h("p", {}, s.config.error)) : null, s.config.unfit?.length ? h("div", { class: "problem" }, h("strong", {}, "Steps that would be refused"), h("ul", {}, s.config.unfit.map((u) => h("li", {}, u)))) : null, facts(["file", h("code", {}, s.config.file)], ["loaded", time(s.config.loaded_at, s.now)])),
    h(
      "section",
      { "aria-labelledby": "guard-facts" },
      h("h2", { id: "guard-facts" }, "The guard"),
      facts(["version", s.version], ["running since", at(s.started_at, s.now), ` (${ago(s.started_at, s.now).replace(" ago", "")})`], ["its clock", at(s.now, s.now)], ["series kept", count(s.series)], ...Object.entries(s.listeners || {}).map(([name, address]) => [`listens for ${name}`, h("code", {}, address)])),
    ),
  ];
}

/** guards shows those that share the state, when there are several. */
function guards(s) {
  if (!s.guards?.length) return null;
  const row = (g) => Object.assign([g.name, badge(g.up ? "up" : "gone"), g.leads ? "leads: it judges and acts" : "counts, and passes on", h("code", {}, g.api), g.version, ago(g.heard_at, s.now)], { key: g.name, cls: g.up ? null : "firing" });
  return h("section", { "aria-labelledby": "guards" }, h("h2", { id: "guards" }, "The guards"), table("The guards", [["guard"], ["state"], ["what it does"], ["its API"], ["version"], ["heard", "num"]], s.guards.map(row)));
}

function living(c, name) {
  const { on } = onSource(c, name);
  if (!on.length) return "–";
  return on.length <= 3 ? on.map((s, i) => [i ? ", " : "", sloLink(s.name)]) : `${count(on.length)} SLOs`;
}

const rate = (x) => (x < 10 ? decimal(x, 1) : count(Math.round(x)));

const doctor = (does) => [" ", h("code", {}, "gatewarden doctor"), ` ${does}.`];

/** way is where to look when a source of a kind is silent. */
function way(kind) {
  switch (kind) {
    case "prometheus":
      return ["Does it answer, with data?", doctor("asks it each query")];
    case "jaeger":
      return ["Does Jaeger answer, with new traces?", doctor("asks it")];
    case "elasticsearch":
      return ["Do documents come there?", doctor("asks what its index has")];
    case "kongmetrics":
      return ["Do Kong's nodes answer at ", h("code", {}, "/metrics"), "?", doctor("asks them")];
    case "otlp":
    case "zipkin":
      return ["Do Kong's opentelemetry plugin and the services send their spans?", doctor("looks for what they need")];
    default:
      return ["Does Kong send its log? Look at its logging plugin and at Kong's error log.", doctor("asks Kong whether the plugin is there")];
  }
}

/** silence says of one source what is blind without it, and where to look. */
const silence = (c, x) => h("div", { class: "problem", key: "silent-" + x.name }, h("strong", {}, `${x.name} is silent.`), h("p", {}, consequence(c, x.name)), h("p", {}, way(x.kind)));

// Pieces that several views show alike.

import { h } from "./dom.js";
import { at, duration, percent, times, safeLink, seconds, parseDuration } from "./format.js";

const marks = new Map(Object.entries({
  healthy: ["good", "✓"], pass: ["good", "✓"], applied: ["note", "●"], seeing: ["good", "✓"], resumed: ["good", "▶"], reverted: ["good", "↩"], ended: ["quiet", "■"], complete: ["good", "✓"], resolved: ["good", "✓"],
  breach: ["bad", "✕"], fail: ["bad", "✕"], failed: ["bad", "✕"], unknown: ["bad", "?"], ineffective: ["bad", "✕"], unverified: ["warn", "?"], blind: ["warn", "◌"], silent: ["warn", "◌"], incomplete: ["warn", "◌"], firing: ["bad", "✕"], suspect: ["warn", "→"], unreachable: ["bad", "✕"], gone: ["bad", "✕"], up: ["good", "✓"], "no database": ["bad", "✕"], left: ["warn", "!"],
  inconclusive: ["warn", "?"], waiting: ["warn", "…"], paused: ["warn", "❚❚"], running: ["note", "▸"], started: ["note", "▸"], reverting: ["note", "↩"],
}));

/** badge shows a state by word, colour and sign, so that none of them is needed. */
export function badge(state, more) {
  const [kind, sign] = marks.get(state) || ["quiet", "·"];
  return h("span", { class: `badge ${kind}` }, h("span", { class: "sign", "aria-hidden": "true" }, sign), state, more ? h("b", {}, " " + more) : null);
}

export const time = (iso, now) => h("time", { datetime: iso, title: iso ? new Date(iso).toISOString() : null }, at(iso, now));

export const link = (href, ...text) => h("a", { href }, text);
export const sloLink = (name) => link(`#/slos/${encodeURIComponent(name)}`, name);
export const canaryLink = (name) => link(`#/canaries/${encodeURIComponent(name)}`, name);
export const actionLink = (id) => link(`#/actions/${encodeURIComponent(id)}`, id);

/** outside links to another system, or is plain text when the address is not one of the web. */
export function outside(url, text) {
  const href = safeLink(url);
  return href ? h("a", { href, target: "_blank", rel: "noreferrer noopener" }, text, h("span", { class: "unseen" }, " (opens another page)")) : h("code", {}, url);
}

export const empty = (title, ...what) => h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), what.length ? h("p", {}, what) : null);

export const problem = (e) => h("div", { class: "problem", role: "alert" }, h("strong", {}, e.message), e.hint ? h("p", {}, e.hint) : null);

export const facts = (...pairs) =>
  h("dl", { class: "facts" }, pairs.filter(Boolean).map(([name, ...value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

/** table: columns are [head, class]; rows are arrays of cells, with a key. */
export function table(caption, columns, rows) {
  return h(
    "div",
    { class: "scroll", role: "region", "aria-label": `${caption}, a table`, tabindex: 0 },
    h(
      "table",
      {},
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, columns.map(([head, cls]) => h("th", { scope: "col", class: cls }, head)))),
      h("tbody", {}, rows.map((r) => h("tr", { key: r.key, class: r.cls }, r.map((c, i) => h(i === 0 ? "th" : "td", { scope: i === 0 ? "row" : null, class: columns[i][1] }, c))))),
    ),
  );
}

/** budgetBar shows what is left of an error budget. */
export function budgetBar(left, known) {
  const share = Math.max(0, Math.min(1, left));
  const kind = !known ? "quiet" : left <= 0 ? "bad" : left < 0.25 ? "warn" : "good";
  return h("span", { class: `bar ${kind}`, "aria-hidden": "true" }, h("span", { class: "bar-fill", vars: { "--share": known ? share : 0 } }));
}

/** budgetLeft writes the share of a budget that is left. */
export const budgetLeft = (left) => (left < 0 ? `overspent ${times(1 - left)}` : percent(left, 2));

/** leaseLeft says how long a change may still live unrenewed. */
export function leaseLeft(action, now) {
  if (!action.lease_until) return null;
  const left = seconds(action.lease_until) - seconds(now);
  return left > 0 ? `its lease has ${duration(left)} left` : "its lease is over";
}

/** step says in words what a step of an action does. */
export function step(spec) {
  const scope = (p) => ["service", "route", "consumer"].filter((k) => p[k]).map((k) => `${k} ${p[k]}`).join(", ") || "the whole gateway";
  const targets = (w) => `${w.target ? `target ${w.target}` : `targets tagged ${w.target_tag}`} of upstream ${w.upstream}`;
  switch (spec.kind) {
    case "plugin":
      return `Kong: plugin ${spec.plugin?.name} on ${scope(spec.plugin || {})}`;
    case "drain":
      return `Kong: no more requests to ${targets(spec.weight || {})}`;
    case "weight":
      return `Kong: weight ${spec.weight?.weight} for ${targets(spec.weight || {})}`;
    case "share":
      return `Kong: ${spec.share?.percent} % of upstream ${spec.share?.upstream} to the canary`;
    case "divert":
      return `Kong: route ${spec.divert?.route} leads to ${spec.divert?.to}`;
    case "service":
      return `Kong: service ${spec.service?.name} is ${spec.service?.enabled ? "enabled" : "disabled"}`;
    case "adaptive": {
      const s = spec.adaptive || {};
      return `Kong: a limit for ${s.route ? `route ${s.route} of ` : ""}service ${s.service}, ${s.floor} to ${s.ceiling} requests/s, steered by ${s.slo}`;
    }
    case "slack":
      return "Tell the channel";
    case "alertmanager":
      return `An alert at ${spec.alertmanager?.url}`;
    case "jenkins":
      return `Jenkins: job ${spec.jenkins?.job}`;
    case "webhook":
      return `Call ${spec.webhook?.url || `the URL in ${spec.webhook?.url_file}`}`;
    default:
      return spec.kind || "a step of a kind that this page does not know";
  }
}

export const reversible = (spec) => ["plugin", "weight", "drain", "share", "divert", "service", "alertmanager", "adaptive"].includes(spec.kind);
export const inPlace = (a) => ["started", "applied", "unverified", "reverting"].includes(a.status) && reversible(a.spec);


/** takable reports whether a person may have the action taken back. */
export const takable = (a) => ["applied", "unverified"].includes(a.status) && reversible(a.spec);

/** notSeen says what it means that a change is in place and the traffic does not show it. */
export const notSeen = (a) => (a.status === "unverified" ? h("p", { class: "warn" }, "It is in place, but the traffic does not show it: some node of Kong's may not have taken it up. The next step is due at once.") : null);

/** answersTo links to what an action answers. */
export function answersTo(t) {
  if (t.kind === "slo") return sloLink(t.name);
  if (t.kind === "gate" || t.kind === "canary") return canaryLink(t.name);
  return t.kind === "drift" ? link("#/sources", "drift") : h("span", {}, `the ${t.kind} ${t.name}`);
}

/** forecast says when the budget ends. */
export function forecast(evidence, now) {
  if (!evidence) return "–";
  if (evidence.budget <= 0) return "spent";
  if (!evidence.exhausted) return "lasts";
  return `ends in ${duration(seconds(evidence.exhausted) - seconds(now))}`;
}

/** burning returns the pair of windows that says most about now: the shortest. */
export const burning = (evidence) =>
  (evidence?.alerts || []).filter((a) => a.severity !== "outage").sort((a, b) => parseDuration(a.long) - parseDuration(b.long))[0];

// One SLO: what it is, how it stands, how it came there, and who used its budget up.

import { h } from "../dom.js";
import { count, percent, times, series, decimal, seconds, parseDuration } from "../format.js";
import { badge, empty, facts, forecast, problem, table, link, budgetBar, budgetLeft } from "../parts.js";
import { chart, isYoung } from "../chart.js";
import { explained, signalName, signalWords, suspect, tag } from "../cause.js";
import { alertsTable } from "./alerts.js";
import { eventRow } from "./timeline.js";

const windows = ["5m", "1h", "6h", "24h", "7d"];

export function slo(c, name) {
  const s = c.live.slos.get(name);
  if (!s) return c.live.slos.known ? [h("h1", {}, name), empty(`There is no SLO named ${name}.`, "It may have been renamed in the rules. ", link("#/", "All SLOs"), ".")] : [h("h1", {}, name), h("div", { class: "skeleton", "aria-hidden": "true" })];
  const e = s.verdict.slo;
  return [
    h("h1", {}, s.name, " ", badge(s.verdict.state, s.verdict.severity), tag(s)),
    h("p", { class: "lead" }, explained(s.verdict.reason).what),
    suspect(c, s),
    s.description ? h("p", { class: "faint" }, s.description) : null,
    tiles(c, s, e),
    charts(c, s, e),
    h("section", { "aria-labelledby": "alerts" }, h("h2", { id: "alerts" }, "Alerts"), e?.alerts?.length ? alertsTable(e) : empty("Nothing is judged yet.", "The first records must come.")),
    consumers(c, s),
    about(c, s),
    h("section", { "aria-labelledby": "events" }, h("h2", { id: "events" }, "What happened to it"), happened(c, s)),
  ];
}

function tiles(c, s, e) {
  const known = e && e.count.good + e.count.bad > 0;
  const tile = (label, value, more) => h("div", { class: "tile" }, h("span", { class: "label" }, label), h("b", {}, value), h("span", { class: "faint" }, more));
  return h(
    "div",
    { class: "tiles" },
    tile("good, of the promised", known ? percent(e.sli, 4) : "–", `${s.objective} % in ${s.window}`),
    h("div", { class: "tile" }, h("span", { class: "label" }, "error budget left"), h("b", {}, known ? budgetLeft(e.budget) : "–"), budgetBar(e?.budget ?? 0, known)),
    tile("forecast", known ? forecast(e, c.now) : "–", e?.exhausted ? "at the current rate" : known && e.budget <= 0 ? "the budget of this window is used up" : "at the current rate"),
    tile("counted", e ? `${count(e.count.good + e.count.bad)}` : "–", e ? `${count(e.count.bad)} bad; watched ${percent(e.count.coverage, 2)} of the window` : ""),
  );
}

function charts(c, s, e) {
  const chosen = windowOf(c);
  const url = (window, points) => `api/v1/slos/${encodeURIComponent(s.name)}/history?points=${points}${window ? `&window=${window}` : ""}`;
  const short = c.get(url(chosen, 181), chosen === "5m" ? 1000 : 2500);
  if (short.data && !c.memo.window) c.memo.window = isYoung(short.data.points) ? "5m" : "1h";
  const whole = c.get(url("", 1000), 10000);
  return h(
    "section",
    { "aria-labelledby": "course" },
    h(
      "div",
      { class: "section-head" },
      h("h2", { id: "course" }, "How it came there"),
      h("div", { class: "choice", role: "group", "aria-label": "How far back" }, windows.map((w) => h("button", { key: w, type: "button", "aria-pressed": chosen === w ? "true" : "false", onclick: () => ((c.memo.window = w), c.again()) }, w))),
    ),
    short.error ? problem(short.error) : null,
    h("div", { class: "charts" }, course(s, e, short.data), burnDown(s, whole.data)),
  );
}

const windowOf = (c) => c.memo.window ?? "1h";

const noPast = { from: new Date(0).toISOString(), to: new Date(0).toISOString(), step: "1s", points: [] };

/** instants are where the points of a history are drawn: at the end of each step. */
function instants(past) {
  const from = seconds(past.from);
  const step = parseDuration(past.step);
  const to = seconds(past.to);
  return past.points.map((p, i) => Math.min(from + (i + 1) * step, to));
}

function course(s, e, data) {
  const past = data || noPast;
  const budget = 1 - s.objective / 100;
  const x = instants(past);
  const from = seconds(past.from);
  const ratio = past.points.map((p) => (p.good + p.bad > 0 ? p.bad / (p.good + p.bad) : null));
  const rate = past.points.map((p, i) => {
    const length = x[i] - (i ? x[i - 1] : from);
    return p.coverage > 0 || p.good + p.bad > 0 ? (p.good + p.bad) / Math.max(length, 1) : null;
  });
  const latest = ratio.findLast((r) => r !== null) ?? null;
  const worst = Math.max(0, ...ratio.map((r) => r ?? 0));
  const loading = data ? "" : "asking…";
  const step = past.step;
  const factors = [...new Set((e?.alerts || []).filter((a) => a.factor).map((a) => a.factor))];
  return [
    chart({
      key: "sli",
      title: "SLI",
      says: loading || (latest === null ? "nothing was counted" : `${percent(1 - latest, 4)} good in the last ${step}, ${percent(1 - worst, 4)} at the worst`),
      x,
      series: [{ label: "good", values: ratio.map((r) => (r === null ? null : 1 - r)), colour: "--line-1", fill: "--fill-1" }],
      limits: [{ value: s.objective / 100, label: `promised ${s.objective} %`, colour: "--bad", inView: true }],
      range: (min) => {
        const low = Math.min(min ?? 1, s.objective / 100);
        return [Math.max(0, low - (1 - low) * 0.15), 1 + (1 - low) * 0.05];
      },
      show: (v) => percent(v, 3),
    }),
    chart({
      key: "burn",
      title: "Burn rate",
      says: loading || (latest === null ? "nothing was counted" : `${times(latest / budget)} in the last ${step}, ${times(worst / budget)} at most`),
      x,
      series: [{ label: "burn", values: ratio.map((r) => (r === null ? null : r / budget)), colour: "--line-2", fill: "--fill-2" }],
      limits: factors.map((f) => ({ value: f, label: `${f}×`, colour: "--faint", inView: f === Math.min(...factors) })),
      show: times,
    }),
    chart({
      key: "rate",
      title: "Requests a second",
      says: loading || (rate.length ? `${decimal(rate.findLast((r) => r !== null) ?? 0, 1)} in the last ${step}` : "nothing was counted"),
      x,
      series: [{ label: "requests/s", values: rate, colour: "--line-3", fill: "--fill-3" }],
      show: (v) => decimal(v, 1),
    }),
  ];
}

/** sinceWatched leaves out what lies before the guard began to watch. */
function sinceWatched(past) {
  const first = past.points.findIndex((p) => p.coverage > 0 || p.good + p.bad > 0);
  if (first <= 0) return past;
  const from = new Date((seconds(past.from) + first * parseDuration(past.step)) * 1000).toISOString();
  return { ...past, from, points: past.points.slice(first) };
}

/** burnDown shows how the budget of the SLO's own window went: at each instant, what the
 * events until then left of what all events of the window allow. */
function burnDown(s, data) {
  const past = sinceWatched(data || noPast);
  const total = past.points.reduce((n, p) => n + p.good + p.bad, 0);
  const allowed = total * (1 - s.objective / 100);
  let bad = 0;
  const left = past.points.map((p) => {
    bad += p.bad;
    return allowed > 0 && (p.coverage > 0 || p.good + p.bad > 0) ? 1 - bad / allowed : null;
  });
  const end = left.findLast((v) => v !== null) ?? null;
  return chart({
    key: "budget",
    title: `Budget burn-down, ${s.window}`,
    says: !data ? "asking…" : end === null ? "nothing was counted" : end < 0 ? budgetLeft(end) : `${percent(end, 3)} left`,
    x: instants(past),
    series: [{ label: "left", values: left, colour: "--line-4", fill: "--fill-4" }],
    limits: [{ value: 0, label: "spent", colour: "--bad", inView: true }],
    range: (min) => [Math.min(min ?? 0, 0) * 1.05, 1.05],
    show: (v) => percent(v, 2),
  });
}

function consumers(c, s) {
  if (signalName(s) === "PromQL") return h("section", { "aria-labelledby": "who" }, h("h2", { id: "who" }, "Who used the budget"), h("p", { class: "none" }, "Its events are counted in Prometheus: whose they were is not known here."));
  const window = windowOf(c);
  const r = c.get(`api/v1/slos/${encodeURIComponent(s.name)}/breakdown?window=${window}`, 3000);
  const b = r.data;
  const allBad = b?.total.bad || 0;
  const part = (name) => (p) => {
    const row = [name(p), count(p.requests), p.count ? count(p.count.bad) : "–", p.count && allBad ? share(p.count.bad / allBad) : "–"];
    row.key = name(p);
    return row;
  };
  const head = (what) => [[what], ["requests", "num"], ["bad", "num"], ["of all bad ones"]];
  return h(
    "section",
    { "aria-labelledby": "who" },
    h("h2", { id: "who" }, `Who used the budget, last ${window}`),
    r.error ? problem(r.error) : null,
    h(
      "div",
      { class: "columns" },
      h("div", {}, h("h3", {}, signalName(s) === "spans" ? "Operations" : "Routes"), b?.routes.length ? table("Routes", head("route"), b.routes.map(part((p) => [s.series.service ? null : p.series.service, p.series.route].filter(Boolean).join(" / ")))) : h("p", { class: "none" }, b ? "No route of it had requests." : "…")),
      h("div", {}, h("h3", {}, "Consumers"), b?.consumers.length ? table("Consumers", head("consumer"), b.consumers.map(part((p) => p.series.consumer + (p.series.route ? ` on ${p.series.route}` : "")))) : h("p", { class: "none" }, b ? ["None is counted apart. An SLO with ", h("code", {}, "consumer:"), " has one counted."] : "…")),
      h("div", {}, h("h3", {}, "Status classes"), b ? classes(b) : h("p", { class: "none" }, "…")),
    ),
  );
}

const share = (ratio) => h("span", { class: "share" }, h("span", { class: "bar bad", "aria-hidden": "true" }, h("span", { class: "bar-fill", vars: { "--share": ratio } })), " ", percent(ratio, 2));

function classes(b) {
  const all = Object.values(b.classes).reduce((n, x) => n + x, 0);
  const row = (name, n) => {
    const r = [name, count(n), all ? percent(n / all) : "–"];
    r.key = name;
    return r;
  };
  const rows = Object.entries(b.classes).map(([name, n]) => row(name, n));
  if (b.shed) rows.push(row("shed by the guard", b.shed));
  return rows.length ? table("Status classes", [["status"], ["requests", "num"], ["share", "num"]], rows) : h("p", { class: "none" }, "No request came.");
}

/** sourcesOf names what brings the events of an SLO, and who of them is silent. */
function sourcesOf(c, s) {
  if (!s.sources?.length) return "nothing yet: its first event has not come";
  const known = new Map((c.live.status?.sources || []).map((x) => [x.name, x]));
  return s.sources.map((name, i) => [i ? ", " : "", link("#/sources", name), known.get(name)?.silent ? [" ", badge("silent")] : null]);
}

function about(c, s) {
  const policies = (names) => (names?.length ? names.join(", ") : "nothing");
  return h(
    "section",
    { "aria-labelledby": "about" },
    h("h2", { id: "about" }, "What is promised"),
    facts(
      ["about", series(s.series)],
      ["counted are", signalWords(s)],
      ["they come by", sourcesOf(c, s)],
      ["good is", signalName(s) === "PromQL" ? "what its query counts as good" : s.sli],
      ["objective", `${s.objective} % in ${s.window}`],
      ["an outage starts", policies(s.on_outage)],
      ["a page starts", policies(s.on_page)],
      ["a ticket starts", policies(s.on_ticket)],
      ...Object.entries(s.labels || {}),
    ),
  );
}

function happened(c, s) {
  const mine = c.live.events.filter((e) => ((e.type === "slo" || e.type === "suspect") && e.name === s.name) || e.action?.trigger.name === s.name).slice(-30).reverse();
  return mine.length ? h("ol", { class: "events" }, mine.map((e) => eventRow(c, e, true))) : h("p", { class: "none" }, "Nothing yet.");
}

// Canaries and their runs: the two tracks side by side, the evidence over time against what
// is needed, the effect with its interval, and the requests to look at first.

import { h } from "../dom.js";
import { count, percent, times, series, decimal, duration, seconds, parseDuration, millis } from "../format.js";
import { badge, time, canaryLink, empty, facts, problem, table, link, outside } from "../parts.js";
import { chart, interval } from "../chart.js";
import { waiting } from "../cause.js";
import { override, cancelRun } from "../orders.js";

const runLink = (id) => link(`#/runs/${encodeURIComponent(id)}`, id);
const skeleton = () => h("div", { class: "skeleton", "aria-hidden": "true" });

export function canaries(c) {
  const list = c.live.canaries.all();
  return [
    h("h1", {}, "Canaries"),
    !c.live.canaries.known
      ? skeleton()
      : !list.length
        ? empty("No canary is defined.", "Write one into the rules, under ", h("code", {}, "canaries:"), ", with its two tracks; then a pipeline can ask ", h("code", {}, "gatewarden gate NAME"), " whether a release may go on.")
        : h("div", { class: "cards" }, list.map((k) => card(c, k))),
  ];
}

function card(c, k) {
  return h(
    "article",
    { class: "run-card", key: k.name },
    h("h2", {}, canaryLink(k.name), " ", k.run ? badge(k.run.state) : badge("no run")),
    h("p", { class: "lead" }, k.run ? waiting(k.run).what : "Nobody has asked about it yet."),
    k.run ? held(k.run) : null,
    facts(
      ["canary", `${decimal(k.canary.rate, 1)} requests/s, ${percent(k.canary.requests ? k.canary.failures / k.canary.requests : null)} failed`],
      ["baseline", `${decimal(k.baseline.rate, 1)} requests/s, ${percent(k.baseline.requests ? k.baseline.failures / k.baseline.requests : null)} failed`],
      k.share !== undefined && ["share", percent(k.share)],
      k.run && ["run", runLink(k.run.id), " since ", time(k.run.started_at, c.now)],
    ),
  );
}

export function canary(c, name) {
  const k = c.live.canaries.get(name);
  if (!k) return [h("h1", {}, name), c.live.canaries.known ? empty(`There is no canary named ${name}.`, "It may have been renamed in the rules. ", link("#/canaries", "All canaries"), ".") : skeleton()];
  return [
    h("h1", {}, name),
    k.description ? h("p", { class: "faint" }, k.description) : null,
    k.trouble ? problem({ message: `Kong could not be asked for the targets: ${k.trouble}`, hint: "Until it can, nobody knows which requests are the canary's." }) : null,
    k.run
      ? shownRun(c, k.run.id, k)
      : [empty("No run yet.", "A pipeline starts one with ", h("code", {}, `gatewarden gate ${name}`), ", and waits for the answer."), tracks(c, null, k)],
    plan(c, k),
    runs(c, k),
    rules(k),
  ];
}

export function run(c, id) {
  const live = c.live.canaries.all().find((k) => k.run?.id === id);
  return [h("h1", {}, "Run ", id), shownRun(c, id, live)];
}

/** shownRun shows a run with its trail; the stream says when there is a newer version of it. */
function shownRun(c, id, k) {
  const newest = k?.run?.id === id ? `${k.run.version} ${k.run.state}` : undefined;
  const r = c.get(`api/v1/runs/${encodeURIComponent(id)}`, newest === undefined ? 5000 : 1000, newest);
  const whole = r.data || (newest && k.run); // which lacks only the trail
  if (!whole) return r.error ? problem(r.error) : skeleton();
  const live = k?.run?.id === id ? { ...whole, ...k.run, trail: whole.trail } : whole;
  k ||= c.live.canaries.get(whole.canary);
  const v = live.verdict;
  return h(
    "div",
    { key: id },
    h("p", { class: "lead" }, badge(live.state), " ", waiting(live).what),
    held(live),
    live.state === "running" ? h("p", { class: "buttons" }, h("button", { type: "button", onclick: () => override(live, "pass", k) }, "Pass it"), h("button", { type: "button", onclick: () => override(live, "fail", k) }, "Fail it"), h("button", { type: "button", onclick: () => cancelRun(live) }, "Cancel the run")) : null,
    live.override ? h("p", {}, `${live.override.by} decided “${live.override.state}”: ${live.override.reason}`) : null,
    facts(
      ["canary", canaryLink(live.canary)],
      ["run", runLink(live.id)],
      ["started", time(live.started_at, c.now), live.by ? ` by ${live.by}` : ""],
      live.ended_at ? ["ended", time(live.ended_at, c.now), `, after ${duration(seconds(live.ended_at) - seconds(live.started_at))}`] : ["deadline", time(live.deadline, c.now), v?.expected ? `; a decision is expected in about ${duration(parseDuration(v.expected))}` : ""],
      live.key && ["asked as", live.key],
      ...Object.entries(live.parameters || {}).map(([name, value]) => [name, /^https?:/.test(value) ? outside(value, value) : value]),
    ),
    path(live),
    tracks(c, v, k),
    v && v.late + v.ahead + v.dropped > 0 ? h("p", { class: "faint" }, `Not counted: ${count(v.late)} came too late, ${count(v.ahead)} are of the future, ${count(v.dropped)} belong to no part of the run.`) : null,
    v ? [warnings(v), evidence(live, v), effect(v, k), checks(v), suspects(c, v)] : empty("Nothing is known of this run yet.", "The first requests after its start have to complete."),
  );
}

/** path shows the shares that the guard moves the canary through. */
function path(r) {
  if (!r.steps?.length) return null;
  const at = r.step || 0;
  return h("ol", { class: "path", "aria-label": "Steps" }, r.steps.map((p, i) => h("li", { key: "s" + i, class: i + 1 < at ? "past" : i + 1 === at ? "here" : null, "aria-current": i + 1 === at ? "step" : null }, `${p} %`)), h("li", { key: "all", class: at > r.steps.length ? "past" : null }, "promoted"));
}

function tracks(c, v, k) {
  const side = (name, seen, known, selector) =>
    h(
      "div",
      { class: `track ${name}` },
      h("h3", {}, name === "canary" ? "Canary" : "Baseline"),
      facts(
        selector && ["requests with", selector],
        seen ? ["requests", h("b", {}, count(seen.requests))] : null,
        seen ? ["failed", h("b", {}, `${percent(seen.requests ? seen.ratio : null)}`), ` (${count(seen.failures)}${seen.episodes !== seen.failures ? `, ${count(seen.episodes)} without a client's repeats` : ""})`] : null,
        seen?.requests ? ["latency", "p50 ", h("b", {}, millis(seen.p50)), ", p99 ", h("b", {}, millis(seen.p99))] : null,
        known ? ["now", `${decimal(known.rate, 1)} requests/s`] : null,
        seen?.newest || known?.newest ? ["newest", time(seen?.newest || known.newest, c.now)] : null,
        known?.targets?.length ? ["targets", known.targets.join(", ")] : null,
        known?.downstream?.length ? ["below it", known.downstream.map((d) => `${d.service} failed ${percent(d.calls ? d.failed / d.calls : null)} of ${count(d.calls)} calls`).join("; ")] : null,
      ),
    );
  return h("section", { "aria-labelledby": "tracks" }, h("h2", { id: "tracks" }, "The two tracks", v ? h("span", { class: "faint" }, v.absolute ? " since the run began; the baseline has had no requests" : " since the run began") : null), h("div", { class: "tracks" }, side("baseline", v?.baseline, k?.baseline, k?.baseline.selector), side("canary", v?.canary, k?.canary, k?.canary.selector)));
}

/** held says of a run why it is judged otherwise than usual, or must not be answered yet. */
function held(run) {
  const { why } = waiting(run);
  return [
    why ? h("p", { class: "held warn" }, h("strong", {}, "It waits for the log"), `: ${why}. What the evidence says is looked at again when the log is whole.`) : null,
    run.verdict?.absolute ? h("p", { class: "held note" }, h("strong", {}, "Judged by itself."), " The baseline has no traffic, so the canary is held to limits of its own and compared with nothing.") : null,
  ];
}

function warnings(v) {
  const list = [
    v.baseline_trouble && "The baseline is in trouble too: what hits both alike is not the canary's.",
    v.split.mismatch && `The canary takes ${percent(v.split.observed)} of the requests, configured are ${percent(v.split.configured)}${v.split.large ? ": too far apart to judge by" : ""}.`,
  ].filter(Boolean);
  return list.length ? h("ul", { class: "problem split" }, list.map((l) => h("li", {}, l))) : null;
}

const floor = -1; // a tenth: how far below nothing a run once was does not matter

function evidence(r, v) {
  const from = seconds(r.started_at);
  const points = [...(r.trail || [])].map((p) => ({ ...p, at: seconds(p.at) }));
  if (!r.ended_at || seconds(v.at) <= seconds(r.ended_at)) if (!points.length || seconds(v.at) > points.at(-1).at) points.push({ at: seconds(v.at), fail: v.evidence, pass: passOf(v), share: v.split.configured });
  const top = Math.max(v.needed, v.pass_needed) + 0.4;
  const within = (x) => Math.max(floor, Math.min(top, x));
  const x = points.map((p) => p.at - from);
  const passes = v.checks?.some((k) => k.pass !== undefined);
  const share = points.map((p) => p.share || null);
  return h(
    "section",
    { "aria-labelledby": "evidence" },
    h("h2", { id: "evidence" }, "The evidence"),
    h(
      "div",
      { class: "charts" },
      chart({
        key: "evidence",
        title: "Evidence over time",
        says: `for a fail ${decimal(v.evidence, 1)} of ${decimal(v.needed, 1)} needed${passes ? `, for a pass ${decimal(passOf(v), 1)} of ${decimal(v.pass_needed, 1)}` : ""}, as powers of ten`,
        height: 240,
        x,
        relative: (s) => duration(s),
        series: [
          { label: "for a fail", values: points.map((p) => within(p.fail)), colour: "--line-2", width: 2 },
          ...(passes ? [{ label: "for a pass", values: points.map((p) => within(p.pass)), colour: "--line-1", width: 2, dash: [7, 3] }] : []),
        ],
        limits: [
          { value: v.needed, label: v.needed === v.pass_needed ? "decides" : "fails", colour: "--bad" },
          ...(passes && v.needed !== v.pass_needed ? [{ value: v.pass_needed, label: "passes", colour: "--good" }] : []),
        ],
        range: () => [floor, top],
        show: (y) => decimal(y, 1),
      }),
      latencies(v),
      share.some(Boolean) ? chart({ key: "share", title: "Share of the canary", says: `${percent(share.at(-1))} now`, height: 240, x, relative: (s) => duration(s), series: [{ label: "share", values: share, colour: "--line-3", fill: "--fill-3", step: true }], range: (min, max) => [0, Math.max(max || 0, 0.05) * 1.15], show: (y) => percent(y, 2) }) : null,
    ),
  );
}

const passOf = (v) => {
  const all = (v.checks || []).map((k) => k.pass).filter((p) => p !== undefined);
  return all.length ? Math.min(...all) : 0;
};

const percents = [1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9]; // as in TrackCounts

/** latencies lays the distributions of the two tracks over each other, by percentile. */
function latencies(v) {
  const of = (t) => (t.latencies || []).map((l) => parseDuration(l) * 1000);
  const [b, k] = [of(v.baseline), of(v.canary)];
  if (!b.length && !k.length) return null;
  const fill = (l) => percents.map((_, i) => l[i] ?? null);
  return chart({
    key: "latencies",
    title: "Latency by percentile",
    says: `half of the requests within ${millis(v.canary.p50)}, the baseline's ${millis(v.baseline.p50)}; 99 % within ${millis(v.canary.p99)}, the baseline's ${millis(v.baseline.p99)}`,
    height: 240,
    x: percents.map((_, i) => i),
    relative: (i) => (Number.isInteger(i) && percents[i] !== undefined ? `p${percents[i]}` : ""),
    series: [
      { label: "baseline", values: fill(b), colour: "--line-3", width: 2 },
      { label: "canary", values: fill(k), colour: "--line-2", width: 2, dash: [7, 3] },
    ],
    show: (ms) => `${decimal(ms, ms < 10 ? 1 : 0)} ms`,
  });
}

function effect(v, k) {
  const one = (title, i, limit, what) => {
    const says = i.estimate || i.low || i.high ? `${i.estimate ? times(i.estimate) : "not known"}; between ${times(i.low)} and ${i.high ? times(i.high) : "no bound"} with 95 %` : "not known yet";
    return h("div", {}, h("h3", {}, title), interval(i, limit, `${title}: ${says}`), h("p", {}, says, limit ? h("span", { class: "faint" }, `; tolerated are ${times(limit)} ${what}`) : null));
  };
  if (v.absolute) return null;
  return h("section", { "aria-labelledby": "effect" }, h("h2", { id: "effect" }, "The effect, canary over baseline"), h("div", { class: "columns" }, one("Odds of a failure", v.error_ratio, k?.errors?.max_ratio, "of the odds"), one("Latency", v.latency_ratio, k?.latency?.max_ratio, "of the latency")));
}

function checks(v) {
  if (!v.checks?.length) return null;
  return h(
    "section",
    { "aria-labelledby": "checks" },
    h("h2", { id: "checks" }, "Checks"),
    table(
      "Checks",
      [["check"], ["for a fail", "num"], ["for a pass", "num"], ["shown to be within the margin"], ["blocks", "num"], ["dispersion", "num"]],
      v.checks.map((k) => {
        const row = [k.name + (v.leading === k.name ? ", leading" : ""), decimal(k.evidence, 2), k.pass === undefined ? "–" : decimal(k.pass, 2), k.pass === undefined ? "has no part in it" : k.shown ? "yes" : "not yet", `${count(k.blocks)} of ${k.block}`, k.dispersion ? decimal(k.dispersion, 2) : "–"];
        row.key = k.name;
        return row;
      }),
    ),
  );
}

function suspects(c, v) {
  return h(
    "section",
    { "aria-labelledby": "suspects" },
    h("h2", { id: "suspects" }, "Requests to look at"),
    v.suspects?.length
      ? table(
          "Requests to look at",
          [["completed"], ["what"], ["route"], ["request"], ["trace"]],
          v.suspects.map((s, i) => {
            const row = [time(s.at, c.now), s.failed ? badge("failed") : `slow: ${millis(s.latency)}`, s.route || "–", s.id ? h("code", {}, s.id) : "–", trace(c, s.trace_id)];
            row.key = `${s.id || i} ${s.at}`;
            return row;
          }),
        )
      : h("p", { class: "none" }, "None of the canary's requests stands out."),
  );
}

/** trace links to the tracing system when the guard knows where it is. */
function trace(c, id) {
  if (!id) return "–";
  const url = c.live.status?.trace_url;
  return url ? outside(url.replaceAll("{trace_id}", encodeURIComponent(id)), id) : h("code", {}, id);
}

function plan(c, k) {
  const p = c.get(`api/v1/canaries/${encodeURIComponent(k.name)}`, 20000).data?.plan;
  if (!p) return null;
  return h(
    "section",
    { "aria-labelledby": "plan" },
    h("h2", { id: "plan" }, "What a run takes at today's traffic"),
    !p.rate ? h("p", { class: "none" }, "There is no traffic now, so nothing can be said.") : h("p", {}, `At ${decimal(p.rate, 1)} requests/s and a share of ${percent(p.share, 2)}: `, p.to_pass ? `a canary that is like its baseline passes in about ${duration(parseDuration(p.to_pass))}.` : "a pass takes longer than the deadline."),
    p.rate && p.rows?.length ? table("How soon trouble is found", [["trouble"], ["found after", "num"], ["before the deadline"]], p.rows.map((r) => Object.assign([r.what, r.time && parseDuration(r.time) ? duration(parseDuration(r.time)) : "–", r.in_time ? "yes" : "no"], { key: r.what }))) : null,
  );
}

function runs(c, k) {
  const r = c.get(`api/v1/canaries/${encodeURIComponent(k.name)}/runs?limit=20`, 10000, k.run ? `${k.run.id} ${k.run.state}` : "none");
  if (!r.data?.runs.length) return null;
  return h(
    "section",
    { "aria-labelledby": "runs" },
    h("h2", { id: "runs" }, "Runs"),
    table("Runs", [["run"], ["state"], ["started"], ["took", "num"], ["why"]], r.data.runs.map((x) => Object.assign([runLink(x.id), badge(x.state), time(x.started_at, c.now), x.ended_at ? duration(seconds(x.ended_at) - seconds(x.started_at)) : "–", x.reason], { key: x.id }))),
  );
}

const rules = (k) =>
  h(
    "section",
    { "aria-labelledby": "rules" },
    h("h2", { id: "rules" }, "What is compared"),
    facts(
      ["requests of", series(k.series)],
      ["steps", k.steps?.length ? `${k.steps.join(" %, ")} %, ${k.mode || ""}` : "none: somebody else moves the weights"],
      ["false alarms", `${percent(k.false_alarm)} of the runs at most`],
      ["no answer comes to", k.on_inconclusive],
      ["a fail starts", k.on_fail?.join(", ") || "nothing"],
      ["a pass starts", k.on_pass?.join(", ") || "nothing"],
    ),
  );

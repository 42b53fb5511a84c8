// The timeline: what was seen, decided and done, the newest first, each with its evidence.

import { h } from "../dom.js";
import { count, percent, times, seconds } from "../format.js";
import { badge, time, sloLink, canaryLink, actionLink, answersTo, empty, facts, notSeen, outside, step, inPlace, table, takable, link } from "../parts.js";
import { approve, reject, revert } from "../orders.js";
import { alertsTable } from "./alerts.js";
import { limitNow } from "../limit.js";

const types = ["slo", "canary", "gate", "action", "source", "suspect", "drift", "alert", "guard"];
const mostShown = 200;

export function timeline(c) {
  const { live, memo } = c;
  memo.types ||= new Set(types);
  memo.name ??= "";
  if (memo.until === undefined || memo.follow || memo.loading) {
    memo.until = live.events.at(-1)?.seq || 0;
    memo.loading = !live.status;
  }
  const wanted = live.events.filter((e) => memo.types.has(e.type) && (!memo.name || matches(e, memo.name.toLowerCase())));
  const shown = wanted.filter((e) => e.seq <= memo.until).slice(-Math.min(mostShown, c.room)).reverse();
  const waiting = wanted.filter((e) => e.seq > memo.until).length;
  return [
    h("h1", {}, "Timeline"),
    h(
      "div",
      { class: "tools" },
      h("fieldset", {}, h("legend", { class: "unseen" }, "Show"), types.map((t) => h("label", { key: t }, h("input", { type: "checkbox", checked: memo.types.has(t), onchange: (e) => ((e.target.checked ? memo.types.add(t) : memo.types.delete(t)), c.again()) }), " ", t))),
      h("label", {}, h("span", { class: "unseen" }, "Only those that mention"), h("input", { type: "search", placeholder: "name or word", value: memo.name, oninput: (e) => ((memo.name = e.target.value), c.again()) })),
      h("label", {}, h("input", { type: "checkbox", checked: !!memo.follow, onchange: (e) => ((memo.follow = e.target.checked), c.again()) }), " show new ones by themselves"),
      h("button", { type: "button", class: "news", disabled: !waiting, onclick: () => ((memo.until = live.events.at(-1)?.seq || 0), c.again()) }, waiting ? `Show ${count(waiting)} new` : "Nothing new"),
    ),
    shown.length
      ? h("ol", { class: "events" }, shown.map((e) => eventRow(c, e, true)))
      : !live.status
        ? h("div", { class: "skeleton", "aria-hidden": "true" })
        : live.events.length
          ? empty("No event is like that.", "Tick more kinds above, or clear the word.")
          : empty("Nothing has happened yet.", "The first event comes when an SLO can be judged: when the first records arrive. ", link("#/sources", "Look at the sources"), "."),
    live.events.length >= 500 || wanted.length > mostShown ? h("p", { class: "faint" }, "Older ones: ", h("code", {}, "gatewarden events"), " or ", h("code", {}, "GET /api/v1/events"), ".") : null,
  ];
}

const matches = (e, word) => [e.name, e.state, e.severity, e.reason, e.by].some((t) => t && t.toLowerCase().includes(word));

/** eventRow shows an event; with its evidence behind it when there is room. Rows whose key is
 * their place keep it when another event comes: only their texts change. */
export function eventRow(c, e, full, key = "e" + e.seq) {
  return h(
    "li",
    { key, class: `event ${e.type}` },
    h("div", { class: "event-head" }, time(e.at, c.now), " ", badge(e.type === "suspect" ? "suspect" : e.state, e.severity), " ", subject(e), e.by ? h("span", { class: "by" }, ` by ${e.by}`) : null),
    h("p", { class: "event-reason" }, e.reason),
    full ? h("div", {}, full && change(e), orders(c, e), evidence(c, e)) : null,
  );
}

function subject(e) {
  if (e.type === "slo") return sloLink(e.name);
  if (e.type === "suspect") return [h("span", { class: "name" }, e.state), " behind ", sloLink(e.name)];
  if (e.type === "guard") return link("#/sources", e.name);
  if (e.type === "drift" || e.type === "source") return link("#/sources", e.type === "drift" ? "Kong's nodes" : e.name);
  if (e.action) return actionLink(e.name);
  if (e.type === "gate" || e.type === "canary") return e.run ? link(`#/runs/${encodeURIComponent(e.run.id)}`, e.name) : canaryLink(e.name);
  return h("span", { class: "name" }, e.name);
}

const change = (e) => (e.action?.change && e.action.change !== e.reason ? h("p", { class: "change" }, h("span", { class: "label" }, "changed: "), e.action.change) : null);

/** orders are for the action as it is now, not as it was when the event was written. */
function orders(c, e) {
  const a = e.action && c.live.actions.get(e.action.id);
  if (!a || a.status !== e.state || c.live.events.findLast((x) => x.action?.id === a.id) !== e) return null;
  if (a.status === "waiting") return h("p", { class: "buttons" }, h("button", { type: "button", class: "primary", onclick: () => approve(a) }, "Approve"), h("button", { type: "button", onclick: () => reject(a) }, "Turn down"));
  if (takable(a)) return h("p", { class: "buttons" }, h("button", { type: "button", onclick: () => revert(a) }, "Take back"));
  return null;
}

function evidence(c, e) {
  if (!e.slo && !e.action && !e.run && !e.drift?.findings?.length && !e.alert) return null;
  const open = (c.memo.open ||= new Set());
  return h(
    "details",
    { ontoggle: (ev) => (ev.target.open ? open.add(e.seq) : open.delete(e.seq), c.again()) },
    h("summary", {}, "Evidence", h("span", { class: "unseen" }, ` of ${e.name}, ${e.state}`)),
    open.has(e.seq) ? h("div", { class: "evidence" }, e.slo ? sloEvidence(e.slo) : null, e.action ? actionEvidence(c, e.action) : null, e.run ? runEvidence(e.run) : null, e.drift?.findings ? driftEvidence(e.drift) : null, e.alert ? alertEvidence(e.alert) : null) : null,
  );
}

function sloEvidence(s) {
  return [
    facts(["good", percent(s.sli, 4)], ["events", `${count(s.count.good)} good, ${count(s.count.bad)} bad`], ["budget left", percent(s.budget, 2)], ["watched", percent(s.count.coverage, 2)]),
    alertsTable(s),
  ];
}

/** actionEvidence shows an action whole: what it answers to, before and after, the way back. */
export function actionEvidence(c, a) {
  return [
    notSeen(a),
    limitNow(a, c.now),
    facts(
      ["step", `${a.step}: ${step(a.spec)}`],
      ["answers to", answersTo(a.trigger), a.trigger.severity ? `, ${a.trigger.severity}` : "", `: ${a.trigger.reason}`],
      ["mode", a.mode || "–"],
      a.change && ["before and after", a.change],
      a.link && ["look at", outside(a.link, a.link)],
      ["planned", time(a.planned_at, c.now)],
      a.started_at && ["started", time(a.started_at, c.now)],
      a.applied_at && ["applied", time(a.applied_at, c.now), a.started_at ? `, ${Math.max(0, Math.round((seconds(a.applied_at) - seconds(a.started_at)) * 1000))} ms after its start` : ""],
      a.verified_at && ["seen to work", time(a.verified_at, c.now)],
      a.ended_at && ["ended", time(a.ended_at, c.now)],
      a.lease_until && inPlace(a) && ["lease until", time(a.lease_until, c.now)],
      a.by && ["by", a.by],
    ),
    a.spec.plugin?.config ? [h("p", { class: "sub" }, "The plugin's configuration"), h("pre", { tabindex: 0 }, JSON.stringify(a.spec.plugin.config, null, 2))] : null,
    a.memo ? [h("p", { class: "sub" }, "What was there before"), h("pre", { tabindex: 0 }, JSON.stringify(a.memo, null, 2))] : null,
    a.undo ? [h("p", { class: "sub" }, "To undo it by hand"), h("pre", { tabindex: 0 }, a.undo)] : null,
    a.details ? [h("p", { class: "sub" }, "More"), h("pre", { tabindex: 0 }, a.details)] : null,
  ];
}

const driftEvidence = (d) => table("What differs, and what is gone", [["kind"], ["what"], ["why", "long"]], d.findings.map((x) => Object.assign([x.kind, x.subject, x.reason], { key: `${x.kind} ${x.subject}`, cls: x.counts ? "firing" : null })));

const alertEvidence = (a) => facts(a.summary && ["summary", a.summary], ...Object.entries(a.labels || {}).map(([name, value]) => [name, value]));

const runEvidence = (r) =>
  facts(
    ["run", link(`#/runs/${encodeURIComponent(r.id)}`, r.id)],
    ["canary", canaryLink(r.canary)],
    r.verdict && ["canary failed", `${percent(r.verdict.canary.ratio)} of ${count(r.verdict.canary.requests)}`],
    r.verdict && ["baseline failed", `${percent(r.verdict.baseline.ratio)} of ${count(r.verdict.baseline.requests)}`],
    r.verdict && ["effect", r.verdict.error_ratio?.estimate ? `${times(r.verdict.error_ratio.estimate)} the failures` : "–"],
  );

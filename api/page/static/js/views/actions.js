// The actions: what the guard did or would do, by ladder, and the ways to decide about it.

import { h } from "../dom.js";
import { seconds } from "../format.js";
import { badge, time, empty, step, actionLink, answersTo, inPlace, leaseLeft, notSeen, takable, link } from "../parts.js";
import { approve, reject, revert, revertLadder } from "../orders.js";
import { limitCourse, limitNow } from "../limit.js";
import { actionEvidence, eventRow } from "./timeline.js";

const mostLadders = 50;

export function actions(c) {
  const all = c.live.actions.all();
  const ladders = new Map();
  for (const a of all) ladders.set(a.ladder, [...(ladders.get(a.ladder) || []), a]);
  const list = [...ladders.entries()].slice(0, mostLadders);
  return [
    h("h1", {}, "Actions"),
    !c.live.actions.known
      ? h("div", { class: "skeleton", "aria-hidden": "true" })
      : !list.length
        ? empty("The guard has not done anything yet.", "What it may do, and when, is in the rules under ", h("code", {}, "actions:"), "; an SLO names them under ", h("code", {}, "on_outage"), ", ", h("code", {}, "on_page"), " or ", h("code", {}, "on_ticket"), ".")
        : list.map(([name, steps]) => ladder(c, name, steps)),
    ladders.size > mostLadders ? h("p", { class: "faint" }, "Older ones: ", h("code", {}, "gatewarden actions"), ".") : null,
  ];
}

function ladder(c, name, steps) {
  const first = steps.at(-1);
  const held = steps.filter(inPlace);
  return h(
    "section",
    { class: "ladder", key: name, "aria-label": name },
    h(
      "div",
      { class: "section-head" },
      h("h2", {}, first.policy, h("span", { class: "faint" }, ` for `), answersTo(first.trigger), h("span", { class: "faint" }, " since "), time(first.trigger.since, c.now)),
      held.length > 1 ? h("button", { type: "button", onclick: () => revertLadder(name, held) }, "Take all of it back") : null,
    ),
    h("p", { class: "faint" }, first.trigger.reason),
    h("ol", { class: "steps" }, [...steps].sort((a, b) => a.step - b.step || seconds(a.planned_at) - seconds(b.planned_at)).map((a) => h("li", { key: a.id }, h("div", { class: "event-head" }, badge(a.status), " ", actionLink(a.id), a.by ? h("span", { class: "by" }, ` by ${a.by}`) : null), h("p", {}, a.change || step(a.spec), " ", inPlace(a) ? h("span", { class: "faint" }, leaseLeft(a, c.now)) : null), notSeen(a), limitNow(a, c.now), buttons(a)))),
  );
}

export function buttons(a) {
  if (a.status === "waiting") return h("p", { class: "buttons" }, h("button", { type: "button", class: "primary", onclick: () => approve(a) }, "Approve"), h("button", { type: "button", onclick: () => reject(a) }, "Turn down"));
  if (takable(a)) return h("p", { class: "buttons" }, h("button", { type: "button", onclick: () => revert(a) }, "Take back"));
  return null;
}

export function action(c, id) {
  const a = c.live.actions.get(id);
  const ladder = c.live.actions.all().filter((x) => x.ladder === id);
  if (!a && ladder.length) return [h("h1", {}, id), ...actionsOf(c, id, ladder)];
  if (!a) return c.live.actions.known ? [h("h1", {}, id), empty("The page does not know this action.", "It may be an old one: ", h("code", {}, `gatewarden actions ${id}`), " knows more of them. ", link("#/actions", "All actions"), ".")] : [h("h1", {}, id), h("div", { class: "skeleton", "aria-hidden": "true" })];
  const events = c.live.events.filter((e) => e.action?.id === id).reverse();
  return [
    h("h1", {}, a.id, " ", badge(a.status)),
    h("p", { class: "lead" }, a.change || step(a.spec)),
    buttons(a),
    inPlace(a) ? h("p", { class: "faint" }, leaseLeft(a, c.now)) : null,
    actionEvidence(c, a),
    limitCourse(c, a),
    h("section", { "aria-labelledby": "events" }, h("h2", { id: "events" }, "What happened to it"), events.length ? h("ol", { class: "events" }, events.map((e) => eventRow(c, e, false))) : h("p", { class: "none" }, "The page does not go back so far.")),
  ];
}

const actionsOf = (c, id, steps) => [ladder(c, id, steps)];

// An adaptive limit: where it is between its floor and its ceiling, and how it came there.

import { h } from "./dom.js";
import { ago, count, seconds } from "./format.js";
import { chart } from "./chart.js";

const steps = (a) => a.spec.adaptive;

/** limitNow shows where a limit is; nothing for an action that has none in place. */
export function limitNow(a, now) {
  const s = steps(a);
  if (!s || !a.limit || !["started", "applied", "unverified"].includes(a.status)) return null;
  const share = (a.limit.value - s.floor) / Math.max(1, s.ceiling - s.floor);
  return h(
    "div",
    { class: "limit" },
    h("b", {}, `${count(a.limit.value)} requests/s`),
    h("span", { class: "faint" }, ` let through${a.limit.before && a.limit.before !== a.limit.value ? `, ${count(a.limit.before)} before` : ""}, since ${ago(a.limit.since, now)}`),
    h("span", { class: "bar note", "aria-hidden": "true" }, h("span", { class: "bar-fill", vars: { "--share": Math.max(0, Math.min(1, share)) } })),
    h("span", { class: "ends faint" }, h("span", {}, `floor ${count(s.floor)}`), h("span", {}, `ceiling ${count(s.ceiling)}`)),
  );
}

/** limitCourse draws how a limit went, by the events that the page has of the action. */
export function limitCourse(c, a) {
  const s = steps(a);
  if (!s) return null;
  const known = c.live.events.filter((e) => e.action?.id === a.id && e.action.limit).map((e) => [seconds(e.action.limit.since), e.action.limit.value]);
  if (a.limit) known.push([seconds(a.limit.since), a.limit.value]);
  const points = [...new Map(known).entries()].sort((x, y) => x[0] - y[0]);
  if (!points.length) return null;
  const end = seconds(a.ended_at || c.now);
  if (end > points.at(-1)[0]) points.push([end, points.at(-1)[1]]);
  const values = points.map((p) => p[1]);
  const changes = points.length - 2;
  return h(
    "div",
    { class: "charts" },
    chart({
      key: "limit",
      title: "The limit over time",
      says: `${count(values.at(-1))} requests a second${a.ended_at ? " at the end" : " now"}; between ${count(Math.min(...values))} and ${count(Math.max(...values))} so far, ${count(Math.max(0, changes))} ${changes === 1 ? "change" : "changes"}`,
      x: points.map((p) => p[0]),
      series: [{ label: "requests/s let through", values, colour: "--line-3", fill: "--fill-3", step: true }],
      limits: [
        { value: s.ceiling, label: `ceiling ${count(s.ceiling)}`, colour: "--faint" },
        { value: s.floor, label: `floor ${count(s.floor)}`, colour: "--faint", inView: true },
      ],
      show: (v) => count(Math.round(v)),
    }),
  );
}

// Charts: uPlot on a canvas, with a sentence for those who cannot see it, and the figures as
// a table; and spark lines, which are small enough for SVG.

import { h, paint } from "./dom.js";
import { afterFirst } from "./frame.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const dark = matchMedia("(prefers-color-scheme: dark)");
const shown = new Set();
dark.addEventListener("change", () => shown.forEach(rebuild)); // the legend has colours, too

/**
 * chart describes a figure. of: {key, title, says, height, x (seconds), series: [{label, values,
 * colour, fill, dash, step, points}], limits: [{value, label, colour}], show (value → text), range,
 * relative (x is seconds since a start, not an instant), log}.
 */
export function chart(of) {
  return h(
    "figure",
    { class: "chart", key: of.key },
    h("figcaption", {}, h("span", { class: "chart-title" }, of.title), " ", h("span", { class: "chart-says" }, of.says)),
    h("div", {
      key: "plot",
      class: "plot",
      role: "img",
      "aria-label": `${of.title}: ${of.says}`,
      vars: { "--plot-height": (of.height || 180) + "px" },
      hook: drawn(of),
    }),
    h("details", { class: "figures", key: "figures" }, h("summary", {}, "As a table", h("span", { class: "unseen" }, `: ${of.title}`)), h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${of.title}, as a table`, hook: figures(of) })),
  );
}

function drawn(of) {
  return {
    owns: true,
    create(el) {
      const c = { el, of, plot: null };
      el.chart = c;
      shown.add(c);
      c.sizes = new ResizeObserver(() => {
        if (c.plot) c.plot.setSize({ width: el.clientWidth, height: heightOf(c) });
        else build(c);
      });
      c.sizes.observe(el);
    },
    update(el) {
      const c = el.chart;
      const same = shape(c.of) === shape(of);
      c.of = of;
      if (!c.plot) return build(c);
      if (!same) {
        rebuild(c);
      } else c.plot.setData(data(of));
    },
    destroy(el) {
      el.chart.sizes.disconnect();
      el.chart.plot?.destroy();
      shown.delete(el.chart);
    },
  };
}

const shape = (of) => JSON.stringify([of.series.map((s) => [s.label, s.colour]), (of.limits || []).map((l) => [l.label, l.value]), of.relative]);
const data = (of) => [of.x, ...of.series.map((s) => s.values)];
const legend = 30;
const heightOf = (c) => (c.of.height || 180) - legend;

let library = null;

/** fetchLibrary gets uPlot when the first chart is to be drawn: what has no chart is not to wait for it. */
function fetchLibrary(then) {
  if (!library) {
    library = document.createElement("script");
    library.src = "page/vendor/uplot/uplot.min.js";
    library.onerror = () => (library = null); // the next figures try again
    afterFirst.then(() => document.head.append(library));
  }
  library.addEventListener("load", then, { once: true });
}

function rebuild(c) {
  if (!c.plot) return;
  c.plot.destroy();
  build(c);
}

function build(c) {
  const { el, of } = c;
  if (!el.clientWidth || !shown.has(c)) return;
  if (!window.uPlot) return fetchLibrary(() => c.plot || build(c));
  const axis = (more) => ({
    stroke: () => colour("--faint"),
    grid: { stroke: () => colour("--line"), width: 1 },
    ticks: { stroke: () => colour("--line"), width: 1 },
    font: "12px system-ui, sans-serif",
    ...more,
  });
  c.plot = new uPlot(
    {
      width: el.clientWidth,
      height: heightOf(c),
      padding: [8, 22, 0, 0],
      cursor: { drag: { x: false, y: false }, points: { size: 6 } },
      legend: { live: true },
      scales: { x: { time: !of.relative }, y: { range: (u, min, max) => (c.of.range || upFromZero)(min, max, c.of) } },
      axes: [
        axis({ space: 90, values: of.relative ? (u, list) => list.map((v) => of.relative(v)) : clockTicks }),
        axis({ size: 72, values: (u, list) => list.map((v) => (v === null ? "" : of.show(v))) }),
      ],
      series: [
        { label: of.relative ? "after" : "at", value: (u, v) => (v === null ? "–" : of.relative ? of.relative(v) : new Date(v * 1000).toLocaleTimeString([], { hourCycle: "h23" })) },
        ...of.series.map((s) => ({
          label: s.label,
          stroke: () => colour(s.colour),
          fill: s.fill ? () => colour(s.fill) : undefined,
          dash: s.dash,
          width: s.width || 1.6,
          points: { size: 4 },
          paths: s.step ? uPlot.paths.stepped({ align: 1 }) : undefined,
          value: (u, v) => (v === null || v === undefined ? "–" : of.show(v)),
        })),
      ],
      hooks: { draw: [(u) => limits(u, c.of)] },
    },
    data(of),
    el,
  );
}

const clockTicks = (u, list, i, space, step) =>
  list.map((v) => {
    const t = new Date(v * 1000);
    return step >= 86400
      ? t.toLocaleDateString([], { month: "short", day: "numeric" })
      : t.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: step < 60 ? "2-digit" : undefined, hourCycle: "h23" });
  });

function upFromZero(min, max, of) {
  const top = Math.max(max ?? 0, ...(of.limits || []).filter((l) => l.inView).map((l) => l.value), 1e-9);
  return [0, top * 1.1];
}

/** limits draws the lines that a curve is to be held against. */
function limits(u, of) {
  const { ctx, bbox } = u;
  const written = [];
  for (const l of of.limits || []) {
    const y = u.valToPos(l.value, "y", true);
    if (!(y >= bbox.top - 1 && y <= bbox.top + bbox.height + 1)) continue;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour(l.colour);
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textAlign = "right";
    ctx.textBaseline = "alphabetic";
    const below = y - bbox.top < 16 * devicePixelRatio;
    const crowded = written.some((other) => Math.abs(other - y) < 12 * devicePixelRatio);
    if (!crowded) written.push(y);
    if (!crowded) ctx.fillText(l.label, bbox.left + bbox.width - 4 * devicePixelRatio, y + (below ? 12 : -4) * devicePixelRatio);
    ctx.restore();
  }
}

const mostRows = 60;

/** figures fills the table when it is open, and only then. */
function figures(of) {
  const fill = (el) => {
    el.of = of;
    if (!el.parentElement?.open) return;
    const every = Math.max(1, Math.ceil(of.x.length / mostRows));
    const rows = of.x.map((x, i) => i).filter((i) => i % every === 0 || i === of.x.length - 1);
    paint(
      el,
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col" }, of.relative ? "after" : "at"), of.series.map((s) => h("th", { scope: "col" }, s.label)))),
        h("tbody", {}, rows.map((i) => h("tr", {}, h("th", { scope: "row" }, of.relative ? of.relative(of.x[i]) : new Date(of.x[i] * 1000).toLocaleString([], { hourCycle: "h23" })), of.series.map((s) => h("td", {}, s.values[i] === null || s.values[i] === undefined ? "–" : of.show(s.values[i])))))),
      ),
    );
  };
  return {
    owns: true,
    create(el) {
      el.of = of;
      queueMicrotask(() => (el.parentElement.ontoggle = () => figures(el.of).update(el)));
    },
    update: fill,
  };
}

/** isYoung reports whether the guard watched so little of a history that a shorter one shows more. */
export const isYoung = (points) => points.filter((p) => p.coverage > 0).length < points.length / 5;

const sparkWidth = 120;
const sparkHeight = 28;

/** spark draws the bad ratio of each step, against the budget; gaps where nothing was counted. */
export function spark(points, budget, says) {
  const ratios = (points || []).map((p) => (p.good + p.bad > 0 ? p.bad / (p.good + p.bad) : null));
  const top = Math.max(budget * 4, ...ratios.map((r) => r ?? 0), 1e-9);
  const x = (i) => (i * sparkWidth) / Math.max(1, ratios.length - 1);
  const y = (r) => sparkHeight - 1.5 - (r / top) * (sparkHeight - 3);
  let path = "";
  let pen = false;
  ratios.forEach((r, i) => {
    if (r === null) pen = false;
    else {
      const next = ratios[i + 1] ?? null;
      path += `${pen ? "L" : "M"}${x(i).toFixed(1)} ${y(r).toFixed(1)}`;
      if (!pen && next === null) path += `h1.5`; // a lone point
      pen = true;
    }
  });
  return h(
    "svg",
    { class: "spark", viewBox: `0 0 ${sparkWidth} ${sparkHeight}`, width: sparkWidth, height: sparkHeight, role: "img", "aria-label": says, preserveAspectRatio: "none" },
    h("line", { class: "spark-budget", x1: 0, x2: sparkWidth, y1: y(budget).toFixed(1), y2: y(budget).toFixed(1) }),
    h("path", { class: "spark-line", d: path }),
  );
}

/** interval draws a ratio with its bounds on a logarithmic scale around 1. */
export function interval({ low, high, estimate }, limit, says) {
  const width = 300;
  const span = Math.log(8);
  const x = (v) => width / 2 + (Math.max(-span, Math.min(span, Math.log(Math.max(v, 1e-9)))) / span) * (width / 2 - 6);
  const right = high ? x(high) : width;
  return h(
    "svg",
    { class: "interval", viewBox: `0 0 ${width} 34`, role: "img", "aria-label": says, preserveAspectRatio: "xMidYMid meet" },
    h("line", { class: "interval-axis", x1: 0, x2: width, y1: 17, y2: 17 }),
    h("line", { class: "interval-one", x1: x(1), x2: x(1), y1: 4, y2: 30 }),
    limit ? h("line", { class: "interval-limit", x1: x(limit), x2: x(limit), y1: 4, y2: 30 }) : null,
    h("line", { class: "interval-bar", x1: x(low || 1e-9), x2: right, y1: 17, y2: 17 }),
    estimate ? h("circle", { class: "interval-dot", cx: x(estimate), cy: 17, r: 5 }) : null,
  );
}

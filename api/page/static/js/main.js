// The frame: which view is shown, when it is painted, and what the head of the page says.

import { h, paint } from "./dom.js";
import { live } from "./live.js";
import { Resources } from "./resource.js";
import { afterFirst, firstIsPainted } from "./frame.js";
import { at } from "./format.js";
import { badge, empty, problem } from "./parts.js";
import { pause, resume } from "./orders.js";
import { overview } from "./views/overview.js";
import { slo } from "./views/slo.js";
import { canaries, canary, run } from "./views/canary.js";
import { timeline } from "./views/timeline.js";
import { actions, action } from "./views/actions.js";
import { sources } from "./views/sources.js";

const routes = [
  [/^#?\/?$/, overview, "Overview"],
  [/^#\/slos\/([^/]+)$/, slo, "SLO"],
  [/^#\/canaries$/, canaries, "Canaries"],
  [/^#\/canaries\/([^/]+)$/, canary, "Canary"],
  [/^#\/runs\/([^/]+)$/, run, "Run"],
  [/^#\/timeline$/, timeline, "Timeline"],
  [/^#\/actions$/, actions, "Actions"],
  [/^#\/actions\/([^/]+)$/, action, "Action"],
  [/^#\/sources$/, sources, "Sources"],
];

const main = document.getElementById("main");
live.changed = (what) => {
  if (what === "slos") announce();
  if (live.whole || what === "connection") schedule();
};
const resources = new Resources(schedule);
let view = { show: overview, args: [], memo: {} };

/** Painting waits for the next frame, and for a tenth of a second since the last one. */
const paintEvery = 100;
const lowestRow = 60; // pixels
let painting = false;
let last = -Infinity; // what was painted before there was anything to say does not count

function schedule() {
  if (painting) return;
  painting = true;
  const wait = last + paintEvery - performance.now();
  if (wait > 0) setTimeout(() => requestAnimationFrame(show), wait);
  else requestAnimationFrame(show);
}

function show() {
  painting = false;
  const first = main.hasAttribute("aria-busy");
  if (live.whole) last = performance.now();
  const context = {
    live,
    now: live.status?.now || new Date().toISOString(),
    get: (url, every, version) => resources.get(url, every, version),
    memo: view.memo, // what the view remembers while it is shown
    again: schedule,
    room: first ? Math.ceil(screen.height / lowestRow) : Infinity, // for rows: what nobody can see yet comes with the next painting
  };
  paint(document.getElementById("guard"), guard());
  paint(document.getElementById("notice"), notice());
  try {
    paint(main, view.show(context, ...view.args));
  } catch (e) {
    paint(main); // half a view would mislead
    paint(main, h("h1", {}, "This view cannot be shown"), problem({ message: `The page has a defect: ${e.message}.`, hint: "The other views and the command line show the same; please report it." }));
    reportError(e);
  }
  resources.forget();
  if (!first || !live.whole) return;
  main.removeAttribute("aria-busy");
  firstIsPainted();
  afterFirst.then(schedule);
}

/** go shows what the address names; focus follows it, so that a screen reader does too. */
function go(first) {
  const hash = location.hash;
  const found = routes.find(([pattern]) => pattern.test(hash));
  const [, showing, name] = found || [null, nowhere, "Nowhere"];
  let args = [];
  try {
    args = found ? hash.match(found[0]).slice(1).map(decodeURIComponent) : [];
  } catch {
    args = ["?"]; // a broken escape in the address
  }
  view = { show: showing, args, memo: {} };
  paint(main); // nothing of one view is taken for a part of the next
  document.title = [args[0], name, "gatewarden"].filter(Boolean).join(" – ");
  for (const a of document.querySelectorAll("#nav a")) {
    const section = { "#/slos": "#/", "#/runs": "#/canaries" }[hash.split("/").slice(0, 2).join("/")] || hash.split("/").slice(0, 2).join("/") || "#/";
    if (a.getAttribute("href") === section) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  show();
  if (!first) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

const nowhere = () => [h("h1", {}, "Nothing is here"), empty("The address names nothing of this page.", h("a", { href: "#/" }, "Go to the overview"), ".")];

/** guard is the right end of the head: whether what one sees is of now, and the switch. */
function guard() {
  const s = live.status;
  const connection = { live: ["good", "live"], connecting: ["quiet", "connecting"], lost: ["bad", "not connected"] }[live.connection];
  return [
    h("span", { class: `connection ${connection[0]}` }, connection[1]),
    s?.paused
      ? h("button", { key: "switch", type: "button", class: "switch primary", onclick: () => resume(s.paused) }, "Resume")
      : h("button", { key: "switch", type: "button", class: "switch", disabled: !s, onclick: () => pause(live.actions.all()) }, "Pause"),
  ];
}

/** notice says what everybody must know, whatever the view. */
function notice() {
  const s = live.status;
  if (live.connection === "lost") {
    const p = live.problem;
    return h(
      "p",
      { class: "bad" },
      h("strong", {}, p ? `The guard refuses to show more: ${p.message}.` : "No answer from the guard."),
      ` ${live.lostAt ? `What you see is of ${at(live.lostAt)}.` : ""} ${p?.hint ? p.hint + "." : "Is gatewarden running, and can this computer reach it? This page goes on asking."}`,
    );
  }
  if (s?.paused) return h("p", { class: "warn" }, badge("paused"), ` ${s.paused.by} paused the guard at ${at(s.paused.at, s.now)}: ${s.paused.reason || "no reason given"}. It starts nothing new.`);
  return null;
}

let states = new Map();

/** announce tells a screen reader of SLOs whose state has changed. */
function announce() {
  const now = new Map(live.slos.all().map((s) => [s.name, `${s.verdict.state}${s.verdict.severity ? ", " + s.verdict.severity : ""}`]));
  const news = [...now].filter(([name, state]) => states.size && states.get(name) !== state).map(([name, state]) => `${name}: ${state}`);
  states = now;
  if (news.length) document.getElementById("announce").textContent = news.slice(0, 5).join(". ");
}

document.getElementById("skip").onclick = () => main.focus();
addEventListener("hashchange", () => go(false));
announce();
go(true);

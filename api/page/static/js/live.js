// The state of the guard as the page knows it: what came with the page, then one stream of
// server-sent events, which the browser takes up again by itself, and what it said so far.

import { afterFirst } from "./frame.js";

const mostEvents = 500;
const staleAfter = 6000; // ms without a word; the guard says something every second
const hiddenFor = 60000; // ms; then the stream is closed until somebody looks again

class Live {
  constructor() {
    this.changed = () => {}; // main.js listens
    this.status = null;
    this.slos = new List((s) => s.name);
    this.canaries = new List((c) => c.name);
    this.actions = new List((a) => a.id);
    this.events = []; // the oldest first
    this.told = 0; // the newest event that the stream brought: after that it goes on
    this.connection = "connecting"; // live, lost
    this.problem = null; // why not: {message, hint}
    this.heard = performance.now();
    this.lostAt = null;
  }

  /** whole reports whether everything has been said once: half of it would be painted twice. */
  get whole() {
    return !!this.status && this.slos.known && this.canaries.known && this.actions.known;
  }

  /** begin takes what came with the page. When there is nothing the stream is to bring it, at once. */
  begin() {
    const text = document.getElementById("first").textContent;
    if (!text) return this.start();
    const first = JSON.parse(text);
    this.status = first.status;
    for (const list of ["slos", "canaries", "actions"]) this[list].take(first[list]);
    this.events = first.events;
    afterFirst.then(() => this.start());
  }

  start() {
    if (!this.source) this.open();
    setInterval(() => this.check(), 1000);
    document.addEventListener("visibilitychange", () => {
      clearTimeout(this.hiding);
      if (document.hidden) this.hiding = setTimeout(() => this.close(), hiddenFor);
      else if (!this.source) this.open();
    });
  }

  open() {
    this.heard = performance.now();
    const source = new EventSource(`api/v1/live?limit=${mostEvents}&since=${this.told}`);
    this.source = source;
    const on = (type, take) =>
      source.addEventListener(type, (e) => {
        this.heard = performance.now();
        this.connection = "live";
        this.problem = this.lostAt = null;
        take(JSON.parse(e.data));
        this.changed(type);
      });
    on("status", (d) => (this.status = d));
    on("slos", (d) => this.slos.take(d));
    on("canaries", (d) => this.canaries.take(d));
    on("actions", (d) => this.actions.take(d));
    on("event", (d) => {
      if (d.seq && d.seq <= this.told) this.events = []; // nothing is told twice: it has begun anew, with another journal
      this.told = d.seq || this.told;
      this.remember(d);
    });
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED) this.explain(); // the guard answered, and said no
      this.lose();
    };
  }

  close() {
    this.source?.close();
    this.source = null;
  }

  remember(e) {
    let at = this.events.length; // the stream begins with those that are older than what came with the page
    while (at > 0 && e.seq <= this.events[at - 1].seq) at--;
    if (e.seq && this.events[at]?.seq === e.seq) return; // said twice: by the page or over a reconnect
    this.events.splice(at, 0, e);
    if (this.events.length > mostEvents) this.events.splice(0, this.events.length - mostEvents);
  }

  lose() {
    if (this.connection !== "lost") this.lostAt = this.status?.now || null;
    this.connection = "lost";
    this.changed("connection");
  }

  /** check notices a silence that the browser takes for a connection. */
  check() {
    if (!this.source || performance.now() - this.heard < staleAfter) return;
    this.lose();
    this.close();
    this.open();
  }

  async explain() {
    try {
      const r = await fetch("api/v1/status");
      if (!r.ok) this.problem = (await r.json()).error;
      else this.problem = { message: "the guard answers, but its live stream does not", hint: "other open pages may use it up: close some of them" };
    } catch {
      this.problem = null; // nobody there: the notice says so
    }
    this.changed("connection");
  }
}

/** List is what the stream tells in changes: all names in order, and the items that are new. */
class List {
  constructor(name) {
    this.name = name;
    this.order = [];
    this.items = new Map();
    this.known = false;
  }

  take({ order, changed }) {
    this.known = true;
    for (const item of changed || []) this.items.set(this.name(item), item);
    if (!order) return;
    this.order = order;
    const names = new Set(order);
    for (const name of this.items.keys()) if (!names.has(name)) this.items.delete(name);
  }

  all() {
    return this.order.map((name) => this.items.get(name)).filter(Boolean);
  }

  get(name) {
    return this.items.get(name);
  }
}

export const live = new Live();
live.begin();

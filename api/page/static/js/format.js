// Figures, times and durations as people read them.

// Written by hand: before its first figures a browser would spend milliseconds on making its
// Intl formats.

/** count writes a whole number, by thousands. */
export const count = (n) => String(Math.round(n || 0)).replace(/\B(?=(\d{3})+$)/g, ",");

/** percent writes a ratio with as many digits as tell it from 0 and from 1. */
export function percent(ratio, digits = 3) {
  if (ratio === null || ratio === undefined || Number.isNaN(ratio)) return "–";
  const p = ratio * 100;
  if (p === 0 || p === 100) return p + " %";
  const off = Math.min(Math.abs(p), Math.abs(100 - p));
  const places = Math.min(6, Math.max(0, digits - 1 - Math.floor(Math.log10(Math.max(off, 1e-6)))));
  return (Math.abs(p) >= 1000 ? count(p) : trim(p.toFixed(Math.min(places, 4)))) + " %";
}

const trim = (s) => (s.includes(".") ? s.replace(/\.?0+$/, "") : s);

/** times writes a factor: 14.4×. */
export function times(x) {
  if (x === null || x === undefined) return "–";
  return (x >= 100 ? count(x) : trim(x.toFixed(x >= 10 ? 1 : 2))) + "×";
}

export const decimal = (x, places = 2) => (x === null || x === undefined ? "–" : trim(x.toFixed(places)).replace(/^-0$/, "0"));

/** parseDuration reads what the API writes: "1h30m", "2d", "250ms"; seconds, or null. */
export function parseDuration(text) {
  const unit = { d: 86400, w: 604800, h: 3600, m: 60, s: 1, ms: 1e-3, "µs": 1e-6, us: 1e-6, ns: 1e-9 };
  let sum = null;
  for (const m of String(text ?? "").matchAll(/([\d.]+)(ms|µs|us|ns|[wdhms])/g)) sum = (sum || 0) + Number(m[1]) * unit[m[2]];
  return sum;
}

/** duration writes seconds in at most two units. */
export function duration(seconds) {
  const s = Math.round(Math.abs(seconds));
  const of = (n, a, m, b) => (m ? `${n} ${a} ${m} ${b}` : `${n} ${a}`);
  if (s < 1) return "0 s";
  if (s < 60) return `${s} s`;
  if (s < 3600) return of(Math.floor(s / 60), "min", s % 60, "s");
  if (s < 86400) return of(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
  return of(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
}

export const millis = (text) => {
  const s = parseDuration(text);
  if (s === null) return "–";
  return s < 1 ? `${trim((s * 1000).toFixed(s < 0.01 ? 1 : 0))} ms` : `${trim(s.toFixed(2))} s`;
};

const two = (n) => String(n).padStart(2, "0");
const clock = (t) => `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`;

const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const day = (t) => `${two(t.getDate())} ${months[t.getMonth()]} ${t.getFullYear()}`;

/** at writes an instant: the time alone when it is of today. */
export function at(iso, now) {
  if (!iso) return "–";
  const t = new Date(iso);
  const today = now ? new Date(now) : new Date();
  return t.toDateString() === today.toDateString() ? clock(t) : `${day(t)} ${clock(t)}`;
}

export const seconds = (iso) => new Date(iso).getTime() / 1000;

/** ago writes how long before now an instant was. */
export const ago = (iso, now) => `${duration(Math.max(0, seconds(now) - seconds(iso)))} ago`;

/** series writes what an SLO is about: its service and what narrows it. */
export function series(s) {
  const parts = ["service", "route", "consumer", "workspace", "tag"].filter((k) => s?.[k]).map((k) => `${k} ${s[k]}`);
  return parts.length ? parts.join(", ") : "the whole gateway";
}

/** safeLink returns the URL when a browser may follow it, and null for anything else. */
export function safeLink(url) {
  try {
    const u = new URL(url);
    return u.protocol === "http:" || u.protocol === "https:" ? u.href : null;
  } catch {
    return null;
  }
}

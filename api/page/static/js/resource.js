// What a view needs besides the live state: it asks for a URL at each painting, gets what is
// known, and is painted again when there is more. What nobody asks for is forgotten.

import { afterFirst } from "./frame.js";

const forgetAfter = 15000;

export class Resources {
  constructor(changed) {
    this.changed = changed;
    this.known = new Map(); // by URL
  }

  /** get returns {data, error} of a URL, asked anew every so many ms, or when version changes. */
  get(url, every, version) {
    let r = this.known.get(url);
    if (!r) this.known.set(url, (r = { data: null, error: null, asked: -Infinity, busy: false }));
    const now = performance.now();
    r.used = now;
    const due = version === undefined ? now - r.asked >= every : r.version !== version && now - r.asked >= every;
    if (due && !r.busy) this.ask(url, r, version);
    return r;
  }

  async ask(url, r, version) {
    r.busy = true;
    r.asked = performance.now();
    await afterFirst;
    try {
      const answer = await fetch(url, { headers: { Accept: "application/json" } });
      const body = await answer.json();
      if (answer.ok) [r.data, r.error, r.version] = [body, null, version];
      else r.error = body.error;
    } catch {
      r.error = { message: "the guard does not answer", hint: "it is asked again in a moment" };
    }
    r.busy = false;
    this.changed();
  }

  forget() {
    const now = performance.now();
    for (const [url, r] of this.known) if (now - r.used > forgetAfter) this.known.delete(url);
  }
}

/** post sends an order and returns nothing; what the guard refuses is thrown as {message, hint}. */
export async function post(url, body) {
  let answer;
  try {
    answer = await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  } catch {
    throw { message: "The guard does not answer, so nothing is known to have happened.", hint: "Look at the timeline when it is back." };
  }
  if (answer.ok) return;
  const text = await answer.text();
  try {
    throw JSON.parse(text).error;
  } catch (e) {
    throw e instanceof SyntaxError ? { message: `${answer.status} ${answer.statusText}` } : e;
  }
}

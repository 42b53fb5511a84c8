// What a person can order. Each order is confirmed in a dialog that names what will happen,
// and carries the person's name into the timeline.

import { h, paint } from "./dom.js";
import { post } from "./resource.js";
import { step, inPlace, problem } from "./parts.js";

const nameKey = "gatewarden.by";

/** confirm asks: {title, says: [sentences], list, verb, danger, reason: "needed"|"welcome", url, body}. */
function confirm(order) {
  const host = document.getElementById("dialogs");
  const state = { by: remembered(), reason: "", busy: false, error: null };
  let dialog;
  const close = () => dialog.close();
  const send = async (event) => {
    event.preventDefault();
    Object.assign(state, { busy: true, error: null });
    draw();
    try {
      await post(order.url, { by: state.by.trim(), ...(order.reason ? { reason: state.reason.trim() } : {}), ...order.body });
      remember(state.by.trim());
      close();
      document.getElementById("announce").textContent = `${order.verb}: done. The timeline shows what comes of it.`;
    } catch (e) {
      Object.assign(state, { busy: false, error: e });
      draw();
    }
  };
  const field = (id, label, value, set, needed) =>
    h("p", { class: "field" }, h("label", { for: id }, label), h("input", { id, value, required: needed, maxlength: 500, autocomplete: "off", oninput: (e) => set(e.target.value), "aria-required": needed ? "true" : null }));
  const draw = () =>
    paint(
      host,
      h(
        "dialog",
        { key: "confirm", class: "confirm", "aria-labelledby": "confirm-title", hook: { create: (el) => (dialog = el) }, onclose: () => paint(host) },
        h(
          "form",
          { onsubmit: send },
          h("h2", { id: "confirm-title" }, order.title),
          h("div", { id: "confirm-says" }, order.says.filter(Boolean).map((s) => h("p", {}, s)), order.list?.length ? h("ul", {}, order.list.map((l) => h("li", {}, l))) : null),
          field("confirm-by", "Your name, for the timeline", state.by, (v) => (state.by = v), true),
          order.reason ? field("confirm-reason", order.reason === "needed" ? "Why" : "Why (may stay empty)", state.reason, (v) => (state.reason = v), order.reason === "needed") : null,
          state.error ? problem(state.error) : null,
          h("p", { class: "buttons" }, h("button", { type: "button", onclick: close }, "Leave it as it is"), h("button", { type: "submit", class: order.danger ? "danger" : "primary", disabled: state.busy }, state.busy ? "…" : order.verb)),
        ),
      ),
    );
  draw();
  dialog.showModal();
  (state.by ? dialog.querySelector("button[type=submit]") : dialog.querySelector("input")).focus();
}

function remembered() {
  try {
    return localStorage.getItem(nameKey) || "";
  } catch {
    return ""; // storage may be forbidden
  }
}

function remember(by) {
  try {
    localStorage.setItem(nameKey, by);
  } catch {
    // then the name is asked for each time
  }
}

const actionURL = (id, verb) => `api/v1/actions/${encodeURIComponent(id)}/${verb}`;
const runURL = (id, verb) => `api/v1/runs/${encodeURIComponent(id)}/${verb}`;

export const approve = (a) =>
  confirm({
    title: `Approve ${a.id}?`,
    says: ["This happens at once:", null],
    list: [step(a.spec)],
    verb: "Approve it",
    danger: true,
    url: actionURL(a.id, "approve"),
  });

export const reject = (a) =>
  confirm({
    title: `Turn down ${a.id}?`,
    says: ["This will not be done for this breach:"],
    list: [step(a.spec)],
    verb: "Turn it down",
    reason: "welcome",
    url: actionURL(a.id, "reject"),
  });

export const revert = (a) =>
  confirm({
    title: `Take back ${a.id}?`,
    says: ["What was there before is put back at the gateway, at once:", null],
    list: [a.change || step(a.spec)],
    verb: "Take it back",
    danger: true,
    url: actionURL(a.id, "revert"),
  });

export const revertLadder = (ladder, actions) =>
  confirm({
    title: `Take back all of ${ladder}?`,
    says: ["What was there before is put back at the gateway, the last step first, and no further step of it is taken for this breach:"],
    list: actions.filter(inPlace).map((a) => a.change || step(a.spec)),
    verb: "Take it all back",
    danger: true,
    url: actionURL(ladder, "revert"),
  });

export const pause = (actions) => {
  const held = actions.filter(inPlace);
  return confirm({
    title: "Pause the guard?",
    says: [
      "From now on it starts nothing new: no plugin, no drain, no job, no approval. It goes on judging, and showing what it sees.",
      held.length ? "What is in place stays while its breach lasts. After that its lease ends it, or somebody takes it back:" : "Nothing of it is in place now.",
    ],
    list: held.map((a) => a.change || step(a.spec)),
    verb: "Pause it",
    danger: true,
    reason: "welcome",
    url: "api/v1/pause",
  });
};

export const resume = (paused) =>
  confirm({
    title: "Let the guard act again?",
    says: [`${paused.by} paused it${paused.reason ? `: ${paused.reason}` : "."}`, "From now on it does again what the rules say about breaches, also about those that last."],
    verb: "Let it act",
    url: "api/v1/resume",
  });

export const override = (run, state, canary) => {
  const next = (state === "pass" ? canary?.on_pass : canary?.on_fail) || [];
  return confirm({
    title: `${state === "pass" ? "Pass" : "Fail"} the run ${run.id}?`,
    says: [
      `The run of the canary ${run.canary} ends with “${state}”, by your word instead of the evidence; who waits for it goes on with that.`,
      next.length ? "The rules say that this starts:" : "The rules start nothing for that.",
    ],
    list: next,
    verb: state === "pass" ? "Pass it" : "Fail it",
    danger: true,
    reason: "needed",
    url: runURL(run.id, "override"),
    body: { state },
  });
};

export const cancelRun = (run) =>
  confirm({
    title: `Cancel the run ${run.id}?`,
    says: [`The run of the canary ${run.canary} ends without an answer; a pipeline that waits for it is told so.`],
    verb: "Cancel the run",
    danger: true,
    reason: "welcome",
    url: runURL(run.id, "cancel"),
  });

import { h } from "../dom.js";
export const canaries = () => [h("h1", {}, "Canaries")];
export const canary = (c, name) => [h("h1", {}, name)];
export const run = (c, id) => [h("h1", {}, id)];

// What may wait until figures are on the screen: whatever is done before delays them.

let begin;

/** afterFirst ends when the first frame with figures has been drawn. */
export const afterFirst = new Promise((done) => (begin = done));

/** firstIsPainted is called once the document has the figures. */
export function firstIsPainted() {
  if (document.hidden) begin(); // nobody looks, and there are no frames
  else requestAnimationFrame(() => requestAnimationFrame(begin)); // the second frame comes after the first
}

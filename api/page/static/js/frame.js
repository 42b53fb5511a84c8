// What may wait until figures are on the screen: whatever is done before delays them.

let begin;

/** afterFirst ends when the first frame with figures has been handed over to be drawn. */
export const afterFirst = new Promise((done) => (begin = done));

/** firstIsPainted is called once the document has the figures. */
export function firstIsPainted() {
  const done = () => setTimeout(begin); // a task of its own comes after the frame
  if (document.hidden) done(); // nobody looks, and there are no frames
  else requestAnimationFrame(done);
}

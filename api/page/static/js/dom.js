// The screen as a function of the state: views return descriptions made with h, and paint
// changes the document to what they describe, touching only what is different. Focus,
// scroll positions and open details therefore stay. Texts become text nodes, never HTML.

const svgTags = new Set(["svg", "path", "line", "rect", "circle", "polyline", "g"]);
const properties = new Set(["value", "checked", "disabled", "selected", "hidden"]);

/** h describes an element: props are attributes, on… handlers, key, hook {create, update, destroy}. */
export function h(tag, props, ...children) {
  props = props || {};
  return { tag, props, key: props.key, children: flat(children), el: null };
}

function flat(list) {
  const out = [];
  for (const c of list.flat(Infinity)) {
    if (c === null || c === undefined || c === false || c === "") continue;
    out.push(typeof c === "object" ? c : { tag: "#text", text: String(c), key: undefined, el: null });
  }
  return out;
}

const painted = new WeakMap(); // an element's children as last described

/** paint makes the children of parent what kids describe. */
export function paint(parent, ...kids) {
  const next = flat(kids);
  const last = painted.get(parent) || [];
  const keyed = new Map();
  const rest = [];
  for (const v of last) v.key !== undefined ? keyed.set(v.key, v) : rest.push(v);
  let r = 0;
  const kept = new Set();
  const pairs = next.map((v) => {
    const was = v.key !== undefined ? keyed.get(v.key) : rest[r];
    if (!was || was.tag !== v.tag) return null;
    if (v.key === undefined) r++;
    else keyed.delete(v.key);
    kept.add(was);
    return was;
  });
  for (const v of last) if (!kept.has(v)) remove(v);
  let at = parent.firstChild;
  next.forEach((v, i) => {
    const was = pairs[i];
    if (!was) create(v);
    else if (was !== v) update(was, v);
    if (v.el === at) at = at.nextSibling;
    else parent.insertBefore(v.el, at);
  });
  painted.set(parent, next);
}

function create(v) {
  if (v.tag === "#text") {
    v.el = document.createTextNode(v.text);
    return;
  }
  v.el = svgTags.has(v.tag) ? document.createElementNS("http://www.w3.org/2000/svg", v.tag) : document.createElement(v.tag);
  for (const [k, value] of Object.entries(v.props)) set(v.el, k, value);
  paint(v.el, v.children);
  v.props.hook?.create?.(v.el);
}

function update(was, v) {
  v.el = was.el;
  if (v.tag === "#text") {
    if (was.text !== v.text) v.el.data = v.text;
    return;
  }
  for (const k of Object.keys(was.props)) if (!(k in v.props)) set(v.el, k, null);
  for (const [k, value] of Object.entries(v.props)) if (was.props[k] !== value || properties.has(k)) set(v.el, k, value);
  if (!v.props.hook?.owns) paint(v.el, v.children);
  v.props.hook?.update?.(v.el);
}

function remove(v) {
  destroy(v);
  v.el.remove();
}

function destroy(v) {
  if (v.tag === "#text") return;
  v.props.hook?.destroy?.(v.el);
  for (const c of painted.get(v.el) || []) destroy(c);
}

function set(el, k, value) {
  if (k === "key" || k === "hook") return;
  if (k.startsWith("on")) el[k] = value;
  else if (k === "vars") for (const [name, v] of Object.entries(value || {})) el.style.setProperty(name, v);
  else if (properties.has(k)) {
    if (el[k] !== value) el[k] = value ?? "";
  } else if (value === null || value === undefined || value === false) el.removeAttribute(k);
  else if (el.getAttribute(k) !== String(value)) el.setAttribute(k, value === true ? "" : value);
}

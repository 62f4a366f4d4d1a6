// Making elements, and the colours and marks that mean the same thing in every view.

// Okabe–Ito, in an order that reads on white and on black; yellow and black are left out, they do not.
export const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];

// What a node, a task or a device is doing: colour, shape and letter, so that colour is never the only sign.
export const STATES = {
  w: { word: "waiting", colour: "#8a8a8a", shape: "ring", letter: "" },
  t: { word: "awaited", means: "asked to train, not answered yet", colour: "#0072B2", shape: "diamond", letter: "…" },
  g: { word: "gathered", means: "all devices below it have answered", colour: "#CC79A7", shape: "triangle", letter: "" },
  d: { word: "done", colour: "#009E73", shape: "circle", letter: "✓" },
  f: { word: "failed", colour: "#D55E00", shape: "square", letter: "✕" },
};

const SVG = "http://www.w3.org/2000/svg";
const mine = Math.random().toString(36).slice(2, 8); // each panel loads this module anew, all into one page
let made = 0;

export function uniqueId(stem) {
  made += 1;
  return `scilab-${stem}-${mine}-${made}`;
}

function fill(element, props, children) {
  for (const [key, value] of Object.entries(props || {})) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function s(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

export function line(name, x1, y1, x2, y2) {
  return s("line", { class: name, x1, y1, x2, y2 });
}

export function text(name, x, y, content, anchor = "start") {
  return s("text", { class: name, x, y, "text-anchor": anchor }, content);
}

// A table of rows whose first cell names them; a quiet sentence where there are none.
export function table(caption, heads, rows, none) {
  if (!rows.length) return none ? h("p", { class: "scilab-quiet" }, none) : "";
  return h("table", {}, caption ? h("caption", {}, caption) : null,
    h("thead", {}, h("tr", {}, heads.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map(([first, ...rest]) => (
      h("tr", {}, h("th", { scope: "row" }, first), rest.map((text) => h("td", {}, text)))))));
}

// A mark centred on (x, y). The shapes stay apart at 3 pixels as well as at 12.
export function mark(shape, x, y, r, props) {
  const [a, b, c] = [r * 0.9, r * 1.1, r * 1.2];
  if (shape === "none") return s("g", {});
  if (shape === "square") return s("rect", { x: x - a, y: y - a, width: 2 * a, height: 2 * a, ...props });
  if (shape === "diamond") return s("path", { d: `M${x} ${y - c}L${x + c} ${y}L${x} ${y + c}L${x - c} ${y}Z`, ...props });
  if (shape === "triangle") return s("path", { d: `M${x} ${y - b}L${x + b} ${y + a}L${x - b} ${y + a}Z`, ...props });
  if (shape === "cross") return s("path", { d: `M${x - a} ${y - a}L${x + a} ${y + a}M${x + a} ${y - a}L${x - a} ${y + a}`, ...props });
  return s("circle", { cx: x, cy: y, r, ...props });
}

export function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 10000 || (size > 0 && size < 0.001)) return value.toExponential(2).replace(/\.?0+e/, "e");
  return String(Number(value.toPrecision(4)));
}

export function bytes(count) {
  if (!count) return "–";
  const power = Math.min(4, Math.floor(Math.log10(count) / 3));
  return `${Number((count / 1000 ** power).toPrecision(3))} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}

// Calls draw(width) now and whenever the host's width changes; returns {again, stop}.
export function fitted(host, draw) {
  let width = 0;
  const again = () => { if (width > 0) draw(width); };
  const observer = new ResizeObserver(([entry]) => {
    const now = Math.floor(entry.contentRect.width);
    if (now !== width) { width = now; again(); }
  });
  observer.observe(host);
  return { again, stop: () => observer.disconnect() };
}

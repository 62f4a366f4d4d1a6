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
let made = 0;

export function uniqueId(stem) {
  made += 1;
  return `scilab-${stem}-${made}`;
}

function fill(element, props, children) {
  for (const [key, value] of Object.entries(props || {})) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function s(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

// A mark centred on (x, y). The shapes stay apart at 3 pixels as well as at 12.
export function mark(shape, x, y, r, props) {
  if (shape === "square") return s("rect", { x: x - r * 0.9, y: y - r * 0.9, width: r * 1.8, height: r * 1.8, ...props });
  if (shape === "diamond") return s("path", { d: `M${x} ${y - r * 1.2}L${x + r * 1.2} ${y}L${x} ${y + r * 1.2}L${x - r * 1.2} ${y}Z`, ...props });
  if (shape === "triangle") return s("path", { d: `M${x} ${y - r * 1.1}L${x + r * 1.1} ${y + r * 0.9}L${x - r * 1.1} ${y + r * 0.9}Z`, ...props });
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

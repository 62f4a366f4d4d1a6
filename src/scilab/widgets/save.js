// What enters or leaves the page as a file: uploads and downloads in parts, drawings as SVG or PNG.
import { h, s, text } from "./dom.js";

const PART = 1 << 20; // as files.py
const STYLES = ["fill", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-family", "font-size", "font-weight"];

export function saveAs(parts, name, type = "application/octet-stream") {
  const url = URL.createObjectURL(new Blob(parts, { type }));
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}

// downloads() → {want(id), take(message, buffers)}: what was wanted here, not in another view of the same panel.
export function downloads() {
  const wanted = new Set();
  const got = new Map();
  function take({ id, part, parts, name }, buffers) {
    if (!wanted.has(id)) return;
    if (!got.has(id)) got.set(id, []);
    got.get(id)[part] = buffers[0];
    if (part + 1 < parts) return;
    saveAs(got.get(id), name);
    got.delete(id);
    wanted.delete(id);
  }
  return { want: (id) => wanted.add(id), take };
}

// Sends the kernel a file in parts; resolves with its last answer.
export async function sent(file, ask, action, args = {}) {
  const count = Math.max(1, Math.ceil(file.size / PART));
  let answer = { ok: false };
  for (let part = 0; part < count; part += 1) {
    const bytes = await file.slice(part * PART, (part + 1) * PART).arrayBuffer();
    answer = await ask(action, { ...args, part, parts: count }, [bytes]);
    if (!answer.ok) break;
  }
  return answer;
}

// A drawing that stands alone: its styles written out, on the panel's ground, with its title and keys on top.
function alone(drawn, title, keys) {
  const [width, height, top] = [drawn.width.baseVal.value, drawn.height.baseVal.value, 26 + 16 * keys.length];
  const copy = drawn.cloneNode(true);
  const [from, to] = [drawn, copy].map((each) => [each, ...each.querySelectorAll("*")]);
  from.forEach((each, i) => {
    const style = getComputedStyle(each);
    for (const name of STYLES) to[i].style.setProperty(name, style.getPropertyValue(name));
  });
  const { color, fontFamily } = getComputedStyle(drawn.parentNode);
  const ground = getComputedStyle(drawn.closest(".scilab-panel")).backgroundColor;
  copy.setAttribute("y", top);
  const whole = s("svg", { xmlns: "http://www.w3.org/2000/svg", width, height: height + top },
    s("rect", { width: "100%", height: "100%", fill: ground }), text("", 8, 17, title), copy);
  whole.style.cssText = `font: 12px ${fontFamily}; fill: ${color}`;
  keys.forEach(({ name, colour }, i) => whole.append(
    s("rect", { x: 8, y: 25 + 16 * i, width: 14, height: 8, fill: colour }), text("", 28, 33 + 16 * i, name)));
  return { source: new XMLSerializer().serializeToString(whole), width, height: height + top };
}

// Two small buttons that save a drawing; `shown()` gives {picture, keys}, `title()` its title.
export function saving(shown, title) {
  function save(kind) {
    const name = title().replace(/[^\w-]+/g, "-").toLowerCase();
    const { source, width, height } = alone(shown().picture, title(), shown().keys);
    if (kind === "SVG") { saveAs([source], `${name}.svg`, "image/svg+xml"); return; }
    const [image, canvas] = [new Image(), h("canvas", { width: 2 * width, height: 2 * height })];
    image.onload = () => {
      canvas.getContext("2d").drawImage(image, 0, 0, 2 * width, 2 * height);
      canvas.toBlob((blob) => saveAs([blob], `${name}.png`, "image/png"));
    };
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(source)}`;
  }
  return h("span", { class: "scilab-save" }, ["SVG", "PNG"].map((kind) => h("button", { type: "button",
    class: "scilab-link", "aria-label": `Save as ${kind}`, title: `Save this figure as ${kind}`, onclick: () => save(kind) }, kind)));
}

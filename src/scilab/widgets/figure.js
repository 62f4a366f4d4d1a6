// The frame of every drawing: title, what is pointed at, keys, a canvas as wide as there is room, buttons to save it.
import { fitted, h, mark, s } from "./dom.js";
import { saving } from "./save.js";

function legend(keys) {
  return keys.map(({ name, colour, shape, dash, hollow }) => h("span", {},
    s("svg", { width: dash === undefined ? 14 : 26, height: 12, "aria-hidden": "true" },
      dash === undefined ? null : s("path", { d: "M0 6H26", stroke: colour, "stroke-width": 2, "stroke-dasharray": dash }),
      mark(shape, dash === undefined ? 7 : 13, 6, dash === undefined ? 4 : 3,
        { fill: hollow ? "none" : colour, stroke: colour, "stroke-width": 1.5 })), name));
}

// figure(host, draw) → {update(spec), stop()}; draw(spec, width, readout) gives {picture: svg, keys: [{name, colour,
// shape, dash?}]}. What is pointed at is told in `readout`.
export function figure(host, draw) {
  let spec = null;
  let shown = null;
  let seen = ""; // what was drawn last: the same is not drawn again
  const title = h("figcaption", { class: "scilab-chart-title" });
  const readout = h("span", { class: "scilab-readout" });
  const keys = h("div", { class: "scilab-legend" });
  const canvas = h("div", { class: "scilab-chart-canvas" });
  host.append(h("figure", { class: "scilab-chart" }, h("div", { class: "scilab-chart-head" }, title, readout,
    saving(() => shown, () => spec.title)), keys, canvas));
  const fit = fitted(canvas, (width) => {
    if (!spec) return;
    shown = draw(spec, width, readout);
    if (title.textContent !== spec.title) title.textContent = spec.title;
    keys.hidden = !shown.keys.length;
    keys.replaceChildren(...legend(shown.keys));
    if (canvas.firstChild !== shown.picture) canvas.replaceChildren(shown.picture);
  });
  function update(next) {
    const now = JSON.stringify(next);
    if (now === seen) return;
    [spec, seen] = [next, now];
    fit.again();
  }
  return { update, stop: fit.stop };
}

// Keeps one figure for each entry: several(host, chart) → {update({key: spec}), stop()}.
export function several(host, make) {
  const kept = new Map();
  function update(specs) {
    for (const [key, { view, box }] of kept) {
      if (!(key in specs)) { view.stop(); box.remove(); kept.delete(key); }
    }
    for (const [key, spec] of Object.entries(specs)) {
      if (!kept.has(key)) {
        const box = h("div");
        host.append(box);
        kept.set(key, { box, view: make(box) });
      }
      kept.get(key).view.update(spec);
    }
  }
  return { update, stop() { for (const { view } of kept.values()) view.stop(); } };
}

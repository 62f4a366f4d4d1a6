// Heat maps over epochs: cos(∇L, V) of every layer, and the spectrum of one chosen factor.
import { fitted, h, number, s, text, uniqueId } from "./dom.js";

const MAP = [[0, 34, 78], [55, 71, 107], [102, 104, 112], [146, 139, 113], [194, 176, 88], [253, 231, 55]]; // cividis
const NAMES = ["smallest", "10 %", "25 %", "median", "75 %", "90 %", "largest"];
const LEFT = 70;
const MOST = 15; // pixels of a row
const DECADES = 7; // shown below the largest eigenvalue; an input that never changes has an eigenvalue of zero

function colour(share) {
  const at = Math.min(0.9999, Math.max(0, share)) * (MAP.length - 1);
  const [low, rest] = [Math.floor(at), at % 1];
  return `rgb(${MAP[low].map((part, i) => Math.round(part + (MAP[low + 1][i] - part) * rest)).join()})`;
}

// One map: rows of values (null leaves a gap), named; epochs along x; a key from low to high.
function map(host, title) {
  const readout = h("span", { class: "scilab-readout" });
  const chosen = h("span", { class: "scilab-heat-choice" });
  const canvas = h("div", { class: "scilab-chart-canvas" });
  host.append(h("figure", { class: "scilab-chart" },
    h("div", { class: "scilab-chart-head" }, h("span", { class: "scilab-chart-title" }, title), chosen, readout), canvas));
  let spec = null;

  function draw(width) {
    if (!spec) return;
    const { rows, names, epochs, low, high, shown, about } = spec;
    const row = Math.max(4, Math.min(MOST, 240 / rows.length));
    const [right, bottom] = [width - 58, rows.length * row];
    const wide = (right - LEFT) / epochs.length;
    const picture = s("svg", { width, height: bottom + 34, role: "img", "aria-label": about });
    rows.forEach((values, y) => {
      if (row >= 9 || y % Math.ceil(10 / row) === 0) picture.append(text("scilab-tick", LEFT - 4, y * row + row * 0.75, names[y], "end"));
      values.forEach((value, x) => {
        if (value !== null) {
          picture.append(s("rect", { x: LEFT + x * wide, y: y * row, width: wide + 0.5, height: row - 0.5,
            fill: colour((value - low) / (high - low || 1)) }));
        }
      });
    });
    const every = Math.ceil(epochs.length / Math.max(1, (right - LEFT) / 40));
    epochs.forEach((epoch, x) => {
      if (x % every === 0) picture.append(text("scilab-tick", LEFT + (x + 0.5) * wide, bottom + 13, String(epoch), "middle"));
    });
    picture.append(text("scilab-axis-name", (LEFT + right) / 2, bottom + 28, "epoch", "middle"));
    const tall = Math.min(bottom, 100);
    for (let i = 0; i < 20; i += 1) {
      picture.append(s("rect", { x: right + 10, y: (tall * (19 - i)) / 20, width: 10, height: tall / 20 + 0.5, fill: colour(i / 19) }));
    }
    picture.append(text("scilab-tick", right + 24, 9, shown(high)), text("scilab-tick", right + 24, tall, shown(low)));
    picture.addEventListener("pointermove", ({ offsetX, offsetY }) => {
      const [x, y] = [Math.floor((offsetX - LEFT) / wide), Math.floor(offsetY / row)];
      const value = rows[y]?.[x];
      readout.textContent = value === undefined || value === null ? "" : `${names[y]}, epoch ${epochs[x]}: ${shown(value)}`;
    });
    picture.addEventListener("pointerleave", () => { readout.textContent = ""; });
    canvas.replaceChildren(picture);
  }

  const fit = fitted(canvas, draw);
  return { chosen, update(next) { spec = next; fit.again(); }, stop: fit.stop };
}

// heat(host) → {update({racer: {layers, columns}}), stop()}; see kfac_picture.py.
export function heat(host) {
  const [first, second] = [h("div"), h("div")];
  host.append(first, second);
  const cosines = map(first, "cos(∇L, V) by layer");
  const spectrum = map(second, "Eigenvalues of");
  const layer = h("select", { "aria-label": "Layer", id: uniqueId("layer") });
  const factor = h("select", { "aria-label": "Factor" },
    [["A", "A, of its inputs"], ["G", "G, of its gradients"]].map(([value, label]) => h("option", { value }, label)));
  spectrum.chosen.append(layer, factor);
  let held = {};
  let told = null;

  function update(next) {
    if (next === told) return;
    told = next;
    held = Object.values(next)[0];
    host.hidden = !held;
    if (!held) return;
    const { layers, columns } = held;
    if (layer.options.length !== layers.length) {
      layer.replaceChildren(...layers.map((name) => h("option", { value: name }, name)));
    }
    const epochs = columns.map((column) => column.epoch);
    cosines.update({ rows: layers.map((_, i) => columns.map((column) => column.cosines[i])), names: layers, epochs,
      low: 0, high: 1, shown: number,
      about: "Cosine between the gradient and what K-FAC makes of it, by layer and epoch; 1 is no preconditioning." });
    choose();
  }

  function choose() {
    if (!held) return;
    const [place, side] = [Math.max(0, layer.selectedIndex), factor.value === "A" ? 0 : 1];
    const rows = NAMES.map((_, i) => held.columns.map((column) => column.spectra[place]?.[side][i] ?? null)).reverse();
    const values = rows.flat().filter((value) => value !== null);
    second.hidden = values.length === 0;
    const high = Math.max(...values);
    spectrum.update({ rows, names: [...NAMES].reverse(), epochs: held.columns.map((column) => column.epoch),
      low: Math.max(Math.min(...values), high - DECADES), high, shown: (value) => number(Number((10 ** value).toPrecision(2))),
      about: `Quantiles of the eigenvalues of factor ${factor.value} of layer ${layer.value} by epoch.` });
  }

  layer.addEventListener("change", choose);
  factor.addEventListener("change", choose);
  return { update, stop() { cosines.stop(); spectrum.stop(); } };
}

// A tree by tiers, root on top; a tier of many nodes comes as groups of counts. See federation_picture.py.
import { STATES, fitted, h, line, mark, s, text } from "./dom.js";

const ROW = 64;
const LABELS = 132; // pixels on the left for the names of the tiers
const ORDER = ["d", "f", "g", "t", "w"];

// What a tier's nodes are doing, counted.
function totals(tier) {
  const sum = {};
  for (const part of tier.now) { // a letter for each node, or counts for each group
    for (const [state, n] of typeof part === "string" ? [[part, 1]] : Object.entries(part)) {
      sum[state] = (sum[state] || 0) + n;
    }
  }
  return sum;
}

function counted(states) {
  const there = ORDER.filter((state) => states[state]);
  return there.map((state) => `${states[state].toLocaleString("en")} ${STATES[state].word}`);
}

// The bottom tier is spread evenly; above it each parent stands over the middle of its children.
function positions(tiers, width) {
  const room = width - LABELS - 12;
  const at = tiers.map(({ now }) => Array.from(now, (_, i) => LABELS + (room * (i + 0.5)) / now.length));
  for (let row = tiers.length - 2; row >= 0; row -= 1) {
    const middles = at[row].map((_, i) => {
      const xs = at[row + 1].filter((_x, j) => tiers[row + 1].parents[j] === i);
      return xs.length ? (xs[0] + xs.at(-1)) / 2 : null;
    });
    if (middles.every((x) => x !== null)) at[row] = middles;
  }
  return at;
}

function node(label, state, x, y, r) {
  const { colour, shape, letter, word, means } = STATES[state];
  const fill = shape === "ring" ? "var(--scilab-ground)" : colour;
  return s("g", {}, s("title", {}, `${label}: ${word}${means ? ` (${means})` : ""}`),
    mark(shape, x, y, r, { fill, stroke: colour, "stroke-width": 1.5 }),
    letter && r >= 7 ? text("scilab-letter", x, y + 4, letter, "middle") : null);
}

function bar(states, x, y, width) {
  const total = Object.values(states).reduce((sum, n) => sum + n, 0);
  const drawn = s("g", {}, s("title", {}, `${total.toLocaleString("en")} nodes: ${counted(states).join(", ")}`),
    s("rect", { class: "scilab-bar", x: x - width / 2, y: y - 9, width, height: 18 }));
  let from = x - width / 2;
  for (const state of ORDER) {
    const share = (width * (states[state] || 0)) / total;
    const fill = STATES[state].colour;
    if (share > 0 && state !== "w") drawn.append(s("rect", { x: from, y: y - 9, width: share, height: 18, fill }));
    from += share;
  }
  if (width > 30) drawn.append(text("scilab-tick", x, y + 21, total.toLocaleString("en"), "middle"));
  return drawn;
}

// tree(host) → {update(spec), stop()}
export function tree(host) {
  let spec = null;
  const canvas = h("div", { class: "scilab-tree-canvas" });
  const keys = h("div", { class: "scilab-legend", "aria-hidden": "true" });
  host.append(canvas, keys);

  function draw(width) {
    if (!spec) return;
    const { tiers } = spec;
    const at = positions(tiers, width);
    const sums = tiers.map(totals);
    const y = (row) => row * ROW + 26;
    const told = tiers.map((tier, row) => `${tier.label}: ${counted(sums[row]).join(", ")}`);
    const height = Math.max(0, tiers.length * ROW - 8);
    const picture = s("svg", { width, height, role: "img", "aria-label": `Tree. ${told.join(". ")}.` });
    tiers.forEach(({ parents }, row) => parents.forEach((parent, i) => {
      for (const x of row === 0 ? [] : parent === null ? at[row - 1] : [at[row - 1][parent]]) {
        picture.append(line("scilab-edge", x, y(row - 1), at[row][i], y(row)));
      }
    }));
    tiers.forEach((tier, row) => {
      const slot = (width - LABELS - 12) / tier.now.length;
      const [r, wide] = [Math.max(2.5, Math.min(10, slot / 2 - 1)), Math.max(3, slot - Math.min(6, slot / 4))];
      picture.append(text("scilab-tier", 0, y(row) - 2, tier.label));
      counted(sums[row]).slice(0, 2).forEach((words, i) => {
        picture.append(text("scilab-tick", 0, y(row) + 12 * (i + 1), words));
      });
      at[row].forEach((x, i) => picture.append(tier.labels
        ? node(tier.labels[i], tier.now[i], x, y(row), r) : bar(tier.now[i], x, y(row), wide)));
    });
    keys.replaceChildren(...ORDER.filter((state) => sums.some((sum) => sum[state])).map((state) => {
      const { word, colour, shape } = STATES[state];
      return h("span", {}, s("svg", { width: 14, height: 12 },
        mark(shape, 7, 6, 4, { fill: shape === "ring" ? "none" : colour, stroke: colour, "stroke-width": 1.5 })), word);
    }));
    canvas.replaceChildren(picture);
  }

  const fit = fitted(canvas, draw);
  return { update(next) { spec = next; fit.again(); }, stop: fit.stop };
}

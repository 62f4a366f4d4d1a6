// A tree by tiers, root on top. A tier of many nodes comes as groups of counts (one bar for each parent, or one in all).
import { STATES, fitted, h, mark, s } from "./dom.js";

const ROW = 62;
const LABELS = 128;

function positions(tiers, width) {
  const span = width - LABELS - 12;
  const at = tiers.map(({ nodes, groups }) => {
    const count = (nodes || groups).length;
    return Array.from({ length: count }, (_, i) => LABELS + (span * (i + 0.5)) / count);
  });
  for (let row = tiers.length - 2; row >= 0; row -= 1) {
    const below = tiers[row + 1].nodes || tiers[row + 1].groups;
    const middles = at[row].map((_, i) => {
      const xs = at[row + 1].filter((_x, j) => below[j].parent === i);
      return xs.length ? xs.reduce((sum, x) => sum + x, 0) / xs.length : null;
    });
    if (middles.every((x) => x !== null)) at[row] = middles;
  }
  return at;
}

export function counted(states) {
  return Object.keys(STATES).filter((state) => states[state]).map((state) => `${states[state].toLocaleString("en")} ${STATES[state].word}`);
}

function node(drawn, x, y, r) {
  const { colour, shape, letter, word } = STATES[drawn.state];
  const ring = shape === "ring";
  const title = `${drawn.label}: ${word}${drawn.info ? ` (${drawn.info})` : ""}`;
  return s("g", {}, s("title", {}, title),
    mark(shape, x, y, r, { fill: ring ? "var(--jp-layout-color1, white)" : colour, stroke: colour, "stroke-width": 1.5 }),
    letter && r >= 7 ? s("text", { class: "scilab-letter", x, y: y + 4, "text-anchor": "middle" }, letter) : null);
}

function bar(group, x, y, width) {
  const drawn = s("g", {}, s("title", {}, `${group.total.toLocaleString("en")}: ${counted(group.states).join(", ")}`),
    s("rect", { class: "scilab-bar", x: x - width / 2, y: y - 8, width, height: 16 }));
  let from = x - width / 2;
  for (const [state, { colour }] of Object.entries(STATES)) {
    const share = (width * (group.states[state] || 0)) / group.total;
    if (share > 0 && state !== "waiting") drawn.append(s("rect", { x: from, y: y - 8, width: share, height: 16, fill: colour }));
    from += share;
  }
  if (width > 34) drawn.append(s("text", { class: "scilab-tick", x, y: y + 20, "text-anchor": "middle" }, group.total.toLocaleString("en")));
  return drawn;
}

// tree(host) → {update({tiers}), stop()}; tiers: [{label, states, nodes: [{label, state, parent, info}] | groups: [{parent, total, states}]}].
export function tree(host) {
  let spec = null;
  const canvas = h("div", { class: "scilab-tree-canvas" });
  const keys = h("div", { class: "scilab-legend", "aria-hidden": "true" });
  host.append(canvas, keys);

  function draw(width) {
    if (!spec) return;
    const { tiers } = spec;
    const at = positions(tiers, width);
    const summary = tiers.map((tier) => `${tier.label}: ${counted(tier.states).join(", ")}`).join(". ");
    const picture = s("svg", { width, height: tiers.length * ROW, role: "img", "aria-label": `Tree. ${summary}.` });
    const y = (row) => row * ROW + ROW / 2 - 4;
    tiers.forEach((tier, row) => {
      (tier.nodes || tier.groups).forEach(({ parent }, i) => {
        if (row && parent !== null) picture.append(s("line", { class: "scilab-edge", x1: at[row - 1][parent], y1: y(row - 1), x2: at[row][i], y2: y(row) }));
        else if (row) at[row - 1].forEach((x) => picture.append(s("line", { class: "scilab-edge", x1: x, y1: y(row - 1), x2: at[row][i], y2: y(row) })));
      });
    });
    tiers.forEach((tier, row) => {
      const slot = (width - LABELS - 12) / (tier.nodes || tier.groups).length;
      picture.append(s("text", { class: "scilab-tier", x: 0, y: y(row) - 2 }, tier.label));
      counted(tier.states).slice(0, 2).forEach((text, line) => {
        picture.append(s("text", { class: "scilab-tick", x: 0, y: y(row) + 12 + line * 12 }, text));
      });
      (tier.nodes || []).forEach((drawn, i) => picture.append(node(drawn, at[row][i], y(row), Math.max(2.5, Math.min(10, slot / 2 - 1)))));
      (tier.groups || []).forEach((group, i) => picture.append(bar(group, at[row][i], y(row), Math.max(3, slot - Math.min(6, slot / 4)))));
    });
    const present = new Set(tiers.flatMap((tier) => Object.keys(tier.states).filter((state) => tier.states[state])));
    keys.replaceChildren(...Object.entries(STATES).filter(([state]) => present.has(state)).map(([, { word, colour, shape }]) => h("span", {},
      s("svg", { width: 14, height: 12 }, mark(shape, 7, 6, 4, { fill: shape === "ring" ? "none" : colour, stroke: colour, "stroke-width": 1.5 })), word)));
    canvas.replaceChildren(picture);
  }

  const fit = fitted(canvas, draw);
  return { update(next) { spec = next; fit.again(); }, stop: fit.stop };
}

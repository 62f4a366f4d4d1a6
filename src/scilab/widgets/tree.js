// A tree by tiers, root on top; a tier of many nodes comes as groups of counts. See tree_view.py.
import { STATES, bytes, h, line, mark, s, text } from "./dom.js";

const ROW = 66;
const LABELS = 136; // pixels on the left for the names of the tiers
const [PITCH, GRID] = [10, 26]; // of the marks of an unfolded group; how many nodes' room it takes
const ORDER = ["d", "f", "g", "t", "w"];
const KIND = { c: "coordinator", a: "aggregator", w: "device" };

// What a tier's nodes are doing, counted.
function totals(tier) {
  const sum = {};
  for (const part of tier.now) { // a letter for each node, several for an unfolded group, counts for a folded one
    const told = typeof part === "string" ? Array.from(part, (state) => [state, 1]) : Object.entries(part);
    for (const [state, n] of told) sum[state] = (sum[state] || 0) + n;
  }
  return sum;
}

function counted(states) {
  const there = ORDER.filter((state) => states[state]);
  return there.map((state) => `${states[state].toLocaleString("en")} ${STATES[state].word}`);
}

// [left, right] of each entry: each takes the room of what hangs below it, or its own where that is more.
function spans(tiers, width) {
  const rooms = tiers.map((tier) => tier.now.map((_, i) => (tier.members[i] ? GRID : tier.counts[i] > 1 ? 2 : 1)));
  for (let row = tiers.length - 1; row > 0; row -= 1) {
    const below = {};
    tiers[row].parents.forEach((parent, i) => { below[parent] = (below[parent] || 0) + rooms[row][i]; });
    for (const [parent, room] of Object.entries(below)) {
      rooms[row - 1][parent] = Math.max(rooms[row - 1][parent], room);
    }
  }
  const unit = (width - LABELS - 8) / Math.max(1, ...rooms.slice(0, 1).map((all) => all.reduce((a, b) => a + b, 0)));
  const found = [];
  tiers.forEach((tier, row) => {
    const next = row ? found[row - 1].map(([left]) => left) : [LABELS];
    found.push(rooms[row].map((room, i) => {
      const left = next[tier.parents[i]];
      next[tier.parents[i]] += room * unit;
      return [left, left + room * unit];
    }));
  });
  return found;
}

function state(letter, x, y, r) {
  const { colour, shape, letter: sign } = STATES[letter];
  const fill = shape === "ring" ? "var(--scilab-ground)" : colour;
  return [mark(shape, x, y, r, { fill, stroke: colour, "stroke-width": 1.5 }),
    sign && r >= 7 ? text("scilab-letter", x, y + 4, sign, "middle") : null];
}

function bar(states, x, y, width, total) {
  const drawn = [s("rect", { class: "scilab-bar", x: x - width / 2, y: y - 9, width, height: 18 })];
  let from = x - width / 2;
  for (const each of ORDER) {
    const share = (width * (states[each] || 0)) / total;
    const fill = STATES[each].colour;
    if (share > 0 && each !== "w") drawn.push(s("rect", { x: from, y: y - 9, width: share, height: 18, fill }));
    from += share;
  }
  if (width > 24) drawn.push(text("scilab-tick", x, y + 21, total.toLocaleString("en"), "middle"));
  return drawn;
}

// A thing a person can reach by key and pointer: `key` names it, `says` is its name for who does not see it.
function thing(key, says, chosen, ...drawn) {
  return s("g", { "data-at": key, role: "treeitem", tabindex: -1, "aria-label": says, "aria-selected": String(chosen),
    class: chosen ? "scilab-chosen" : null }, s("title", {}, says), drawn);
}

function short(name, room) {
  const fits = Math.floor(room / 6.3);
  return name.length <= fits ? name : fits > 2 ? `${name.slice(0, fits - 1)}…` : "";
}

// An entry of a tier, drawn within [left, right] at height y; members of an unfolded group each by itself.
function entry(tier, row, i, [left, right], y, chosen) {
  const [x, slot, now, name, n] = [(left + right) / 2, right - left, tier.now[i], tier.names[i], tier.counts[i]];
  const [down, up] = tier.bytes[i];
  const moved = row && (down || up) ? ` Its link: ${bytes(down)} down, ${bytes(up)} up.` : "";
  const node = (letter, of, kind) => `${of}: ${STATES[letter].word}${STATES[letter].means ? ` (${STATES[letter].means})`
    : ""}${kind ? `, ${kind}` : ""}.`;
  if (n === 1) {
    const r = Math.max(2.5, Math.min(10, slot / 2 - 1));
    const label = slot > 24 ? short(name, slot - 2) : "";
    return [thing(`${row}:${i}`, `${node(now, name, KIND[tier.kinds[i]])}${moved}`, chosen(name, false),
      state(now, x, y, r), label ? text("scilab-tick scilab-name", x, y + r + 11, label, "middle") : null)];
  }
  const says = (states) => `${n.toLocaleString("en")} nodes: ${counted(states).join(", ")}.${moved}`;
  if (typeof now !== "string") {
    return [thing(`${row}:${i}`, `${says(now)} Enter selects them, E shows them one by one.`, chosen(name, true),
      bar(now, x, y, Math.max(3, slot - Math.min(6, slot / 4)), n))];
  }
  const columns = Math.max(1, Math.floor((slot - 8) / PITCH));
  const at = (m) => [left + 4 + PITCH * ((m % columns) + 0.5), y - 2 + PITCH * Math.floor(m / columns)];
  const high = PITCH * Math.ceil(now.length / columns) + 4;
  const more = n > now.length ? ` The first ${now.length} of them are drawn.` : "";
  const frame = s("rect", { class: "scilab-bar", x: left + 1, y: y - 10, width: slot - 2, height: high + 2, rx: 3 });
  return [thing(`${row}:${i}`, `${says(totals({ now: [now] }))}${more} E folds them again.`, chosen(name, true), frame),
    ...tier.members[i].map((member, m) => thing(`${row}:${i}:${m}`, node(now[m], member, ""), chosen(member, false),
      state(now[m], ...at(m), 3.6)))];
}

// drawTree(spec, width, chosen) → {picture, keys, places}: `chosen(name, all)` and `chosen(tier)` say what is selected.
export function drawTree(spec, width, chosen) {
  const { tiers, policies } = spec;
  const [at, sums] = [spans(tiers, width), tiers.map(totals)];
  const rows = tiers.map((tier, row) => Math.max(0, ...Object.keys(tier.members).map((i) => {
    const columns = Math.max(1, Math.floor((at[row][i][1] - at[row][i][0] - 8) / PITCH));
    return PITCH * Math.ceil(tier.now[i].length / columns) - 16;
  })));
  const ys = tiers.map((_, row) => 26 + row * ROW + rows.slice(0, row).reduce((a, b) => a + b, 0));
  const height = tiers.length ? ys.at(-1) + rows.at(-1) + 44 : 0;
  const told = tiers.map((tier, row) => `${tier.label}: ${counted(sums[row]).join(", ")}`);
  const picture = s("svg", { width, height, role: "tree", class: "scilab-tree", "aria-label": `Tree. ${told.join(". ")}.` });
  const heavy = Math.max(1, ...tiers.flatMap((tier) => tier.bytes.map(([down, up], i) => (down + up) / tier.counts[i])));
  const middle = ([left, right]) => (left + right) / 2;
  tiers.forEach((tier, row) => (row ? tier.parents : []).forEach((parent, i) => {
    const moved = (tier.bytes[i][0] + tier.bytes[i][1]) / tier.counts[i];
    const edge = line("scilab-edge", middle(at[row - 1][parent]), ys[row - 1], middle(at[row][i]), ys[row] - 9);
    edge.style.strokeWidth = 1 + (2.5 * moved) / heavy;
    picture.append(edge);
    if (moved && at[row][i][1] - at[row][i][0] > 54) {
      picture.append(text("scilab-tick scilab-name", middle(at[row][i]), ys[row] - 15, bytes(moved * tier.counts[i]), "middle"));
    }
  }));
  tiers.forEach((tier, row) => {
    const inner = tier.kinds.replaceAll("w", "") !== "";
    const policy = inner ? policies[row] || (policies.length ? "synchronous" : "") : "";
    const words = [policy, ...counted(sums[row]).slice(0, 2)].filter(Boolean);
    const [y, says] = [ys[row], `Tier ${row}: ${tier.label}${policy ? `, ${policy}` : ""}. Enter selects all of it.`];
    picture.append(thing(`${row}`, says, chosen(row), s("rect", { class: "scilab-hit", x: 0, y: y - 14, width: LABELS - 8,
      height: 18 + 12 * words.length }), text("scilab-tier", 4, y - 2, short(tier.label, LABELS - 10)),
    words.map((each, i) => text("scilab-tick", 4, y + 12 * (i + 1), each))));
    tier.now.forEach((_, i) => picture.append(...entry(tier, row, i, at[row][i], y, chosen)));
  });
  const keys = ORDER.filter((each) => sums.some((sum) => sum[each])).map((each) => ({ name: STATES[each].word,
    colour: STATES[each].colour, shape: STATES[each].shape, hollow: STATES[each].shape === "ring" }));
  return { picture, keys };
}

// What a key such as "2:5" or "2:5:17" stands for: {node, all} or {tier}.
export function meant(spec, key) {
  const [row, i, m] = key.split(":").map(Number);
  if (i === undefined) return { tier: row };
  const tier = spec.tiers[row];
  return m === undefined ? { node: tier.names[i], all: tier.counts[i] > 1 } : { node: tier.members[i][m], all: false };
}

// The key beside, above or below another, or null: where an arrow leads.
export function next(spec, key, arrow) {
  const [row, i, m] = key.split(":").map(Number);
  const tier = spec.tiers[row];
  if (i === undefined) {
    const to = { ArrowUp: row - 1, ArrowDown: row + 1 }[arrow];
    if (arrow === "ArrowRight") return `${row}:0`;
    return to >= 0 && to < spec.tiers.length ? `${to}` : null;
  }
  if (arrow === "ArrowUp" && m !== undefined) return `${row}:${i}`;
  if (arrow === "ArrowUp") return row ? `${row - 1}:${tier.parents[i]}` : null;
  if (arrow === "ArrowDown") {
    if (m === undefined && tier.members[i]) return `${row}:${i}:0`;
    const child = spec.tiers[row + 1] ? spec.tiers[row + 1].parents.indexOf(i) : -1;
    return child < 0 ? null : `${row + 1}:${child}`;
  }
  const step = arrow === "ArrowRight" ? 1 : -1;
  if (m !== undefined) return tier.members[i][m + step] === undefined ? null : `${row}:${i}:${m + step}`;
  return tier.now[i + step] === undefined ? `${row}` : `${row}:${i + step}`;
}

// What of the drawing belongs to the subtree of a key: the keys of its entries.
export function subtree(spec, key) {
  const [row, i, m] = key.split(":").map(Number);
  const found = [key];
  if (m !== undefined || i === undefined) return found;
  let above = new Set([i]);
  for (let r = row; r < spec.tiers.length; r += 1) {
    const tier = spec.tiers[r];
    const here = r === row ? above : new Set(tier.parents.flatMap((parent, j) => (above.has(parent) ? [j] : [])));
    for (const j of here) {
      found.push(`${r}:${j}`, ...(tier.members[j] || []).map((_, k) => `${r}:${j}:${k}`));
    }
    above = here;
  }
  return found;
}

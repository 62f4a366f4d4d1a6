// The text that is labelled: words and spans, drags and clicks, and the word cursor of the keyboard.
import { COLOURS, h } from "./dom.js";

export function colour(labels, label) {
  return COLOURS[Math.max(0, labels.indexOf(label)) % COLOURS.length];
}

const covers = (span, start, end) => span.start < end && start < span.end;

// The spans with one more; it takes the place of those it overlaps.
export function added(spans, span) {
  return [...spans.filter((other) => !covers(other, span.start, span.end)), span]
    .sort((a, b) => a.start - b.start || a.end - b.end);
}

// From where to where, as text was pointed at: grown to whole tokens, or as drawn without the white space around it.
export function snapped(item, start, end, whole) {
  const hit = item.tokens.filter(([a, b]) => a < end && start < b);
  if (!hit.length) return null;
  if (whole) return [hit[0][0], hit.at(-1)[1]];
  const drawn = item.text.slice(start, end);
  return [start + drawn.length - drawn.trimStart().length, end - drawn.length + drawn.trimEnd().length];
}

// textView(host, on) → the text as it is drawn; on.mark(start, end), on.unmark(span), on.say(words). Only spans and the
// cursor are elements of their own: a thousand words would take a thousand times as long to draw.
export function textView(host, on) {
  const place = h("div", { class: "scilab-text", tabindex: 0, role: "textbox", dir: "auto", "aria-readonly": "true",
    "aria-multiline": "true", "aria-label": "Text. Arrow keys go from word to word, Shift with them takes several, Enter labels." });
  host.append(place);
  let [item, spans, labels] = [null, [], []];
  let here = -1; // the token of the cursor, or -1: it is shown only to those who use keys
  let from = -1; // where the selection by keys began
  let pressed = 0;

  const at = (t) => spans.find((span) => covers(span, ...item.tokens[t]));

  function show(next, nextSpans, nextLabels) {
    if (item?.key !== next?.key) { here = -1; from = -1; place.scrollTop = 0; }
    [item, spans, labels] = [next, nextSpans, nextLabels];
    draw();
  }

  function draw() {
    if (!item) { place.replaceChildren(); return; }
    const [low, high] = taken() || [0, 0];
    const cursor = here < 0 ? [0, 0] : item.tokens[here];
    const cuts = new Set([0, item.text.length, low, high, ...cursor]);
    for (const span of spans) cuts.add(span.start).add(span.end);
    const edges = [...cuts].sort((a, b) => a - b);
    const parts = [];
    let [marked, of] = [null, ""];
    for (let i = 0; i + 1 < edges.length; i += 1) {
      const [start, end] = [edges[i], edges[i + 1]];
      const text = item.text.slice(start, end);
      const piece = start < high && low < end
        ? h("span", { class: `scilab-taken${start === cursor[0] ? " scilab-here" : ""}` }, text) : document.createTextNode(text);
      const over = spans.filter((span) => covers(span, start, end));
      const key = over.map((span) => spans.indexOf(span)).join();
      if (key !== of || !over.length) marked = null;
      if (over.length && !marked) { marked = markOf(over); parts.push(marked); }
      of = key;
      if (marked) marked.append(piece);
      else parts.push(piece);
    }
    place.replaceChildren(...parts);
    place.querySelector(".scilab-here")?.scrollIntoView?.({ block: "nearest" });
  }

  function markOf(over) {
    const [span] = over;
    const score = span.score === null || span.score === undefined ? "" : ` ${span.score.toFixed(2).replace(/^0/, "")}`;
    return h("mark", { class: `scilab-span${score ? " scilab-suggested" : ""}`,
      title: `${span.label}${score ? `, suggested by the model with a score of${score}` : ""}. Click removes it.`,
      "data-tag": over.map((each) => each.label).join(" + ") + score, style: `--scilab-mark: ${colour(labels, span.label)}` });
  }

  // Where a point of the drawing is in the text. Names of labels are drawn by CSS, so they do not count.
  function offset(node, inner) {
    const range = document.createRange();
    range.selectNodeContents(place);
    range.setEnd(node, inner);
    return range.toString().length;
  }

  // The drawn boxes of tokens.
  function boxes(tokens) {
    const walk = document.createTreeWalker(place, NodeFilter.SHOW_TEXT);
    let [node, begin] = [walk.nextNode(), 0];
    const range = document.createRange();
    const find = (where) => {
      while (node && begin + node.length <= where && walk.nextNode()) { begin += node.length; node = walk.currentNode; }
      return [node, Math.min(where - begin, node.length)];
    };
    return tokens.map(([start, end]) => {
      range.setStart(...find(start));
      range.setEnd(...find(end - 1));
      range.setEnd(range.endContainer, Math.min(range.endOffset + 1, range.endContainer.length));
      return range.getBoundingClientRect();
    });
  }

  // The token drawn at a point of the page, or -1.
  function pointed(x, y) {
    const caret = document.caretPositionFromPoint?.(x, y);
    const old = caret ? null : document.caretRangeFromPoint?.(x, y);
    const [node, inner] = caret ? [caret.offsetNode, caret.offset] : [old?.startContainer, old?.startOffset];
    if (!node || !place.contains(node)) return -1;
    const where = offset(node, inner);
    const near = item.tokens.findIndex(([, end]) => end >= where);
    const inside = (t) => {
      if (!item.tokens[t]) return false;
      const [box] = boxes([item.tokens[t]]);
      return x >= box.left - 1 && x <= box.right + 1 && y >= box.top && y <= box.bottom;
    };
    return inside(near) ? near : inside(near + 1) ? near + 1 : -1;
  }

  function down(event) {
    if (event.button !== 0 || !item) return;
    if (here >= 0) { here = -1; from = -1; draw(); }
    pressed = event.detail;
    document.addEventListener("mouseup", up, { once: true }); // a drag may end outside
  }

  function up(event) {
    const selection = document.getSelection();
    const range = selection.rangeCount ? selection.getRangeAt(0) : null;
    const twice = pressed > 1; // the second click of a double click has nothing to add
    if (range && !range.collapsed && !twice && range.intersectsNode(place)) {
      const start = place.contains(range.startContainer) ? offset(range.startContainer, range.startOffset) : 0;
      const end = place.contains(range.endContainer) ? offset(range.endContainer, range.endOffset) : item.text.length;
      selection.removeAllRanges();
      if (end > start) { on.mark(start, end); return; }
    }
    if (twice || !place.contains(event.target)) { selection.removeAllRanges(); return; }
    const t = pointed(event.clientX, event.clientY);
    const drawn = event.target.closest("mark"); // its name is part of it
    const span = t >= 0 ? at(t) : drawn && spans.find((each) => each.start === offset(drawn, 0));
    if (span) on.unmark(span);
    else if (t >= 0) on.mark(...item.tokens[t]);
  }

  // The token nearest to here in the line above or below.
  function vertical(step) {
    const all = boxes(item.tokens);
    const middle = (box) => box.left + box.width / 2;
    const lines = [...new Set(all.map(({ bottom }) => Math.round(bottom)))].sort((a, b) => a - b);
    const line = lines[lines.indexOf(Math.round(all[here].bottom)) + step];
    const far = (t) => Math.abs(middle(all[t]) - middle(all[here]));
    return all.reduce((best, box, t) => (Math.round(box.bottom) === line && (best < 0 || far(t) < far(best)) ? t : best), -1);
  }

  // The word cursor: an arrow key or Home or End; Shift takes all words on the way.
  function move(key, shift) {
    if (!item?.tokens.length) return;
    const last = item.tokens.length - 1;
    const forward = getComputedStyle(place).direction === "rtl" ? "ArrowLeft" : "ArrowRight";
    let next = here;
    if (here < 0) next = key === "End" ? last : 0;
    else if (key === "Home") next = 0;
    else if (key === "End") next = last;
    else if (key === "ArrowUp" || key === "ArrowDown") next = vertical(key === "ArrowUp" ? -1 : 1);
    else next = here + (key === forward ? 1 : -1);
    if (next < 0 || next > last) return;
    if (shift && from < 0) from = here < 0 ? next : here;
    if (!shift) from = -1;
    here = next;
    draw();
    const span = at(here);
    on.say(`${item.text.slice(...item.tokens[here])}${span ? `, ${span.label}` : ""}`);
  }

  // [start, end] of what the keys have taken, or null.
  function taken() {
    if (here < 0) return null;
    const [low, high] = from < 0 ? [here, here] : [Math.min(from, here), Math.max(from, here)];
    return [item.tokens[low][0], item.tokens[high][1]];
  }

  function release() {
    [here, from] = from >= 0 ? [here, -1] : [-1, -1];
    draw();
  }

  place.addEventListener("mousedown", down);
  return { show, move, taken, release, focus: () => place.focus({ preventScroll: true }),
    under: () => (here < 0 ? null : at(here)), rest: () => { from = -1; draw(); },
    stop: () => document.removeEventListener("mouseup", up) };
}

// The text that is labelled: words and spans, drags and clicks, and the word cursor of the keyboard.
import { COLOURS, h, uniqueId } from "./dom.js";

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

// textView(host, on) → {show, cursor keys…}; on.mark(start, end), on.unmark(span), on.say(words).
export function textView(host, on) {
  const id = uniqueId("text");
  const place = h("div", { class: "scilab-text", tabindex: 0, role: "listbox", dir: "auto", "aria-multiselectable": "true",
    "aria-label": "Text. Arrow keys go from word to word, Shift with them takes several, Enter labels." });
  host.append(place);
  let item = null;
  let spans = [];
  let here = -1; // the token of the cursor, or -1: it is shown only to those who use keys
  let from = -1; // where the selection by keys began
  let pressed = null;

  const token = (t) => place.querySelectorAll(`[data-token="${t}"]`);
  const at = (t) => spans.find((span) => covers(span, ...item.tokens[t]));

  function show(next, nextSpans, labels) {
    if (item?.key !== next?.key) { here = -1; from = -1; place.scrollTop = 0; }
    [item, spans] = [next, nextSpans];
    if (!item) { place.replaceChildren(); return; }
    const cuts = new Set([0, item.text.length, ...item.tokens.flat()]);
    for (const span of spans) cuts.add(span.start).add(span.end);
    const edges = [...cuts].filter((cut) => cut <= item.text.length).sort((a, b) => a - b);
    const parts = [];
    let [marked, of, t] = [null, "", 0];
    for (let i = 0; i + 1 < edges.length; i += 1) {
      const [start, end] = [edges[i], edges[i + 1]];
      while (t < item.tokens.length && item.tokens[t][1] <= start) t += 1;
      const inToken = t < item.tokens.length && item.tokens[t][0] <= start;
      const piece = inToken ? word(t, start, end) : document.createTextNode(item.text.slice(start, end));
      const over = spans.filter((span) => covers(span, start, end));
      const key = over.map((span) => spans.indexOf(span)).join();
      if (key !== of || !over.length) marked = null;
      if (over.length && !marked) {
        const [span] = over;
        const score = span.score === null || span.score === undefined ? "" : ` ${span.score.toFixed(2).replace(/^0/, "")}`;
        marked = h("mark", { class: `scilab-span${score ? " scilab-suggested" : ""}`, role: "presentation",
          title: `${span.label}${score ? `, suggested by the model with a score of${score}` : ""}. Click removes it.`,
          "data-tag": over.map((each) => each.label).join(" + ") + score,
          style: `--scilab-mark: ${colour(labels, span.label)}` });
        parts.push(marked);
      }
      of = key;
      if (marked) marked.append(piece);
      else parts.push(piece);
    }
    place.replaceChildren(...parts);
    drawCursor();
  }

  function word(t, start, end) {
    const span = spans.find((each) => covers(each, start, end));
    const first = start === item.tokens[t][0];
    const text = item.text.slice(start, end);
    return h("span", { "data-token": t, role: "option", "aria-selected": span ? "true" : "false", id: first ? `${id}-${t}` : null,
      "aria-label": span ? `${text}, ${span.label}` : null }, text);
  }

  function drawCursor() {
    for (const old of place.querySelectorAll(".scilab-here, .scilab-taken")) old.classList.remove("scilab-here", "scilab-taken");
    if (here < 0) { place.removeAttribute("aria-activedescendant"); return; }
    const [low, high] = from < 0 ? [here, here] : [Math.min(from, here), Math.max(from, here)];
    for (let t = low; t <= high; t += 1) for (const each of token(t)) each.classList.add("scilab-taken");
    for (const each of token(here)) each.classList.add("scilab-here");
    place.setAttribute("aria-activedescendant", `${id}-${here}`);
    token(here)[0]?.scrollIntoView?.({ block: "nearest" });
  }

  // Where a point of the drawing is in the text. Names of labels are drawn by CSS, so they do not count.
  function offset(node, inner) {
    const range = document.createRange();
    range.selectNodeContents(place);
    range.setEnd(node, inner);
    return range.toString().length;
  }

  function down(event) {
    if (event.button !== 0 || !item) return;
    here = -1;
    from = -1;
    drawCursor();
    pressed = event.detail;
    document.addEventListener("mouseup", up, { once: true }); // a drag may end outside
  }

  function up(event) {
    const twice = pressed > 1; // the second click of a double click has nothing to add
    pressed = null;
    const selection = document.getSelection();
    const range = selection.rangeCount ? selection.getRangeAt(0) : null;
    if (range && !range.collapsed && range.intersectsNode(place) && !twice) {
      const start = place.contains(range.startContainer) ? offset(range.startContainer, range.startOffset) : 0;
      const end = place.contains(range.endContainer) ? offset(range.endContainer, range.endOffset) : item.text.length;
      selection.removeAllRanges();
      if (end > start) on.mark(start, end);
      return;
    }
    if (twice) { selection.removeAllRanges(); return; }
    const t = event.target.closest?.("[data-token]")?.dataset.token;
    if (t === undefined || !place.contains(event.target)) return;
    const span = at(Number(t));
    if (span) on.unmark(span);
    else on.mark(...item.tokens[t]);
  }

  // The token nearest to here in the line above or below.
  function vertical(step) {
    const box = token(here)[0].getBoundingClientRect();
    const boxes = item.tokens.map((_, t) => token(t)[0].getBoundingClientRect());
    const lines = [...new Set(boxes.map(({ top }) => Math.round(top)))].sort((a, b) => a - b);
    const line = lines[lines.findIndex((top) => Math.abs(top - box.top) < 2) + step];
    const far = (t) => Math.abs(boxes[t].left + boxes[t].width / 2 - box.left - box.width / 2);
    return boxes.reduce((best, each, t) => (Math.round(each.top) === line && (best < 0 || far(t) < far(best)) ? t : best), -1);
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
    drawCursor();
  }

  // [start, end] of what the keys have taken, or null.
  function taken() {
    if (here < 0) return null;
    const [low, high] = from < 0 ? [here, here] : [Math.min(from, here), Math.max(from, here)];
    return [item.tokens[low][0], item.tokens[high][1]];
  }

  function release() {
    [here, from] = from >= 0 ? [here, -1] : [-1, -1];
    drawCursor();
  }

  place.addEventListener("mousedown", down);
  return { show, move, taken, release, focus: () => place.focus({ preventScroll: true }), place,
    under: () => (here < 0 ? null : at(here)), rest: () => { from = -1; drawCursor(); },
    stop: () => document.removeEventListener("mouseup", up) };
}

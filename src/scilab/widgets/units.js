// Offsets at the edge: Python counts code points, JavaScript UTF-16 units; an emoji is one of those and two of these.

// units(text) → {inside(point) → unit, outside(unit) → point}; a unit in the middle of a pair is taken as its begin.
export function units(text) {
  if (!/[\ud800-\udbff][\udc00-\udfff]/.test(text)) return { inside: (at) => at, outside: (at) => at };
  const [starts, points] = [[], []];
  let unit = 0;
  for (const character of text) { // a string yields code points
    for (let i = 0; i < character.length; i += 1) points.push(starts.length);
    starts.push(unit);
    unit += character.length;
  }
  starts.push(unit);
  points.push(starts.length - 1);
  return { inside: (at) => starts[at], outside: (at) => points[at] };
}

// Tokens of which none begins inside what a person sees as one character, such as an emoji of several code points.
function visible(text, tokens) {
  if (!/[\p{M}\u200d\p{Emoji_Modifier}]/u.test(text) || !globalThis.Intl?.Segmenter) return tokens;
  const begins = new Set(Array.from(new Intl.Segmenter().segment(text), ({ index }) => index));
  const found = [];
  for (const [start, end] of tokens) {
    if (found.length && !begins.has(start) && found.at(-1)[1] === start) found.at(-1)[1] = end;
    else found.push([start, end]);
  }
  return found;
}

// A text as the kernel told it, with all its offsets in units.
export function opened(item) {
  const { inside } = units(item.text);
  return { ...item, tokens: visible(item.text, item.tokens.map(([start, end]) => [inside(start), inside(end)])),
    spans: item.spans.map(([start, end, label, score]) => ({ start: inside(start), end: inside(end), label, score })) };
}

// Spans as the kernel wants them.
export function closed(text, spans) {
  const { outside } = units(text);
  return spans.map(({ start, end, label }) => [outside(start), outside(end), label]);
}

// A small line chart: named axes with units, a colour and a marker for each series, a dash pattern for each run.
import { COLOURS, line, mark, number, s, text } from "./dom.js";
import { figure } from "./figure.js";

const SHAPES = ["circle", "square", "triangle", "diamond"];
const DASHES = ["", "7 3", "2 3"];
const HEIGHT = 190;
export const EDGE = { left: 60, right: 12, top: 8, bottom: 38 };
const QUIET = { colour: "#8a8a8a", dash: "1 3", shape: "none" }; // of what is only there to compare with
const MARKERS = 30; // of a series; more would run together

// On a logarithmic axis: powers of ten, with 2 and 5 between where there is room.
function decades(low, high) {
  const found = [];
  for (let power = Math.floor(low); power <= high; power += 1) {
    for (const digit of high - low < 2.5 ? [1, 2, 5] : [1]) {
      const at = power + Math.log10(digit);
      if (at >= low && at <= high) found.push(at);
    }
  }
  return found.length > 1 ? found : ticks(low, high, 4);
}

export function ticks(low, high, wanted, whole) {
  const span = high - low || 1;
  const power = 10 ** Math.floor(Math.log10(span / wanted));
  let step = [1, 2, 5, 10].map((n) => n * power).find((n) => span / n <= wanted);
  if (whole) step = Math.max(1, Math.round(step));
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) {
    found.push(Number((i * step).toPrecision(12)));
  }
  return found;
}

export function axisName({ label, unit }) {
  return unit ? `${label} (${unit})` : label;
}

// Each series of a run its own colour and marker; runs put side by side their own dashes too.
function styled(series, log) {
  const scaled = (points) => (log ? points.map(([x, y]) => [x, y > 0 ? Math.log10(y) : null]) : points);
  return Object.entries(series).map(([name, { points, run }], place) => ({
    name, all: scaled(points), points: scaled(points).filter(([, y]) => y !== null),
    colour: COLOURS[place % COLOURS.length],
    shape: SHAPES[place % SHAPES.length], dash: DASHES[(run ?? place) % DASHES.length],
  }));
}

export function range(values, padded) {
  if (!values.length) return [0, 1];
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (padded) {
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    [low, high] = [low >= 0 && low < high * 0.4 ? 0 : low - room, high + room];
  } else if (low === high) high = low + 1;
  return [low, high];
}

function logRange(values) {
  if (!values.length) return [0, 1];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const room = (high - low || 1) * 0.06;
  return [low - room, high + room];
}

// Missing values leave gaps.
function path(points, x, y) {
  let pen = "M";
  return points.map(([px, py]) => {
    if (py === null) { pen = "M"; return ""; }
    const step = `${pen}${x(px).toFixed(1)} ${y(py).toFixed(1)}`;
    pen = "L";
    return step;
  }).join("");
}

// Axes with their names, a grid and ticks; `x` and `y` give pixels, `shown` the text of a value of y, `none` what is said
// where there is nothing to draw.
export function frame(picture, spec, { width, height, x, y, x0, x1, y0, y1, none, whole, shown }) {
  const [right, bottom] = [width - EDGE.right, height - EDGE.bottom];
  for (const value of none ? [] : (spec.y.log ? decades(y0, y1) : ticks(y0, y1, 5))) {
    picture.append(line("scilab-grid", EDGE.left, y(value), right, y(value)),
      text("scilab-tick", EDGE.left - 6, y(value) + 4, shown(value), "end"));
  }
  for (const value of none ? [] : ticks(x0, x1, Math.min(8, width / 60), whole)) {
    picture.append(text("scilab-tick", x(value), bottom + 15, number(value), "middle"));
  }
  const [across, middle] = [(EDGE.left + right) / 2, (bottom + EDGE.top) / 2];
  const upright = text("scilab-axis-name", 12, middle, axisName(spec.y), "middle");
  upright.setAttribute("transform", `rotate(-90 12 ${middle})`);
  picture.append(s("path", { class: "scilab-axis", d: `M${EDGE.left} ${EDGE.top}V${bottom}H${right}` }), upright,
    text("scilab-axis-name", across, height - 5, axisName(spec.x), "middle"));
  if (none) picture.append(text("scilab-empty-text", across, middle, none, "middle"));
}

// What a person did, and when. A label that would lie on another goes a row down; in the fourth row there is none. One that
// would leave the plot stands on the left of its line.
export function marks(picture, spec, { x, x0, x1, bottom }) {
  const ends = [0, 0, 0];
  for (const [at, words] of (spec.marks || []).filter(([px]) => px >= x0 && px <= x1)) {
    const label = words.length > 18 ? `${words.slice(0, 17)}…` : words;
    const row = ends.findIndex((end) => end <= x(at));
    const left = x(at) + 6 * label.length > x(x1);
    if (row >= 0) ends[row] = x(at) + (left ? 3 : 8 + 6 * label.length);
    picture.append(s("g", {}, s("title", {}, words), line("scilab-act", x(at), EDGE.top, x(at), bottom),
      row < 0 ? "" : text("scilab-tick", x(at) + (left ? -3 : 3), EDGE.top + 9 + 11 * row, label, left ? "end" : "start")));
  }
}

function draw(spec, width, readout) {
  const log = Boolean(spec.y.log);
  const curves = styled(spec.series, log);
  const beside = styled(spec.references || {}, log).map((one) => ({ ...one, ...QUIET }));
  const seen = [...curves, ...beside].flatMap(({ points }) => points);
  const [right, bottom] = [width - EDGE.right, HEIGHT - EDGE.bottom];
  const acts = seen.length ? (spec.marks || []).map(([x]) => x) : []; // what a person did shows at once
  const [x0, x1] = range([...seen.map(([x]) => x), ...acts], false);
  const [y0, y1] = log ? logRange(seen.map(([, y]) => y)) : range(seen.map(([, y]) => y), true);
  const shown = (value) => number(log ? 10 ** value : value);
  const x = (value) => EDGE.left + ((value - x0) / (x1 - x0)) * (right - EDGE.left);
  const y = (value) => bottom - ((value - y0) / (y1 - y0)) * (bottom - EDGE.top);
  const drawn = curves.filter(({ points }) => points.length);
  const last = drawn.map(({ name, points }) => `${name} ${shown(points.at(-1)[1])}`);
  const names = `${axisName(spec.y)} by ${axisName(spec.x)}`;
  const told = last.length ? `Latest: ${last.join(", ")}.` : "No points yet.";
  const picture = s("svg", { width, height: HEIGHT, role: "img", "aria-label": `${spec.title}: ${names}. ${told}` });

  const whole = seen.every(([px]) => Number.isInteger(px));
  frame(picture, spec, { width, height: HEIGHT, x, y, x0, x1, y0, y1, none: seen.length ? "" : "no points yet", whole, shown });
  marks(picture, spec, { x, x0, x1, bottom });
  for (const { all, points, colour, dash, shape } of [...beside, ...curves]) {
    const stroke = { fill: "none", stroke: colour, "stroke-width": 2, "stroke-dasharray": dash };
    picture.append(s("path", { d: path(all, x, y), ...stroke }));
    if (shape === "none") continue;
    const every = Math.ceil(points.length / MARKERS);
    points.forEach(([px, py], i) => {
      if (i % every === 0 || i === points.length - 1) picture.append(mark(shape, x(px), y(py), 3, { fill: colour }));
    });
  }
  picture.addEventListener("pointermove", ({ offsetX }) => {
    const pointed = x0 + ((offsetX - EDGE.left) / (right - EDGE.left)) * (x1 - x0);
    const nearer = (best, point) => (Math.abs(point[0] - pointed) < Math.abs(best[0] - pointed) ? point : best);
    const near = [...drawn, ...beside].filter(({ points }) => points.length).map(({ name, points }) => [name, points.reduce(nearer)]);
    const said = near.map(([name, [px, py]]) => `${spec.x.label} ${number(px)}: ${name} ${shown(py)}`);
    readout.textContent = said.join(" · ");
  });
  picture.addEventListener("pointerleave", () => { readout.textContent = ""; });
  const keys = [...curves, ...beside];
  return { picture, keys: keys.length > 1 ? keys : [] };
}

// chart(host) → {update(spec), stop()}; see picture.py for the spec.
export function chart(host) {
  return figure(host, draw);
}

// A small line chart: named axes with units, a colour and a marker for each series, a dash pattern for each run.
import { COLOURS, fitted, h, mark, number, s } from "./dom.js";

const SHAPES = ["circle", "square", "triangle", "diamond"];
const DASHES = ["", "7 3", "2 3"];
const HEIGHT = 190;
const EDGE = { left: 52, right: 12, top: 8, bottom: 38 };

export function ticks(low, high, wanted, whole) {
  const span = high - low || 1;
  const power = 10 ** Math.floor(Math.log10(span / wanted));
  let step = [1, 2, 5, 10].map((n) => n * power).find((n) => span / n <= wanted);
  if (whole) step = Math.max(1, Math.round(step));
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(Number((i * step).toPrecision(12)));
  return found;
}

export function axisName({ label, unit }) {
  return unit ? `${label} (${unit})` : label;
}

// One curve a colour; runs put side by side keep the colour's order too, and get their own dashes and markers.
function styled(series) {
  return Object.entries(series).map(([name, { points, run }], place) => ({
    name, points: points.filter(([, y]) => y !== null), all: points,
    colour: COLOURS[place % COLOURS.length], shape: SHAPES[place % SHAPES.length], dash: DASHES[(run ?? place) % DASHES.length],
  }));
}

function range(values, padded) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (padded) {
    const room = (high - low || Math.abs(high) || 1) * 0.06;
    [low, high] = [low >= 0 && low < high * 0.4 ? 0 : low - room, high + room];
  } else if (low === high) high = low + 1;
  return [low, high];
}

function path(points, x, y) {
  let gap = true;
  return points.map(([px, py]) => {
    if (py === null) { gap = true; return ""; }
    const step = `${gap ? "M" : "L"}${x(px).toFixed(1)} ${y(py).toFixed(1)}`;
    gap = false;
    return step;
  }).join("");
}

function legend(lines) {
  return h("div", { class: "scilab-legend" }, lines.map((line) => h("span", {},
    s("svg", { width: 26, height: 10, "aria-hidden": "true" },
      s("line", { x1: 0, x2: 26, y1: 5, y2: 5, stroke: line.colour, "stroke-width": 2, "stroke-dasharray": line.dash }),
      mark(line.shape, 13, 5, 3, { fill: line.colour })), line.name)));
}

// chart(host) → {update(spec), stop()}; see picture.py for the spec.
export function chart(host) {
  let spec = null;
  const title = h("figcaption", { class: "scilab-chart-title" });
  const readout = h("span", { class: "scilab-readout" });
  const keys = h("div");
  const canvas = h("div", { class: "scilab-chart-canvas" });
  host.append(h("figure", { class: "scilab-chart" }, h("div", { class: "scilab-chart-head" }, title, readout), keys, canvas));

  function draw(width) {
    if (!spec) return;
    const lines = styled(spec.series);
    const seen = lines.flatMap((line) => line.points);
    title.textContent = spec.title;
    keys.replaceChildren(legend(lines.length > 1 ? lines : []));
    const whole = seen.every(([x]) => Number.isInteger(x));
    const [x0, x1] = seen.length ? range(seen.map((p) => p[0]), false) : [0, 1];
    const [y0, y1] = seen.length ? range(seen.map((p) => p[1]), true) : [0, 1];
    const x = (value) => EDGE.left + ((value - x0) / (x1 - x0)) * (width - EDGE.left - EDGE.right);
    const y = (value) => HEIGHT - EDGE.bottom - ((value - y0) / (y1 - y0)) * (HEIGHT - EDGE.top - EDGE.bottom);
    const last = lines.filter((line) => line.points.length)
      .map((line) => `${line.name} ${number(line.points.at(-1)[1])}`).join(", ");
    const picture = s("svg", { width, height: HEIGHT, role: "img",
      "aria-label": `${spec.title}: ${axisName(spec.y)} by ${axisName(spec.x)}. ${last ? `Latest: ${last}.` : "No points yet."}` });
    for (const value of seen.length ? ticks(y0, y1, 5) : []) {
      picture.append(s("line", { class: "scilab-grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(value), y2: y(value) }),
        s("text", { class: "scilab-tick", x: EDGE.left - 6, y: y(value) + 4, "text-anchor": "end" }, number(value)));
    }
    for (const value of seen.length ? ticks(x0, x1, Math.min(8, width / 60), whole) : []) {
      picture.append(s("text", { class: "scilab-tick", x: x(value), y: HEIGHT - EDGE.bottom + 15, "text-anchor": "middle" }, number(value)));
    }
    const middle = (HEIGHT - EDGE.bottom + EDGE.top) / 2;
    picture.append(
      s("path", { class: "scilab-axis", d: `M${EDGE.left} ${EDGE.top}V${HEIGHT - EDGE.bottom}H${width - EDGE.right}` }),
      s("text", { class: "scilab-axis-name", x: (EDGE.left + width - EDGE.right) / 2, y: HEIGHT - 5, "text-anchor": "middle" }, axisName(spec.x)),
      s("text", { class: "scilab-axis-name", x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, axisName(spec.y)));
    for (const [at, text] of spec.marks || []) {
      if (at < x0 || at > x1) continue;
      picture.append(s("g", {}, s("title", {}, text),
        s("line", { class: "scilab-act", x1: x(at), x2: x(at), y1: EDGE.top, y2: HEIGHT - EDGE.bottom }),
        s("text", { class: "scilab-tick", x: x(at) + 3, y: EDGE.top + 9 }, text.length > 18 ? `${text.slice(0, 17)}…` : text)));
    }
    for (const line of lines) {
      picture.append(s("path", { d: path(line.all, x, y), fill: "none", stroke: line.colour, "stroke-width": 2, "stroke-dasharray": line.dash }));
      const every = Math.ceil(line.points.length / 30);
      line.points.forEach(([px, py], i) => {
        if (i % every === 0 || i === line.points.length - 1) picture.append(mark(line.shape, x(px), y(py), 3, { fill: line.colour }));
      });
    }
    if (!seen.length) {
      picture.append(s("text", { class: "scilab-empty-text", x: (EDGE.left + width) / 2, y: middle, "text-anchor": "middle" }, "no points yet"));
    }
    picture.addEventListener("pointermove", (event) => {
      const pointed = x0 + ((event.offsetX - EDGE.left) / (width - EDGE.left - EDGE.right)) * (x1 - x0);
      const nearest = lines.filter((line) => line.points.length).map((line) => [line.name,
        line.points.reduce((best, point) => (Math.abs(point[0] - pointed) < Math.abs(best[0] - pointed) ? point : best))]);
      if (nearest.length) readout.textContent = nearest.map(([name, [px, py]]) => `${spec.x.label} ${number(px)}: ${name} ${number(py)}`).join(" · ");
    });
    picture.addEventListener("pointerleave", () => { readout.textContent = ""; });
    canvas.replaceChildren(picture);
  }

  const fit = fitted(canvas, draw);
  return { update(next) { spec = next; fit.again(); }, stop: fit.stop };
}

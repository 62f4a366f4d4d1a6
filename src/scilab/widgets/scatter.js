// Every point for itself: a mark for each thing that was measured, told about where it is pointed at or stepped to by keys.
import { COLOURS, mark, number, s, text } from "./dom.js";
import { EDGE, axisName, frame, marks, range } from "./chart.js";
import { figure } from "./figure.js";

const HIGH = 230;
const NEAR = 14; // pixels

// A mark of a kind as part of a path: thousands of points are one element.
const SHAPES = {
  circle: (x, y) => `M${x - 3} ${y}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0`,
  square: (x, y) => `M${x - 3} ${y - 3}h6v6h-6z`,
  triangle: (x, y) => `M${x} ${y - 4}l3.8 7h-7.6z`,
  diamond: (x, y) => `M${x} ${y - 4.4}l4.4 4.4l-4.4 4.4l-4.4 -4.4z`,
  cross: (x, y) => `M${x - 3} ${y - 3}l6 6m0 -6l-6 6`,
};

// scatter(host, told) → {update(spec), stop()}. A spec has {title, x, y, kinds: [{name, colour, shape, hollow}], points:
// [[x, y or null, kind, …], …], lines: {name: [[x, y], …]}, marks,
// height}; a point without y lies on the axis. `told(point, x, y)`
// is called with what is pointed at and where it lies in the figure, and with null after it.
export function scatter(host, told) {
  let at = -1; // the point that the keys have reached

  function draw(spec, width, readout) {
    const { points, kinds, height = HIGH } = spec;
    const [right, bottom] = [width - EDGE.right, height - EDGE.bottom];
    const ahead = Object.values(spec.lines || {}).flat().filter(([px]) => Number.isFinite(px)); // a line may go on for ever
    const wide = points.length ? [...points, ...(spec.marks || [])] : ahead;
    const [x0, x1] = range(wide.map(([px]) => px), Boolean(spec.square));
    const [y0, y1] = range([...points, ...ahead].map(([, py]) => py).filter((py) => py !== null), true);
    const x = (value) => EDGE.left + ((value - x0) / (x1 - x0)) * (right - EDGE.left);
    const y = (value) => (value === null ? bottom - 6 : bottom - ((value - y0) / (y1 - y0)) * (bottom - EDGE.top));
    const counts = kinds.map((_, kind) => points.filter((point) => point[2] === kind).length);
    const picture = s("svg", { width, height, role: "img", tabindex: 0, class: "scilab-scatter",
      "aria-label": `${spec.title}: ${axisName(spec.y)} by ${axisName(spec.x)}. ${kinds.map(({ name }, i) => `${name}: ${counts[i]}`)
        .join(", ")}. Arrow keys go from point to point.` });
    frame(picture, spec, { width, height, x, y, x0, x1, y0, y1, shown: number,
      none: points.length || ahead.length ? "" : "no points yet" });
    marks(picture, spec, { x, x0, x1, bottom });
    for (const [name, line] of Object.entries(spec.lines || {})) {
      const d = line.map(([px, py], i) => `${i ? "L" : "M"}${x(Math.min(Math.max(px, x0), x1))} ${y(py)}`).join("");
      const [, end] = line.at(-1);
      picture.append(s("path", { d, class: "scilab-level" }), text("scilab-tick", right - 2, y(end) - 4, name, "end"));
    }
    kinds.forEach(({ colour, shape, hollow }, kind) => {
      const d = points.filter((point) => point[2] === kind)
        .map(([px, py]) => SHAPES[shape](Number(x(px).toFixed(1)), Number(y(py).toFixed(1)))).join("");
      const open = hollow || shape === "cross";
      if (d) picture.append(s("path", { d, fill: open ? "none" : COLOURS[colour], stroke: open ? COLOURS[colour] : "none",
        "stroke-width": 1.5, opacity: 0.85 }));
    });
    const ring = mark("circle", 0, 0, 6, { class: "scilab-ring", visibility: "hidden" });
    picture.append(ring);

    function show(i) {
      at = i;
      const point = points[i];
      ring.setAttribute("visibility", point ? "visible" : "hidden");
      if (point) { ring.setAttribute("cx", x(point[0])); ring.setAttribute("cy", y(point[1])); }
      told(point || null, point ? x(point[0]) : 0, point ? y(point[1]) : 0, readout);
    }
    picture.addEventListener("pointermove", ({ offsetX, offsetY }) => {
      let [best, found] = [NEAR, -1];
      points.forEach(([px, py], i) => {
        const far = Math.hypot(x(px) - offsetX, y(py) - offsetY);
        if (far <= best) [best, found] = [far, i];
      });
      if (found !== at) show(found);
    });
    picture.addEventListener("pointerleave", () => show(-1));
    picture.addEventListener("blur", () => show(-1));
    picture.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, Home: -points.length, End: points.length }[event.key];
      if (event.key === "Escape") show(-1);
      if (!step || !points.length) return;
      event.preventDefault();
      show(Math.max(0, Math.min(points.length - 1, at < 0 ? points.length - 1 : at + step)));
    });
    const keys = kinds.filter((_, kind) => counts[kind]).map(({ name, colour, shape, hollow }) => ({
      name, colour: COLOURS[colour], shape, hollow }));
    return { picture, keys, show };
  }

  return figure(host, (spec, width, readout) => {
    const [kept, focus] = [at, host.getRootNode().activeElement];
    const made = draw(spec, width, readout);
    queueMicrotask(() => { // what is drawn anew is pointed at as before
      if (focus?.classList?.contains("scilab-scatter") && host.contains(focus.parentNode || host)) made.picture.focus();
      if (kept >= 0) made.show(kept);
    });
    return made;
  });
}

// Horizontal bars: a row for each name, in it one bar of each series with its value. See picture.py for the spec.
import { COLOURS, bytes, number, s, text } from "./dom.js";
import { figure } from "./figure.js";

const [BAR, GAP, TELL] = [13, 8, 66];

function draw(spec, width) {
  const series = Object.entries(spec.series);
  const keys = series.map(([name], place) => ({ name, colour: COLOURS[place % COLOURS.length], shape: "square" }));
  const most = Math.max(0, ...series.flatMap(([, values]) => values));
  const told = spec.unit === "bytes" ? bytes : number;
  const left = Math.min(width * 0.42, 8 + 6.2 * Math.max(4, ...spec.names.map((name) => name.length)));
  const row = GAP + BAR * series.length;
  const height = Math.max(22, spec.names.length * row);
  const said = spec.names.map((name, i) => `${name}: ${series.map(([of, values]) => `${of} ${told(values[i])}`).join(", ")}`);
  const picture = s("svg", { width, height, role: "img", "aria-label": `${spec.title}. ${said.join(". ")}.` });
  spec.names.forEach((name, i) => {
    const fits = Math.floor(left / 6.2);
    picture.append(s("g", {}, s("title", {}, said[i]), text("scilab-tick", left - 6, i * row + row / 2 + 4,
      name.length > fits ? `${name.slice(0, fits - 1)}…` : name, "end")));
    series.forEach(([, values], j) => {
      const y = i * row + GAP / 2 + j * BAR;
      const wide = most ? ((width - left - TELL) * (values[i] || 0)) / most : 0;
      picture.append(s("rect", { x: left, y: y + 1, width: wide, height: BAR - 2, fill: keys[j].colour }),
        text("scilab-tick", left + wide + 4, y + BAR - 3, told(values[i])));
    });
  });
  if (!spec.names.length) picture.append(text("scilab-empty-text", width / 2, 15, "nothing yet", "middle"));
  return { picture, keys: series.length > 1 ? keys : [] };
}

export function bars(host) {
  return figure(host, draw);
}

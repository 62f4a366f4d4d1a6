// Who worked when: a row for each worker, a bar for each time of work: its rounds in alternating shades, or its kinds in
// their colours where a spec has `kinds`. See gantt.py.
import { COLOURS, line, number, s, text } from "./dom.js";
import { ticks } from "./chart.js";
import { figure } from "./figure.js";

const [ROW, LEFT, RIGHT, BELOW] = [13, 92, 48, 34];

function draw(spec, width, readout) {
  const { rows, bars, busy, unit, flows, kinds } = spec;
  const bottom = rows.length * ROW;
  const picture = s("svg", { width, height: bottom + BELOW, role: "img",
    "aria-label": `${spec.title}. ${rows.map((name, i) => `${name} ${share(busy[i])} at work`).join(", ")}.` });
  const from = bars.length ? Math.min(...bars.map((bar) => bar[1])) : 0;
  const to = bars.length ? Math.max(...bars.map((bar) => bar[1] + bar[2]), ...(spec.marks || []).map(([at]) => at), from + 1e-9) : 1;
  const x = (time) => LEFT + ((time - from) / (to - from)) * (width - LEFT - RIGHT);
  rows.forEach((name, i) => {
    const mine = flows ? bars.filter(([row]) => row === i) : bars; // what is known: see with_round in gantt.py
    const [since, till] = [Math.min(...mine.map((bar) => bar[1])), Math.max(...mine.map((bar) => bar[1] + bar[2]))];
    picture.append(text("scilab-tick", LEFT - 6, (i + 1) * ROW - 3, name.length > 14 ? `${name.slice(0, 13)}…` : name, "end"),
      mine.length ? s("rect", { class: "scilab-idle", x: x(since), y: i * ROW + 2, width: x(till) - x(since), height: ROW - 3 })
        : "", text("scilab-tick", width - RIGHT + 5, (i + 1) * ROW - 3, share(busy[i])));
  });
  for (const [row, began, seconds, which] of bars) {
    if (kinds?.[which].idle) continue; // what is drawn below shows
    const look = kinds ? { fill: COLOURS[kinds[which].colour], opacity: 0.9 } : { fill: COLOURS[0], opacity: which % 2 ? 1 : 0.55 };
    picture.append(s("rect", { x: x(began), y: row * ROW + 2, width: Math.max(1, x(began + seconds) - x(began) - (kinds ? 0.6 : 0)),
      height: ROW - 3, ...look }));
  }
  for (const [at, words] of (spec.marks || []).filter(([time]) => bars.length && time >= from)) {
    picture.append(s("g", {}, s("title", {}, words), line("scilab-act", x(at), 0, x(at), bottom)));
  }
  for (const time of bars.length ? ticks(from, to, Math.min(8, width / 80)) : []) {
    picture.append(line("scilab-grid", x(time), 0, x(time), bottom + 3),
      text("scilab-tick", x(time), bottom + 15, number(time), "middle"));
  }
  picture.append(text("scilab-axis-name", (LEFT + width - RIGHT) / 2, bottom + 29, `time (${unit})`, "middle"),
    text("scilab-tick", width - RIGHT + 5, bottom + 15, "at work"));
  if (!bars.length) picture.append(text("scilab-empty-text", width / 2, bottom / 2 + 4, "no work yet", "middle"));
  picture.addEventListener("pointermove", ({ offsetX, offsetY }) => {
    const [row, time] = [Math.floor(offsetY / ROW), from + ((offsetX - LEFT) / (width - LEFT - RIGHT)) * (to - from)];
    const bar = bars.find((each) => each[0] === row && each[1] <= time && time <= each[1] + each[2]);
    const what = bar && kinds ? `${kinds[bar[3]].name}${kinds[bar[3]].idle ? "," : ""} ${bar[4]}` : `round ${bar?.[3]}`;
    readout.textContent = bar ? `${rows[row]}, ${what}: ${number(bar[2])} ${unit}`
      : rows[row] && bars.length ? `${rows[row]}: idle` : "";
  });
  picture.addEventListener("pointerleave", () => { readout.textContent = ""; });
  const seen = (kinds || []).map((kind, i) => !kind.idle && bars.some((bar) => bar[3] === i) && { ...kind, colour: COLOURS[kind.colour] });
  return { picture, keys: seen.filter(Boolean).map((kind) => ({ shape: "square", ...kind })) };
}

function share(of) {
  return of === null || of === undefined ? "–" : `${Math.round(100 * of)} %`;
}

export function gantt(host) {
  return figure(host, draw);
}

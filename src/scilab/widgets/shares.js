// How the data is dealt: a column for each device (or a few), a row for each class, the darker the more rows it holds.
import { COLOURS, h, s, text } from "./dom.js";
import { figure } from "./figure.js";

const [CELL, BELOW] = [11, 18];

function draw(spec, width, readout) {
  const { classes, rows, each, devices } = spec;
  const left = Math.min(100, 14 + 6.2 * Math.max(...classes.map((name) => name.length)));
  const [columns, bottom] = [rows[0].length, classes.length * CELL];
  const wide = (width - left - 4) / columns;
  const most = Math.max(1, ...rows.flat());
  const picture = s("svg", { width, height: bottom + BELOW, role: "img", "aria-label": spec.title });
  rows.forEach((counts, row) => {
    picture.append(text("scilab-tick", left - 6, (row + 1) * CELL - 2, classes[row].slice(0, 14), "end"));
    counts.forEach((count, i) => picture.append(s("rect", { x: left + i * wide, y: row * CELL,
      width: Math.max(1, wide - (wide > 4 ? 1 : 0)), height: CELL - 1, fill: COLOURS[0],
      opacity: count ? 0.12 + 0.88 * Math.sqrt(count / most) : 0.04 })));
  });
  picture.append(text("scilab-axis-name", (left + width) / 2, bottom + 14,
    each > 1 ? `devices, ${each} in a column` : "devices", "middle"));
  picture.addEventListener("pointermove", ({ offsetX, offsetY }) => {
    const [i, row] = [Math.floor((offsetX - left) / wide), Math.floor(offsetY / CELL)];
    const [first, last] = [i * each + 1, Math.min((i + 1) * each, devices)];
    readout.textContent = i >= 0 && i < columns && rows[row]
      ? `device ${first === last ? first : `${first}–${last}`}: class ${classes[row]}, ${rows[row][i]} rows` : "";
  });
  picture.addEventListener("pointerleave", () => { readout.textContent = ""; });
  return { picture, keys: [] };
}

// shares(host) → {update(spec), stop()}; a spec without rows has a note instead.
export function shares(host) {
  const note = h("p", { class: "scilab-quiet" });
  const box = h("div");
  const drawn = figure(box, draw);
  host.append(note, box);
  function update(spec) {
    note.textContent = spec.note || "";
    box.hidden = !spec.rows;
    if (!spec.rows) return;
    const told = `${spec.least} to ${spec.most} rows on each of ${spec.devices.toLocaleString("en")} devices`;
    drawn.update({ ...spec, title: `Shares of the data: ${told}` });
  }
  return { update, stop: drawn.stop };
}

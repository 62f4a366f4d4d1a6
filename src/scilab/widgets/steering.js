// A campaign's own part of the panel: what can be done to it, every simulation, the queue, the best, who worked when.
import { acts } from "./steering_acts.js";
import { cards, structures } from "./molecules.js";
import { gantt } from "./gantt.js";
import { h, number } from "./dom.js";
import { makePanel } from "./panel.js";
import { scatter } from "./scatter.js";

const ACTIVE = ["starting", "running", "pausing", "paused"];

const short = (value) => number(Number(value.toPrecision(2)));

// What is pointed at: its structure and all that is known of it.
function tip(host, fill, words) {
  const structure = h("div", { class: "scilab-structure" });
  const name = h("strong", {});
  const told = h("div", {});
  const box = h("div", { class: "scilab-tip", hidden: true, role: "status" }, structure, name, told);
  host.append(box);
  return (point, x, y) => {
    box.hidden = !point;
    if (!point) return;
    const [time, value, , candidate, predicted, uncertainty, model, why] = Array.isArray(point[3]) ? point[3] : point;
    const { drawn, unit, time: clock } = words();
    structure.hidden = !drawn;
    if (drawn) fill(structure, candidate);
    name.textContent = candidate;
    const lines = [value === null ? "no value" : `${number(value)} ${unit}`,
      predicted === null ? "" : `predicted ${number(predicted)} ± ${short(uncertainty)} by model ${model}`,
      why, `after ${number(time)} ${clock}`];
    told.replaceChildren(...lines.filter(Boolean).map((text) => h("div", {}, text)));
    const canvas = host.querySelector(".scilab-chart-canvas");
    const [room, top] = [host.clientWidth, canvas.offsetTop];
    const left = x + 16 + box.offsetWidth > room ? x - 16 - box.offsetWidth : x + 16;
    box.style.left = `${Math.max(0, left)}px`;
    box.style.top = `${Math.max(0, top + y - box.offsetHeight / 2)}px`;
  };
}

function view(host, ask, after, plots) {
  const fill = structures(ask);
  let picture = null;
  const words = () => ({ drawn: picture.drawn, unit: picture.values.y.unit, time: picture.values.x.unit });
  const [steer, first, two, times] = [h("div"), h("div", { class: "scilab-pointed" }), h("div", { class: "scilab-pointed" }), h("div")];
  const messages = h("ul", { class: "scilab-messages" });
  const upload = h("input", { type: "file", accept: ".smi,.txt,.csv", class: "scilab-hidden", "aria-label": "Molecules as SMILES",
    onchange: async () => {
      const [file] = upload.files;
      if (file) await ask("upload", { name: file.name }, [await file.arrayBuffer()]);
      upload.value = "";
    } });
  const tools = h("div", { class: "scilab-tools" }, h("button", { type: "button",
    title: "Search the molecules of a file of this machine, one SMILES a line", onclick: () => upload.click() }, "Open SMILES…"), upload);
  const queueTitle = h("div", { class: "scilab-chart-title" });
  const [queued, best] = [h("section", { "aria-label": "Next in the queue" }, queueTitle),
    h("section", { "aria-label": "Best found" }, h("div", { class: "scilab-chart-title" }, "Best found"))];
  host.append(messages, tools, steer, first, best, queued);
  plots.append(two);
  after.append(times);
  const lists = {
    queue: cards(queued, fill, "The queue is in random order until the first model is there."),
    best: cards(best, fill, "Nothing has been computed yet."),
  };
  const parts = { acts: acts(steer, ask), gantt: gantt(times) };
  const drawn = { values: scatter(first, tip(first, fill, words)), parity: scatter(two, tip(two, fill, words)) };
  const tell = (command) => ask("command", { command });

  function drawQueue({ queue, live }, on) {
    queueTitle.textContent = queue.version === null ? "Next in the queue" : `Next in the queue, by model ${queue.version}`;
    lists.queue(queue.rows.map(([candidate, mean, std, score]) => {
      const pinned = live.pinned.includes(candidate);
      const take = (word, why) => ({ label: word, why, press: () => tell({ [word.toLowerCase()]: candidate }) });
      return { candidate,
        lines: mean === null ? ["by hand"] : [`${number(mean)} ± ${short(std)}`, `score ${number(score)}`],
        acts: on ? [pinned ? take("Unpin", "Its rank decides again") : take("Pin", "Compute it next"), take("Ban", "Never compute it")] : [] };
    }));
  }

  function update(next, status) {
    if (!next.values) return;
    picture = next;
    const on = ACTIVE.includes(status);
    const unit = next.values.y.unit;
    parts.acts.update(next.live, on, unit);
    tools.hidden = !next.uploads;
    messages.hidden = next.messages.length === 0;
    if (messages.dataset.of !== JSON.stringify(next.messages)) {
      messages.dataset.of = JSON.stringify(next.messages);
      messages.replaceChildren(...[...next.messages].reverse().map((text) => h("li", {}, text)));
    }
    const { points, level, left_out: out } = next.values;
    const goal = level.length ? { threshold: [...level, [Infinity, level.at(-1)[1]]] } : {};
    drawn.values.update({ ...next.values, title: out ? `Every simulation (${out.toLocaleString("en")} not drawn)` : next.values.title,
      kinds: next.kinds, lines: goal });
    const told = points.filter(([, value, , , predicted]) => value !== null && predicted !== null);
    const ends = told.flatMap(([, value, , , predicted]) => [value, predicted]);
    const axis = (label) => ({ label, unit });
    drawn.parity.update({ title: "Predicted against computed", x: axis("computed"), y: axis("predicted"), kinds: next.kinds, square: true, height: 190,
      points: told.map((point) => [point[1], point[4], point[2], point]),
      lines: told.length ? { "as predicted": [Math.min(...ends), Math.max(...ends)].map((end) => [end, end]) } : {} });
    lists.best(next.found.map(([candidate, value]) => ({ candidate, lines: [`${number(value)} ${unit}`], acts: [] })));
    queued.hidden = !next.queue.rows.length && !on;
    best.hidden = !next.found.length;
    drawQueue(next, on);
    times.hidden = !next.gantt.bars.length;
    const { rows, of, cut } = next.gantt;
    const some = of > rows.length ? `, ${rows.length} of ${of.toLocaleString("en")}` : "";
    parts.gantt.update({ ...next.gantt, title: `What the workers${some} did${cut ? ", lately" : ""}` });
  }

  return { update, stop() { for (const part of [...Object.values(drawn), parts.gantt]) part.stop(); } };
}

export const widget = makePanel(view);

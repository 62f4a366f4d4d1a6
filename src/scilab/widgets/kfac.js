// A race's own part of the panel: what can be changed while it runs, curvature over time, stages, ranks, the trade-off.
import { bytes, h, number, table } from "./dom.js";
import { heat } from "./heat.js";
import { makePanel } from "./panel.js";
import { controls } from "./controls.js";
import { tradeoff } from "./tradeoff.js";

const ACTIVE = ["starting", "running", "pausing", "paused"];

// Milliseconds a step by stage, a column for each racer, with a bar in each cell.
function stages(told) {
  const names = Object.keys(told);
  const rows = [...new Set(names.flatMap((name) => Object.keys(told[name])))];
  const most = Math.max(...names.flatMap((name) => Object.values(told[name])), 1e-9);
  const cell = (value) => h("td", {}, value === undefined ? "–" : h("span", { class: "scilab-cell-bar" },
    h("i", { style: `width:${(28 * Math.max(0, value)) / most}px` }), number(Number(value.toPrecision(3)))));
  const total = (name) => Object.values(told[name]).reduce((sum, value) => sum + value, 0);
  return h("table", {},
    h("thead", {}, h("tr", {}, ["ms a step", ...names].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map((stage) => h("tr", {}, h("th", { scope: "row" }, stage),
      names.map((name) => cell(told[name][stage])))),
    h("tr", {}, h("th", { scope: "row" }, "all"), names.map((name) => h("td", {}, number(Number(total(name).toPrecision(3))))))));
}

function rankTable(ranks) {
  const gpus = ranks.some((rank) => rank.gpu_bytes !== null);
  const several = new Set(ranks.map((rank) => rank.racer)).size > 1;
  const heads = [several ? "Rank, racer" : "Rank", "Held (predicted)", "Received a step (predicted)",
    ...(gpus ? ["GPU memory, peak", "GPU busy"] : [])];
  const beside = (...pair) => {
    const [now, told] = pair.map((value) => (value === 0 ? "0 B" : bytes(value)));
    return `${now} (${told})`;
  };
  return table("", heads, ranks.map((rank) => [
    `${rank.rank} (${rank.device})${several ? `, ${rank.racer}` : ""}`,
    beside(rank.held, rank.held_predicted), beside(rank.received, rank.received_predicted),
    ...(gpus ? [bytes(rank.gpu_bytes), rank.gpu_busy === null ? "–" : `${Math.round(100 * rank.gpu_busy)} %`] : []),
  ]), "");
}

function view(host, ask, after) {
  const below = h("div", { class: "scilab-below" });
  const messages = h("ul", { class: "scilab-messages" });
  const steer = h("div");
  const curvature = h("div", { class: "scilab-charts" });
  const [times, ranks, costs] = [h("div", { class: "scilab-scroll" }), h("div", { class: "scilab-scroll" }), h("div")];
  const timesBox = h("div", { class: "scilab-figures" }, h("div", { class: "scilab-chart-title" }, "Time by stage"), times);
  const ranksBox = h("div", { class: "scilab-figures" },
    h("div", { class: "scilab-chart-title" }, "K-FAC's memory and traffic, by rank"), ranks);
  host.append(messages, steer);
  after.append(below);
  below.append(curvature, h("div", { class: "scilab-charts" }, timesBox, ranksBox), costs);
  const parts = { steer: controls(steer, ask), heat: heat(curvature), costs: tradeoff(costs, ask) };
  let drawn = null;

  function update(picture, status) {
    if (!picture.live) return;
    parts.steer.update(picture.live, ACTIVE.includes(status));
    parts.costs.update(picture.tradeoff, status);
    if (drawn === picture) return;
    drawn = picture;
    messages.hidden = picture.messages.length === 0;
    messages.replaceChildren(...[...picture.messages].reverse().map((text) => h("li", {}, text)));
    parts.heat.update(picture.heat);
    timesBox.hidden = Object.keys(picture.stages).length === 0;
    if (!timesBox.hidden) times.replaceChildren(stages(picture.stages));
    ranksBox.hidden = picture.ranks.length === 0;
    ranks.replaceChildren(rankTable(picture.ranks));
  }

  return { update, stop() { for (const part of Object.values(parts)) part.stop?.(); } };
}

export const widget = makePanel(view);

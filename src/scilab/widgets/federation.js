// A federation's own part of the panel: the tree, the bytes between its tiers, what went wrong.
import { bytes, h } from "./dom.js";
import { makePanel } from "./panel.js";
import { tree } from "./tree.js";

function view(host) {
  const round = h("div", { class: "scilab-chart-title" });
  const place = h("div");
  const traffic = h("table", { class: "scilab-pairs" });
  const messages = h("ul", { class: "scilab-messages" });
  const moved = h("details", { class: "scilab-more" }, h("summary", {}, "Bytes by tier"), traffic);
  host.append(round, place, messages, moved);
  const drawn = tree(place);

  function update(picture) {
    if (!picture.tree) return;
    round.textContent = picture.tree.round ? `Tree in round ${picture.tree.round}` : "Tree";
    drawn.update(picture.tree);
    messages.hidden = picture.messages.length === 0;
    messages.replaceChildren(...[...picture.messages].reverse().map((text) => h("li", {}, text)));
    traffic.replaceChildren(
      h("thead", {}, h("tr", {}, ["Between", "Down", "Up"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, picture.traffic.map(([edge, down, up]) => h("tr", {}, h("th", { scope: "row" }, edge), h("td", {}, bytes(down)), h("td", {}, bytes(up))))));
  }

  return { update, stop: drawn.stop };
}

export const widget = makePanel(view);

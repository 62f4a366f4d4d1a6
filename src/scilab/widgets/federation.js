// A federation's own part of the panel: the tree, the bytes between its tiers, what went wrong.
import { bytes, h, table } from "./dom.js";
import { makePanel } from "./panel.js";
import { tree } from "./tree.js";

function view(host) {
  const round = h("div", { class: "scilab-chart-title" });
  const place = h("div");
  const traffic = h("div");
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
    const rows = picture.traffic.map(([edge, down, up]) => [edge, bytes(down), bytes(up)]);
    traffic.replaceChildren(table("", ["Between", "Down", "Up"], rows, "No tree yet."));
  }

  return { update, stop: drawn.stop };
}

export const widget = makePanel(view);

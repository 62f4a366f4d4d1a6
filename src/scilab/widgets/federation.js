// A federation's own part of the panel: the tree and what is selected in it, who worked when, the shares of the data.
import { h } from "./dom.js";
import { form } from "./form.js";
import { gantt } from "./gantt.js";
import { makePanel } from "./panel.js";
import { shares } from "./shares.js";
import { treeEditor } from "./tree_edit.js";

// What is selected: facts, and a form of what can be changed.
function sidePanel(host, ask) {
  const title = h("strong", {});
  const facts = h("div", { class: "scilab-facts" });
  const fields = h("div");
  const why = h("p", { class: "scilab-quiet" });
  const box = h("section", { class: "scilab-side", "aria-label": "What is selected", hidden: true },
    h("div", { class: "scilab-compared" }, title,
      h("button", { type: "button", "aria-label": "Close what is selected", onclick: () => ask("select") }, "Close")),
    facts, fields, why);
  host.append(box);
  const drawn = form(fields, ask, "side");
  function update(side) {
    box.hidden = !side.title;
    if (!side.title) return;
    title.textContent = title.title = side.title;
    facts.replaceChildren(...side.facts.map(([name, value]) => h("span", {}, h("span", { class: "scilab-unit" }, `${name} `), value)));
    drawn.update(side.form);
    why.textContent = side.form.locked;
  }
  return { update, stop: drawn.stop };
}

function view(host, ask, after) {
  const [drawing, chosen, times, dealt] = [h("div"), h("div"), h("div"), h("div")];
  const messages = h("ul", { class: "scilab-messages" });
  host.append(drawing, chosen, messages);
  after.append(times);
  const parts = { tree: treeEditor(drawing, ask), side: sidePanel(chosen, ask), gantt: gantt(times), shares: shares(dealt) };

  function update(picture) {
    if (!picture.tree) return;
    parts.tree.update(picture);
    parts.side.update(picture.side);
    messages.hidden = picture.messages.length === 0;
    messages.replaceChildren(...[...picture.messages].reverse().map((text) => h("li", {}, text)));
    times.hidden = !picture.gantt.bars.length;
    parts.gantt.update({ ...picture.gantt, title: sampled(picture.gantt) });
    const place = picture.tree.round ? after : host; // before a round it is the news
    if (dealt.parentNode !== place) place.append(dealt);
    dealt.hidden = !picture.shares.rows && !picture.shares.note;
    parts.shares.update(picture.shares);
  }

  return { update, stop() { for (const part of Object.values(parts)) part.stop(); } };
}

function sampled({ rows, of, what }) {
  return rows.length < of ? `Work of ${rows.length} of ${of.toLocaleString("en")} ${what}` : `Work of the ${what}`;
}

export const widget = makePanel(view);

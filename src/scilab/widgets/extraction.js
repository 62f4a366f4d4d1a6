// An extraction's own part of the panel: the table of molecules, their structures, their sentences, when they came up.
import { chart } from "./chart.js";
import { h } from "./dom.js";
import { makePanel } from "./panel.js";

const HEADS = ["Molecule", "Structure", "Papers", "Mentions", "Score", "QED", "Rules broken", "Screened"];

// A drawing made by RDKit in the kernel.
function drawing(source, name) {
  const box = h("div", { class: "scilab-structure", role: "img", "aria-label": `Structure of ${name}` });
  const svg = new DOMParser().parseFromString(source, "image/svg+xml").documentElement;
  if (svg.nodeName === "svg") box.append(document.importNode(svg, true));
  return box;
}

function view(host, ask, after) {
  const messages = h("ul", { class: "scilab-messages" });
  const order = h("select", { onchange: () => ask("order", { order: order.value }), "aria-label": "Sort by" });
  const count = h("span", { class: "scilab-chart-title" });
  const body = h("div", { class: "scilab-table-box scilab-molecules", tabindex: 0, role: "region", "aria-label": "Molecules" });
  const sentences = h("section", { class: "scilab-side", "aria-label": "Sentences", hidden: true });
  const times = h("div", { class: "scilab-charts" });
  const box = h("div", { hidden: true }, h("div", { class: "scilab-compared" }, count,
    h("label", { class: "scilab-count" }, "Sort by", order)), body, sentences, times);
  host.append(messages);
  after.append(box);
  const curve = chart(times);
  let drawn = "";

  function row(each, chosen) {
    const open = h("button", { type: "button", class: "scilab-link", title: `Printed as ${each.forms.join(", ")}`
      + `${each.rules.length ? `; made one by: ${each.rules.join(", ")}` : ""}. Click shows the sentences.`,
    "aria-pressed": each.key === chosen ? "true" : "false", "data-key": each.key,
    onclick: () => ask("molecule", { key: each.key === chosen ? null : each.key }) }, each.name);
    return h("tr", { class: each.key === chosen ? "scilab-shown" : "" }, h("th", { scope: "row" }, open),
      h("td", {}, each.svg ? drawing(each.svg, each.name) : "–"),
      [each.papers, each.mentions, each.score, each.qed, each.lipinski, each.screened].map((value) => h("td", {}, String(value))));
  }

  function update(picture) {
    const { table, orders } = picture;
    if (!table) return;
    messages.hidden = !picture.messages.length;
    messages.replaceChildren(...[...picture.messages].reverse().map((words) => h("li", {}, words)));
    const now = JSON.stringify(table);
    if (now === drawn) return;
    drawn = now;
    box.hidden = !table.rows.length;
    if (box.hidden) return;
    if (!order.options.length) order.append(...orders.map(([value, label]) => h("option", { value }, label)));
    order.value = table.order;
    const more = table.count > table.rows.length ? `, the first ${table.rows.length} shown; Save has all` : "";
    count.textContent = `${table.count.toLocaleString("en")} molecules${more}`;
    const focused = body.getRootNode().activeElement?.getAttribute?.("data-key");
    body.replaceChildren(h("table", { class: "scilab-figures" },
      h("thead", {}, h("tr", {}, HEADS.map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, table.rows.map((each) => row(each, table.chosen)))));
    [...body.querySelectorAll("[data-key]")].find((each) => each.getAttribute("data-key") === focused)?.focus();
    sentences.hidden = !table.chosen;
    sentences.replaceChildren(h("div", { class: "scilab-compared" }, h("strong", {}, `Sentences that name ${table.chosen}`),
      h("button", { type: "button", onclick: () => ask("molecule") }, "Close")),
    h("ul", { class: "scilab-errors" }, table.sentences.map((each) => h("li", {},
      h("p", { class: "scilab-error-text", dir: "auto" }, each.before, h("b", {}, each.name), each.after),
      h("p", { class: "scilab-quiet" }, `${each.paper} · ${each.where} · score ${each.score}`)))));
    curve.update(table.times);
  }

  return { update, stop: curve.stop };
}

export const widget = makePanel(view);

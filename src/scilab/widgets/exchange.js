// Agreement of annotators, and the way to a doccano server and back.
import { asking } from "./ask.js";
import { h, table } from "./dom.js";
import { form } from "./form.js";

function render({ model, el }) {
  const late = h("span", { class: "scilab-late", "aria-live": "polite" });
  const { ask, stop } = asking(model, late);
  const settings = h("div");
  const told = h("ul", { class: "scilab-messages", role: "status" });
  const problem = h("div", { class: "scilab-problem", role: "alert" });
  const live = h("div", { class: "scilab-live" });
  const stay = (event) => event.preventDefault();
  const keep = (event) => event.stopPropagation();
  const press = (action) => { fields.flush(); ask(action); };
  const button = (label, title, action) => h("button", { type: "button", title, onclick: () => press(action) }, label);
  const root = h("section", { class: "scilab-panel", "data-lm-suppress-shortcuts": "true", onkeydown: keep },
    h("header", { class: "scilab-head" }, h("div", { class: "scilab-title" }, h("strong", {}, "Agreement and exchange")),
      h("div", { class: "scilab-buttons" }), h("div", { class: "scilab-says" }, late)), problem,
    h("div", { class: "scilab-body" }, h("form", { class: "scilab-form", "aria-label": "Settings", onsubmit: stay }, settings,
      h("div", { class: "scilab-tools", role: "group", "aria-label": "doccano" },
        button("Push", "Put the texts and spans into the project on the server", "push"),
        button("Pull", "Take over what was confirmed there", "pull")), told), live));
  const fields = form(settings, ask);
  let drawn = "";

  function draw() {
    const state = model.get("state");
    if (!state.form) return;
    fields.update(state.form);
    told.hidden = !state.told.length;
    told.replaceChildren(...state.told.map((words) => h("li", {}, words)));
    const { message, details } = state.problem;
    problem.hidden = !message;
    problem.replaceChildren(h("div", { class: "scilab-problem-line" }, h("span", {}, message || ""),
      h("button", { type: "button", onclick: () => ask("dismiss") }, "Dismiss")),
    details ? h("details", {}, h("summary", {}, "Details"), h("pre", {}, details)) : "");
    const now = JSON.stringify([state.pairs, state.standings]);
    if (now === drawn) return;
    drawn = now;
    live.replaceChildren(
      table("Agreement of annotators, on the texts both accepted",
        ["Pair", "Label", "Texts", "F1 of spans", "Kappa of tokens"], state.pairs, "No two annotators have accepted the same text yet."),
      table("Judged by one of them", ["Who", "What", "Texts", "F1 [95 %]", "Precision", "Recall"], state.standings,
        "Name an annotator under “Judge by” to measure the others, and the model, by their answers."));
  }

  model.on("change:state", draw);
  draw();
  el.append(root);
  return () => { model.off("change:state", draw); fields.stop(); stop(); };
}

export const widget = { render };

// The panel: controls and progress on top, settings left, live view right, code and journal below.
// Everything shown comes from the model's traits, so a page that is loaded again shows the same.
import { asking } from "./ask.js";
import { bars } from "./bars.js";
import { chart } from "./chart.js";
import { h, table } from "./dom.js";
import { several } from "./figure.js";
import { form } from "./form.js";
import { runs } from "./runs.js";
import { downloads } from "./save.js";

const BUTTONS = { // label, and the status shown until the kernel has answered
  launch: ["Launch", "starting"],
  pause: ["Pause", "pausing"],
  resume: ["Resume", "starting"],
  stop: ["Stop", "stopping"],
};

// What difference() in delta.py told, done to a picture.
export function apply(old, change) {
  if ("value" in change) return change.value;
  if ("append" in change) return old.concat(change.append);
  const next = { ...old };
  for (const key of change.gone) delete next[key];
  for (const [key, inner] of Object.entries(change.keys)) next[key] = apply(old[key], inner);
  return next;
}

// Once a model, however many views it has.
function initialize({ model }) {
  const follow = () => {
    const { base, change } = model.get("change");
    const picture = model.get("picture");
    if (base === undefined || picture.version > base) return;
    if (picture.version < base) model.send({ action: "refresh", args: {} });
    else model.set("picture", { ...apply(picture, change), version: base + 1 });
  };
  model.on("change:change", follow);
  return () => model.off("change:change", follow);
}

// makePanel(view) → what anywidget takes. `view(host, ask, after, plots)` draws a panel's own keys: {update(picture, status),
// stop()}; `host` is above the charts, `after` below them, `plots` is their grid.
export function makePanel(view) {
  function render({ model, el }) {
    const files = downloads();
    const late = h("span", { class: "scilab-late", "aria-live": "polite" });
    const kernel = asking(model, late);

    function ask(action, args = {}, buffers = undefined) {
      if (action === "download" || action === "export") files.want(args.what || args.id);
      return kernel.ask(action, args, buffers);
    }

    // A click shows at once; what became of it comes with the next state, a tenth of a second after the answer.
    function press(action, soon) {
      fields.flush(); // what was typed a moment ago counts
      showStatus(action === "resume" && model.get("head").status === "paused" ? "running" : soon, false);
      ask(action).then((answer) => setTimeout(drawHead, answer.ok ? 300 : 0));
    }

    const title = h("strong", {});
    const name = h("span", { class: "scilab-run-name" });
    const status = h("span", {});
    const recorded = h("span", { class: "scilab-status scilab-is-recorded" }, "recorded");
    const buttons = Object.fromEntries(Object.entries(BUTTONS).map(([key, [label, soon]]) => [key,
      h("button", { type: "button", class: `scilab-button-${key}`, onclick: () => press(key, soon) }, label)]));
    const bar = h("progress", { "aria-label": "Progress", max: 1 });
    const progress = h("span", { class: "scilab-progress-text" });
    const sentence = h("span", { class: "scilab-sentence", "aria-live": "polite", role: "status" });
    const notice = h("div", { class: "scilab-notice" });
    const problem = h("div", { class: "scilab-problem", role: "alert" });
    const settings = h("div");
    const estimate = h("p", { class: "scilab-estimate", "aria-live": "polite" });
    const tiles = h("div", { class: "scilab-tiles" });
    const [own, after] = [h("div"), h("div")];
    const plots = h("div", { class: "scilab-charts" });
    const save = h("div", { class: "scilab-tools", role: "group", "aria-label": "Save" });
    const live = h("div", { class: "scilab-live" }, tiles, own, plots, after, save);
    const compared = h("div", { class: "scilab-live" });
    const code = h("code", {});
    const copy = h("button", { type: "button", onclick: copyCode }, "Copy");
    const below = h("div");
    const stay = (event) => event.preventDefault();
    const controls = h("form", { class: "scilab-form", "aria-label": "Settings", onsubmit: stay }, settings, estimate);
    const codeBox = h("details", { class: "scilab-fold" }, h("summary", {}, "Code that does the same"),
      h("div", { class: "scilab-code" }, h("pre", {}, code), copy));
    // Keys typed here are the panel's: JupyterLab deletes a cell on “d d” where a button of an output has the focus.
    const keep = (event) => event.stopPropagation();
    const root = h("section", { class: "scilab-panel", "data-lm-suppress-shortcuts": "true", onkeydown: keep },
      h("header", { class: "scilab-head" },
        h("div", { class: "scilab-title" }, title, name, status, recorded),
        h("div", { class: "scilab-buttons", role: "group", "aria-label": "Run" }, Object.values(buttons)),
        h("div", { class: "scilab-progress" }, bar, progress),
        h("div", { class: "scilab-says" }, sentence, late), notice),
      problem, h("div", { class: "scilab-body" }, controls, live, compared), codeBox, below);

    const fields = form(settings, ask);
    const journal = runs(below, ask);
    const drawn = [several(plots, chart), several(plots, bars)];
    const mine = view ? view(own, ask, after, plots) : null;
    let overlaid = [];

    function copyCode() {
      const said = (text) => { copy.textContent = text; setTimeout(() => { copy.textContent = "Copy"; }, 1500); };
      const byHand = () => said("Select it and press Ctrl+C"); // no clipboard without a secure address
      if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(() => said("Copied"), byHand);
      else byHand();
    }

    function showStatus(word, settled) {
      status.className = `scilab-status scilab-is-${word}`;
      status.textContent = settled || word.endsWith("ing") ? word : `${word}…`;
      if (!settled) for (const button of Object.values(buttons)) button.disabled = true;
    }

    function drawHead() {
      const head = model.get("head");
      if (!head.status) return;
      title.textContent = head.title;
      name.textContent = head.name;
      name.title = head.name;
      showStatus(head.status, true);
      recorded.hidden = !head.recorded;
      for (const [key, button] of Object.entries(buttons)) {
        button.disabled = !head.buttons[key].on;
        button.title = head.buttons[key].why;
      }
      if (head.progress.fraction !== null) bar.value = head.progress.fraction;
      else if (head.status === "starting" || head.status === "running") bar.removeAttribute("value");
      else bar.value = 0;
      progress.textContent = head.progress.text;
      mine?.update(model.get("picture"), head.status);
      if (sentence.textContent !== head.sentence) sentence.textContent = head.sentence;
      const { text, buttons: offers = [] } = head.notice;
      const { saves = [] } = head;
      if (save.dataset.of !== JSON.stringify(saves)) { // else a focused button would be lost every second
        save.dataset.of = JSON.stringify(saves);
        save.replaceChildren(...(saves.length ? ["Save"] : []), ...saves.map(({ label, why, action, args }) => h("button",
          { type: "button", title: why, onclick: () => ask(action, args) }, label)));
      }
      notice.hidden = !text;
      notice.replaceChildren(text || "", ...offers.map(({ label, action, args }) => (
        h("button", { type: "button", onclick: () => ask(action, args) }, label))));
    }

    function drawForm() {
      const next = model.get("form");
      if (!next.fields) return;
      fields.update(next);
      if (!next.fields.length) {
        settings.replaceChildren(table("Settings, made by code", ["Setting", "Value"], next.settings, ""),
          next.new ? h("button", { type: "button", onclick: () => ask("new") }, "New run") : "");
      }
      controls.hidden = !next.fields.length && !next.settings.length;
      estimate.textContent = next.estimate.text || "";
      estimate.classList.toggle("scilab-warning", next.estimate.fits === false);
    }

    function drawPicture() {
      const picture = model.get("picture");
      tiles.replaceChildren(...(picture.tiles || []).map(({ label, value, help }) => h("div", { title: help || "" },
        h("div", { class: "scilab-tile-label" }, label), h("div", { class: "scilab-tile-value" }, value))));
      [picture.charts, picture.bars].forEach((specs, i) => drawn[i].update(specs || {}));
      mine?.update(picture, model.get("head").status);
    }

    function drawComparison() {
      const both = model.get("comparison");
      const on = Boolean(both.names);
      live.hidden = on;
      compared.hidden = !on;
      for (const part of overlaid) part.stop();
      overlaid = [];
      if (!on) { compared.replaceChildren(); return; }
      const place = h("div", { class: "scilab-charts" });
      overlaid = [several(place, chart), several(place, bars)];
      compared.replaceChildren(
        h("div", { class: "scilab-compared" }, h("strong", {}, both.names.join(" and ")),
          h("button", { type: "button", onclick: () => ask("uncompare") }, "Close comparison")),
        place,
        table("Results", ["", ...both.names], both.numbers, "Neither has results yet."),
        table("Settings that differ", ["Setting", ...both.names], both.settings, "Their settings are the same."));
      [both.charts, both.bars].forEach((specs, i) => overlaid[i].update(specs));
    }

    function drawProblem() {
      const { message, details } = model.get("problem");
      problem.hidden = !message;
      problem.replaceChildren(
        h("div", { class: "scilab-problem-line" }, h("span", {}, message || ""),
          h("button", { type: "button", title: "Hide this message", onclick: () => ask("dismiss") }, "Dismiss")),
        details ? h("details", {}, h("summary", {}, "Details"), h("pre", {}, details)) : "");
    }

    function drawRest() {
      code.textContent = model.get("code");
      codeBox.hidden = !model.get("code");
      if (model.get("runs").rows) journal.update(model.get("runs"), Boolean(model.get("head").notice?.text));
    }

    function heard(message, buffers) {
      if (message.type === "file") files.take(message, buffers);
    }

    const watched = {
      head: drawHead, form: drawForm, picture: drawPicture, comparison: drawComparison, problem: drawProblem,
      code: drawRest, runs: drawRest,
    };
    for (const [trait, draw] of Object.entries(watched)) {
      model.on(`change:${trait}`, draw);
      draw();
    }
    model.on("msg:custom", heard);
    el.append(root);
    return () => {
      for (const [trait, draw] of Object.entries(watched)) model.off(`change:${trait}`, draw);
      model.off("msg:custom", heard);
      for (const part of [kernel, fields, ...drawn, mine, ...overlaid]) part?.stop?.();
    };
  }

  return { initialize, render };
}

export const widget = makePanel(null);

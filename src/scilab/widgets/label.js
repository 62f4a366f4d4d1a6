// Labelling by hand: one text at a time, large and calm; the next ones wait in the page already.
import { asking } from "./ask.js";
import { h, uniqueId } from "./dom.js";
import { form } from "./form.js";
import { added, colour, snapped, textView } from "./label_text.js";
import { unsaved } from "./label_unsaved.js";
import { downloads, sent } from "./save.js";
import { closed, opened } from "./units.js";

const ANSWERS = { // label, key, what it says aloud, on hover
  accept: ["Accept", "a", "Accepted.", "The spans are right, and all there are"],
  reject: ["Reject", "x", "Rejected.", "The spans as shown are wrong; nothing else is told"],
  ignore: ["Ignore", "space", "Ignored.", "No answer: nothing is learned from this text"],
};
const HELP = [
  ["1 – 9", "choose a label; with words taken, or on a span, label them so"], ["a", "accept"], ["x", "reject"],
  ["space", "ignore"], ["backspace, Ctrl+Z", "undo: the last span, then the last answer, as far back as there are any"],
  ["click", "label a word, or remove a span"], ["drag", "label several words"],
  ["← → ↑ ↓, Home, End", "word cursor; with Shift, take several words"], ["Enter", "label what is taken"],
  ["Delete", "remove the span under the cursor"], ["Esc", "let go"], ["?", "show or hide this"],
];

function render({ model, el }) {
  const late = h("span", { class: "scilab-late", "aria-live": "polite" });
  const { ask, stop } = asking(model, late);
  const files = downloads();
  const desk = () => model.get("desk");
  const kept = unsaved(desk().project);
  const gone = new Set(); // keys of what was answered here, whether the kernel knows it yet or not
  const textOf = ({ key }) => key.split(".")[0]; // a text has another key each time it is offered
  const before = new Set(kept.all().map(textOf)); // answered in a page or kernel that is no more
  const drafts = new Map(); // edits of texts that were put aside by an undo
  const failed = new Map(); // answers that the kernel could not keep: {id: message}
  let now = null; // {item, spans, before: [spans], since}
  let label = 0;
  let undoing = false;
  let held = null; // since when the page was not looked at

  // ---- what is on the page
  const title = h("strong", {}, "Label");
  const progress = h("span", { class: "scilab-progress-text" });
  const bar = h("progress", { "aria-label": "Progress", max: 1 });
  const saved = h("span", { class: "scilab-saved", role: "status" });
  const modelText = h("span", { class: "scilab-sentence" });
  const trouble = h("div", { class: "scilab-problem", role: "alert", hidden: true });
  const settings = h("div");
  const guide = h("textarea", { rows: 5, "aria-label": "Guidelines", placeholder: "What counts, and what does not",
    onchange: () => ask("guidelines", { text: guide.value }) });
  const upload = h("input", { type: "file", accept: ".jsonl,.json", class: "scilab-hidden", "aria-label": "Answers as JSONL",
    onchange: async () => {
      const [file] = upload.files;
      if (file) await sent(file, ask, "import");
      upload.value = "";
    } });
  const chips = h("div", { class: "scilab-chips", role: "radiogroup", "aria-label": "Label" });
  const [where, picked] = [h("span", {}), h("span", {})];
  const empty = h("p", { class: "scilab-empty-desk", hidden: true });
  const say = h("p", { class: "scilab-aloud", "aria-live": "assertive" });
  const buttons = Object.fromEntries(Object.entries(ANSWERS).map(([name, [text, key, , means]]) => [name,
    h("button", { type: "button", class: `scilab-answer scilab-answer-${name}`, title: `${means}. Key: ${key}`,
      onclick: () => { answer(name); view.focus(); } }, text, h("kbd", {}, key))]));
  const undo = h("button", { type: "button", title: "Take the last span or answer back. Key: backspace",
    onclick: () => { takeBack(); view.focus(); } }, "Undo", h("kbd", {}, "⌫"));
  const helpId = uniqueId("help");
  const help = h("button", { type: "button", "aria-expanded": "false", "aria-controls": helpId, title: "All keys. Key: ?",
    onclick: () => showHelp() }, "Help", h("kbd", {}, "?"));
  const helpBox = h("dl", { class: "scilab-help", id: helpId, hidden: true },
    HELP.map(([key, means]) => h("div", {}, h("dt", {}, key), h("dd", {}, means))));
  const sheet = h("div", { class: "scilab-sheet" });
  const stay = (event) => event.preventDefault();
  const fileTools = h("div", { class: "scilab-tools", role: "group", "aria-label": "Answers as a file" },
    h("button", { type: "button", title: "All answers as Prodigy's JSONL",
      onclick: () => { files.want("answers"); ask("download", { what: "answers" }); } }, "Export JSONL"),
    h("button", { type: "button", title: "Texts or answers as Prodigy's JSONL", onclick: () => upload.click() }, "Import JSONL…"), upload);
  const tools = h("div", { class: "scilab-tools", role: "group", "aria-label": "Model" });
  const left = h("form", { class: "scilab-form", "aria-label": "Settings", onsubmit: stay }, settings, tools,
    h("details", { class: "scilab-guide", open: true }, h("summary", {}, "Guidelines"), guide), fileTools);
  const root = h("section", { class: "scilab-panel scilab-desk", "data-lm-suppress-shortcuts": "true", "aria-label": "Label" },
    h("header", { class: "scilab-head" }, h("div", { class: "scilab-title" }, title), saved,
      h("div", { class: "scilab-progress" }, bar, progress), h("div", { class: "scilab-says" }, modelText, late)),
    trouble, h("div", { class: "scilab-body" }, left, h("div", { class: "scilab-live" }, chips, sheet, empty,
      h("p", { class: "scilab-why-text" }, where, picked),
      h("div", { class: "scilab-answers", role: "group", "aria-label": "Answer" }, Object.values(buttons), undo, help), helpBox, say)));
  const fields = form(settings, ask);
  const view = textView(sheet, { mark: drawn, unmark, say: (words) => { say.textContent = words; } });

  // ---- spans
  function change(spans, words) {
    now.before.push(now.spans);
    now.spans = spans;
    say.textContent = words;
    draw();
  }

  function drawn(start, end) {
    if (!now) return;
    const found = snapped(now.item, start, end, desk().whole_words);
    if (found) mark(...found);
  }

  function mark(start, end) {
    const name = desk().labels[label];
    const count = now.spans.length;
    const spans = added(now.spans, { start, end, label: name, score: null });
    const instead = spans.length <= count ? ", in place of what it overlaps" : "";
    change(spans, `“${now.item.text.slice(start, end)}” is labelled ${name}${instead}.`);
  }

  function unmark(span) {
    change(now.spans.filter((each) => each !== span), `“${now.item.text.slice(span.start, span.end)}” is no longer labelled.`);
  }

  function choose(number) {
    if (number >= desk().labels.length) return;
    label = number;
    drawChips();
    const [taken, span] = [view.taken(), now && view.under()];
    if (span && taken && taken[0] >= span.start && taken[1] <= span.end) mark(span.start, span.end);
    else if (taken) mark(...taken);
    view.rest();
  }

  // ---- answers
  function put(item, spans = item && opened(item).spans, since = performance.now()) {
    now = item ? { item: opened(item), spans, before: [], since } : null;
    if (item && drafts.has(item.key)) {
      now.spans = drafts.get(item.key);
      drafts.delete(item.key);
    }
    held = document.hidden ? performance.now() : null;
    draw();
  }

  function next() {
    put(model.get("items").list.find((item) => !gone.has(item.key) && !before.has(textOf(item))) || null);
  }

  function answer(kind) {
    if (!now || undoing) return;
    const seconds = (performance.now() - now.since) / 1000;
    const args = { key: now.item.key, spans: closed(now.item.text, now.spans), answer: kind, annotator: desk().annotator,
      answer_id: `${now.item.arm} ${globalThis.crypto?.randomUUID?.() || `${Date.now()}-${Math.random()}`}`, seconds };
    kept.put(args);
    gone.add(args.key);
    next();
    drawSaved();
    say.textContent = `${ANSWERS[kind][2]} ${now ? "Next text." : ""}`;
    send(args);
  }

  async function send(args) {
    const told = await ask("answer", args);
    if (told.ok) {
      kept.done(args.answer_id);
      failed.delete(args.answer_id);
      before.delete(textOf(args));
    } else failed.set(args.answer_id, told.message);
    drawSaved();
  }

  function reopen(args) {
    kept.done(args.answer_id);
    failed.delete(args.answer_id);
    gone.delete(args.key);
    before.delete(textOf(args));
    const item = model.get("items").list.find((each) => textOf(each) === textOf(args));
    if (item) put({ ...item, spans: args.spans.map((span) => [...span, null]) });
    drawSaved();
  }

  async function takeBack() {
    if (undoing) return;
    if (now?.before.length) {
      now.spans = now.before.pop();
      say.textContent = "The last span is taken back.";
      draw();
      return;
    }
    undoing = true;
    const told = await ask("undo");
    undoing = false;
    if (!told.item) { say.textContent = told.message; return; }
    if (now) drafts.set(now.item.key, now.spans);
    put(told.item);
    say.textContent = "The last answer is taken back.";
  }

  // ---- keys: heard before anything inside the panel, told to nobody outside it
  function meant({ key, target, ctrlKey, metaKey, altKey, shiftKey }) {
    if (target.closest("input, textarea, select")) return null;
    if ((ctrlKey || metaKey) && key === "z") return takeBack;
    if (ctrlKey || metaKey || altKey || (target.closest("button, summary") && (key === " " || key === "Enter"))) return null;
    if (/^[1-9]$/.test(key)) return () => choose(Number(key) - 1);
    const acts = {
      a: () => answer("accept"), x: () => answer("reject"), " ": () => answer("ignore"), Backspace: takeBack, "?": () => showHelp(),
      Enter: () => { const found = now && view.taken(); if (found) { mark(...found); view.rest(); } },
      Delete: () => { const span = now && view.under(); if (span) unmark(span); },
      Escape: () => { if (!helpBox.hidden) showHelp(false); else view.release(); },
    };
    for (const arrow of ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"]) {
      acts[arrow] = () => { view.focus(); view.move(arrow, shiftKey); };
    }
    return acts[key.length === 1 ? key.toLowerCase() : key] || null;
  }

  function keyed(event) {
    const act = meant(event);
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    if (!event.repeat || event.key.startsWith("Arrow") || event.key === "Backspace") act();
  }

  function showHelp(on = helpBox.hidden) {
    helpBox.hidden = !on;
    help.setAttribute("aria-expanded", on ? "true" : "false");
  }

  // ---- drawing
  function draw() {
    const { labels } = desk();
    empty.hidden = Boolean(now);
    sheet.hidden = !now;
    empty.textContent = desk().empty;
    view.show(now?.item || null, now?.spans || [], labels);
    picked.textContent = now?.item.why || "";
    where.textContent = now?.item.where || "";
    for (const button of Object.values(buttons)) button.disabled = !now;
    drawUndo();
  }

  function drawUndo() {
    undo.disabled = !now?.before.length && !desk().undo && !kept.all().length;
  }

  function drawChips() {
    const { labels } = desk();
    if (label >= labels.length) label = 0;
    chips.replaceChildren(...labels.map((name, i) => h("button", { type: "button", role: "radio", class: "scilab-chip",
      "aria-checked": i === label ? "true" : "false", style: `--scilab-mark: ${colour(labels, name)}`,
      title: `What a click, a drag or Enter labels. Key: ${i + 1}`, onclick: () => { choose(i); view.focus(); } },
    i < 9 ? h("kbd", {}, String(i + 1)) : "", name)));
  }

  function drawSaved() {
    const [open, lost] = [kept.all(), [...failed]];
    saved.textContent = open.length ? `${open.length} not saved yet` : desk().undo ? "all saved" : "";
    saved.classList.toggle("scilab-warning", open.length > 0);
    const { message, details } = model.get("desk").problem;
    trouble.hidden = !lost.length && !message;
    const args = lost.length && open.find(({ answer_id }) => answer_id === lost[0][0]);
    trouble.replaceChildren(h("div", { class: "scilab-problem-line" },
      h("span", {}, lost.length ? `${lost.length} not saved: ${lost[0][1]}` : message || ""),
      args ? h("span", {}, h("button", { type: "button", onclick: () => open.forEach(send) }, "Try again"),
        h("button", { type: "button", onclick: () => reopen(args) }, "Open it again"))
        : h("button", { type: "button", title: "Hide this message", onclick: () => ask("dismiss") }, "Dismiss")),
    details && !lost.length ? h("details", {}, h("summary", {}, "Details"), h("pre", {}, details)) : "");
    drawUndo();
  }

  function drawDesk() {
    const told = desk();
    fields.update(told.form);
    if (document.activeElement !== guide) guide.value = told.guidelines;
    bar.value = told.progress.fraction ?? 0;
    progress.textContent = told.progress.text;
    modelText.textContent = told.model;
    if (tools.dataset.of !== JSON.stringify(told.tools)) { // else a focused button would be lost
      tools.dataset.of = JSON.stringify(told.tools);
      tools.replaceChildren(...told.tools.map(({ label: name, action, on, why: means }) => h("button",
        { type: "button", title: means, disabled: !on, onclick: () => { ask(action); view.focus(); } }, name)));
    }
    drawChips();
    drawSaved();
    if (!now) { empty.textContent = told.empty; }
  }

  let set = 0; // of which annotator and which order the texts are
  function drawItems() {
    const { list, set: of } = model.get("items");
    if (of !== set) { set = of; drafts.clear(); next(); }
    else if (!now && list.length) next();
  }

  function heard(message, buffers) {
    if (message.type === "file") files.take(message, buffers);
  }

  // Time in which nobody looks at the page is not time of labelling.
  function looked() {
    if (document.hidden) held = performance.now();
    else if (held !== null && now) { now.since += performance.now() - held; held = null; }
  }

  root.addEventListener("keydown", keyed, true);
  root.addEventListener("keydown", (event) => event.stopPropagation()); // what fields and buttons took ends here
  const watched = { desk: drawDesk, items: drawItems };
  for (const [trait, drawIt] of Object.entries(watched)) model.on(`change:${trait}`, drawIt);
  model.on("msg:custom", heard);
  document.addEventListener("visibilitychange", looked);
  drawDesk();
  drawItems();
  draw();
  kept.all().forEach(send);
  el.append(root);
  return () => {
    for (const [trait, drawIt] of Object.entries(watched)) model.off(`change:${trait}`, drawIt);
    model.off("msg:custom", heard);
    document.removeEventListener("visibilitychange", looked);
    for (const part of [fields, view]) part.stop();
    stop();
  };
}

export const widget = { render };

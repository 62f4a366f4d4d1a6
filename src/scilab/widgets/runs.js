// The journal: every run in a table, and what can be done with the chosen ones.
import { h, uniqueId } from "./dom.js";
import { sent } from "./save.js";

const NONE = "No run is in the journal yet. Each launch is kept here, and can be opened, compared and resumed later.";

// runs(host, ask) → {update(runs, offered)}
export function runs(host, ask) {
  let state = { rows: [], count: 0, size: "–", shown: "" };
  let chosen = [];
  let opened = false;

  const summary = h("summary", {});
  const tools = h("div", { class: "scilab-tools", role: "group", "aria-label": "Runs" });
  const line = h("div", { class: "scilab-asking" }); // where a name, a note or a confirmation is asked for
  const list = h("div", { class: "scilab-table-box" });
  const upload = h("input", { type: "file", accept: ".scilab-run", class: "scilab-hidden", onchange: send,
    "aria-label": "A run exported before" });
  const box = h("details", { class: "scilab-fold scilab-runs" }, summary, tools, upload, line, list);
  host.append(box);
  box.addEventListener("toggle", () => { if (box.open) ask("refresh"); }); // other kernels write to the journal too

  const row = (id) => state.rows.find((candidate) => candidate.id === id);

  function tool(label, why, act) {
    return h("button", { type: "button", disabled: Boolean(why), title: why || label, onclick: act }, label);
  }

  function drawTools() {
    const one = chosen.length === 1 ? row(chosen[0]) : null;
    const need = one ? "" : "Choose one run first.";
    const pair = chosen.length === 2 && chosen.every((id) => !row(id)?.why);
    const focused = [...tools.children].findIndex((child) => child === tools.getRootNode().activeElement);
    tools.replaceChildren(
      tool("Open", need || one.why, () => ask("open", { id: one.id })),
      tool("Resume", need || one.why || (one.resumable ? "" : "There is nothing to resume in this run."),
        () => ask("resume", { id: one.id })),
      tool("Compare", pair ? "" : "Choose two runs of this kind first.", () => ask("compare", { ids: chosen })),
      tool("Rename", need, () => question("rename", one, "Name", "name", one.name)),
      tool("Note", need, () => question("note", one, "Note", "text", one.notes)),
      tool("Delete", need, () => confirmed(one)),
      tool("Export", need, () => ask("export", { id: one.id })),
      tool("Import…", "", () => upload.click()));
    if (focused >= 0) tools.children[focused].focus();
  }

  function done() {
    line.replaceChildren();
  }

  function question(action, of, label, key, value) {
    const id = uniqueId(action);
    const input = h("input", { id, type: "text", maxlength: action === "note" ? 2000 : 120 });
    input.value = value;
    async function save(event) {
      event.preventDefault();
      const answer = await ask(action, { id: of.id, [key]: input.value });
      if (answer.ok) done();
    }
    const leave = (event) => { if (event.key === "Escape") done(); };
    line.replaceChildren(h("form", { onsubmit: save, onkeydown: leave },
      h("label", { for: id }, `${label} of “${of.name}”`), input,
      h("button", { type: "submit", class: "scilab-primary" }, "Save"),
      h("button", { type: "button", onclick: done }, "Cancel")));
    input.focus();
  }

  function confirmed(of) {
    const keep = h("button", { type: "button", onclick: done }, "Keep");
    function remove() {
      chosen = [];
      done();
      ask("delete", { id: of.id });
    }
    line.replaceChildren(h("div", { role: "alertdialog", "aria-label": "Delete a run" },
      h("span", {}, `Delete “${of.name}” and all it recorded? This cannot be undone.`),
      h("button", { type: "button", class: "scilab-danger", onclick: remove }, "Delete"), keep));
    keep.focus();
  }

  async function send() {
    const [file] = upload.files;
    if (!file) return;
    await sent(file, ask, "import");
    upload.value = "";
  }

  function choose(id, on) {
    chosen = on ? [...chosen, id] : chosen.filter((other) => other !== id);
    drawTools();
  }

  function drawRow(run) {
    const pick = h("input", { type: "checkbox", "aria-label": `Choose ${run.name}`, "data-key": `choose ${run.id}`,
      onchange: (event) => choose(run.id, event.target.checked) });
    pick.checked = chosen.includes(run.id);
    const open = h("button", { type: "button", class: "scilab-link", disabled: Boolean(run.why),
      "data-key": `open ${run.id}`, title: run.why || `Open ${run.name}`,
      onclick: () => ask("open", { id: run.id }) }, run.name);
    const status = h("span", { class: `scilab-status scilab-is-${run.recorded ? "recorded" : run.status}` },
      run.recorded ? `recorded (${run.status})` : run.status);
    const when = new Date(run.created * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "short" });
    return h("tr", { class: run.id === state.shown ? "scilab-shown" : "" }, h("td", {}, pick), h("td", {}, open),
      h("td", {}, status), h("td", {}, run.done), h("td", {}, when), h("td", { class: "scilab-note" }, run.notes));
  }

  function drawTable() {
    const focused = list.getRootNode().activeElement?.getAttribute?.("data-key");
    const heads = ["", "Name", "Status", "Progress", "Started", "Note"].map((name) => h("th", { scope: "col" }, name));
    list.replaceChildren(state.rows.length
      ? h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, state.rows.map(drawRow)))
      : h("p", { class: "scilab-quiet" }, NONE));
    [...list.querySelectorAll("[data-key]")].find((each) => each.getAttribute("data-key") === focused)?.focus();
  }

  function update(next, offered) {
    const same = JSON.stringify(next) === JSON.stringify(state);
    state = next;
    chosen = chosen.filter((id) => row(id));
    const more = state.count > state.rows.length ? `, the newest ${state.rows.length} shown` : "";
    summary.textContent = `Runs (${state.count}${more} · ${state.size})`;
    if (offered && !opened) box.open = opened = true; // once; then it is the person's to close
    if (same && list.firstChild) return;
    drawTools();
    drawTable();
  }

  return { update };
}

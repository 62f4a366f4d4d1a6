// The journal: every run in a table, and what can be done with the chosen ones.
import { h, uniqueId } from "./dom.js";

const PART = 1 << 20;

// runs(host, ask, opened) → {update(runs), file(message, buffers)}
export function runs(host, ask) {
  let state = { rows: [], count: 0, size: "–", shown: "" };
  let chosen = [];
  let asking = null; // the line in which a name, a note or a confirmation is asked for
  const parts = new Map();
  const wanted = new Set(); // runs exported from here, not from another view of the same panel

  const summary = h("summary", {});
  const tools = h("div", { class: "scilab-tools", role: "toolbar", "aria-label": "Runs" });
  const line = h("div", { class: "scilab-asking" });
  const table = h("div", { class: "scilab-table-box" });
  const upload = h("input", { type: "file", accept: ".scilab-run", class: "scilab-hidden", tabindex: "-1", "aria-label": "A run exported before", onchange: send });
  const box = h("details", { class: "scilab-fold scilab-runs" }, summary, tools, upload, line, table);
  host.append(box);

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
      tool("Resume", need || one.why || (one.resumable ? "" : "There is nothing to resume in this run."), () => ask("resume", { id: one.id })),
      tool("Compare", pair ? "" : "Choose two runs of this kind first.", () => ask("compare", { ids: chosen })),
      tool("Rename", need, () => question("rename", one, "Name", "name", one.name)),
      tool("Note", need, () => question("note", one, "Note", "text", one.notes)),
      tool("Delete", need, () => confirmed(one)),
      tool("Export", need, () => { wanted.add(one.id); ask("export", { id: one.id }); }),
      tool("Import…", "", () => upload.click()));
    if (focused >= 0) tools.children[focused].focus();
  }

  function done() {
    asking = null;
    line.replaceChildren();
  }

  function question(action, of, label, key, value) {
    const id = uniqueId(action);
    const input = h("input", { id, type: "text", maxlength: action === "note" ? 2000 : 120 });
    input.value = value;
    const act = async () => { const answer = await ask(action, { id: of.id, [key]: input.value }); if (answer.ok) done(); };
    asking = h("form", { onsubmit: (event) => { event.preventDefault(); act(); } }, h("label", { for: id }, `${label} of “${of.name}”`), input,
      h("button", { type: "submit", class: "scilab-primary" }, "Save"), h("button", { type: "button", onclick: done }, "Cancel"));
    asking.addEventListener("keydown", (event) => { if (event.key === "Escape") done(); });
    line.replaceChildren(asking);
    input.focus();
  }

  function confirmed(of) {
    const keep = h("button", { type: "button", onclick: done }, "Keep");
    asking = h("div", { role: "alertdialog", "aria-label": "Delete a run" }, h("span", {}, `Delete “${of.name}” and all it recorded? This cannot be undone.`),
      h("button", { type: "button", class: "scilab-danger", onclick: async () => { chosen = []; done(); await ask("delete", { id: of.id }); } }, "Delete"), keep);
    line.replaceChildren(asking);
    keep.focus();
  }

  async function send() {
    const [file] = upload.files;
    if (!file) return;
    const count = Math.max(1, Math.ceil(file.size / PART));
    for (let part = 0; part < count; part += 1) {
      const bytes = await file.slice(part * PART, (part + 1) * PART).arrayBuffer();
      const answer = await ask("import", { part, parts: count }, [bytes]);
      if (!answer.ok) break;
    }
    upload.value = "";
  }

  function file(message, buffers) {
    if (!wanted.has(message.id)) return;
    const got = parts.get(message.id) || [];
    got[message.part] = buffers[0];
    parts.set(message.id, got);
    if (message.part + 1 < message.parts) return;
    parts.delete(message.id);
    wanted.delete(message.id);
    const url = URL.createObjectURL(new Blob(got, { type: "application/octet-stream" }));
    h("a", { href: url, download: message.name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  }

  function choose(id, on) {
    chosen = on ? [...chosen, id] : chosen.filter((other) => other !== id);
    drawTools();
  }

  function drawTable() {
    const focused = table.getRootNode().activeElement?.getAttribute?.("data-run");
    const heads = ["", "Name", "Status", "Progress", "Started", "Note"].map((name) => h("th", { scope: "col" }, name));
    const body = state.rows.map((run) => h("tr", { class: run.id === state.shown ? "scilab-shown" : "" },
      h("td", {}, h("input", { type: "checkbox", "aria-label": `Choose ${run.name}`, "data-run": run.id, onchange: (event) => choose(run.id, event.target.checked) })),
      h("td", { class: "scilab-name" }, h("button", { type: "button", class: "scilab-link", disabled: Boolean(run.why), title: run.why || `Open ${run.name}`, onclick: () => ask("open", { id: run.id }) }, run.name)),
      h("td", {}, h("span", { class: `scilab-status scilab-is-${run.recorded ? "recorded" : run.status}` }, run.recorded ? `recorded (${run.status})` : run.status)),
      h("td", {}, run.done), h("td", {}, new Date(run.created * 1000).toLocaleString([], { dateStyle: "short", timeStyle: "short" })),
      h("td", { class: "scilab-note", title: run.notes }, run.notes)));
    table.replaceChildren(state.rows.length ? h("table", {}, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, body))
      : h("p", { class: "scilab-quiet" }, "No run is in the journal yet. Each launch is kept here, and can be opened, compared and resumed later."));
    for (const input of table.querySelectorAll("input")) {
      input.checked = chosen.includes(input.getAttribute("data-run"));
      if (focused && input.getAttribute("data-run") === focused) input.focus();
    }
  }

  function update(next, opened) {
    const same = JSON.stringify(next) === JSON.stringify(state);
    state = next;
    chosen = chosen.filter((id) => row(id));
    summary.textContent = `Runs (${state.count}${state.count > state.rows.length ? `, the newest ${state.rows.length} shown` : ""} · ${state.size})`;
    if (opened) box.open = true;
    if (same && table.firstChild) return;
    drawTools();
    drawTable();
  }

  return { update, file };
}

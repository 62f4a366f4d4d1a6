// Drawing a tree by hand: what pointer and keys do to it. Whether it may be done is the kernel's to say.
import { h, s } from "./dom.js";
import { figure } from "./figure.js";
import { drawTree, meant, next, subtree } from "./tree.js";

const FAR = 4; // pixels that make a press a drag
const TWICE = 400; // milliseconds between the clicks of a double click
const HINT = "Drag a node onto its new parent. Keys: arrows, Enter selects, A adds a device, Shift+A an aggregator, M moves "
  + "(then Enter on the new parent), Delete, E unfolds a group, Ctrl+Z.";

// treeEditor(host, ask) → {update(picture), stop()}
export function treeEditor(host, ask) {
  let spec = { tiers: [], policies: [] };
  let editing = { on: false };
  let side = {};
  let focus = "0:0"; // the key that has, or would get, the focus
  let carried = ""; // the key that M picked up
  let drag = null; // {key, x, y, ghost, over}
  let tapped = {}; // the last click: {key, at}
  let waiting = false; // a drawing that came during a drag

  const draw = (act, args) => ask("draw", { act, ...args });
  const select = (key) => ask("select", meant(spec, key));
  const count = h("input", { type: "number", min: 1, max: 10000, value: 1, "aria-label": "How many to add" });
  const upload = h("input", { type: "file", accept: ".yaml,.yml", class: "scilab-hidden", "aria-label": "A tree as YAML",
    onchange: async () => {
      const [file] = upload.files;
      if (file) await ask("open_tree", {}, [await file.arrayBuffer()]);
      upload.value = "";
    } });
  const button = (label, title, onclick) => h("button", { type: "button", title, onclick }, label);
  const tools = {
    device: button("Add device", "Below what is selected, or beside it", () => add("worker")),
    aggregator: button("Add aggregator", "Below what is selected, or beside it", () => add("aggregator")),
    remove: button("Remove", "What is selected, with all that hangs below it", () => remove()),
    undo: button("Undo", "Take the last change of the tree back", () => draw("undo")),
    redo: button("Redo", "Make it again", () => draw("redo")),
    open: button("Open YAML…", "Take the tree of a file of this machine", () => upload.click()),
  };
  const open = button("Unfold", "Show the nodes of this group one by one, or as counts again; also by double click",
    () => ask("unfold", { node: here() }));
  const again = button("Edit the tree", "Back to the settings, to draw the next one", () => ask("new"));
  const bar = h("div", { class: "scilab-tools", role: "group", "aria-label": "Tree" }, tools.device, tools.aggregator,
    h("label", { class: "scilab-count" }, "×", count), tools.remove, tools.undo, tools.redo, tools.open, upload, open, again,
    button("Save YAML", "The tree as a file", () => ask("download", { what: "tree" })));
  const wrong = h("p", { class: "scilab-why scilab-tree-why", role: "alert" });
  const hint = h("p", { class: "scilab-quiet scilab-hint" }, HINT);
  const place = h("div");
  host.append(bar, wrong, place, hint);
  const drawn = figure(place, (given, width) => {
    const there = host.getRootNode().activeElement?.getAttribute?.("data-at");
    const made = drawTree(given, width, chosen);
    listen(made.picture);
    if (there) queueMicrotask(() => to(there) || to(focus));
    else made.picture.querySelector(`[data-at="${focus}"]`)?.setAttribute("tabindex", 0);
    return made;
  });

  // Whether what stands at (name, all), or a tier, is selected.
  function chosen(name, all) {
    const what = side.what || {};
    return typeof name === "number" ? what.tier === name : what.node === name && Boolean(what.all) === all;
  }

  const here = () => (side.what?.node !== undefined && side.what.node !== null ? side.what.node : null);
  const add = (kind) => draw("add", { near: here() || spec.tiers[0]?.names[0], kind, count: Math.max(1, Math.round(count.value) || 1) });
  const remove = () => (here() ? draw("remove", { node: here(), all: Boolean(side.what.all) }) : null);
  const find = (key) => place.querySelector(`[data-at="${key}"]`);

  function to(key) {
    const found = key !== null && find(key);
    if (!found) return false;
    find(focus)?.setAttribute("tabindex", -1);
    focus = key;
    found.setAttribute("tabindex", 0);
    found.focus();
    return true;
  }

  function unfold(key) {
    const { node, all } = meant(spec, key.split(":").slice(0, 2).join(":"));
    if (all) ask("unfold", { node });
  }

  function move(from, target) {
    const [what, onto] = [meant(spec, from), meant(spec, target)];
    if (what.node !== undefined && onto.node !== undefined) draw("move", { ...what, to: onto.node });
  }

  function keyed(event) {
    const key = event.target.closest?.("[data-at]")?.getAttribute("data-at");
    if (!key) return;
    const { node } = meant(spec, key);
    const acts = {
      Enter: () => { if (carried) { move(carried, key); carry(""); } else select(key); },
      " ": () => select(key),
      e: () => unfold(key),
      Escape: () => carry(""),
      a: () => draw("add", { near: node, kind: "worker", count: 1 }),
      A: () => draw("add", { near: node, kind: "aggregator", count: 1 }),
      m: () => carry(key),
      Delete: () => draw("remove", meant(spec, key)),
    };
    const name = event.ctrlKey || event.metaKey ? { z: "undo", y: "redo" }[event.key] : null;
    if (event.key.startsWith("Arrow")) to(next(spec, key, event.key));
    else if (name) draw(name);
    else if (acts[event.key] && (node !== undefined || "Enter Escape".includes(event.key))) acts[event.key]();
    else return;
    event.preventDefault();
  }

  function carry(key) {
    carried = key;
    for (const each of place.querySelectorAll("[data-at]")) {
      each.classList.toggle("scilab-carried", key !== "" && subtree(spec, key).includes(each.getAttribute("data-at")));
    }
    hint.textContent = key ? `Moving ${meant(spec, key).node}: go to its new parent and press Enter, or Escape.` : HINT;
  }

  function listen(picture) {
    picture.addEventListener("keydown", keyed);
    picture.addEventListener("pointerdown", (event) => {
      const key = event.target.closest("[data-at]")?.getAttribute("data-at");
      if (!key || event.button) return;
      event.preventDefault(); // no text is marked on the way
      to(key);
      drag = { key, picture, x: event.clientX, y: event.clientY, ghost: null, over: null };
      picture.setPointerCapture(event.pointerId);
    });
    picture.addEventListener("pointermove", (event) => {
      if (!drag || !editing.on || !drag.key.includes(":")) return;
      const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
      if (!drag.ghost && Math.hypot(dx, dy) < FAR) return;
      if (!drag.ghost) lift();
      drag.ghost.setAttribute("transform", `translate(${dx} ${dy})`);
      aim(under(event));
    });
    picture.addEventListener("pointerup", (event) => {
      const done = drag;
      const target = done?.ghost ? under(event) : null;
      release();
      // A second click soon after the first is a double click; the browser's own is lost, as the first one redraws.
      const twice = done && !done.ghost && tapped.key === done.key && event.timeStamp - tapped.at < TWICE;
      tapped = twice || !done ? {} : { key: done.key, at: event.timeStamp };
      if (twice && done.key.includes(":")) unfold(done.key);
      else if (done && !done.ghost) select(done.key);
      else if (target && target !== done.key) move(done.key, target);
    });
    picture.addEventListener("pointercancel", release);
  }

  // The subtree in the hand: copies of its marks go along, what stays behind is pale.
  function lift() {
    const keys = new Set(subtree(spec, drag.key));
    drag.ghost = s("g", { class: "scilab-ghost", "pointer-events": "none" });
    for (const each of drag.picture.querySelectorAll("[data-at]")) {
      if (!keys.has(each.getAttribute("data-at"))) continue;
      const copy = each.cloneNode(true);
      copy.removeAttribute("data-at");
      drag.ghost.append(copy);
      each.classList.add("scilab-carried");
    }
    drag.picture.append(drag.ghost);
  }

  function under({ clientX, clientY }) {
    const key = host.getRootNode().elementFromPoint(clientX, clientY)?.closest("[data-at]")?.getAttribute("data-at");
    return key?.includes(":") ? key : null;
  }

  function aim(key) {
    if (drag.over === key) return;
    for (const [each, on] of [[drag.over, false], [key, true]]) {
      if (each) find(each)?.classList.toggle("scilab-target", on);
    }
    drag.over = key;
  }

  function release() {
    if (drag?.ghost) {
      aim(null);
      drag.ghost.remove();
      for (const each of drag.picture.querySelectorAll(".scilab-carried")) each.classList.remove("scilab-carried");
    }
    drag = null;
    if (waiting) { waiting = false; drawn.update(spec); }
  }

  function update(picture) {
    const { tree, policies } = picture;
    [editing, side] = [picture.editing, picture.side];
    spec = { ...tree, policies, chosen: side.what, title: tree.round ? `Tree in round ${tree.round.toLocaleString("en")}` : "Tree" };
    wrong.textContent = editing.wrong;
    for (const tool of Object.values(tools)) tool.hidden = !editing.on;
    count.parentNode.hidden = hint.hidden = !editing.on;
    again.hidden = !editing.again;
    open.hidden = !side.what?.all;
    tools.undo.disabled = !editing.undo;
    tools.redo.disabled = !editing.redo;
    tools.remove.disabled = !here();
    if (drag?.ghost) waiting = true;
    else drawn.update(spec);
  }

  return { update, stop: drawn.stop };
}

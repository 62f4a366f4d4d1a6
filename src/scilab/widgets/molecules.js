// Molecules as drawings: asked of the kernel once each, kept for the page.
import { h } from "./dom.js";

// structures(ask) → fill(host, candidate): puts the candidate's structure into `host` once it is known, or leaves it empty.
export function structures(ask) {
  const known = new Map(); // candidate → SVG text
  const wanted = new Map(); // candidate → the hosts that wait for it
  let waiting = 0;

  async function fetch() {
    waiting = 0;
    const asked = [...wanted.keys()];
    const { drawings = {} } = await ask("depict", { candidates: asked });
    for (const candidate of asked) {
      known.set(candidate, drawings[candidate] || "");
      for (const host of wanted.get(candidate) || []) put(host, candidate);
      wanted.delete(candidate);
    }
  }

  function put(host, candidate) {
    if (host.dataset.candidate !== candidate) return;
    host.innerHTML = known.get(candidate); // RDKit's lines, no text of a person's
    host.hidden = !known.get(candidate);
  }

  return function fill(host, candidate) {
    if (host.dataset.candidate === candidate) return;
    host.dataset.candidate = candidate;
    host.replaceChildren();
    host.hidden = false;
    if (known.has(candidate)) { put(host, candidate); return; }
    if (!wanted.has(candidate)) wanted.set(candidate, []);
    wanted.get(candidate).push(host);
    waiting = waiting || setTimeout(fetch, 20);
  };
}

// cards(host, fill) → update(rows): a card for each {candidate, lines: [text], acts: [{label, why, press}]}. A card that
// stays keeps its elements, so that no button is lost under the pointer.
export function cards(host, fill, none) {
  const list = h("ol", { class: "scilab-cards" });
  const empty = h("p", { class: "scilab-quiet" }, none);
  host.append(list, empty);
  const kept = new Map();
  return function update(rows) {
    empty.hidden = rows.length > 0;
    list.hidden = !rows.length;
    for (const [candidate, card] of kept) {
      if (!rows.some((row) => row.candidate === candidate)) { card.remove(); kept.delete(candidate); }
    }
    rows.forEach(({ candidate, lines, acts }, place) => {
      if (!kept.has(candidate)) {
        kept.set(candidate, h("li", { class: "scilab-card" }, h("div", { class: "scilab-structure", "aria-hidden": "true" }),
          h("div", { class: "scilab-card-name", title: candidate }, candidate), h("div", { class: "scilab-quiet" }),
          h("div", { class: "scilab-card-acts" })));
      }
      const card = kept.get(candidate);
      const [structure, , told, buttons] = card.children;
      fill(structure, candidate);
      if (told.dataset.of !== lines.join("\n")) {
        told.dataset.of = lines.join("\n");
        told.replaceChildren(...lines.map((text) => h("div", {}, text)));
      }
      const names = acts.map(({ label }) => label).join();
      if (buttons.dataset.names !== names) {
        buttons.dataset.names = names;
        buttons.replaceChildren(...acts.map(({ label, why, press }) => h("button", { type: "button", class: "scilab-link",
          "aria-label": `${label} ${candidate}`, title: why, onclick: press }, label)));
      }
      if (list.children[place] !== card) list.insertBefore(card, list.children[place] || null);
    });
  };
}

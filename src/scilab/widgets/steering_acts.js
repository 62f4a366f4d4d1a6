// What a person can do to a campaign while it runs. Each act is one command, written to the journal and marked on the plots.
import { h, number, uniqueId } from "./dom.js";

const ACQUISITIONS = { ucb: "Upper bound", greedy: "Greedy", "expected improvement": "Improvement", thompson: "Thompson",
  uncertainty: "Uncertainty", random: "Random" };
const WEIGHTLESS = ["greedy", "uncertainty", "random"];
const POOLS = { simulate: "simulating", learn: "learning" };

function labelled(text, control, ...more) {
  control.id = uniqueId("act");
  return h("span", { class: "scilab-steer-part" }, h("label", { for: control.id }, text), control, ...more);
}

// acts(host, ask) → {update(live, on, unit)}; see steering_picture.py for `live`.
export function acts(host, ask) {
  const tell = (command) => ask("command", { command });
  const button = (label, title, onclick) => h("button", { type: "button", title, onclick }, label);
  const changed = (usual) => tell({ acquisition: { name: name.value, weight: usual ?? (Number(weight.value) || 0) } });
  let before = "";
  const switched = () => { // a margin is no weight
    const usual = name.value === "expected improvement" ? 0 : before === "expected improvement" ? 1 : undefined;
    before = name.value;
    changed(usual);
  };
  const name = h("select", { title: "What a prediction is worth, from the next decision on", onchange: switched },
    Object.entries(ACQUISITIONS).map(([value, label]) => h("option", { value }, label)));
  const weight = h("input", { type: "number", min: 0, step: "any", onchange: () => changed(),
    title: "Of the uncertainty (upper bound, Thompson), or the margin (improvement)" });
  const threshold = h("input", { type: "number", step: "any", title: "A value beyond it is a hit",
    onchange: () => { if (threshold.value !== "") tell({ threshold: Number(threshold.value) }); } });
  const budget = h("input", { type: "number", min: 1, step: 1, title: "Simulations in all",
    onchange: () => tell({ budget: Number(budget.value) }) });
  const unit = h("span", { class: "scilab-unit" });
  const pools = Object.keys(POOLS).map((pool) => {
    const other = pool === "simulate" ? "learn" : "simulate";
    const dots = h("span", { class: "scilab-dots", "aria-hidden": "true" });
    const told = h("span", {});
    const move = button(`Move one to ${POOLS[other]}`, `One slot less for ${POOLS[pool]}, one more for ${POOLS[other]}`,
      () => tell({ slots: { source: pool, to: other, n: 1 } }));
    return { pool, dots, told, move, box: h("span", { class: "scilab-steer-part" }, told, dots, move) };
  });
  const candidate = h("input", { type: "text", placeholder: "SMILES", autocomplete: "off", spellcheck: "false",
    class: "scilab-smiles", title: "A molecule of the space, or a new one for Inject" });
  const named = (word) => () => { if (candidate.value.trim()) tell({ [word]: candidate.value.trim() }).then(({ ok }) => { if (ok) candidate.value = ""; }); };
  candidate.addEventListener("keydown", (event) => { if (event.key === "Enter") named("pin")(); });
  const listed = h("div", { class: "scilab-steer-line" });
  const box = h("fieldset", { class: "scilab-steer" }, h("legend", {}, "While it runs"),
    labelled("Acquisition", name), labelled("Weight", weight), labelled("Threshold", threshold, unit), labelled("Budget", budget),
    ...pools.map((pool) => pool.box),
    labelled("Molecule", candidate, button("Pin", "Compute it next (also Enter)", named("pin")),
      button("Ban", "Never compute it", named("ban")),
      button("Inject", "Add it to the space and compute it next", named("inject"))),
    h("span", { class: "scilab-steer-part" }, button("Train now", "A new model as soon as the policy lets it", () => tell({ retrain: true })),
      button("Start nothing more", "What is under way ends, and the campaign with it", () => tell({ drain: true }))), listed);
  host.append(box);
  let shown = "";

  function update(live, on, of) {
    host.hidden = !on;
    if (!on) return;
    const busy = host.getRootNode().activeElement;
    const values = [[name, live.acquisition.name], [weight, live.acquisition.weight ?? 1], [threshold, live.threshold ?? ""], [budget, live.budget]];
    before = live.acquisition.name;
    for (const [input, value] of values) if (busy !== input) input.value = value;
    weight.disabled = WEIGHTLESS.includes(live.acquisition.name);
    unit.textContent = of;
    for (const { pool, dots, told, move } of pools) {
      const [used, slots] = live.slots[pool];
      told.textContent = `${pool === "simulate" ? "Simulate" : "Learn"}: ${number(Math.min(used, slots))} of ${slots} slots`;
      dots.textContent = slots <= 12 ? "●".repeat(Math.min(used, slots)) + "○".repeat(Math.max(0, slots - used)) : "";
      move.disabled = slots <= (pool === "simulate" ? 1 : 0);
    }
    const now = JSON.stringify([live.pinned, live.banned]);
    if (now === shown) return;
    shown = now;
    listed.replaceChildren(...[["Pinned", live.pinned, "unpin"], ["Banned", live.banned, "unban"]].flatMap(([word, all, undo]) => (
      all.length ? [h("span", { class: "scilab-quiet" }, `${word}:`), ...all.slice(-8).map((each) => h("button", { type: "button",
        class: "scilab-chip", title: `Take it back: ${undo} ${each}`, "aria-label": `${undo} ${each}`,
        onclick: () => tell({ [undo]: each }) }, each.length > 24 ? `${each.slice(0, 23)}…` : each, " ×"))] : [])));
  }

  return { update };
}

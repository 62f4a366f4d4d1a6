// What can be changed while a race runs: damping on a logarithmic slider, intervals, rates. Each change is one command.
import { h, number, uniqueId } from "./dom.js";

const [LOW, HIGH] = [-6, 2]; // powers of ten

function labelled(text, ...controls) {
  const id = uniqueId("steer");
  controls[0].id = id;
  return h("span", { class: "scilab-steer-part" }, h("label", { for: id }, text), ...controls);
}

// controls(host, ask) → {update(live, on)}; live = {racers: {name: rate}, kfac: {damping, factors_every, …}}.
export function controls(host, ask) {
  const tell = (command) => ask("command", { command });
  const damping = h("input", { type: "range", min: LOW, max: HIGH, step: 0.05, title: "λ, from the next step on" });
  const reads = h("output", {});
  const every = ["factors_every", "decompose_every"].map((name) => [name, h("input", {
    type: "number", min: 1, step: 1, title: "Steps; from the next step on",
    onchange: ({ target }) => tell({ [name]: target.value === "" ? 0 : Number(target.value) }),
  })]);
  const who = h("select", { "aria-label": "Racer" });
  const rate = h("input", { type: "number", min: 0, step: "any", title: "Of this racer, from the next step on",
    onchange: ({ target }) => tell({ lr: Number(target.value), racer: who.value }) });
  const curved = [labelled("Damping λ", damping, reads), labelled("Factors every", every[0][1]),
    labelled("Decompose every", every[1][1])];
  const box = h("fieldset", { class: "scilab-steer" }, h("legend", {}, "While it runs"), ...curved,
    labelled("Learning rate of", who, rate));
  host.append(box);
  let racers = {};

  const value = () => 10 ** Number(damping.value);
  const read = () => { reads.textContent = number(Number(value().toPrecision(2))); };
  damping.addEventListener("input", read);
  let waiting = 0; // keys change it step by step: one command when they rest, one mark on the plots
  damping.addEventListener("change", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { waiting = 0; tell({ damping: Number(value().toPrecision(2)) }); }, 250);
  });
  who.addEventListener("change", () => { rate.value = racers[who.value]; });

  function update(live, on) {
    host.hidden = !on;
    if (!on) return;
    for (const part of curved) part.hidden = live.kfac.damping === undefined;
    const busy = host.getRootNode().activeElement;
    if (busy !== damping && !waiting && live.kfac.damping) {
      damping.value = Math.log10(live.kfac.damping);
      reads.textContent = number(live.kfac.damping);
    }
    for (const [name, input] of every) if (busy !== input) input.value = live.kfac[name] ?? "";
    if (Object.keys(racers).join() !== Object.keys(live.racers).join()) {
      who.replaceChildren(...Object.keys(live.racers).map((name) => h("option", { value: name }, name)));
    }
    racers = live.racers;
    if (busy !== rate) rate.value = racers[who.value] ?? "";
  }

  return { update, stop: () => clearTimeout(waiting) };
}

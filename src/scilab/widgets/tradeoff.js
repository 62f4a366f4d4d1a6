// What the fraction of gradient workers costs: bytes held and bytes received of the rank that has it worst, predicted.
import { bytes, fitted, h, s, text, uniqueId } from "./dom.js";

const TALL = 74;

function bars(title, offers, key, chosen, width) {
  const most = Math.max(...offers.map((offer) => offer[key]), 1);
  const wide = width / offers.length;
  const picture = s("svg", { width, height: TALL + 46, role: "img",
    "aria-label": `${title}: ${offers.map((o) => `${o.workers} workers ${bytes(o[key])}`).join(", ")}` },
  text("scilab-axis-name", 0, 11, title));
  offers.forEach((offer, i) => {
    const tall = (TALL - 16) * (offer[key] / most);
    const [x, thick] = [i * wide + wide * 0.15, Math.min(46, wide * 0.7)];
    picture.append(s("rect", { class: i === chosen ? "scilab-chosen" : "scilab-other", x, y: TALL + 16 - tall, width: thick,
      height: Math.max(1, tall) }),
    text("scilab-tick", x + thick / 2, TALL + 12 - tall, offer[key] === 0 ? "0 B" : bytes(offer[key]), "middle"),
    text("scilab-tick", x + thick / 2, TALL + 30,
      offer.fraction === 1 ? "1" : `${offer.workers}/${offers.at(-1).workers}`, "middle"));
  });
  return picture;
}

// tradeoff(host, ask) → {update({ranks, fraction, offers}, status), stop()}
export function tradeoff(host, ask) {
  const [count, slide] = [uniqueId("ranks"), uniqueId("fraction")];
  const ranks = h("select", { id: count });
  const slider = h("input", { id: slide, type: "range", min: 0, step: 1 });
  const said = h("p", { class: "scilab-quiet", "aria-live": "polite" });
  const use = h("button", { type: "button" }, "Use these");
  const canvas = h("div", { class: "scilab-charts scilab-chart-canvas" });
  const halves = [h("div"), h("div")];
  canvas.append(...halves);
  host.append(h("div", { class: "scilab-chart-title" }, "Memory or traffic? The fraction of gradient workers, predicted"),
    h("div", { class: "scilab-steer-line" }, h("label", { for: count }, "Ranks"), ranks,
      h("label", { for: slide }, "Gradient workers"), slider, use), said, canvas);
  let spec = null;
  let ready = false;
  let shape = "";

  function draw() {
    const offers = spec.offers[ranks.value];
    slider.max = offers.length - 1;
    const chosen = offers[slider.value];
    const hybrid = chosen.workers === 1 ? "MEM-OPT" : "HYBRID-OPT";
    const kind = chosen.fraction === 1 ? "COMM-OPT" : hybrid;
    const held = `the fullest rank holds ${bytes(chosen.held)}`;
    const moved = chosen.received ? `and receives ${bytes(chosen.received)} a step on average` : "and receives nothing";
    said.textContent = `${chosen.workers} of ${ranks.value} ranks keep each layer's decomposition (${kind}): ${held} ${moved}.`;
    slider.setAttribute("aria-valuetext", said.textContent);
    const same = Number(ranks.value) === spec.ranks && Math.abs(chosen.fraction - spec.fraction) < 1e-9;
    use.hidden = !ready || same;
    for (const fit of fits) fit.again();
  }

  const fits = [["Held, bytes", "held"], ["Received a step, bytes", "received"]].map(([title, key], i) => fitted(halves[i], (width) => {
    if (spec?.offers) halves[i].replaceChildren(bars(title, spec.offers[ranks.value], key, Number(slider.value), width));
  }));

  slider.addEventListener("input", draw);
  ranks.addEventListener("change", () => { slider.max = spec.offers[ranks.value].length - 1; slider.value = slider.max; draw(); });
  use.addEventListener("click", () => {
    const offer = spec.offers[ranks.value][slider.value];
    ask("set", { values: { ranks: Number(ranks.value), fraction: offer.fraction } });
  });

  function update(next, status) {
    host.hidden = !next.offers;
    ready = status === "ready";
    if (host.hidden) return;
    const now = JSON.stringify(next);
    if (now === shape) { if (spec) draw(); return; }
    shape = now;
    const before = spec;
    spec = next;
    const names = Object.keys(next.offers);
    if ([...ranks.options].map((option) => option.value).join() !== names.join()) {
      const kept = ranks.value;
      ranks.replaceChildren(...names.map((name) => h("option", { value: name }, name)));
      ranks.value = before && names.includes(kept) ? kept : String(next.ranks === 1 ? 8 : next.ranks);
    }
    if (!before || next.ranks !== before.ranks || next.fraction !== before.fraction) {
      if (before || next.ranks > 1) ranks.value = String(before && next.ranks === 1 ? ranks.value : next.ranks);
      const offers = next.offers[ranks.value];
      const at = offers.findIndex((offer) => Math.abs(offer.fraction - next.fraction) < 1e-9);
      slider.max = offers.length - 1;
      slider.value = at < 0 ? offers.length - 1 : at;
    }
    draw();
  }

  return { update, stop() { for (const fit of fits) fit.stop(); } };
}

// A training's own part of the panel: the learning curve, and the texts of which the model says something else.
import { chart } from "./chart.js";
import { h } from "./dom.js";
import { makePanel } from "./panel.js";

function named(words, list) {
  return list.length ? h("span", {}, `${words} `, list.map(({ text, label, score }, i) => [i ? ", " : "",
    h("b", {}, text), ` ${label}${score === undefined ? "" : ` ${score}`}`])) : null;
}

function view(host, ask, after) {
  const place = h("div", { class: "scilab-charts" });
  const again = h("button", { type: "button", title: "Compare the model with the answers, text by text",
    onclick: () => ask("errors") }, "What does it get wrong?");
  const list = h("ul", { class: "scilab-errors", "aria-label": "Errors of the model" });
  after.append(place, h("div", { class: "scilab-tools" }, again), list);
  const curve = chart(place);

  function update(picture) {
    if (!picture.curve) return;
    curve.update(picture.curve);
    again.hidden = !picture.can_review;
    list.hidden = !picture.errors.length;
    list.replaceChildren(...picture.errors.map((each) => h("li", {},
      h("p", { class: "scilab-error-text" }, each.text.length > 240 ? `${each.text.slice(0, 239)}…` : each.text),
      h("p", { class: "scilab-quiet" }, each.held_out ? "held out · " : "trained on · ", named("not found:", each.missed),
        each.missed.length && each.extra.length ? " · " : "", named("found, not marked:", each.extra), " ",
        h("button", { type: "button", class: "scilab-link", onclick: () => ask("look_again", { hash: each.hash }) },
          picture.room ? "Look at it again" : "")))));
  }

  return { update, stop: curve.stop };
}

export const widget = makePanel(view);

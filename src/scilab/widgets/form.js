// The settings on the left: one control a field, its error beside it, its reason where it is disabled.
import { h, uniqueId } from "./dom.js";

function control(field, id, changed) {
  if (field.control === "choice") {
    return h("select", { id, onchange: ({ target }) => changed(target.value) },
      field.options.map(({ value, label }) => h("option", { value }, label)));
  }
  if (field.control === "toggle") {
    return h("input", { id, type: "checkbox", onchange: ({ target }) => changed(target.checked) });
  }
  const { min, max, step, placeholder } = field;
  const kind = field.control === "number" ? { type: "number", min, max, step }
    : { type: field.secret ? "password" : "text", placeholder };
  return h("input", { id, ...kind, autocomplete: "off", spellcheck: "false",
    oninput: ({ target }) => changed(target.validity.badInput ? "not a number" : target.value) });
}

// form(host, ask) → {update(form), flush(), stop()}; ask(action, args) sends what was typed, flush() at once.
export function form(host, ask, action = "set") {
  let shape = "";
  let parts = {};
  let waiting = 0;
  let typed = {};

  function changed(name, value) {
    typed[name] = value;
    clearTimeout(waiting);
    waiting = setTimeout(flush, 120);
  }

  function flush() {
    clearTimeout(waiting);
    if (Object.keys(typed).length) ask(action, { values: typed });
    typed = {};
  }

  function build(fields) {
    parts = {};
    const groups = new Map();
    for (const field of fields) {
      const id = uniqueId(field.name);
      const input = control(field, id, (value) => changed(field.name, value));
      const why = h("span", { class: "scilab-why", id: `${id}-why`, "aria-live": "polite" });
      input.setAttribute("aria-describedby", `${id}-why`);
      const unit = field.unit ? h("span", { class: "scilab-unit" }, ` (${field.unit})`) : "";
      const box = h("div", { class: `scilab-field scilab-field-${field.control}` },
        h("label", { for: id }, field.label, unit), input, why);
      parts[field.name] = { box, input, why, help: field.help };
      if (!groups.has(field.group)) groups.set(field.group, []);
      groups.get(field.group).push(box);
    }
    host.replaceChildren(...[...groups].map(([name, boxes]) => h("fieldset", { class: "scilab-group" },
      name ? h("legend", {}, name) : null, h("div", { class: "scilab-fields" }, boxes))));
  }

  function update(next) {
    const now = JSON.stringify(next.fields);
    if (now !== shape) { shape = now; build(next.fields); }
    for (const [name, { box, input, why, help }] of Object.entries(parts)) {
      const busy = name in typed || host.getRootNode().activeElement === input;
      if (input.type === "checkbox") input.checked = Boolean(next.typed[name]);
      else if (name in next.typed && (!busy || next.locked)) input.value = next.typed[name] ?? "";
      const reason = next.locked || next.disabled[name] || "";
      const error = next.errors[name] || "";
      input.disabled = Boolean(reason);
      box.hidden = next.hidden.includes(name);
      input.setAttribute("aria-invalid", error ? "true" : "false");
      box.classList.toggle("scilab-wrong", Boolean(error));
      box.title = reason ? `${help} ${reason}` : help;
      why.textContent = error || next.disabled[name] || "";
      for (const option of input.options || []) {
        const not = next.reasons[name]?.[option.value];
        option.disabled = Boolean(not);
        option.title = not || "";
        if (not && !why.textContent) why.textContent = `${option.textContent}: ${not}`;
      }
    }
    for (const group of host.children) {
      group.hidden = [...group.querySelectorAll(".scilab-field")].every((box) => box.hidden);
    }
  }

  return { update, flush, stop: () => clearTimeout(waiting) };
}

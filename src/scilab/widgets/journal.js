// A panel that is only its journal, open from the start.
import { makePanel } from "./panel.js";

function view(host) {
  const panel = host.closest(".scilab-panel");
  panel.classList.add("scilab-journal-only");
  panel.querySelector(".scilab-runs").open = true;
  return { update() {}, stop() {} };
}

export const widget = makePanel(view);

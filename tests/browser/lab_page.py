"""A person in front of JupyterLab: opens a notebook, runs it, clicks, and sees what went wrong.

What a page shows is not all that goes wrong in it, so a LabPage also listens: to the browser's console, to
script errors, to requests for other hosts, and to the kernel's messages, where errors of widget callbacks and
background threads pass by that no cell shows as failed. ``problems()`` is all of it; good ones have none.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from lab_server import LabServer
from playwright.sync_api import ConsoleMessage, Dialog, Error, Page, Request

PANEL = "jupyterapp.shell.currentWidget"
LOOPBACK = {"127.0.0.1", "localhost"}

# Called on the current notebook: keeps the errors outside cells, and what was printed, since a traceback may
# arrive in several messages.
LISTEN = f"""() => {{
  const heard = (window.scilabHeard = {{ raised: [], printed: "" }});
  {PANEL}.sessionContext.iopubMessage.connect((_, {{ header, parent_header, content }}) => {{
    if (header.msg_type === "error" && parent_header.msg_type !== "execute_request")
      heard.raised.push(`${{content.ename}}: ${{content.evalue}}`);
    if (header.msg_type === "stream") heard.printed += content.text;
  }});
}}"""
# The line of a printed traceback that names the error: the first that is not indented.
TRACEBACK = re.compile(r"Traceback \(most recent call last\):\n(?:[ \t].*\n|\n)*(\S.*)\n")
FLOOD = re.compile(r"IOPub \w+ rate exceeded")

READ_CELLS = f"""() => {PANEL}.content.widgets.filter(cell => cell.model.type === "code").map(cell => {{
  const error = cell.model.outputs.toJSON().find(output => output.output_type === "error");
  return {{
    source: cell.model.sharedModel.source,
    count: cell.model.executionCount,
    busy: cell.model.executionState === "running",
    error: error ? `${{error.ename}}: ${{error.evalue}}` : null,
  }};
}})"""

KERNEL_READY = f"""() => {{
  const kernel = window.{PANEL}?.sessionContext?.session?.kernel;
  return kernel?.status === "idle" && kernel.connectionStatus === "connected";
}}"""


@dataclass(frozen=True)
class Cell:
    """A code cell as the page holds it."""

    source: str
    count: int | None
    """Execution count; None when it has not run."""
    busy: bool
    error: str | None

    @property
    def ran(self) -> bool:
        return self.count is not None or not self.source.strip()


class LabPage:
    """One browser tab on a LabServer. ``page`` is Playwright's, for whatever is not offered here."""

    def __init__(self, page: Page, server: LabServer):
        self.page, self.server = page, server
        self.console_errors: list[str] = []
        self.script_errors: list[str] = []
        self.offsite: list[str] = []
        self._heard_before: list[str] = []
        page.on("console", self._note_console)
        page.on("pageerror", self._note_script_error)
        page.on("request", self._note_host)
        page.on("dialog", self._leave)

    # Getting there

    def open(self, notebook: str) -> LabPage:
        """Open a notebook of the served folder in a fresh workspace, and wait for its kernel."""
        self.page.goto(f"{self.server.url}/lab/tree/{quote(notebook)}?token={self.server.token}&reset")
        self._arrive()
        return self

    def reload(self) -> LabPage:
        """Load the page anew, as a person does; the kernel goes on, what the page did not save is gone."""
        self._heard_before = self.heard()
        self.page.reload()
        self._arrive()
        return self

    def set_theme(self, name: str) -> LabPage:
        """Choose "JupyterLab Light" or "JupyterLab Dark"."""
        self.page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', { theme })", name)
        self.page.wait_for_selector(f'body[data-jp-theme-name="{name}"]', state="attached")
        return self

    def set_width(self, pixels: int) -> LabPage:
        """Make the window this wide."""
        self.page.set_viewport_size({"width": pixels, "height": self.page.viewport_size["height"]})
        return self

    # Running

    def run_all(self, timeout_s: float = 240) -> LabPage:
        """Choose Run ▸ Run All Cells and wait until every cell has run, or one has failed."""
        self.choose("Run", "Run All Cells")
        return self.wait_idle(timeout_s)

    def choose(self, menu: str, item: str) -> LabPage:
        """Click an item of the menu bar."""
        self.page.locator(".lm-MenuBar-item").get_by_text(menu, exact=True).click()
        self.page.locator(".lm-Menu-itemLabel").get_by_text(item, exact=True).click()
        return self

    def wait_idle(self, timeout_s: float = 120, quiet_s: float = 0.5) -> LabPage:
        """Wait until the kernel was idle, and no cell busy or waiting, for ``quiet_s``; or TimeoutError."""
        deadline, quiet_since = time.monotonic() + timeout_s, None
        while quiet_since is None or time.monotonic() - quiet_since < quiet_s:
            cells = self.cells()
            waiting = not any(cell.error for cell in cells) and not all(cell.ran for cell in cells)
            if waiting or any(cell.busy for cell in cells) or not self.page.evaluate(KERNEL_READY):
                quiet_since = None
            else:
                quiet_since = quiet_since or time.monotonic()
            if time.monotonic() > deadline:
                unfinished = [cell.source[:60] for cell in cells if cell.busy or not cell.ran]
                raise TimeoutError(f"not idle within {timeout_s} s; unfinished: {unfinished}")
            self.page.wait_for_timeout(50)
        return self

    def restart_kernel(self) -> LabPage:
        """Restart the kernel and say yes to the question; outputs stay on the page."""
        restart = "jupyterapp.commands.execute('notebook:restart-kernel')"
        self.page.evaluate(f"() => {{ window.scilabRestart = {restart}; }}")  # it waits for the answer
        self.page.locator(".jp-Dialog").get_by_role("button", name="Confirm Kernel Restart").click()
        self.page.evaluate("() => window.scilabRestart")
        self.page.wait_for_function(KERNEL_READY)
        return self

    # Acting and looking

    def click(self, text: str) -> LabPage:
        """Click the first button of the notebook with exactly this name."""
        self.page.locator(".jp-Notebook").get_by_role("button", name=text, exact=True).first.click()
        return self

    def expect(self, text: str, timeout_s: float = 20) -> LabPage:
        """Wait until an output of the notebook shows the text."""
        found = self.page.locator(".jp-Notebook .jp-OutputArea").get_by_text(text).first
        found.wait_for(timeout=timeout_s * 1000)
        return self

    def cells(self) -> list[Cell]:
        """The code cells, in order."""
        return [Cell(**cell) for cell in self.page.evaluate(READ_CELLS)]

    def failed_cells(self) -> list[str]:
        """A line for each code cell that raised."""
        return [f"cell {number}: {cell.error}" for number, cell in enumerate(self.cells(), 1) if cell.error]

    def heard(self) -> list[str]:
        """Errors of widget callbacks and threads, and dropped messages, since the page was opened."""
        new = self.page.evaluate("() => window.scilabHeard ?? { raised: [], printed: '' }")
        return [
            *self._heard_before,
            *(f"a widget callback raised {error}" for error in new["raised"]),
            *(f"a traceback was printed: {error}" for error in TRACEBACK.findall(new["printed"])),
            *(f"the server dropped updates: {text}" for text in FLOOD.findall(new["printed"])),
        ]

    def broken_widgets(self) -> list[str]:
        """What stands in place of widgets that could not be drawn."""
        places = self.page.locator(".jupyter-widgets-error-widget, .jupyter-widgets-disconnected")
        return [f"a widget could not be drawn: {text.strip()[:200]}" for text in places.all_inner_texts()]

    def problems(self) -> list[str]:
        """Everything that went wrong on this page so far."""
        return [
            *self.failed_cells(),
            *self.heard(),
            *self.broken_widgets(),
            *(f"console: {text[:300]}" for text in self.console_errors),
            *(f"script error: {text[:300]}" for text in self.script_errors),
            *(f"asked another host: {url[:200]}" for url in self.offsite),
        ]

    def screenshot(self, path: Path | str) -> Path:
        """Save the whole notebook as a PNG. It scrolls in its panel, so the window grows to its height."""
        path, size = Path(path), self.page.viewport_size
        path.parent.mkdir(parents=True, exist_ok=True)
        self.page.evaluate("() => jupyterapp.shell.collapseLeft()")
        notebook = self.page.locator(".jp-NotebookPanel-notebook .jp-WindowedPanel-outer")
        for _ in range(3):  # plots change height as the window does
            missing = notebook.evaluate(
                "it => { it.scrollTop = 0; return it.scrollHeight - it.clientHeight; }"
            )
            if missing <= 0:
                break
            height = min(self.page.viewport_size["height"] + missing, 16_000)
            self.page.set_viewport_size({"width": size["width"], "height": height})
            self.page.wait_for_timeout(400)
        self.page.locator(".jp-NotebookPanel").screenshot(path=path)
        self.page.set_viewport_size(size)
        return path

    # Listening

    def _arrive(self) -> None:
        """Wait for the notebook and its kernel; a question of JupyterLab's is an error: nobody answers it."""
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
        deadline = time.monotonic() + 60
        while not self.page.evaluate(KERNEL_READY):
            question = self.page.locator(".jp-Dialog-content")
            if question.count():
                raise RuntimeError("JupyterLab asks: " + " ".join(question.first.inner_text().split()))
            if time.monotonic() > deadline:
                raise TimeoutError("no idle kernel within 60 s of opening the notebook")
            self.page.wait_for_timeout(50)
        self.page.evaluate(LISTEN)

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.console_errors.append(message.text)

    def _note_script_error(self, error: Error) -> None:
        self.script_errors.append(str(error))

    def _note_host(self, request: Request) -> None:
        host = urlsplit(request.url).hostname
        if host is not None and host not in LOOPBACK and request.url not in self.offsite:
            self.offsite.append(request.url)

    def _leave(self, dialog: Dialog) -> None:
        """Say yes to "leave this page?", which the browser asks when a page with unsaved changes reloads."""
        dialog.accept()

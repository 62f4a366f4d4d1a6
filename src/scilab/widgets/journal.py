"""`JournalWidget`: every run of every notebook, each opened in the panel of its kind."""

from __future__ import annotations

from importlib import import_module
from typing import Any, ClassVar

import ipywidgets

from scilab.runs import Journal

from .browser import rows
from .panel import HERE, Panel

PANELS = {"federation": "FederationWidget", "kfac": "KFACWidget", "campaign": "SteeringWidget",
          "training": "TrainingWidget", "extraction": "ExtractionWidget"}  # fmt: skip
"""The panel that shows runs of a kind, by its name in scilab.widgets."""


class _Browser(Panel):
    """A panel that is only its journal: what it opens is shown by the panel of the run's kind."""

    title: ClassVar[str] = "Journal"
    module = HERE / "journal.js"

    def __init__(self, show: Any, journal: Journal | None):
        self._show_below = show
        super().__init__(journal=journal)

    def _rows(self) -> list[dict]:
        return [rows([run], run.kind if run.kind in PANELS else "", "steps")[0] for run in self._stored[:100]]

    def do_open(self, id: str) -> None:
        """Show a run, as it was or as it goes on, in the panel of its kind."""
        self._show_below(self._find(id))

    def do_resume(self, id: str | None = None) -> None:
        """Open a run and go on with it."""
        if id is None:
            raise ValueError("Choose one run first.")
        answer = self._show_below(self._find(id)).act("resume", id=id)
        if not answer["ok"]:
            raise ValueError(answer["message"])

    def do_compare(self, ids: list[str]) -> None:
        """Put two runs of one kind side by side, in a panel of their kind."""
        kinds = {self._find(id).kind for id in ids}
        if len(kinds) != 1:
            raise ValueError(f"Only runs of one kind can be compared; these are of {', '.join(sorted(kinds))}.")
        answer = self._show_below(self._find(ids[0])).act("compare", ids=ids)
        if not answer["ok"]:
            raise ValueError(answer["message"])


class JournalWidget(ipywidgets.VBox):
    """All runs of a journal (default: the user's own): open, resume, compare, rename, note, delete, export, import.

    ``browser`` is its panel, to be driven without a page by ``browser.act("open", id=…)``; ``shown`` is the panel of
    the run opened last, or None.
    """

    def __init__(self, journal: Journal | None = None):
        super().__init__()
        self.shown: Panel | None = None
        self.browser = _Browser(self._open, journal)
        self.children = (self.browser,)

    def _open(self, run: Any) -> Panel:
        if run.kind not in PANELS:
            raise ValueError(f"There is no panel for runs of kind “{run.kind}”; there is one for {', '.join(PANELS)}.")
        if self.shown is not None:
            self.shown.close()
        panel = getattr(import_module(__package__), PANELS[run.kind])
        self.shown = panel(run, journal=self.browser.journal)
        self.children = (self.browser, self.shown)
        return self.shown

    def __repr__(self) -> str:
        count = self.browser.runs["count"]
        return f"Journal of {count} run{'s' * (count != 1)}. Run this cell to see it."

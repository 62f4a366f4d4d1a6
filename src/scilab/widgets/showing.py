"""What a panel says about itself: head, form and notice, as plain data for the page (and for a test)."""

from __future__ import annotations

import re
import time

from . import words
from .browser import plain_settings
from .fields import for_page

NEWS_S = 24 * 3600.0  # how old a run may be that is still offered beside newer ones


class Showing:
    """The half of a panel that describes its state; it changes nothing."""

    def _head(self) -> dict:
        run = self._run
        status = self._doing or (run.status if run is not None else "ready")
        recorded = run is not None and bool(run.recorded)
        active = status in words.ACTIVE
        return {"title": self.title, "name": run.name if run is not None else "", "status": status,
                "recorded": recorded, "sentence": words.SENTENCES["recorded" if recorded else status],
                "progress": words.progress(run.progress if run is not None else None, self.unit, active),
                "buttons": words.buttons(status, here=self._live or bool(self._doing), recorded=recorded,
                                         resumable=run is not None and run.resumable, blocked=self._blocked()),
                "saves": self.saves() if run is not None and not self._doing else [],
                "notice": self._notice() if run is None and not self._doing else {}}

    def _going(self) -> str | None:
        """Why nothing can be started beside what is going on in this kernel."""
        for run in list(self._steered.values()):
            if run.kind == self.kind and run.status in words.ACTIVE:
                return f"“{run.name}” is going on in this kernel; open it under Runs."
        return None

    def _blocked(self) -> str | None:
        """Why nothing can be launched now."""
        if self._journal_error or self._going():
            return self._journal_error or self._going()
        if self._given is not None and not self._spent:
            return None
        if not self.fields:
            return "This panel only shows runs."
        if self._fixed():
            again = self._given is not None and self._run is None
            return ("This one has run. Run the cell again to make a new one." if again
                    else "These settings were made by code. Press New run to choose your own.")
        wrong = [field.label for field in self.fields if field.name in self._form.errors]
        return f"To be put right first: {', '.join(wrong)}." if wrong else None

    def _fixed(self) -> bool:
        """Whether the settings shown are not the fields' but those of code."""
        if self._run is None:
            return not self.fields or (self._given is not None and not self._spent)
        return not self.fields or self.values_of(self._settings) is None

    def _notice(self) -> dict:
        """The run that waits for a person: of this kind, going on or cut off, or the newest if it is unfinished."""
        ended = {"interrupted": "was interrupted", "stopped": "was stopped", "failed": "failed"}
        mine = [run for run in self._stored if run.kind == self.kind and not run.recorded]
        # Others may have run since, from other cells; but what was left lying long ago is no news.
        news = [run for i, run in enumerate(mine) if i == 0 or time.time() - run.created < NEWS_S]
        waiting = [run for run in news if run.status in words.ACTIVE | {"interrupted"}]
        run = (waiting or mine or [None])[0]
        if run is None or run.status not in words.ACTIVE | ended.keys():
            return {}
        done = words.progress(run.progress, self.unit, False)["text"].split(" · ")[0]
        offers = [{"label": "Show", "action": "open", "args": {"id": run.id}}]
        if run.resumable:
            offers.insert(0, {"label": "Resume", "action": "resume", "args": {"id": run.id}})
        what = f"{ended[run.status]} at {done}" if run.status in ended else f"is going on ({run.status}, {done})"
        return {"text": f"“{run.name}” {what}.", "buttons": offers}

    def _form_state(self, status: str) -> dict:
        form, fixed, locked = self._form, self._fixed(), status in words.ACTIVE
        drawn = [field for field in self.fields if field.control]  # the others are in the panel's own view
        return {**for_page([] if fixed else drawn, form, self._typed),
                "locked": "Settings are fixed while the run goes on." if locked else "",
                "estimate": {} if fixed or locked or form.errors else self._cost,
                "settings": [list(pair) for pair in plain_settings(self._settings).items()] if fixed else [],
                "new": fixed and not locked and self._run is not None and bool(self.fields)}

    def _problem(self) -> dict:
        run = self._run
        if self._trouble or self._broken:
            return self._trouble or self._broken
        if run is not None and run.error and run.error != self._dismissed:
            last = re.sub(r"^[\w.]+\.(?=\w+:)", "", run.error.strip().splitlines()[-1])  # no module before its name
            return {"message": last, "details": run.error}
        return {"message": self._journal_error, "details": ""} if self._journal_error else {}

    def _code(self) -> str:
        if not self._fixed():
            return self._script
        if self._run is None:
            return ""
        return (f"from scilab.runs import Journal\n\nrun = Journal().run({self._run.id!r})\n"
                "for record in run.records():\n    print(record)\n")

"""What a click on the controls of a run does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from scilab.runs import Run

from .asking import Asking
from .words import ACTIVE


class Launched:
    """A capability with the values it was built from in its settings, so that another kernel can build it again."""

    def __init__(self, capability: Any, values: Mapping):
        self._capability = capability
        self.settings = {**getattr(capability, "settings", {}), "values": dict(values)}

    def __iter__(self):
        return iter(self._capability)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._capability, name)


class Acting(Asking):
    """The actions of a panel that concern its run."""

    def do_set(self, values: Mapping) -> None:
        """Type values into fields."""
        self._named(values)
        with self._lock:
            self._typed |= values
            self._judge()
            if self._run is None:
                self._show(None)

    def do_launch(self, name: str | None = None) -> dict:
        self._refuse_unless("launch")
        with self._doing_it("starting"):
            self._show(Run(self._capability(), name=name or None, journal=self.journal).start())
        return {"run": self._run.id}

    def do_pause(self) -> None:
        self._refuse_unless("pause")
        self._run.pause()

    def do_stop(self) -> None:
        self._refuse_unless("stop")
        self._run.stop(wait=False)

    def do_resume(self, id: str | None = None) -> None:
        """Go on with the run shown where it was paused, or take a stored one up at its last checkpoint."""
        if id is not None and (self._run is None or self._run.id != id):
            self.do_open(id)
        self._refuse_unless("resume")
        if self._live and self._run.status in ACTIVE:
            self._run.unpause()
            return
        if going := self._going():
            raise ValueError(going)
        with self._doing_it("starting"):
            id = self._run.id
            run = Run.resume(id, self._capability(stored=True), journal=self.journal)
            differing = [f"{name} was {was}, is now {now}" for name, was, now in run.differences]
            self._show(run.start())
            if differing:
                self._trouble = {"message": f"Resumed with other settings: {'; '.join(differing)}.", "details": ""}

    def do_new(self) -> None:
        """Back to the fields, no run shown."""
        self._show(None)

    def do_command(self, command: Mapping) -> None:
        """Tell the running capability something; it is written to the Journal."""
        if not self._live or self._run.status not in ACTIVE:
            raise ValueError("Nothing is running that could be told.")
        self._run.command(dict(command))

    def do_refresh(self) -> None:
        """Read the journal again, and send the page everything."""
        with self._lock:
            self._whole, self._rows_due, self._broken = True, True, {}

    def do_dismiss(self) -> None:
        """Hide the message."""
        self._dismissed = self._run.error if self._run is not None else None

    def _capability(self, stored: bool = False) -> Any:
        """The capability to run: the one given, or one built from the values of the fields or of a stored run."""
        if self._given is not None and not self._spent:
            self._spent = True
            return self._given
        if not stored:
            built = self.build(self.values)
            return built if getattr(built, "settings", {}).get("values") else Launched(built, self.values)
        if self._settings.get("values") is None:
            raise ValueError("This run was made by code, so only code can build it again: "
                             f"Run.resume({self._run.id!r}, capability).start(), then show that run in a panel.")
        return self.rebuild(self._settings)

    def _refuse_unless(self, button: str) -> None:
        state = self._head()["buttons"][button]
        if not state["on"]:
            raise ValueError(state["why"])

    @contextmanager
    def _doing_it(self, status: str) -> Iterator[None]:
        """While the worker builds something, the panel says so."""
        self._doing = status
        self._publisher.wake()
        try:
            yield
        finally:
            self._doing = ""

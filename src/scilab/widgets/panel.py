"""The panel every widget of scilab is: what you choose left, what happens right, the run's controls on top.

A panel holds nothing that is not in the Journal or in its fields. What it shows is made by folding the run's records,
and sent by one publisher thread at most ten times a second. `Panel.act` does what a click does, so everything works,
and is tested, without a page.
"""

from __future__ import annotations

import threading
import time
import traceback
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from scilab.runs import Journal, Run

from . import words
from .acting import Acting, Launched
from .assets import bundle
from .browser import Browsing
from .delta import difference
from .estimate import Estimate, free_memory
from .fields import Field, judge
from .publisher import Publisher
from .showing import Showing
from .worker import Worker

HERE = Path(__file__).parent
FOLLOW_S = 1.0  # how often a run is looked at that wakes nobody: elapsed time, runs of other kernels


class Panel(Acting, Browsing, Showing, anywidget.AnyWidget):
    """The base of the widgets. A subclass says what is particular to its capability:

    ``title``, ``kind`` (of the runs it shows), ``unit`` (what progress counts), ``fields``; `build` and, as it needs
    them, `check`, `estimate`, `plan`, `begin`, `draw`, `extra`, `script`, and ``module``, a page module beside its
    Python.

    ``Panel()`` sets everything by hand; ``Panel(run)`` shows and steers a run, live or stored; ``Panel(capability)``
    launches what the cell built. ``journal`` is a Journal or a path; by default the run's, or the user's own.
    """

    title: ClassVar[str] = "Run"
    kind: ClassVar[str] = ""
    unit: ClassVar[str] = "steps"
    fields: tuple[Field, ...] = ()
    module: ClassVar[Path] = HERE / "panel.js"

    _esm = bundle(HERE / "panel.js")
    _css = (HERE / "panel.css").read_text(encoding="utf-8")
    head = traitlets.Dict().tag(sync=True)  # status, progress, buttons with their reasons, notice
    form = traitlets.Dict().tag(sync=True)  # fields, what was typed, errors, estimate
    picture = traitlets.Dict().tag(sync=True)  # the live view, see picture.py; goes to the page as `change`s
    change = traitlets.Dict().tag(sync=True)
    runs = traitlets.Dict().tag(sync=True)  # the journal's rows
    comparison = traitlets.Dict().tag(sync=True)
    problem = traitlets.Dict().tag(sync=True)  # message and details of what went wrong, or empty
    code = traitlets.Unicode().tag(sync=True)  # the same without the widget
    _steered: ClassVar = weakref.WeakValueDictionary()  # runs this kernel can steer, by id

    def __init_subclass__(cls, **kwargs):
        if "module" in cls.__dict__:  # not in the class that anywidget derives for each instance
            cls._esm = bundle(cls.module)
        super().__init_subclass__(**kwargs)

    def __init__(self, subject: Any = None, *, journal: Journal | str | Path | None = None):
        if subject is not None and self.kind and getattr(subject, "kind", None) != self.kind:
            given = getattr(subject, "kind", None) or type(subject).__name__
            raise ValueError(f"{type(self).__name__} shows and launches runs of kind {self.kind!r}; given: {given}")
        super().__init__()
        self._lock = threading.RLock()  # held while state is read or replaced, never while a run is waited for
        self._typed: dict[str, Any] = {}
        self._given = None if subject is None or hasattr(subject, "records") else subject
        self._spent = False  # whether the given capability has been run
        self._run: Any = None
        self._live, self._doing, self._drawn, self._settings = False, "", {}, {}
        self._since, self._version, self._looked = 0, 0, 0.0
        self._whole, self._rows_due = True, True
        self._trouble, self._broken, self._dismissed, self._comparison = {}, {}, None, {}
        self._stored, self._size = [], words.DASH
        self._unsubscribe = lambda: None
        self._worker, self._publisher = Worker(self), Publisher(self._flush)
        self._journal_error = ""
        self.journal = journal if hasattr(journal, "runs") else getattr(subject, "journal", None)
        try:
            self.journal = self.journal or Journal(journal)
        except OSError as error:  # shown, not raised: the panel says what to do
            self._journal_error = str(error)
        self._judge()
        self._show(subject if hasattr(subject, "records") else None)
        self.on_msg(self._receive)
        self._flush()

    # ---- what a subclass says

    def build(self, values: Mapping) -> Any:
        """The capability these values describe. Called in the worker thread; may take its time."""
        raise ValueError(f"{type(self).__name__} only shows runs: it has no build(values).")

    def rebuild(self, settings: Mapping) -> Any:
        """The capability of a stored run, from its settings."""
        return Launched(self.build(settings["values"]), settings["values"])

    def check(self, values: Mapping) -> Mapping[str, str]:
        """Combinations that cannot be: {field: sentence}."""
        return {}

    def estimate(self, values: Mapping) -> Estimate | None:
        """What a launch will cost."""
        return None

    def plan(self, values: Mapping) -> dict:
        """Settings for `begin` before there is a run, so that what would be launched shows while it is chosen."""
        return {"values": dict(values)}

    def values_of(self, settings: Mapping) -> dict | None:
        """What the fields were set to for a stored run, or None where the fields cannot say it."""
        return settings.get("values")

    def begin(self, settings: Mapping) -> dict:
        """The picture before the first record."""
        return {}

    def draw(self, records: list[dict], picture: dict) -> dict:
        """The picture after these records. Pure: drawing in parts gives what drawing at once gives."""
        return picture

    def extra(self) -> dict:
        """What the picture holds besides what the records tell, such as what a person has selected in it."""
        return {}

    def saves(self) -> list[dict]:
        """What of the run shown can be saved: buttons {"label", "why" (on hover), "action", "args"}."""
        why = "The whole run as a file, to be shown again here or elsewhere"
        return [{"label": "Run", "why": why, "action": "export", "args": {"id": self._run.id}}]

    def script(self, values: Mapping) -> str:
        """Python that does the same without the widget."""
        return ""

    # ---- without a page

    def launch(self, name: str | None = None) -> Run:
        """Press Launch. Raises RuntimeError with the panel's message where it cannot."""
        answer = self.act("launch", name=name)
        if not answer["ok"]:
            raise RuntimeError(answer["message"])
        return self._run

    def wait(self, timeout_s: float | None = None) -> str:
        """Wait until the shown run has ended; returns its status."""
        if self._live:
            self._run.wait(timeout_s=timeout_s)
        self._flush()
        return self.head["status"]

    @property
    def run(self) -> Any:
        """The run shown (Run or StoredRun), or None."""
        return self._run

    @property
    def values(self) -> dict:
        """The values set, ready for `build`; a default stands in for each that is wrong."""
        return dict(self._form.values)

    def __repr__(self) -> str:
        return f"{self.title}: {self.head.get('status', 'closed')}. Run this cell to see its panel."

    def close(self) -> None:
        """Remove the panel; its run, if one is going on, goes on. Idempotent."""
        if getattr(self, "_publisher", None) is not None and self.comm is not None:
            self._unsubscribe()
            self._flush()
            self._worker.close()
            self._publisher.close()
        super().close()

    # ---- what is shown

    def _judge(self) -> None:
        self._form = judge(self.fields, self._typed, self.check)
        estimate = self.estimate(self._form.values)
        self._cost = estimate.describe(free_memory()) if estimate else {}
        self._script = self.script(self._form.values)

    def _find(self, id: str) -> Any:
        live = self._steered.get(id)
        return live if live is not None and live.status in words.ACTIVE else self.journal.run(id)

    def _show(self, run: Any) -> None:
        """Show a run from its first record, or what would be launched (None)."""
        with self._lock:
            self._unsubscribe()
            self._unsubscribe = lambda: None
            self._run, self._live, self._since = run, hasattr(run, "pause"), 0
            self._broken, self._rows_due, self._comparison = {}, True, {}
            if run is not None:
                self._settings = run.settings
                if (values := self.values_of(self._settings)) is not None:
                    self._typed = dict(values)
                    self._judge()
            elif self._given is not None and not self._spent:
                self._settings = getattr(self._given, "settings", {})
            else:
                self._settings = self.plan(self._form.values)
            self._drawn = self.begin(self._settings)
            if self._live:
                self._steered[run.id] = run
                publisher = self._publisher
                self._unsubscribe = run.subscribe(lambda _run: publisher.wake())

    def _folded(self, run: Any) -> dict:
        return self.draw(run.records(), self.begin(run.settings))

    def _flush(self) -> None:
        """Send what is true now and was not sent yet."""
        with self._lock:
            try:
                self._follow()
            except Exception as error:  # a mistake in draw, or a journal that has gone; said once, not all the time
                self._rows_due = False
                self._broken = {"message": f"The run cannot be drawn: {error}", "details": traceback.format_exc()}
            head = self._head()
            shown = self._run.id if self._run is not None else ""
            found = {"rows": self._rows(), "count": len(self._stored), "shown": shown}
            state = {"head": head, "form": self._form_state(head["status"]), "problem": self._problem(),
                     "comparison": self._comparison, "runs": found | {"size": self._size}, "code": self._code()}
            public = {key: value for key, value in self._drawn.items() if not key.startswith("_")} | self.extra()
            changed = difference({key: value for key, value in self.picture.items() if key != "version"}, public)
            if changed is not None or self._whole:
                state["change"] = {} if self._whole else {"base": self._version, "change": changed}
                self._version += 1
                state["picture"] = public | {"version": self._version}
            with self.hold_sync():
                for name, value in state.items():
                    setattr(self, name, value)
            self._whole = False
            going = head["status"] in words.ACTIVE or any(run.status in words.ACTIVE for run in self._stored)
            self._publisher.look_every(FOLLOW_S if going else None)

    def _should_send_property(self, key: str, value: Any) -> bool:
        # The picture goes out whole only when asked for, what is added to it as `change`. A page that is loaded
        # later asks for the state, and gets the whole.
        return (key != "picture" or self._whole) and super()._should_send_property(key, value)

    def _follow(self) -> None:
        """Read what is new in the journal."""
        run = self._run
        if run is not None and not self._live and run.status in words.ACTIVE:
            self._run = run = self.journal.run(run.id)  # goes on in another kernel
        if run is not None and not self._broken:
            new = run.records(since=self._since)
            if new:
                self._drawn, self._since = self.draw(new, self._drawn), new[-1]["n"]
        status = run.status if run is not None else "ready"
        stale = any(row.status in words.ACTIVE for row in self._stored) and time.monotonic() - self._looked > FOLLOW_S
        if (self._rows_due or stale or status != self.head.get("status")) and not self._journal_error:
            self._stored, self._looked, self._rows_due = self.journal.runs(), time.monotonic(), False
            self._size = words.size(self.journal.size_bytes)

"""The panel every widget of scilab is: what you choose on the left, what happens on the right, the run's
controls on top.

A panel holds nothing that is not in the Journal or in its fields. What the page asks for is queued by the
message handler and done by one worker thread; what the page shows is made by folding the run's records and
sent by one publisher thread, at most ten times a second. `Panel.act` does what a click does, so everything
works, and is tested, without a page.
"""

from __future__ import annotations

import threading
import traceback
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from scilab.runs import Journal, Run
from scilab.widgets import words
from scilab.widgets.assets import bundle
from scilab.widgets.browser import Browsing, plain_settings, rows
from scilab.widgets.delta import difference
from scilab.widgets.estimate import Estimate, free_memory
from scilab.widgets.fields import Field, judge
from scilab.widgets.publisher import Publisher
from scilab.widgets.worker import Worker

HERE = Path(__file__).parent
_HERE_NOW: weakref.WeakValueDictionary[str, Run] = weakref.WeakValueDictionary()  # runs this kernel can steer, by id


class Launched:
    """A capability with the values it was built from in its settings, so that another kernel can build it
    again.
    """

    def __init__(self, capability: Any, values: Mapping):
        self._capability = capability
        self.settings = {**capability.settings, "values": dict(values)}

    def __iter__(self):
        return iter(self._capability)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._capability, name)


class Panel(Browsing, anywidget.AnyWidget):
    """The base of the widgets. A subclass says what is particular to its capability:

    ``title``, ``kind`` (of the runs it shows), ``unit`` (what progress counts), ``fields``; `build` and, as
    it needs them, `check`, `estimate`, `plan`, `begin`, `draw`, `script` and ``module`` (a page module
    beside its Python).

    ``Panel()`` sets everything by hand; ``Panel(run)`` shows and steers a run, live or stored;
    ``Panel(capability)`` launches what the cell built. ``journal`` is a Journal or a path; by default the
    user's own. Without a page: `act`, `set`, `launch`, `wait`, `values`, `errors`, `run`, and the traits
    below.
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
    picture = traitlets.Dict().tag(sync=True)  # the live view; on its way to the page as `change` where it can be
    change = traitlets.Dict().tag(sync=True)
    runs = traitlets.Dict().tag(sync=True)  # the journal's rows
    comparison = traitlets.Dict().tag(sync=True)
    problem = traitlets.Dict().tag(sync=True)  # message and details of what went wrong, or empty
    code = traitlets.Unicode().tag(sync=True)  # the same without the widget

    def __init_subclass__(cls, **kwargs):
        if "module" in cls.__dict__:  # not in the class anywidget derives for each instance
            cls._esm = bundle(cls.module)
        super().__init_subclass__(**kwargs)

    def __init__(self, subject: Any = None, *, journal: Journal | str | Path | None = None):
        super().__init__()
        self._lock = threading.RLock()  # held while state is read or replaced, never while anything computes or waits
        self._typed: dict[str, Any] = {}
        self._given = None if subject is None or hasattr(subject, "records") else subject
        self._run: Any = None
        self._live, self._doing, self._drawn = False, "", {}
        self._since, self._version = 0, 0
        self._comparison: dict = {}
        self._trouble: dict = {}
        self._stored: list = []
        self._rows_due, self._whole, self._broken = True, False, False
        self._unsubscribe = lambda: None
        self._upload = bytearray()
        self._worker, self._publisher = Worker(self), Publisher(self._flush)
        self.journal = journal
        try:
            if not hasattr(journal, "runs"):
                self.journal = getattr(subject, "journal", None) or Journal(journal)
        except OSError as error:
            self._journal_error = str(error)
        else:
            self._journal_error = None
        self._judge()
        self._show(subject if hasattr(subject, "records") else None)
        self.on_msg(self._receive)
        self._flush()

    # ---- what a subclass says -------------------------------------------------------------------------------------

    def build(self, values: Mapping) -> Any:
        """The capability these values describe. Called in the worker thread; may take its time."""
        raise ValueError(f"{type(self).__name__} shows runs only; it has no build(values)")

    def check(self, values: Mapping) -> Mapping[str, str]:
        """Combinations that cannot be: {field: sentence}."""
        return {}

    def estimate(self, values: Mapping) -> Estimate | None:
        """What a launch will cost."""
        return None

    def plan(self, values: Mapping) -> dict:
        """Settings as `begin` needs them, before there is a run: what would be launched is shown while it
        is chosen.
        """
        return {"values": dict(values)}

    def begin(self, settings: dict) -> dict:
        """The picture before the first record."""
        return {}

    def draw(self, records: list[dict], picture: dict) -> dict:
        """The picture after these records. Pure: drawing in parts gives what drawing at once gives."""
        return picture

    def script(self, values: Mapping) -> str:
        """Python that does the same without the widget."""
        return ""

    # ---- without a page -------------------------------------------------------------------------------------------

    def act(self, action: str, **args: Any) -> dict:
        """Do what a click does and wait for it. Returns ``{"ok": bool, "message": str, …}``; never raises
        for a mistake of the person, which is shown in ``problem`` as on the page.
        """
        answer = self._worker.submit(self._perform, action, args).result()
        self._flush()
        return answer

    def set(self, **values: Any) -> dict:
        """Type values into the fields; returns what is wrong with them, {field: sentence}."""
        self.act("set", values=values)
        return self.errors

    def launch(self, name: str | None = None) -> Run:
        """Press Launch. Raises RuntimeError with the panel's message where it cannot."""
        answer = self.act("launch", name=name)
        if not answer["ok"]:
            raise RuntimeError(answer["message"])
        return self._run

    def wait(self, timeout_s: float | None = None) -> str:
        """Wait until the shown run has ended; returns its status."""
        if self._run is not None and self._live:
            self._run.wait(timeout_s=timeout_s)
        self._flush()
        return self.head["status"]

    @property
    def run(self) -> Any:
        """The run shown (Run or StoredRun), or None."""
        return self._run

    @property
    def values(self) -> dict:
        """The values set, ready for `build`."""
        return dict(self._form.values)

    @property
    def errors(self) -> dict:
        """What is wrong with the fields: {field: sentence}."""
        return dict(self._form.errors)

    def __repr__(self) -> str:
        return f"{self.title}: {self.head.get('status', 'closed')}. Run this cell to see its panel."

    def close(self) -> None:
        """Remove the panel; its run, if one is going on, goes on. Idempotent."""
        if "_publisher" in self.__dict__ and self.comm is not None:
            self._unsubscribe()
            self._flush()
            self._worker.close()
            self._publisher.close()
        super().close()

    # ---- actions: each in the worker thread -----------------------------------------------------------------------

    def do_set(self, values: Mapping) -> None:
        unknown = [name for name in values if name not in {field.name for field in self.fields}]
        if unknown:
            raise ValueError(f"There is no field {unknown[0]!r}; there are {', '.join(f.name for f in self.fields)}.")
        with self._lock:
            self._typed |= values
            self._judge()
            if self._run is None:
                self._show(None)

    def do_launch(self, name: str | None = None) -> dict:
        self._refuse_unless("launch")
        with self._doing_it("starting"):
            capability = self._given if self._given is not None else Launched(self.build(self.values), self.values)
            run = Run(capability, name=name or None, journal=self.journal).start()
            self._show(run)
        return {"run": run.id}

    def do_pause(self) -> None:
        self._refuse_unless("pause")
        self._run.pause()

    def do_stop(self) -> None:
        self._refuse_unless("stop")
        self._run.stop(wait=False)

    def do_resume(self, id: str | None = None) -> None:
        """Go on with the run shown, or with a stored one."""
        if id is not None and (self._run is None or self._run.id != id):
            self.do_open(id)
        self._refuse_unless("resume")
        if self._live and self._run.status == "paused":
            self._run.unpause()
            return
        with self._doing_it("starting"):
            stored = self._run
            values = stored.settings.get("values")
            if self._given is None and values is None:
                raise ValueError("This run was made by code, so only code can build it again: "
                                 f"Run.resume({stored.id!r}, capability), then show that run.")
            capability = Launched(self.build(values), values) if values is not None else self._given
            run = Run.resume(stored.id, capability, journal=self.journal)
            differences = [f"{name} was {was}, is now {now}" for name, was, now in run.differences]
            self._show(run.start())
            if differences:
                self._trouble = {"message": "Resumed with other settings: " + "; ".join(differences) + ".", "details": ""}

    def do_new(self) -> None:
        """Back to the fields, no run shown."""
        self._show(None)

    def do_command(self, command: Mapping) -> None:
        """Tell the running capability something; it is written to the Journal."""
        if not self._live or self._run.status not in words.ACTIVE:
            raise ValueError("Nothing is running that could be told.")
        self._run.command(dict(command))

    def do_refresh(self) -> None:
        """The page missed a change: send it everything."""
        with self._lock:
            self._whole = self._rows_due = True

    def do_dismiss(self) -> None:
        self._trouble = {}

    # ---- the worker's side ----------------------------------------------------------------------------------------

    def _receive(self, _widget, content: dict, buffers: list) -> None:
        self._worker.submit(self._answer, content, buffers)

    def _answer(self, content: dict, buffers: list) -> None:
        args = dict(content.get("args") or {})
        if buffers:
            args["data"] = buffers[0]
        answer = self._perform(content.get("action", ""), args)
        self._publisher.wake()
        self.send({"type": "answer", "id": content.get("id"), **answer})

    def _perform(self, action: str, args: Mapping) -> dict:
        try:
            handler = getattr(self, f"do_{action}", None)
            if handler is None:
                raise ValueError(f"This panel has no action {action!r}.")
            if action != "set":
                self._trouble = {}
            return {"ok": True, "message": "", **(handler(**args) or {})}
        except Exception as error:
            message = str(error) or type(error).__name__
            known = isinstance(error, ValueError | OSError)  # a sentence for the person; anything else needs its details
            self._trouble = {"message": message if known else f"{type(error).__name__}: {message}",
                             "details": "" if known else traceback.format_exc()}
            return {"ok": False, "message": message}

    def _refuse_unless(self, button: str) -> None:
        state = self._head()["buttons"][button]
        if not state["on"]:
            raise ValueError(state["why"])

    def _doing_it(self, status: str) -> _Doing:
        return _Doing(self, status)

    def _judge(self) -> None:
        self._form = judge(self.fields, self._typed, self.check)
        estimate = self.estimate(self._form.values) if self.fields else None
        self._cost = estimate.describe(free_memory()) if estimate else {}

    def _find(self, id: str) -> Any:
        live = _HERE_NOW.get(id)
        return live if live is not None and live.status in words.ACTIVE else self.journal.run(id)

    def _show(self, run: Any) -> None:
        with self._lock:
            self._unsubscribe()
            self._unsubscribe = lambda: None
            self._run, self._live, self._since = run, hasattr(run, "pause"), 0
            self._whole = self._rows_due = True
            self._broken, self._comparison = False, {}
            if run is None:
                settings = self._given.settings if self._given is not None else self.plan(self._form.values)
            else:
                settings = run.settings
                if settings.get("values") is not None:
                    self._typed = dict(settings["values"])
                    self._judge()
            self._drawn = self.begin(settings)
            if self._live:
                _HERE_NOW[run.id] = run
                publisher = self._publisher
                self._unsubscribe = run.subscribe(lambda _run: publisher.wake())

    def _fold(self, run: Any) -> tuple[dict, int]:
        records = run.records()
        return self.draw(records, self.begin(run.settings)), records[-1]["n"] if records else 0

    # ---- the publisher's side -------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Send what is true now and was not sent yet."""
        with self._lock:
            try:
                state = self._state()
            except Exception as error:  # a panel's own mistake, or a journal that has gone
                self._broken = True
                self._trouble = {"message": f"The panel cannot be drawn: {error}", "details": traceback.format_exc()}
                state = {"problem": self._trouble}
            public = {key: value for key, value in self._drawn.items() if not key.startswith("_")}
            changed = difference({k: v for k, v in self.picture.items() if k != "version"}, public)
            if changed is not None or self._whole:
                self._version += 1
                state["change"] = {} if self._whole else {"base": self._version - 1, "change": changed}
                state["picture"] = public | {"version": self._version}
            with self.hold_sync():
                for name, value in state.items():
                    setattr(self, name, value)
            self._whole = False
            self._publisher.idle_s = 1.0 if self.head.get("status") in words.ACTIVE else None

    def _should_send_property(self, key: str, value: Any) -> bool:
        # The picture itself goes out only as a whole; what is added to it goes out as `change`. A page that is
        # loaded later asks for the state and gets the whole.
        return (key != "picture" or self._whole) and super()._should_send_property(key, value)

    def _state(self) -> dict:
        run = self._run
        if run is not None and not self._live and run.status in words.ACTIVE:
            self._run = run = self.journal.run(run.id)  # goes on in another kernel
        if run is not None and not self._broken:
            new = run.records(since=self._since)
            if new:
                self._drawn, self._since = self.draw(new, self._drawn), new[-1]["n"]
        status = run.status if run is not None else "ready"
        if self._rows_due or status != self.head.get("status"):
            self._stored = self.journal.runs() if self._journal_error is None else []
            self._rows_due = False
            found = {"rows": rows(self._stored, self.kind, self.unit), "count": len(self._stored),
                     "size": words.size(self.journal.size_bytes) if self._journal_error is None else words.DASH}
        else:
            found = {key: self.runs[key] for key in ("rows", "count", "size")}
        problem = self._trouble
        if not problem and run is not None and run.error:
            problem = {"message": run.error.strip().splitlines()[-1], "details": run.error}
        if not problem and self._journal_error is not None:
            problem = {"message": self._journal_error, "details": ""}
        head = self._head()
        return {"head": head, "form": self._form_state(head), "problem": problem, "comparison": self._comparison,
                "runs": found | {"shown": run.id if run is not None else ""}, "code": self._code()}

    def _head(self) -> dict:
        run = self._run
        status = self._doing or (run.status if run is not None else "ready")
        recorded = run is not None and bool(run.recorded)
        active = status in words.ACTIVE
        here = self._live or bool(self._doing)
        return {"title": self.title, "name": run.name if run is not None else "", "status": status, "recorded": recorded,
                "sentence": words.SENTENCES["recorded" if recorded else status],
                "progress": words.progress(run.progress if run is not None else {"done": 0 if active else None},
                                           self.unit, active),
                "buttons": words.buttons(status, here=here, recorded=recorded, blocked=self._blocked(),
                                         resumable=run is not None and bool(run.resumable)),
                "notice": self._notice() if run is None and not self._doing else {}}

    def _blocked(self) -> str | None:
        """Why nothing can be launched now."""
        if self._journal_error is not None:
            return self._journal_error
        going = [run.name for run in list(_HERE_NOW.values()) if run.kind == self.kind and run.status in words.ACTIVE]
        if going:
            return f"“{going[0]}” is going on in this kernel; open it under Runs."
        if self._given is not None:
            return None if self._run is None else "This one has run. Run the cell again to make a new one."
        if self._fixed():
            return "These settings were made by code. Press New run to choose your own."
        wrong = [field.label for field in self.fields if field.name in self._form.errors]
        return f"To be put right first: {', '.join(wrong)}." if wrong else None

    def _fixed(self) -> bool:
        """Whether the settings shown are not the fields' but those of code."""
        return (self._given is not None and self._run is None) or (
            self._run is not None and self._run.settings.get("values") is None) or not self.fields

    def _notice(self) -> dict:
        """The newest run of this kind, where it waits for a person."""
        for run in self._stored:
            if run.kind == self.kind and not run.recorded:
                done = words.progress(run.progress, self.unit, False)["text"].split(" · ")[0]
                show = {"label": "Show", "action": "open", "args": {"id": run.id}}
                if run.status == "interrupted":
                    resume = {"label": "Resume", "action": "resume", "args": {"id": run.id}}
                    return {"text": f"“{run.name}” was interrupted at {done}.",
                            "buttons": [resume, show] if run.resumable else [show]}
                if run.status in words.ACTIVE:
                    return {"text": f"“{run.name}” is going on ({run.status}, {done}).", "buttons": [show]}
                break
        return {}

    def _form_state(self, head: dict) -> dict:
        form, fixed = self._form, self._fixed()
        shown = self._run.settings if self._run is not None else self._given.settings if self._given is not None else {}
        locked = "Settings are fixed while the run goes on." if head["status"] in words.ACTIVE else ""
        return {"fields": [] if fixed else [field.describe() for field in self.fields], "locked": locked,
                "typed": {f.name: self._typed.get(f.name, f.default) for f in self.fields}, "errors": form.errors,
                "disabled": form.disabled, "reasons": {name: {str(value): why for value, why in given.items()}
                                                       for name, given in form.reasons.items()},
                "estimate": {} if fixed or form.errors else self._cost,
                "settings": [list(pair) for pair in plain_settings(shown).items()] if fixed else []}

    def _code(self) -> str:
        if not self._fixed():
            return self.script(self._form.values)
        return "" if self._run is None else (f"from scilab.runs import Journal\n\nrun = Journal().run({self._run.id!r})\n"
                                             "for record in run.records():\n    print(record)\n")


class _Doing:
    """While the worker builds something, the panel says so."""

    def __init__(self, panel: Panel, status: str):
        self._panel, self._status = panel, status

    def __enter__(self):
        self._panel._doing = self._status
        self._panel._publisher.wake()

    def __exit__(self, *_):
        self._panel._doing = ""

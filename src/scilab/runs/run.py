"""A run: one capability driven in the background, each record kept in the journal."""

from __future__ import annotations

import atexit
import io
import json
import secrets
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Generator
from typing import Any

from .claim import Claim, latest_checkpoint
from .database import JournalError
from .journal import Journal
from .liveness import HEARTBEAT_S
from .records import differences, encode, record_body
from .stored import LIVE, Shown

_SETTLE_S = 0.3  # a capability told to pause that is silent for so long has paused
_STOP_GRACE_S = 2.0  # one told to stop that still yields after so long is cut off
_unfinished: weakref.WeakSet[Run] = weakref.WeakSet()


class Run(Shown):
    """Drives `capability`, an iterator of records, in a background thread; see DESIGN for a capability's contract.

    A record is committed to the journal before the capability goes on and before a subscriber hears of it; one with
    `checkpoint = True` takes the capability's state with it. A capability with `send` is told to pause and to stop at
    once; a plain iterator pauses and stops between its records. A Run is started once.

    `status` goes ready, starting (until the first record), running, with pausing, paused and stopping, to one of
    stopped, finished and failed; or interrupted, when the interpreter exits under it. A script therefore ends with
    `run.wait()`. `error` is the full traceback of what failed, `subscriber_error` of the last callback that did.

    Raises:
        TypeError: `capability` is no iterable, or its settings have no JSON form.
        JournalError: the journal cannot be opened.
    """

    recorded = False

    def __init__(self, capability: Any, name: str | None = None, journal: Journal | None = None, notes: str = ""):
        if not hasattr(capability, "__iter__"):
            raise TypeError(f"a {type(capability).__name__} cannot be run: a capability is an iterator of records")
        self.capability = capability
        self.journal = Journal() if journal is None else journal
        self.id, self.created = secrets.token_hex(5), time.time()
        self.kind = getattr(capability, "kind", None) or getattr(capability, "__name__", type(capability).__name__)
        self._settings_text = encode(getattr(capability, "settings", {}), "settings")
        self._name, self._notes = name or f"{self.kind} {time.strftime('%d %b %H:%M:%S')}", notes
        self.status, self.error, self.subscriber_error = "ready", None, None
        self.differences: list[tuple[str, Any, Any]] = []
        # A generator's send() is something else.
        self._commandable = hasattr(capability, "send") and not isinstance(capability, Generator)
        self._resumes = False
        self._claim: Claim | None = None
        self._subscribers: list[Callable[[Run], object]] = []
        self._changed = threading.Condition(threading.RLock())  # guards status, clock and claim
        self._wants_pause = self._wants_stop = self._leaving = False
        self._stop_at = self._heard_at = 0.0
        self._before, self._since = 0.0, None  # seconds driven up to the last pause; since when it runs again
        self._verified = False
        self._exception: BaseException | None = None
        self._thread = threading.Thread(target=self._drive, name=f"run {self.id}", daemon=True)
        self._ended = threading.Event()

    @classmethod
    def resume(cls, id: str, capability: Any, journal: Journal | None = None) -> Run:
        """A Run, not yet started, that takes up run `id` at its last checkpoint (or its beginning, if it has none).

        Build the capability as for the first time; `.differences` lists (setting, stored, given) where its settings
        are not the stored ones. On start, records after the checkpoint are superseded and the given settings kept.

        Raises:
            JournalError: there is no such run, it has finished, is being driven, is a recording, or of another kind.
        """
        journal = Journal() if journal is None else journal
        stored = journal.run(id)
        if not stored.resumable:
            if stored.recorded:
                why = "is a recording, made elsewhere. Launch one of your own"
            elif stored.driver:
                why = f"is being driven by {stored.driver}. Stop it there first"
            else:
                why = f"has {stored.status}; there is nothing left to do"
            raise JournalError(f"run {id} {why}")
        run = cls(capability, stored.name, journal, stored.notes)
        if run.kind != stored.kind:
            raise JournalError(f"run {id} is a {stored.kind}, and cannot be resumed by a {run.kind}")
        run.id, run.created, run._resumes = id, stored.created, True
        run.differences = differences(stored.settings, run.settings)
        return run

    def start(self) -> Run:
        """Begin in the background; returns at once (a resumed run first loads its state).

        Raises:
            JournalError: the journal cannot be written, or another kernel took the run; nothing was started.
            RuntimeError: it was started before.
        """
        with self._changed:
            if self.status != "ready":
                raise RuntimeError(
                    f"run {self.id} was started before; make another Run, or Run.resume it once it has ended"
                )
            total = self._total()
            if self._resumes:
                start = latest_checkpoint(self.journal.database, self.id)
                if start.state is not None:
                    self._load(start.state)
                self._claim = Claim.again(self.journal.database, self.id, self._settings_text, total, start)
            else:
                facts = (self.id, self._name, self._notes, self.kind, self._settings_text, self.created, total)
                self._claim = Claim.new(self.journal.database, *facts)
            self.status, self._before, self._since = "starting", self._claim.elapsed, time.monotonic()
        _unfinished.add(self)
        self._notify()
        self._thread.start()
        threading.Thread(target=self._pulse, name=f"pulse of run {self.id}", daemon=True).start()
        return self

    def pause(self) -> Run:
        """Hold it; no effect unless it is starting or running."""
        with self._changed:
            if self.status not in ("starting", "running"):
                return self
            self._wants_pause, self._heard_at = True, time.monotonic()
            if self._commandable:
                self.capability.send("pause")
            self._mark("pausing")
        self._notify()
        return self

    def unpause(self) -> Run:
        """Let it go on; no effect unless it is pausing or paused."""
        with self._changed:
            if self.status not in ("pausing", "paused"):
                return self
            self._wants_pause = False
            if self._commandable:
                self.capability.send("resume")
            self._mark("running")
        self._notify()
        return self

    def stop(self, wait: bool = True) -> Run:
        """End it before its time, and wait for that; it can be resumed. No effect on a run that has ended."""
        with self._changed:
            if self.status not in ("starting", "running", "pausing", "paused"):
                asked = False
            else:
                asked = self._wants_stop = True
                self._stop_at = time.monotonic()
                if self._commandable:
                    self.capability.send("stop")
                self._mark("stopping")
        if asked:
            self._notify()
        return self.wait() if wait and self.status == "stopping" and self._elsewhere() else self

    def wait(self, timeout_s: float | None = None) -> Run:
        """Wait until it has ended, or for `timeout_s` seconds; returns the Run either way, and raises nothing of its
        failure (`.result` does). Interrupting the wait does not touch the run.
        """
        if self.status == "ready":
            raise RuntimeError(f"run {self.id} was not started: start() it first")
        if not self._elsewhere():
            raise RuntimeError("a subscriber cannot wait for the run that called it")
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        # In short waits: on some systems an interrupt is heard only between them.
        while not self._ended.wait(0.5 if deadline is None else max(0.0, min(0.5, deadline - time.monotonic()))):
            if deadline is not None and time.monotonic() >= deadline:
                break
        return self

    def close(self) -> None:
        """Stop it if it still runs, and wait for that."""
        self.stop()

    def command(self, command: dict) -> Run:
        """A person's act, for the capability; journalled as the record {"kind": "Command", "command": command}.

        Raises:
            RuntimeError: the run is not under way. TypeError: the capability takes no commands, or not a JSON dict.
        """
        if not self._commandable or not isinstance(command, dict):
            raise TypeError(f"{command!r} cannot be sent to a {self.kind}: only dicts, and only if it has send()")
        body = encode({"kind": "Command", "command": command}, "command")
        with self._changed:
            if self.status not in LIVE:
                raise RuntimeError(f"run {self.id} is {self.status}: commands are for a run under way")
            self.capability.send(command)  # may refuse; what it answers waits for the lock, so it is journalled after
            self._claim.append(body, False, self.status, self.elapsed, self._total())
        self._notify()
        return self

    def subscribe(self, callback: Callable[[Run], object]) -> Callable[[], None]:
        """Have `callback(run)` called after each committed record and change of status; returns what ends that.

        It is called from the run's thread, or the one that asked for the change: it must be quick. What it raises is
        kept in `.subscriber_error`, and the run goes on.
        """
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return unsubscribe

    @property
    def result(self) -> Any:
        """The capability's result as it is now; None if it has none. Raises RuntimeError if the run failed."""
        if self.status == "failed":
            reason = "".join(traceback.format_exception_only(self._exception)).strip()
            raise RuntimeError(f"run {self.id} failed: {reason}") from self._exception
        return getattr(self.capability, "result", None)

    @property
    def settings(self) -> dict:
        """The capability's settings as JSON has them, when this Run was made."""
        return json.loads(self._settings_text)

    @property
    def name(self) -> str:
        """What a person calls it; journal.rename changes it."""
        return self._stored("name", self._name)

    @property
    def notes(self) -> str:
        """What a person noted; journal.note changes it."""
        return self._stored("notes", self._notes)

    @property
    def count(self) -> int:
        """Records that stand."""
        return self._claim.count if self._claim else 0

    @property
    def done(self) -> int:
        """Those of them that advance."""
        return self._claim.done if self._claim else 0

    @property
    def total(self) -> int | None:
        """How many will, if the capability knows."""
        return self._total()

    @property
    def elapsed(self) -> float:
        """Seconds it was driven, without pauses and without work that was lost."""
        since = self._since
        return self._before + (0.0 if since is None else time.monotonic() - since)

    def _drive(self) -> None:
        iterator, error = None, None
        try:
            if not self._wants_stop:
                iterator = iter(self.capability)
                for record in iterator:
                    self._append(record)
                    if not self._goes_on():
                        break
        except BaseException as exception:  # whatever it is, the person must see it
            self._exception, error = exception, traceback.format_exc()
        for part in (iterator, self.capability):
            try:
                getattr(part, "close", lambda: None)()
            except BaseException as exception:
                self._exception = self._exception or exception
                error = (error or "") + traceback.format_exc()
        self._end(error)

    def _append(self, record: Any) -> None:
        body = record_body(record)
        state = None
        if getattr(record, "checkpoint", False) and hasattr(self.capability, "state_dict"):
            state = self._save()
        with self._changed:
            if self.status == "starting":
                self.status = "running"
            advances = bool(getattr(record, "advances", False))
            self._claim.append(body, advances, self.status, self.elapsed, self._total(), state)
            self._heard_at = time.monotonic()
        self._notify()

    def _goes_on(self) -> bool:
        if self._commandable:
            return not (self._wants_stop and time.monotonic() - self._stop_at > _STOP_GRACE_S)
        if self._wants_pause and not self._wants_stop:
            with self._changed:
                if self.status == "pausing":
                    self._mark("paused")
            self._notify()
            with self._changed:
                self._changed.wait_for(lambda: self._wants_stop or not self._wants_pause)
        return not self._wants_stop

    def _end(self, error: str | None) -> None:
        with self._changed:
            self.error = error
            complete = self.total is not None and self.done >= self.total
            if error is not None:
                status = "failed"
            elif self._wants_stop and not complete:
                status = "interrupted" if self._leaving else "stopped"
            else:
                status = "finished"
            try:
                self._mark(status)
            except JournalError as trouble:  # a full disk: the journal will show it as interrupted
                if error is None:
                    self._exception, self.error, self.status = trouble, traceback.format_exc(), "failed"
            self._claim.release()
        _unfinished.discard(self)
        self._notify()
        self._ended.set()

    def _pulse(self) -> None:
        """Keep the heartbeat, and see when a capability that was told to pause has fallen silent."""
        while not self._ended.is_set():
            with self._changed:
                settling = self.status == "pausing" and self._commandable
                self._changed.wait(_SETTLE_S if settling else HEARTBEAT_S)
                settled = settling and self.status == "pausing" and time.monotonic() - self._heard_at >= _SETTLE_S
                late = self.status in LIVE and time.time() - self._claim.beat >= HEARTBEAT_S
                if settled or late:
                    try:
                        self._mark("paused" if settled else self.status)
                    except JournalError:
                        pass  # the next record meets the same trouble and fails the run
            if settled:
                self._notify()

    def _mark(self, status: str) -> None:
        """Change the status, here and then in the journal; the lock is held."""
        if status in ("paused", "stopped", "finished", "failed", "interrupted"):
            self._before, self._since = self.elapsed, None
        elif self._since is None:
            self._since = time.monotonic()
        self.status = status
        self._changed.notify_all()
        self._claim.mark(status, self.elapsed, self.error)

    def _notify(self) -> None:
        for callback in tuple(self._subscribers):
            try:
                callback(self)
            except Exception:
                self.subscriber_error = traceback.format_exc()

    def _save(self) -> memoryview:
        import torch  # only where there is state: a run without needs no second to import it

        buffer = io.BytesIO()
        torch.save(self.capability.state_dict(), buffer)
        if not self._verified:  # once, now rather than when it is needed
            buffer.seek(0)
            try:
                torch.load(buffer, weights_only=True, map_location="cpu")
            except Exception as error:
                raise TypeError(
                    f"the state_dict() of {self.kind} could not be read again: keep to tensors, numbers, text, lists and "
                    f"dicts ({error})"
                ) from error
            self._verified = True
        return buffer.getbuffer()

    def _load(self, state: bytes) -> None:
        import torch

        if not hasattr(self.capability, "load_state_dict"):
            raise JournalError(
                f"run {self.id} has a checkpoint, and this {self.kind} has no load_state_dict() to take it"
            )
        try:
            values = torch.load(io.BytesIO(state), weights_only=True, map_location="cpu")
        except Exception as error:
            raise JournalError(f"the checkpoint of run {self.id} is damaged or not safe to read ({error})") from error
        self.capability.load_state_dict(values)

    def _total(self) -> int | None:
        total = getattr(self.capability, "total", None)
        return None if total is None else int(total)

    def _stored(self, field: str, otherwise: str) -> str:
        if self._claim is None:
            return otherwise
        try:
            return getattr(self.journal.run(self.id), field)
        except JournalError:  # deleted, or closed
            return otherwise

    def _elsewhere(self) -> bool:
        return threading.current_thread() is not self._thread


@atexit.register
def _leave() -> None:
    """The interpreter exits: let capabilities close what they hold, for a second at most."""
    runs = list(_unfinished)
    for run in runs:
        run._leaving = True
        try:
            run.stop(wait=False)
        except Exception:
            continue
    deadline = time.monotonic() + 1.0
    for run in runs:
        run._ended.wait(max(0.0, deadline - time.monotonic()))

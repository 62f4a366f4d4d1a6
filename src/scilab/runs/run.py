"""A run: one capability driven in the background, each of its records kept in the journal."""

from __future__ import annotations

import atexit
import importlib
import json
import secrets
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Generator
from typing import Any

from ..storage.liveness import HEARTBEAT_S
from . import checkpoint
from .claim import Claim
from .database import JournalError
from .journal import Journal
from .liveness import LIVE
from .records import differences, encode, record_body
from .stored import Shown

SETTLE_S = 0.3  # a capability told to pause that yields nothing for so long has paused
STOP_GRACE_S = 2.0  # one told to stop that still yields after so long is cut off
_unfinished: weakref.WeakSet[Run] = weakref.WeakSet()


class Run(Shown):
    """Drives `capability`, an iterator of records, in a background thread.

    A record is committed to the journal before the capability goes on and before subscribers hear of it; one with
    `checkpoint = True` takes the capability's state_dict() with it, if it has one. A capability with `send` is told
    "pause", "resume" and "stop" at once; a plain iterator pauses and stops between its records.

    A capability with `batches()` is driven by that in place of `__iter__`: it yields lists of the records that came
    together, and each list is committed in one transaction, at the cost of one.

    A capability with `load_records` is rebuilt from its records themselves, so that none is ever superseded.

    `status` goes ready, starting (until the first record), running, with pausing, paused and stopping, to stopped,
    finished or failed; or to interrupted, when the interpreter exits under it: a script ends with `run.wait()`.
    `error` is the full traceback of a failure, `subscriber_error` that of the last callback that raised.

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
        self._settings = encode(dict(getattr(capability, "settings", {})), "settings")
        self._given = {"name": name or f"{self.kind} {time.strftime('%d %b %H:%M:%S')}", "notes": notes}
        self.status, self.error, self.subscriber_error = "ready", None, None
        self.count = self.done = 0
        self.differences: list[tuple[str, Any, Any]] = []
        self._resumes = self._leaving = False
        self._exception: BaseException | None = None
        # A generator has a send() too, which is something else.
        self._hears = hasattr(capability, "send") and not isinstance(capability, Generator)
        self._wish, self._wished_at = "resume", 0.0
        self._recorded_at = 0.0
        self._driven_s, self._since = 0.0, None  # seconds up to the last pause; since when it is driven again
        self._claim: Claim | None = None
        self._verified = False
        self._subscribers: list[Callable[[Run], object]] = []
        self._changed = threading.Condition(threading.RLock())  # guards status, counters, clock and claim
        self._thread = threading.Thread(target=self._drive, name=f"run {self.id}", daemon=True)
        self._beating = threading.Thread(target=self._pulse, name=f"pulse of run {self.id}", daemon=True)
        self._ended = threading.Event()

    @classmethod
    def resume(cls, id: str, capability: Any, journal: Journal | None = None) -> Run:
        """A Run, not yet started, that takes up run `id` at its last checkpoint (or its beginning, if it has none).

        Build the capability as for the first time. `.differences` lists (setting, stored, given) where its settings
        are not the stored ones. On start, records after the checkpoint are superseded and the given settings kept; a
        capability with `load_records` takes up all that were committed instead.

        Raises:
            JournalError: there is no such run, it has finished, is being driven, is a recording, or of another kind.
        """
        journal = Journal() if journal is None else journal
        stored = journal.run(id)
        if stored.recorded:
            raise JournalError(f"run {id} is a recording, made elsewhere. Launch a run of your own")
        if stored.driver:
            raise JournalError(f"run {id} is being driven by {stored.driver}. Stop it there first")
        if not stored.resumable:
            raise JournalError(f"run {id} has {stored.status}; there is nothing left to do")
        run = cls(capability, stored.name, journal, stored.notes)
        if run.kind != stored.kind:
            raise JournalError(f"run {id} is a {stored.kind}, and cannot be resumed by a {run.kind}")
        run.id, run.created, run._resumes = id, stored.created, True
        run.differences = differences(stored.settings, run.settings)
        return run

    def start(self) -> Run:
        """Begin in the background and return at once; a resumed run first loads its state.

        Raises:
            JournalError, ValueError: the journal cannot be written, another kernel took the run, or the checkpoint
                cannot be read; nothing was started then, and what load_state_dict() raises comes out as it is.
            RuntimeError: it was started before.
        """
        with self._changed:
            if self.status != "ready":
                raise RuntimeError(
                    f"run {self.id} was started before: make another Run, or Run.resume it once it ended"
                )
            claim = Claim(self.journal.database, self.id)
            if self._resumes:
                log = getattr(self.capability, "load_records", None)
                load = self._load if log is None else None
                self.count, self.done, self._driven_s = claim.take_over(self._settings, self.total, load, log)
            else:
                claim.enter(
                    **self._given, kind=self.kind, created=self.created, settings=self._settings, total=self.total
                )
            self._claim, self.status, self._since = claim, "starting", time.monotonic()
        if hasattr(self.capability, "state_dict") and not hasattr(self.capability, "load_records"):
            # Here and not in the thread: an interpreter that exits in the middle of this import aborts.
            importlib.import_module("torch")
        _unfinished.add(self)
        self._thread.start()
        self._beating.start()
        return self

    def pause(self) -> Run:
        """Hold it; no effect unless it is starting or running."""
        return self._ask("pause", "pausing", ("starting", "running"))

    def unpause(self) -> Run:
        """Let it go on; no effect unless it is pausing or paused."""
        return self._ask("resume", "running", ("pausing", "paused"))

    def stop(self, wait: bool = True) -> Run:
        """End it before its time, and `wait` until it has; it can be resumed. No effect on a run that has ended."""
        self._ask("stop", "stopping", ("starting", "running", "pausing", "paused"))
        return self.wait() if wait and self.status != "ready" else self

    def wait(self, timeout_s: float | None = None) -> Run:
        """Wait until it has ended, at most `timeout_s` seconds; returns the Run in either case, see `.status`.

        Does not raise what the run failed with; `.result` does. An interrupt ends the wait, not the run.
        """
        if self.status == "ready":
            raise RuntimeError(f"run {self.id} was not started: start() it first")
        if threading.current_thread() is self._thread:
            raise RuntimeError("a subscriber cannot wait for the run that called it")
        deadline = time.monotonic() + (float("inf") if timeout_s is None else timeout_s)
        # In short waits: on some systems an interrupt is heard only between them.
        while not self._ended.wait(max(0.0, min(0.5, deadline - time.monotonic()))) and time.monotonic() < deadline:
            pass
        return self

    def close(self) -> None:
        """Stop it if it still runs, and wait for that."""
        self.stop()

    def command(self, command: dict) -> Run:
        """A person's act for the capability, journalled as the record {"kind": "Command", "command": command}.

        Raises:
            TypeError: the capability takes no commands, or this is no JSON dict. RuntimeError: no run is under way.
        """
        if not self._hears or not isinstance(command, dict):
            raise TypeError(f"{command!r} cannot be sent to a {self.kind}: a command is a dict, for one with send()")
        body = encode({"kind": "Command", "command": command}, "command")
        with self._changed:
            if self.status not in LIVE:
                raise RuntimeError(f"run {self.id} is {self.status}: commands are for a run under way")
            self.capability.send(command)  # it may refuse; what it answers waits for the lock and is recorded after
            self._record([(body, False)])
        self._notify()
        return self

    def subscribe(self, callback: Callable[[Run], object]) -> Callable[[], None]:
        """Have `callback(run)` called after each committed record and change of status; returns what ends that.

        It is called by the run's thread, or by the one that asked for the change, and must be quick. What it raises
        is kept in `.subscriber_error`, and the run goes on.
        """
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback) if callback in self._subscribers else None

    def records(self, since: int = 0) -> list[dict]:
        """As StoredRun.records; none before the start, when it is not settled which of a resumed run's will stand."""
        return [] if self.status == "ready" else super().records(since)

    @property
    def result(self) -> Any:
        """The capability's result as it is now, None if it has none; RuntimeError if the run failed."""
        if self.status == "failed":
            reason = "".join(traceback.format_exception_only(self._exception)).strip()
            raise RuntimeError(f"run {self.id} failed: {reason}") from self._exception
        return getattr(self.capability, "result", None)

    @property
    def settings(self) -> dict:
        """The capability's settings when this Run was made, as JSON has them."""
        return json.loads(self._settings)

    @property
    def total(self) -> int | None:
        """How many records will advance, if the capability knows."""
        total = getattr(self.capability, "total", None)
        return None if total is None else int(total)

    @property
    def elapsed(self) -> float:
        """Seconds it was driven, without pauses and without work that a resume took back."""
        since = self._since
        return self._driven_s + (0.0 if since is None else time.monotonic() - since)

    @property
    def name(self) -> str:
        """What people call it; journal.rename changes it."""
        return self._noted("name")

    @property
    def notes(self) -> str:
        """What people wrote to it; journal.note changes it."""
        return self._noted("notes")

    def _noted(self, field: str) -> str:
        if self.status != "ready":
            try:
                self._given[field] = getattr(self.journal.run(self.id), field)
            except JournalError:
                pass  # deleted, or the journal is closed: the last that was known
        return self._given[field]

    def _ask(self, wish: str, status: str, allowed: tuple[str, ...]) -> Run:
        with self._changed:
            if self.status not in allowed:
                return self
            self._wish, self._wished_at = wish, time.monotonic()
            if self._hears:
                self.capability.send(wish)
            self._mark(status)
        self._notify()
        return self

    def _drive(self) -> None:
        iterator, error = None, None
        self._notify()
        try:
            if self._wish != "stop":
                batches = getattr(self.capability, "batches", None)
                iterator = iter(self.capability) if batches is None else batches()
                for record in iterator:
                    self._take([record] if batches is None else record)
                    if not self._goes_on():
                        break
        except BaseException as exception:  # whatever it is, a person must see it
            self._exception, error = exception, traceback.format_exc()
        for part in (iterator, self.capability):
            try:
                getattr(part, "close", lambda: None)()
            except BaseException as exception:
                self._exception = self._exception or exception
                error = (error or "") + traceback.format_exc()
        self._end(error and error.encode(errors="backslashreplace").decode())

    def _take(self, records: list[Any]) -> None:
        bodies, state = [(record_body(record), bool(getattr(record, "advances", False))) for record in records], None
        if any(getattr(record, "checkpoint", False) for record in records) and hasattr(self.capability, "state_dict"):
            state = checkpoint.to_bytes(self.capability.state_dict(), verify=not self._verified)
            self._verified = True
        with self._changed:
            if self.status == "starting":
                self.status = "running"
            self._record(bodies, state)
        self._notify()

    def _record(self, bodies: list[tuple[str, bool]], state: memoryview | None = None) -> None:
        self.count, self.done = self._claim.append(bodies, self.status, self.elapsed, self.total, state)
        self._recorded_at = time.monotonic()

    def _goes_on(self) -> bool:
        if self._hears:
            return self._wish != "stop" or time.monotonic() - self._wished_at < STOP_GRACE_S
        with self._changed:
            if paused := self._wish == "pause":
                self._mark("paused")
        if paused:
            self._notify()
            with self._changed:
                self._changed.wait_for(lambda: self._wish != "pause")
        return self._wish != "stop"

    def _end(self, error: str | None) -> None:
        with self._changed:
            self.error, status = error, "finished"
            if error is not None:
                status = "failed"
            elif self._wish == "stop" and (self.total is None or self.done < self.total):
                status = "interrupted" if self._leaving else "stopped"
            try:
                self._mark(status)
            except Exception as trouble:  # such as a full disk; the journal will call the run interrupted
                if error is None:
                    self.status, self.error, self._exception = "failed", traceback.format_exc(), trouble
            self._claim.release()
            self._claim = None
        _unfinished.discard(self)
        self._notify()
        with self._changed:
            self._ended.set()
            self._changed.notify_all()

    def _pulse(self) -> None:
        """Keep the heartbeat, and see when a capability that was told to pause has fallen silent."""
        while not self._ended.is_set():
            with self._changed:
                settling = self._hears and self.status == "pausing"
                if not self._ended.is_set():
                    self._changed.wait(SETTLE_S if settling else HEARTBEAT_S)
                quiet = time.monotonic() - max(self._wished_at, self._recorded_at) >= SETTLE_S
                settled = settling and quiet and self.status == "pausing"
                if settled or (self.status in LIVE and time.time() - self._claim.beat >= HEARTBEAT_S):
                    try:
                        self._mark("paused" if settled else self.status)
                    except JournalError:
                        pass  # the next record meets the same trouble and fails the run
            if settled:
                self._notify()

    def _mark(self, status: str) -> None:
        """Change the status, here and then in the journal; the lock is held."""
        if status == "paused" or status not in LIVE:
            self._driven_s, self._since = self.elapsed, None
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

    def _load(self, state: bytes) -> None:
        if not hasattr(self.capability, "load_state_dict"):
            raise JournalError(
                f"run {self.id} has a checkpoint, and this {self.kind} has no load_state_dict() to take it"
            )
        self.capability.load_state_dict(checkpoint.from_bytes(state))


def _leave() -> None:
    """The interpreter exits: let capabilities close what they hold, for two seconds at most."""
    runs = list(_unfinished)
    for run in runs:
        run._leaving = True
        try:
            run.stop(wait=False)
        except Exception:
            continue
    deadline = time.monotonic() + 2.0
    for thread in [each for run in runs for each in (run._thread, run._beating)]:
        # One that is left when the interpreter ends can abort it, if it comes back to the interpreter just then.
        thread.join(max(0.0, deadline - time.monotonic()))


# Before the thread pools of concurrent.futures are shut, which is before atexit: a capability that could submit nothing
# any more would seem to have failed. Their module is imported first, because the last to register is the first called.
importlib.import_module("concurrent.futures.thread")
getattr(threading, "_register_atexit", atexit.register)(_leave)

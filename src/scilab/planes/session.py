"""A capability's own line to an engine: it submits tasks, then waits for what comes next."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import cloudpickle

from .store import INLINE_BYTES, Address, Key
from .tasks import Completion, EngineError, Stopped, Task

if TYPE_CHECKING:
    from .engine import Engine


_numbers = itertools.count(1)
REMEMBERED = 64
"""Functions whose pickles a session keeps at hand."""


class Session:
    """Submits to one engine and receives its completions, and people's commands, through one queue.

    Made by :meth:`Engine.session`. :meth:`submit` and :meth:`next` belong to the one thread that drives the
    capability; :meth:`send` may be called from anywhere.
    """

    simulated = False
    """Whether its time is virtual."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine, self.name = engine, name
        self.inbox: queue.SimpleQueue = queue.SimpleQueue()
        self.backlog: deque[Task] = deque()
        self.running: dict[int, Task] = {}
        self.paused = False
        self._pauses, self._paused_at = 0.0, 0.0
        self.pauses: list[tuple[float, float]] = []
        """From when to when people have paused it, in unix seconds; a pause that lasts is not among them yet."""
        self.stopped = threading.Event()
        self.closed = False
        self.cache: Counter = Counter()
        """Hits and misses of the workers' caches, over all tasks so far."""
        self._functions: dict[int, tuple[Callable, bytes | Key]] = {}
        self._stored: dict[bytes, Key] = {}
        self._undelivered: dict[int, tuple] = {}
        self._kept: deque[Completion] = deque()

    @property
    def now(self) -> float:
        """The time by the clock of its timings."""
        return time.time()

    @property
    def paused_s(self) -> float:
        """Seconds for which people have paused it, up to now."""
        return self._pauses + (time.monotonic() if self.paused else 0.0)

    @property
    def waiting(self) -> int:
        """Tasks submitted and not yet ended."""
        return len(self.backlog) + len(self.running)

    def submit(
        self,
        function: Callable,
        *args: Any,
        tag: Any = None,
        timeout_s: float | None = None,
        retries: int = 0,
        uses: tuple[Key, ...] = (),
        outputs: tuple[Address, ...] = (),
        ahead: bool = False,
        **kwargs: Any,
    ) -> int:
        """Ask for ``function(*args, **kwargs)`` on a worker; returns the task's number at once.

        ``uses`` are keys the task reads: each is leased until the task has ended. ``outputs`` are addresses it may
        write: released when it fails, else the caller's to release. ``timeout_s`` limits one attempt. ``retries``
        is how often it is tried again after raising or running late; a task whose worker died is tried once more
        in any case. ``tag`` comes back with the completion. ``ahead``: before all that wait in this session and were
        not sent so, as a short task does on which many others depend.

        Raises:
            ValueError: a limit or number of retries that makes no sense.
            EngineError: the session or its engine is closed.
        """
        if timeout_s is not None and not timeout_s > 0:
            raise ValueError(f"timeout_s is {timeout_s}; give a number of seconds above 0, or None for no limit")
        if retries < 0 or retries != int(retries):
            raise ValueError(f"retries is {retries}; give a whole number, 0 or more")
        if self.closed:
            raise EngineError("this session is closed; open another with engine.session()")
        for key in uses:
            self.engine.store.lease(key)
        task = Task(
            next(_numbers), tag, function, args, kwargs, timeout_s, retries, tuple(uses), tuple(outputs),
            time.time(), self, ahead,
        )  # fmt: skip
        self.engine.accept(task)
        return task.number

    def send(self, command: Any) -> None:
        """A person's act: ``"pause"``, ``"resume"``, ``"stop"``, or a dict for the capability. Thread-safe."""
        if command == "stop":
            self.stopped.set()
        elif command in ("pause", "resume"):
            # At once, not in turn behind the completions that already wait.
            if self.paused != (command == "pause"):
                now = time.monotonic()
                self._pauses += now if self.paused else -now
                if self.paused:
                    self.pauses.append((self._paused_at, time.time()))
                self._paused_at = time.time()
            self.paused = command == "pause"
        self.inbox.put(command)

    def next(self, timeout_s: float | None = None) -> Completion | dict | None:
        """Wait for a task to end, or for a person: a :class:`Completion` or a dict command.

        While paused, nothing new is sent to workers and only commands come through; what ends meanwhile is kept.

        Raises:
            Stopped: a person asked to stop. Tasks that still run are given up by :meth:`close`.
            EngineError: the engine failed and cannot go on.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            if self.stopped.is_set():
                raise Stopped
            if self._kept and not self.paused:
                return self._delivered(self._kept.popleft())
            try:
                item = self.inbox.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return None
            if self.stopped.is_set():
                raise Stopped
            if item == "resume":
                self.engine.pump()
            elif isinstance(item, Exception):
                raise item
            elif isinstance(item, Completion):
                self._kept.append(item)
            elif isinstance(item, dict):
                return item

    def _delivered(self, completion: Completion) -> Completion:
        self._undelivered.pop(completion.task, None)
        return completion

    def cancel(self, number: int) -> None:
        """Give one task up: it ends as ``cancelled``, now, whatever its worker does."""
        self.engine.cancel(self, number)

    def close(self) -> None:
        """Give up what still waits or runs, and let go of everything it leased. Idempotent; does not wait."""
        if self.closed:
            return
        self.closed = True
        self.engine.forget(self)
        held = [key for keys in self._undelivered.values() for key in keys]
        held += self._stored.values()
        self._undelivered.clear()
        self._functions.clear()
        for key in held:
            # The caller may have released it, or the store may be closed.
            with contextlib.suppress(ValueError):
                self.engine.store.release(key)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sendable(self, task: Task) -> tuple[bytes, bytes | Key]:
        """A task's arguments and function as bytes; the function is pickled once and, if large, goes by key."""
        function, held = self._functions.get(id(task.function), (task.function, None))
        if held is None:
            held = cloudpickle.dumps(function)
            if len(held) >= INLINE_BYTES:
                # A lambda in a loop is a new function each time round, with the same bytes.
                digest = hashlib.sha256(held).digest()
                if digest not in self._stored:
                    self._stored[digest] = self.engine.store.put(held)
                held = self._stored[digest]
            if len(self._functions) >= REMEMBERED:
                self._functions.clear()
            self._functions[id(function)] = function, held
        return cloudpickle.dumps((task.args, task.kwargs)), held

    def deliver(self, completion: Completion, made: tuple) -> None:
        """The engine's side: hand over the one end of a task, and what it left on the data plane."""
        self._undelivered[completion.task] = made
        self.inbox.put(completion)

"""Real results in virtual order: an engine whose clock is a heap of events instead of machines.

What a task computes is real; when it ends is decided by ``duration``. The same tasks end in the same order at the
same virtual times whatever the machine, so schedules with stragglers and thousands of devices can be studied and
repeated bit for bit. Pending work is evaluated lazily, in batches, on an inner engine (or in the caller).
"""

from __future__ import annotations

import heapq
import itertools
import queue
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from . import worker
from .engine import Engine
from .session import Session
from .store import Store
from .tasks import Completion, EngineError, Failure, Stopped, Timing


class VirtualEngine:
    """An engine with ``workers`` simulated workers.

    ``duration(tag)`` gives a task's virtual seconds (0 or more) from the tag it was submitted with. Without an
    ``inner`` engine results are computed in the caller's thread.
    """

    def __init__(self, duration: Callable[[Any], float], workers: int, inner: Engine | None) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}; give 1 or more simulated workers")
        self.duration, self.workers, self.inner = duration, workers, inner
        self.name = f"virtual({workers})"
        self._store = None if inner is not None else Store.local()
        self.state, self.error = "ready", None

    @property
    def store(self) -> Store:
        return self._store if self.inner is None else self.inner.store

    def start(self) -> VirtualEngine:
        return self

    def session(self, name: str = "") -> VirtualSession:
        if self.state == "closed":
            raise EngineError(f"{self.name} is closed; make a new engine")
        return VirtualSession(self, name)

    def close(self) -> None:
        """Closes its own data plane; an inner engine stays its owner's."""
        self.state = "closed"
        if self._store is not None:
            self._store.close()

    def __enter__(self) -> VirtualEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class VirtualSession:
    """As :class:`Session`; ``now`` is the virtual time in seconds, and timings are virtual."""

    simulated = True

    def __init__(self, engine: VirtualEngine, name: str) -> None:
        self.engine, self.name = engine, name
        self.now = 0.0
        self.paused = False
        self.pauses: list[tuple[float, float]] = []  # none, in virtual time
        self.closed = False
        self.cache: Counter = Counter()
        self._stopped = False
        self._commands: queue.SimpleQueue = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._queue: deque = deque()
        self._events: list = []
        self._calls: dict[int, tuple] = {}
        self._results: dict[int, tuple] = {}
        self._inner: Session | None = engine.inner.session(name) if engine.inner else None
        self._held: dict[int, tuple] = {}
        self._sent: set[int] = set()

    @property
    def waiting(self) -> int:
        return len(self._queue) + len(self._events)

    def submit(self, function: Callable, *args: Any, tag: Any = None, timeout_s: float | None = None, retries: int = 0,
               uses: tuple = (), outputs: tuple = (), ahead: bool = False, **kwargs: Any) -> int:  # fmt: skip
        """As :meth:`Session.submit`; ``timeout_s`` is in virtual seconds."""
        number = next(self._numbers)
        seconds = float(self.engine.duration(tag))
        if not seconds >= 0 or seconds == float("inf"):
            raise ValueError(f"the duration of {tag!r} is {seconds} s; give a finite number, 0 or more")
        for key in uses:
            self.engine.store.lease(key)
        self._calls[number] = (function, args, kwargs, retries)
        self._held[number] = (tuple(uses), tuple(outputs))
        entry = (number, tag, seconds, timeout_s, self.now, ahead)
        if ahead:
            place = next((i for i, other in enumerate(self._queue) if not other[5]), len(self._queue))
            self._queue.insert(place, entry)
        else:
            self._queue.append(entry)
        self._fill()
        return number

    def send(self, command: Any) -> None:
        if command == "stop":
            self._stopped = True
            if self._inner is not None:
                self._inner.send("stop")  # it may be waited for
        self._commands.put(command)

    def next(self, timeout_s: float | None = None) -> Completion | dict | None:
        """The next event in virtual time; raises :class:`Stopped` after a stop."""
        while True:
            if self._stopped:
                raise Stopped
            wait = self.paused or not self._events
            if not wait and self._commands.empty():
                return self._advance()
            try:
                command = self._commands.get(wait, timeout_s) if wait else self._commands.get_nowait()
            except queue.Empty:
                if wait:
                    return None
                return self._advance()
            if command == "pause":
                self.paused = True
            elif command == "resume":
                self.paused = False
            elif isinstance(command, dict):
                return command

    def cancel(self, number: int) -> None:
        for task in list(self._queue):
            if task[0] == number:
                self._queue.remove(task)
                heapq.heappush(self._events, (self.now, number, task[1], task[4], self.now, "cancelled"))
        for index, event in enumerate(self._events):
            if event[1] == number:
                self._events[index] = (self.now, number, event[2], event[3], event[4], "cancelled")
                heapq.heapify(self._events)
        self._fill()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        if self._inner is not None:
            self._inner.close()
        for uses, outputs in self._held.values():
            for key in (*uses, *outputs):
                if self.engine.store.holds(key):
                    self.engine.store.release(key)
        self._held.clear()
        self._queue.clear()
        self._events.clear()

    def __enter__(self) -> VirtualSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fill(self) -> None:
        while self._queue and len(self._events) < self.engine.workers:
            number, tag, seconds, limit, submitted, _ = self._queue.popleft()
            late = limit is not None and seconds > limit
            end = self.now + (limit if late else seconds)
            heapq.heappush(self._events, (end, number, tag, submitted, self.now, "timeout" if late else ""))

    def _advance(self) -> Completion:
        end, number, tag, submitted, started, fate = heapq.heappop(self._events)
        self.now = max(self.now, end)
        value, failure = None, None
        if fate:
            failure = Failure(fate, "TimeoutError" if fate == "timeout" else "Cancelled", f"{fate} in virtual time")
        else:
            value, failure = self._result(number)
        uses, outputs = self._held.pop(number)
        for key in (*uses, *(outputs if failure else ())):
            self.engine.store.release(key)
        self._calls.pop(number, None)
        self._results.pop(number, None)
        self._fill()
        return Completion(number, tag, value, failure, Timing(submitted, started, end, started, end), "virtual", 1)

    def _result(self, number: int) -> tuple[Any, Failure | None]:
        if number not in self._results:
            pending = []
            if self._inner is not None:
                # Everything that now runs in virtual time may as well be computed together.
                pending = [event[1] for event in self._events if not event[5] and event[1] not in self._results]
            for each in [number, *pending]:
                self._compute(each)
            while self._inner is not None and number not in self._results:
                done = self._inner.next()
                if isinstance(done, Completion):
                    self._results[done.tag] = (done.value, done.failure)
                else:
                    self._commands.put(done)  # a message of the engine: the next one to be told
        return self._results[number]

    def _compute(self, number: int) -> None:
        function, args, kwargs, retries = self._calls[number]
        if self._inner is not None:
            if number not in self._sent:
                self._sent.add(number)
                self._inner.submit(function, *args, tag=number, retries=retries, **kwargs)
            return
        for _ in range(retries + 1):
            report = worker.run(function, args, kwargs, [])
            if report.failure is None:
                break
        if report.edges[0]:
            self.engine.store.add_edges(report.edges[0])
        self._results[number] = (report.value, Failure(*report.failure) if report.failure else None)
        if report.hits or report.misses:
            self.cache.update(hits=report.hits, misses=report.misses)

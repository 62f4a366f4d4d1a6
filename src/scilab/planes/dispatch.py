"""How tasks wait, are sent and end: the part of an engine that sessions talk to.

The backlog stays on our side: a worker has at most a task or two, so stop and pause act at once (Parsl itself
cannot cancel). A task is registered before it is sent, ends exactly once (:meth:`Dispatch._end`), and what comes back
is plain data, so that nothing a task raises can hurt the engine.
"""

from __future__ import annotations

import contextlib
import pickle
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import Any

from . import worker
from .pool import Pool
from .session import Session
from .store import Store
from .tasks import Completion, EngineError, Failure, Report, Task, Timing

MOVES = 10
"""How often a task may lose its whole pool before that is held against it."""
CREDENTIALS = ("login", "credential", "token", "401", "403", "unauthorized", "forbidden", "authenticat", "authoriz")


class Dispatch:
    """The sessions' backlogs, the tasks that are out, and the one end of each. Thread-safe."""

    def __init__(self, pool: Pool, name: str) -> None:
        self.pool, self.name = pool, name
        self.state = "new"
        self.error: str | None = None
        self._store: Store | None = None
        self._lock = threading.RLock()
        self._sessions: deque[Session] = deque()
        self._sent: dict[int, Task] = {}
        self._given_up: dict[tuple[int, int], list] = {}
        self._heard = time.monotonic()
        self._in_vain = 0

    @property
    def store(self) -> Store:
        """The engine's data plane, made when first used."""
        with self._lock:
            if self._store is None:
                self._store = self.pool.store()
            return self._store

    def accept(self, task: Task) -> None:
        self.start()
        with self._lock:
            if self.state in ("failed", "closed"):
                raise EngineError(self.error or f"{self.name} is closed; make a new engine")
            backlog = task.session.backlog
            if task.ahead:
                place = next((i for i, other in enumerate(backlog) if not other.ahead), len(backlog))
                backlog.insert(place, task)
            else:
                backlog.append(task)
        self.pump()

    def pump(self) -> None:
        """Send what there is room for: the sessions in turn, so that none starves another."""
        while True:
            with self._lock:
                if self.state != "ready" or len(self._sent) >= self.pool.capacity:
                    return
                task = None
                for _ in range(len(self._sessions)):
                    self._sessions.rotate(-1)
                    session = self._sessions[-1]
                    if session.backlog and not session.paused:
                        task = session.backlog.popleft()
                        break
                if task is None:
                    return
                task.attempts += 1
                task.sent, task.begun = time.time(), []
                # Registered before it is sent: a fast task must not come back unknown.
                self._sent[task.number] = session.running[task.number] = task
                pool, attempt = self.pool, task.attempts
            try:
                future = pool.send(task)
            except TypeError as error:
                self._end(task, None, Failure("unsendable", type(error).__name__, f"its arguments: {error}"))
                continue
            except Exception as error:
                if self.state == "closed" or task.ended:
                    continue
                failure = worker._describe("unsendable" if "pickle" in str(error).lower() else "engine", error)
                self._end(task, None, Failure(*failure))
                continue
            future.add_done_callback(lambda f, task=task, attempt=attempt: self._returned(task, attempt, f))

    def cancel(self, session: Session, number: int) -> None:
        with self._lock:
            task = session.running.get(number) or next((t for t in session.backlog if t.number == number), None)
            if task is None:
                return
            with contextlib.suppress(ValueError):
                session.backlog.remove(task)
        self._give_up(task, Failure("cancelled", "Cancelled", "given up by its session"))

    def forget(self, session: Session) -> None:
        """A session closes: its tasks end now, without a completion."""
        with self._lock:
            tasks = [*session.backlog, *session.running.values()]
            session.backlog.clear()
            with contextlib.suppress(ValueError):
                self._sessions.remove(session)
        for task in tasks:
            self._give_up(task, Failure("cancelled", "Cancelled", "its session closed"))

    def unpause(self) -> None:
        """Go on after an expired sign-in has been renewed."""
        with self._lock:
            if self.state == "paused":
                self.state, self.error = "ready", None
        self.pump()

    def _returned(self, task: Task, attempt: int, future: Future) -> None:
        received, read_s = time.time(), 0.0
        with self._lock:
            self._heard = time.monotonic()
            late = self._given_up.pop((task.number, attempt), None)
            if late is not None and self._store is not None:
                self._store.clear_behind(task.outputs)
            if task.ended or task.attempts != attempt:
                return
        error = future.exception()
        if error is not None:
            self._trouble(task, error)
            return
        self.pool.answered, self._in_vain = True, 0
        report: Report = pickle.loads(future.result()) if self.pool.processes else future.result()
        edges, created = report.edges
        # The data plane is made when first used: an engine without one need not import it.
        if edges:
            self.store.add_edges(edges)
        if report.hits or report.misses:
            task.session.cache.update(hits=report.hits, misses=report.misses)
        if report.failure is not None:
            failure = Failure(*report.failure)
            if failure.kind in ("raised", "timeout") and task.may_try_again:
                self._again(task)
                return
            for key in created:
                self.store.adopt(key)
                self.store.release(key)
            self._end(task, None, failure, report)
            return
        value = report.value
        if self.pool.processes:
            try:
                value = pickle.loads(value)
                read_s = time.time() - received
            except BaseException as broken:
                failure = Failure(
                    "unsendable", type(broken).__name__,
                    f"what the task returned cannot be read here ({worker._text(broken)}); return plain data",
                )  # fmt: skip
                self._end(task, None, failure, report)
                return
        for key in created:
            self.store.adopt(key)
        self._end(task, value, None, report, created, received=received, read_s=read_s)

    def _trouble(self, task: Task, error: BaseException) -> None:
        """Parsl itself brought no report: a worker died, a sign-in expired, or the executor broke."""
        name = type(error).__name__
        text = f"{name}: {worker._text(error)}"
        if name in ("WorkerLost", "ManagerLost"):
            stack = self.pool.late(task)
            if stack is not None:
                failure = Failure("timeout", "TimeoutError", f"ran past its limit of {task.timeout_s:g} s", stack)
                if task.may_try_again:
                    self._again(task)
                else:
                    self._end(task, None, failure)
                return
            if name == "ManagerLost" and task.moves < MOVES:
                # The scheduler took the whole job away (its time was up, or somebody came first): not the task's fault.
                task.moves += 1
                self._again(task)
                return
            task.losses += 1
            if task.losses <= 1 or task.may_try_again:
                self._again(task)
            else:
                text = f"its worker process died on all {task.losses} attempts (a crash, or out of memory); given up"
                self._end(task, None, Failure("lost", name, text))
        elif self.state == "closed":
            self._end(task, None, Failure("cancelled", "Cancelled", "the engine was closed"))
        elif self.pool.health() is not None:
            # Stays among the sent: the watch sends all of them to a new pool, or ends them with the reason.
            return
        elif self._is_credentials(text):
            with self._lock:
                task.attempts -= 1
                self._unsend(task)
                task.session.backlog.appendleft(task)
                if self.state == "ready":
                    self.state = "paused"
                    self.error = f"the sign-in has expired or was refused ({text}); sign in, then engine.unpause()"
                    for session in self._sessions:
                        session.inbox.put({"command": "engine paused", "reason": self.error})
        else:
            self._end(task, None, Failure("engine", name, worker._text(error)))

    def _is_credentials(self, text: str) -> bool:
        return self.name.startswith(("globus", "parsl")) and any(word in text.lower() for word in CREDENTIALS)

    def _again(self, task: Task) -> None:
        with self._lock:
            self._unsend(task)
            if not task.ended:
                task.session.backlog.appendleft(task)
        self.pump()

    def _unsend(self, task: Task) -> None:
        self._sent.pop(task.number, None)
        task.session.running.pop(task.number, None)

    def _give_up(self, task: Task, failure: Failure) -> None:
        """End a task that may still be running somewhere; its worker is told, later results are dropped."""
        with self._lock:
            if task.ended:
                return
            if task.number in self._sent:
                self._given_up[task.number, task.attempts] = [task, time.monotonic(), False]
            self._end(task, None, failure, pump=False)
        if self.pool.processes and task.sent is not None:
            self.pool.drop(task, hard=False)
        self.pump()

    def _end(self, task: Task, value: Any, failure: Failure | None, report: Report | None = None,
             created: tuple = (), pump: bool = True, received: float | None = None, read_s: float = 0.0,
             ) -> None:  # fmt: skip
        """The only place where a task ends."""
        with self._lock:
            if task.ended:
                return
            task.ended = True
            self._unsend(task)
            for key in (*task.uses, *(task.outputs if failure is not None else ())):
                with contextlib.suppress(ValueError):
                    self.store.release(key)
            received = received or time.time()
            if report is None:
                timing = Timing(task.submitted, None, received, task.sent, received)
            else:
                spans = (task.pickled_s, *report.serialized, read_s)
                timing = Timing(task.submitted, report.started, report.ended, task.sent, received, spans)
            completion = Completion(
                task.number, task.tag, value, failure, timing, report.worker if report else None, task.attempts
            )
            made = (*task.outputs, *created) if failure is None else ()
            if not task.session.closed:
                task.session.deliver(completion, made)
            else:
                for key in made:
                    with contextlib.suppress(ValueError):
                        self.store.release(key)
        if pump:
            self.pump()

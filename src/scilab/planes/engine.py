"""The control plane: where work runs. One engine, one private Parsl kernel, any number of sessions."""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from typing import Any

from . import worker
from .dispatch import Dispatch
from .pool import ConfigPool, Pool, ProcessPool, ThreadPool, bounded_torch, globus_config, usable_cores
from .session import Session
from .store import Store
from .tasks import EngineError, Failure, Task

WATCH_S = 0.2
SILENCE_S = 6.0
"""With tasks sent, all local workers idle and no result for so long, the pool has lost its way (a worker that was
killed may have held a queue's lock) and is started anew."""
RESTARTS = 3


class Engine(Dispatch):
    """Runs tasks on threads, processes, a cluster or Globus Compute, all through Parsl.

    Use :meth:`threads`, :meth:`processes`, :meth:`parsl`, :meth:`globus`, :meth:`virtual` or :meth:`named`. Starts
    by itself, in the background, with the first task. ``state`` is one of new, starting, ready, paused, failed,
    closed. Close it, or use it in a ``with``; if the kernel dies its processes die too.
    """

    def __init__(self, pool: Callable[[], Pool], name: str) -> None:
        super().__init__(pool(), name)
        self._make_pool = pool
        self.restarts = 0
        self._ready = threading.Event()
        _open_engines.add(self)

    @classmethod
    def threads(cls, workers: int = 2, store: Store | None = None) -> Engine:
        """``workers`` threads of this process: first result in a fraction of a second; a thread cannot be killed, so
        a task that ignores its time limit is left behind and its slot given to another thread.

        A ``store`` given to an engine, of any sort, stays its owner's to close.
        """
        _whole(workers)
        return cls(lambda: ThreadPool(workers, store), f"threads({workers})")

    @classmethod
    def processes(cls, workers: int = 2, gpus: int | None = None, store: Store | None = None) -> Engine:
        """``workers`` processes of this machine (Parsl's HTEX), each with one OpenMP thread and, where there are
        ``gpus``, one GPU in turn (None: all that torch sees).

        Raises:
            ValueError: more GPUs asked for than there are, or a store that other processes cannot reach.
        """
        _whole(workers)
        return cls(lambda: ProcessPool(workers, gpus, store), f"processes({workers})")

    @classmethod
    def parsl(cls, config: Any, store: Store | None = None, workers: int | None = None) -> Engine:
        """Any Parsl ``Config`` with one executor: Slurm, PBS, Flux… ``store`` must be seen from its workers (default:
        files below the Config's ``run_dir``); ``workers`` is read off the Config when it can be. Parsl asks a
        scheduler about its jobs once a minute, so a lost job is replaced, and a refused one reported, that late.
        """
        return cls(lambda: ConfigPool(config, store, workers), f"parsl({config.executors[0].label})")

    @classmethod
    def globus(cls, endpoint_id: str, store: Store, workers: int = 8, run_dir: str = "runinfo") -> Engine:
        """A Globus Compute endpoint, through Parsl's executor. When the sign-in expires the engine pauses, keeps
        every task, and says what to do; then :meth:`unpause`.
        """
        config = globus_config(endpoint_id, run_dir)
        return cls(lambda: ConfigPool(config, store, workers), f"globus({endpoint_id[:8]})")

    @classmethod
    def virtual(cls, duration: Callable[[Any], float], workers: int = 2, inner: Engine | None = None) -> Any:
        """Real results in simulated time: see :class:`scilab.planes.virtual.VirtualEngine`."""
        from .virtual import VirtualEngine

        return VirtualEngine(duration, workers, inner)

    @classmethod
    def named(cls, engine: Any, store: Store | None = None) -> tuple[Any, bool]:
        """An engine from what a user gave, and whether it was made here (over `store`, and to be closed by who asked).

        Raises:
            ValueError: not an engine, nor the name of one.
        """
        if isinstance(engine, str):
            word, _, count = engine.partition(":")
            if word in ("threads", "processes") and (not count or count.isdigit()):
                return getattr(cls, word)(int(count) if count else usable_cores(), store=store), True
        elif hasattr(engine, "session"):
            return engine, False
        raise ValueError(
            f"engine is {engine!r}; give 'threads', 'processes', either with a count ('threads:4'), or an Engine"
        )

    @property
    def workers(self) -> int:
        return self.pool.workers

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Engine.{self.name}: {self.state}"

    def start(self) -> Engine:
        """Begin to start, in the background; tasks may be submitted at once."""
        with self._lock:
            if self.state == "new":
                self.state = "starting"
                threading.Thread(target=self._start, name="scilab-engine-start", daemon=True).start()
                threading.Thread(target=_watch, args=(weakref.ref(self),), name="scilab-watch", daemon=True).start()
        return self

    def wait_ready(self, timeout_s: float = 60.0) -> Engine:
        """Wait until the engine can take tasks.

        Raises:
            EngineError: it cannot start, or has not within ``timeout_s``.
        """
        self.start()
        if not self._ready.wait(timeout_s):
            raise EngineError(f"{self.name} did not start within {timeout_s:g} s; its logs are in {self.pool.folder}")
        if self.state in ("failed", "closed"):
            raise EngineError(self.error or f"{self.name} is closed")
        return self

    def session(self, name: str = "") -> Session:
        """A line of its own for one capability; sessions share the workers in turn."""
        session = Session(self, name)
        with self._lock:
            if self.state in ("failed", "closed"):
                raise EngineError(self.error or f"{self.name} is closed; make a new engine")
            self._sessions.append(session)
        return session

    def close(self) -> None:
        """End every task and process of this engine and clear its data plane. Idempotent."""
        with self._lock:
            if self.state == "closed":
                return
            starting, self.state = self.state == "starting", "closed"
            for session in list(self._sessions):
                session.closed = True
                self.forget(session)
                session.inbox.put(EngineError(f"{self.name} was closed"))
        if starting:
            self._ready.wait(30)
        self.pool.close()
        self._ready.set()
        if not self.pool.processes:
            worker.forget_cached()
        with self._lock:
            if self._store is not None and self.pool.given is None:
                self._store.close()
        _open_engines.discard(self)

    def _start(self, again: bool = False) -> None:
        bounded_torch()
        try:
            self.pool.start()
        except BaseException as error:
            with contextlib.suppress(OSError):
                (self.pool.folder / "cannot-start.txt").write_text(traceback.format_exc())
            # Parsl looks at dictionaries of the whole process, which other threads change meanwhile (imports do).
            if not again and self.pool.restartable and type(error) is RuntimeError and self.state == "starting":
                self.pool.close()
                self.pool = self._make_pool()
                self._start(again=True)
                return
            self._fail(f"{self.name} cannot start: {error}; Parsl's logs are in {self.pool.folder}")
            return
        with self._lock:
            if self.state == "starting":
                self.state = "ready"
            self._heard = time.monotonic()
            self._ready.set()
        self.pump()

    def _fail(self, reason: str) -> None:
        with self._lock:
            if self.state in ("failed", "closed"):
                self._ready.set()
                return
            self.state, self.error = "failed", reason
            self._ready.set()
            sessions = list(self._sessions)
            for session in sessions:
                for task in [*session.backlog, *session.running.values()]:
                    self._end(task, None, Failure("engine", "EngineError", reason), pump=False)
                session.backlog.clear()
                session.inbox.put(EngineError(reason))

    def _look(self) -> None:
        if self.state == "starting":
            problem = self.pool.starting_problem()
            if problem:
                self._fail(f"{self.name} cannot start: {problem}; Parsl's logs are in {self.pool.folder}")
            return
        now = time.time()
        with self._lock:
            sent = list(self._sent.values())
        if not self.pool.processes:
            for task in sent:
                if task.timeout_s is not None and task.begun and now - task.begun[0] > task.timeout_s:
                    self._late_thread(task)
            return
        for task, since, told in list(self._given_up.values()):
            if not told and time.monotonic() - since > worker.GRACE_S:
                self._given_up[task.number, task.attempts][2] = True
                self.pool.drop(task, hard=True)
        problem = self.pool.health()
        # Before the first answer the workers may still be starting, on a busy machine for long.
        silence = SILENCE_S if self.pool.answered else 10 * SILENCE_S
        if problem is None and self.pool.restartable and sent and time.monotonic() - self._heard > silence:
            recent = min(now - task.sent for task in sent) < silence
            # No worker at all, too: those that replaced the dead may wait for a lock before their first task.
            if not recent and not any(self.pool.doing().values()):
                problem = f"no result for {silence:g} s although all workers are idle"
        if problem is not None:
            self._restart(problem)

    def _late_thread(self, task: Task) -> None:
        text = f"ran past its limit of {task.timeout_s:g} s; its thread cannot be ended and was replaced"
        with self._lock:
            if task.ended or task.number not in self._sent:
                return
            if task.may_try_again:
                self._given_up[task.number, task.attempts] = [task, time.monotonic(), True]
                self._again(task)
                return
        self._give_up(task, Failure("timeout", "TimeoutError", text))

    def _restart(self, problem: str) -> None:
        """A new pool for the tasks of a broken one; no task is lost, each is sent again."""
        with self._lock:
            if self.state != "ready":
                return
            if not self.pool.restartable:
                self._fail(f"{self.name} cannot go on: {problem}; mend that and make a new engine")
                return
            if self._in_vain >= RESTARTS:
                text = f"{self.name} broke {self._in_vain + 1} times without a result between, last: {problem}"
                self._fail(f"{text}; make a new engine")
                return
            self.restarts += 1
            self._in_vain += 1
            self.state = "starting"
            self._ready.clear()
            old, self.pool = self.pool, self._make_pool()
            for task in list(self._sent.values()):
                self._unsend(task)
                task.session.backlog.appendleft(task)
            self._given_up.clear()
        threading.Thread(target=old.close, daemon=True).start()
        self._start()


def _whole(workers: int) -> None:
    if not isinstance(workers, int) or workers < 1:
        raise ValueError(f"workers is {workers!r}; give a whole number from 1 ({usable_cores()} cores are usable here)")


def _watch(reference: weakref.ref) -> None:
    """Every fifth of a second: late threads, deaf tasks, a broken pool. Holds no engine alive."""
    while True:
        time.sleep(WATCH_S)
        engine = reference()
        if engine is None or engine.state in ("closed", "failed"):
            return
        # A fault of the watch must not end the watch.
        with contextlib.suppress(Exception):
            engine._look()
        del engine


_open_engines: weakref.WeakSet = weakref.WeakSet()


def close_all() -> None:
    """Close every engine that is still open, at the end of the process: no worker outlives it."""
    for engine in list(_open_engines):
        with contextlib.suppress(Exception):
            engine.close()


atexit.register(close_all)

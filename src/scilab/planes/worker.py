"""What runs inside a worker: one task at a time, wrapped so that only plain data ever leaves it."""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import importlib
import os
import pickle
import signal
import socket
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import cloudpickle

from .store import Key, counted, get, start_counting
from .tasks import Report

CACHED_OBJECTS = 64
GRACE_S = 2.0
"""How long a task may ignore its time limit before its worker process is ended."""

GPUS = "SCILAB_GPUS"
"""Environment variable of worker processes: the CUDA devices they share, as "0,1"."""

_cache: OrderedDict[Any, Any] = OrderedDict()
_cache_lock = threading.RLock()
_building: dict[Any, threading.Lock] = {}
_local = threading.local()


class TaskTimeout(BaseException):
    """The task ran past its limit. Not an Exception, so that a task's own ``except Exception`` lets it by."""


class TaskDropped(BaseException):
    """The task was given up while it ran."""


def cached(build: Callable, *args: Any) -> Any:
    """``build(*args)``, made once per worker process and kept for its later tasks (64 objects at most).

    For costly set-up: a model, a spaCy pipeline, a device's data. ``build`` is an importable function and
    ``args`` are hashable (keys of the data plane among them). Threads of one process share what it returns.
    """
    key = (build.__module__, build.__qualname__, args)
    with _cache_lock:
        if key in _cache:
            _cache.move_to_end(key)
            _local.hits = getattr(_local, "hits", 0) + 1
            return _cache[key]
        turn = _building.setdefault(key, threading.Lock())
    with turn:
        with _cache_lock:
            if key in _cache:
                _local.hits = getattr(_local, "hits", 0) + 1
                return _cache[key]
        value = build(*args)
        with _cache_lock:
            _local.misses = getattr(_local, "misses", 0) + 1
            _cache[key] = value
            _building.pop(key, None)
            while len(_cache) > CACHED_OBJECTS:
                _cache.popitem(last=False)
        return value


def forget_cached() -> None:
    """Empty this process's cache: called when an engine of threads closes."""
    with _cache_lock:
        _cache.clear()


def single_thread() -> None:
    """One OpenMP thread for this worker: more of them oversubscribe the cores and, after a fork, deadlock."""
    if getattr(_local, "single", None) == ("torch" in sys.modules):
        return
    torch = sys.modules.get("torch")
    # Half-imported by another thread: there is nothing to set yet.
    if torch is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(1)
    _local.single = torch is not None


def take_gpu() -> None:
    """Give this worker process its one CUDA device, before anything initialises CUDA: they are dealt out by rank."""
    devices = [name for name in os.environ.get(GPUS, "").split(",") if name]
    if devices and "PARSL_WORKER_RANK" in os.environ:
        os.environ["CUDA_VISIBLE_DEVICES"] = devices[int(os.environ["PARSL_WORKER_RANK"]) % len(devices)]
        os.environ.pop(GPUS)


def run(function: Callable, args: tuple, kwargs: dict, began: list) -> Report:
    """Run one task in this thread: the wrapper for engines of threads, where values need no pickling."""
    single_thread()
    name = f"{threading.current_thread().name}"
    began.append(started := time.time())
    _local.hits = _local.misses = 0
    start_counting()
    value, failure = None, None
    try:
        value = function(*args, **kwargs)
    except BaseException as error:
        failure = _describe("raised", error)
    return _report(value, failure, started, name)


def run_sent(sent: bytes) -> bytes:
    """Run one task that was sent as bytes to this worker process.

    With the function and its arguments come the task's number, attempt and time limit, a folder for the board, and the
    module path of the connector the task will need ("" for none). On its board the worker says what it is doing, if it
    can write there: the kernel reads it to reach a task that must be given up, and to learn of one that ended its
    process.
    """
    # Bytes both ways: Parsl's own serialiser (dill, in Python) takes five times as long as pickle for what is inside.
    (number, attempt, timeout_s, folder, connector), function, call = pickle.loads(sent)
    if connector:
        importlib.import_module(connector.rpartition(".")[0])
    name = f"{socket.gethostname()}:{os.getpid()}"
    if threading.current_thread() is threading.main_thread():
        # A signal meant for a task that has just ended must not end the worker.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    board = _Board(folder, number, attempt)
    started = time.time()
    _local.hits = _local.misses = 0
    start_counting()
    value, failure, read_s, written_s = None, None, 0.0, 0.0
    try:
        with _limits(timeout_s, board):
            take_gpu()
            body, arguments = _function(function), cloudpickle.loads(call)
            read_s = time.time() - started
            single_thread()  # only now: reading the task may be what imports torch
            value = body(*arguments[0], **arguments[1])
    except TaskTimeout as error:
        failure = ("timeout", "TimeoutError", f"ran past its limit of {timeout_s:g} s", _trace(error))
    except TaskDropped as error:
        failure = ("cancelled", "Cancelled", "given up while it ran", _trace(error))
    except BaseException as error:
        failure = _describe("raised", error)
    if failure is None:
        ended = time.time()
        try:
            value = cloudpickle.dumps(value)
            written_s = time.time() - ended
        except BaseException as error:
            failure = (
                "unsendable",
                type(error).__name__,
                f"the task returned a {type(value).__name__}, which cannot be sent back ({_text(error)}); "
                "return plain data, or put large objects on the data plane and return their key",
                "",
            )
    if failure is not None:
        value = None
    # Again here: the limit may have struck inside its own clean-up.
    faulthandler.cancel_dump_traceback_later()
    board.idle()
    return cloudpickle.dumps(_report(value, failure, started, name, (read_s, written_s)))


def _function(function: bytes | Key) -> Callable:
    blob = function if isinstance(function, bytes) else None
    digest = hashlib.sha256(blob).digest() if blob is not None else function
    with _cache_lock:
        found = _cache.get(("function", digest))
    if found is None:
        found = cloudpickle.loads(blob if blob is not None else get(function))
        with _cache_lock:
            _cache["function", digest] = found
    return found


def _report(value: Any, failure: tuple | None, started: float, name: str, serialized: tuple = (0.0, 0.0)) -> Report:
    edges, created = counted()
    return Report(value, failure, started, time.time(), name, _local.hits, _local.misses, (edges, created), serialized)


def _text(error: BaseException) -> str:
    # An exception's own __str__ may raise.
    try:
        return str(error)
    except BaseException as second:
        return f"<no text: its __str__ raised {type(second).__name__}>"


def _trace(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except BaseException:
        return "".join(traceback.format_tb(error.__traceback__))


def _describe(kind: str, error: BaseException) -> tuple:
    return kind, type(error).__name__, _text(error), _trace(error)


class _Board:
    """One small file per worker process: the task it is at, or "idle"."""

    def __init__(self, folder: str, number: int, attempt: int) -> None:
        self.folder = folder
        self.number, self.attempt = number, attempt
        self._say(f"{number} {attempt}")

    def dropped(self) -> bool:
        return os.path.exists(f"{self.folder}/dropped-{self.number}")

    def late_file(self) -> Any:
        return open(f"{self.folder}/late-{self.number}-{self.attempt}", "w")

    def idle(self) -> None:
        self._say("idle")

    def _say(self, text: str) -> None:
        # On a cluster without a shared file system there is no board: tasks run all the same.
        with contextlib.suppress(OSError):
            descriptor = getattr(_local, "board", None)
            if descriptor is None or descriptor[0] != self.folder:
                path = f"{self.folder}/worker-{socket.gethostname()}~{os.getpid()}"
                descriptor = _local.board = (self.folder, os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
            os.pwrite(descriptor[1], text.ljust(32).encode(), 0)


@contextlib.contextmanager
def _limits(timeout_s: float | None, board: _Board) -> Any:
    """Within: SIGALRM raises TaskTimeout, SIGUSR1 raises TaskDropped; a task deaf to both ends its process."""
    inside = True

    def late(*_: Any) -> None:
        if inside:
            raise TaskTimeout

    def dropped(*_: Any) -> None:
        if inside and board.dropped():
            raise TaskDropped

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGUSR1, dropped)
    file = None
    try:
        if board.dropped():
            raise TaskDropped
        if timeout_s is not None:
            signal.signal(signal.SIGALRM, late)
            signal.setitimer(signal.ITIMER_REAL, timeout_s)
            with contextlib.suppress(OSError):
                file = board.late_file()
            faulthandler.dump_traceback_later(timeout_s + GRACE_S, exit=True, file=file or sys.__stderr__)
        yield
    finally:
        inside = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        if timeout_s is not None:
            faulthandler.cancel_dump_traceback_later()
            if file is not None:
                file.close()
                with contextlib.suppress(OSError):
                    os.unlink(file.name)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)

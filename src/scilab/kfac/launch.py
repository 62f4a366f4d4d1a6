"""Ranks as processes: started here or by the control plane, heard through one queue, ended together.

Each rank calls back to this process (an authenticated connection), gets its plan, and sends records and the end of its
work. A rank whose connection closes ends itself, and this process closes the connections of all when one fails: so
nothing outlives a dead kernel, whoever started it, and on whatever machine.
"""

from __future__ import annotations

import contextlib
import os
import queue
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection, Listener
from typing import Any

import cloudpickle
import torch.distributed as dist

from ..planes import Engine, Stopped
from .training import Plan

START_S = 120.0
"""How long ranks may take to call back; importing torch from a busy network disk takes a minute."""
CAUSE_S = 5.0
"""How long the end of a rank is waited for that another rank complains of."""
ADDRESS = "SCILAB_RANK"
TAIL = 1500


class RankFailed(RuntimeError):
    """A rank of a race ended before its work did; the text says which, and why."""


def start_process(address: str, rank: int) -> tuple[subprocess.Popen, Any]:
    """One rank, in a session of its own, so that an interrupt of the kernel is not for it; and the file it complains
    in.
    """
    complaints = tempfile.TemporaryFile()  # noqa: SIM115
    environment = {"OMP_NUM_THREADS": "1", **os.environ, ADDRESS: f"{address} {rank}"}
    # What can be imported here can be there: a script's own folder, say, from which its model comes.
    environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    process = subprocess.Popen([sys.executable, "-m", "scilab.kfac.rank"], env=environment, start_new_session=True,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=complaints)  # fmt: skip
    return process, complaints


def run_rank(address: str, rank: int) -> str:
    """One rank as a task of the control plane: a process of the worker's; returns how it ended ("" for well)."""
    process, complaints = start_process(address, rank)
    try:
        code = process.wait()
    finally:
        process.kill()
    return how_it_ended(code, complaints)


def how_it_ended(code: int, complaints: Any) -> str:
    """A sentence about a process that ended; "" for 0."""
    if code == 0:
        return ""
    if code < 0:
        name = signal.Signals(-code).name
        text = f"it was ended by signal {-code} ({name})"
        return text + (": often a machine that ran out of memory" if code == -signal.SIGKILL else "")
    complaints.seek(0)
    last = complaints.read().decode(errors="replace").strip()[-TAIL:]
    return f"its process ended with status {code}" + (f": {last}" if last else "")


class Ranks:
    """`ranks` processes that run `plan`. Iterate for what rank 0 tells, as (record, state or None).

    `commands` are what people ask for; the loop waits for them and for the ranks on one queue. Without an `engine` the
    processes are of this machine; with one each is a task of it, and `address` is where its workers reach this process.

    Raises RankFailed while iterating.
    """

    def __init__(
        self, plan: Plan, ranks: int, commands: queue.SimpleQueue, state: Mapping[str, Any] | None = None,
        engine: Engine | None = None, address: str | None = None,
    ) -> None:  # fmt: skip
        self.ranks, self._queue, self._engine = ranks, commands, engine
        host = address or ("127.0.0.1" if engine is None or not _elsewhere(engine) else _own_address())
        self._key = secrets.token_hex(16)
        self._listener = Listener(("127.0.0.1" if host == "127.0.0.1" else "0.0.0.0", 0), authkey=self._key.encode())
        self._store = dist.TCPStore(host, 0, None, True, wait_for_workers=False)
        self._address = f"{host} {self._listener.address[1]} {self._key}"
        self._plan = cloudpickle.dumps((plan, state, host, self._store.port, ranks))
        self._connections: dict[int, Connection] = {}
        self._processes: dict[int, tuple[subprocess.Popen, Any]] = {}
        self._session: Any = None
        self._ended: set[int] = set()
        self._closed = False

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        try:
            yield from self._run()
        finally:
            self.close()

    def _run(self) -> Iterator[tuple[Any, Any]]:
        threading.Thread(target=self._accept, name="scilab-ranks", daemon=True).start()
        self._start()
        deadline = time.monotonic() + START_S
        cut: tuple[_Heard, float] | None = None
        waiting: list[Any] = []  # what was asked before rank 0 was there
        while len(self._ended) < self.ranks:
            if cut and time.monotonic() > cut[1]:
                self._fail(cut[0].rank, cut[0].content)
            try:
                item = self._queue.get(timeout=0.5)
            except queue.Empty:
                self._look(deadline)
                continue
            if not isinstance(item, _Heard):
                waiting.append(item)
            elif item.what == "here" and item.rank == 0:
                pass
            elif item.what == "record":
                yield item.content
            elif item.what == "failed":
                self._fail(item.rank, item.content)
            elif item.what == "cut off":  # by another rank's end, which is the reason, and will be heard of
                cut = cut or (item, time.monotonic() + CAUSE_S)
            elif item.what == "end":
                self._ended.add(item.rank)
            elif item.what == "gone" and item.rank not in self._ended and (cut is None or cut[0].rank != item.rank):
                self._fail(item.rank, self._why(item.rank))
            if 0 in self._connections and 0 not in self._ended:
                while waiting:
                    with contextlib.suppress(OSError):
                        self._connections[0].send(waiting.pop(0))

    def _start(self) -> None:
        if self._engine is None:
            for rank in range(self.ranks):
                self._processes[rank] = start_process(self._address, rank)
            return
        self._session = self._engine.session("ranks")
        for rank in range(self.ranks):
            self._session.submit(run_rank, self._address, rank, tag=rank)
        threading.Thread(target=self._hear_engine, name="scilab-ranks-engine", daemon=True).start()

    def _hear_engine(self) -> None:
        """A task that ends says so on the queue: its process may have ended before it called back."""
        with contextlib.suppress(Stopped):
            while self._session.waiting or not self._closed:
                try:
                    done = self._session.next(timeout_s=0.5)
                except Exception as error:
                    self._queue.put(_Heard(0, "failed", f"the engine failed: {error}"))
                    return
                if done is not None and not isinstance(done, dict) and (why := str(done.failure or done.value)):
                    self._queue.put(_Heard(done.tag, "failed", why))

    def _accept(self) -> None:
        while not self._closed and len(self._connections) < self.ranks:
            try:
                connection = self._listener.accept()
                rank = connection.recv()
                connection.send_bytes(self._plan)
            except (OSError, EOFError):  # closed, or a stranger who does not know the key
                continue
            except Exception:
                continue
            self._connections[rank] = connection
            self._queue.put(_Heard(rank, "here"))
            threading.Thread(target=self._hear, args=(rank, connection), daemon=True).start()

    def _hear(self, rank: int, connection: Connection) -> None:
        with connection, contextlib.suppress(EOFError, OSError):
            while True:
                what, content = cloudpickle.loads(connection.recv_bytes())
                self._queue.put(_Heard(rank, what, content))
        self._queue.put(_Heard(rank, "gone"))

    def _look(self, deadline: float) -> None:
        """Ranks that ended before they called back, or have not called at all."""
        for rank, (process, _) in self._processes.items():
            if process.poll() is not None and rank not in self._connections:
                self._fail(rank, self._why(rank))
        missing = [rank for rank in range(self.ranks) if rank not in self._connections]
        if missing and time.monotonic() > deadline:
            self._fail(missing[0], f"it did not call back to {self._address.rsplit(' ', 1)[0]} within {START_S:g} s")

    def _why(self, rank: int) -> str:
        if rank not in self._processes:
            until = time.monotonic() + 5.0  # the engine's word for it comes a moment later
            while time.monotonic() < until:
                with contextlib.suppress(queue.Empty):
                    item = self._queue.get(timeout=0.2)
                    if isinstance(item, _Heard) and item.what == "failed" and item.rank == rank:
                        return item.content
            return "its process is gone"
        process, complaints = self._processes[rank]
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5.0)
        return how_it_ended(process.returncode, complaints) if process.returncode is not None else "it fell silent"

    def _fail(self, rank: int, why: str) -> None:
        raise RankFailed(f"rank {rank} of {self.ranks} failed: {why}. The other ranks were ended")

    def close(self) -> None:
        """End every rank that still runs. Idempotent."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.close()
        for connection in list(self._connections.values()):
            _hang_up(connection)
        late = 0.0 if len(self._ended) < self.ranks else 5.0
        for process, complaints in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(late)
            process.kill()
            process.wait()
            complaints.close()
        if self._session is not None:
            self._session.close()
        self._store = None


class _Heard:
    """What a rank said."""

    def __init__(self, rank: int, what: str, content: Any = None) -> None:
        self.rank, self.what, self.content = rank, what, content


def _hang_up(connection: Connection) -> None:
    """End a connection that another thread reads: it sees the end and closes it, as closing it here would not do."""
    with contextlib.suppress(OSError, ValueError), socket.socket(fileno=os.dup(connection.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def _elsewhere(engine: Engine) -> bool:
    """Whether its workers may be on other machines."""
    return not engine.name.startswith(("processes", "threads"))


def _own_address() -> str:
    """Where others of the network reach this machine, by the route to them; nothing is sent."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        return probe.getsockname()[0]
    return socket.gethostbyname(socket.gethostname())

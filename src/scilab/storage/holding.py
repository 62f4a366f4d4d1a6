"""One process at a time writes a database: the right to do so, with the heartbeat that keeps it."""

from __future__ import annotations

import secrets
import threading
import time
import weakref
from pathlib import Path

from . import liveness
from .database import Database

TABLE = """CREATE TABLE holding (
    one INTEGER PRIMARY KEY CHECK (one = 1), host TEXT NOT NULL, pid INTEGER NOT NULL, born REAL NOT NULL,
    heartbeat REAL NOT NULL, claim TEXT NOT NULL) STRICT"""
"""Stands among the tables of a database that is held as a whole."""


class Holding:
    """Makes this process the one that writes `database`; objects of one process on one file share the right.

    A holder that died without a word (a killed kernel) is seen by its pid and start time on this machine, by the age
    of its heartbeat elsewhere, and the right passes on.

    Raises:
        DatabaseError: another living process has it; the message says which.
    """

    @classmethod
    def of(cls, database: Database) -> Holding:
        """The holding that this process has on the database, taken now if it has none."""
        with _taking:
            holding = _held.get(database, lambda: None)()
            if holding is None or holding._over.is_set():
                holding = cls(database)
                _held[database] = weakref.ref(holding)
            holding._users += 1
        return holding

    def __init__(self, database: Database) -> None:
        self._claim, self._users, self._over = secrets.token_hex(8), 0, threading.Event()
        self._database = database
        with database.transaction() as execute:
            row = execute("SELECT host, pid, born, heartbeat, claim FROM holding").fetchone()
            mine = liveness.this_process()
            # A row of this very process is left over from an object that nobody closed.
            if row and row[:2] != mine[:2] and (other := liveness.holder(*row)):
                raise database.error(
                    f"{database.path} is in use by {other}: one process at a time may write to it. Close it there "
                    "(or shut that kernel down), or open another file"
                )
            execute("REPLACE INTO holding VALUES (1, ?, ?, ?, ?, ?)", (*mine, time.time(), self._claim))
        told = weakref.ref(self), self._over, type(database), database.path, self._claim
        threading.Thread(target=_beat, args=told, name="heartbeat", daemon=True).start()

    def check(self, execute) -> None:
        """Inside a transaction that writes: raises DatabaseError if another process took the right over meanwhile."""
        row = execute("SELECT host, pid, claim FROM holding").fetchone()
        if not row or row[2] != self._claim:
            who = f"process {row[1]} on {row[0].split('/')[0]}" if row else "nobody"
            raise self._database.error(
                f"{self._database.path} was taken over by {who} while this process was silent; nothing was written. "
                "Open it again here once it is closed there"
            )

    def release(self) -> None:
        """One of its users is done; with the last the right is free for other processes."""
        with _taking:
            self._users -= 1
            if self._users or self._over.is_set():
                return
            self._over.set()
        _let_go(self._database, self._claim)

    def beat(self) -> None:
        """Say that this process lives."""
        with self._database.transaction() as execute:
            execute("UPDATE holding SET heartbeat = ? WHERE claim = ?", (time.time(), self._claim))


_held: weakref.WeakKeyDictionary[Database, weakref.ref[Holding]] = weakref.WeakKeyDictionary()
_taking = threading.Lock()


def _let_go(database: Database, claim: str) -> None:
    try:
        with database.transaction() as execute:
            execute("DELETE FROM holding WHERE claim = ?", (claim,))
    except OSError:
        pass  # the file is gone or its disk full: the claim ends with this process


def _beat(
    holding: weakref.ref[Holding], over: threading.Event, kind: type[Database], path: Path, claim: str
) -> None:
    while not over.wait(liveness.HEARTBEAT_S):
        if (living := holding()) is None:
            if path.exists():  # forgotten, not closed: others need not wait until this process ends
                _let_go(kind.at(path), claim)
            return
        try:
            living.beat()
        except OSError:
            pass  # the next write meets the same trouble, and says it
        del living

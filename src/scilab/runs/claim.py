"""The right to write to one run, held by the one thread that drives it."""

from __future__ import annotations

import secrets
import sqlite3
import time
from dataclasses import dataclass

from . import liveness
from .database import Database, JournalError


@dataclass(frozen=True)
class Checkpoint:
    """Where a run can go on from: the record it came with, the counters then, torch.save's bytes."""

    n: int
    count: int
    done: int
    elapsed: float
    state: bytes | None


START = Checkpoint(n=0, count=0, done=0, elapsed=0.0, state=None)


def latest_checkpoint(database: Database, id: str) -> Checkpoint:
    """The only checkpoint kept of a run, or START."""
    rows = database.read(
        "SELECT c.n, c.count, c.done, c.elapsed, c.state FROM checkpoints c JOIN runs r ON r.number = c.run WHERE r.id = ?",
        (id,),
    )
    return Checkpoint(*rows[0]) if rows else START


class Claim:
    """Writes records and status of one run; each call is one transaction. The caller keeps calls apart."""

    def __init__(self, database: Database, id: str, number: int, token: str, last: int, start: Checkpoint):
        self._database, self._id, self._number, self._token = database, id, number, token
        self.last, self.count, self.done, self.elapsed = last, start.count, start.done, start.elapsed
        self.beat = time.time()

    @classmethod
    def new(cls, database: Database, id, name, notes, kind, settings, created, total) -> Claim:
        """Enter a new run, status "starting"; `settings` is JSON text."""
        token, now = secrets.token_hex(8), time.time()
        with database.transaction() as execute:
            number = execute(
                f"INSERT INTO runs VALUES (NULL{', ?' * 18})",
                (
                    id,
                    name,
                    notes,
                    kind,
                    created,
                    0,
                    "starting",
                    None,
                    0,
                    0,
                    0,
                    total,
                    0.0,
                    *liveness.owner(),
                    now,
                    token,
                ),
            ).lastrowid
            execute("INSERT INTO settings VALUES (?, ?)", (number, settings))
            liveness.driving.add(token)
        return cls(database, id, number, token, 0, START)

    @classmethod
    def again(cls, database: Database, id, settings, total, start: Checkpoint) -> Claim:
        """Take over a run that nobody drives, from `start`; what was recorded after it is superseded.

        Raises:
            JournalError: the run is gone, is being driven, or has another checkpoint by now.
        """
        token, now = secrets.token_hex(8), time.time()
        with database.transaction() as execute:
            row = execute(
                "SELECT number, last, status, host, pid, born, heartbeat, claim FROM runs WHERE id = ?", (id,)
            ).fetchone()
            if row is None:
                raise JournalError(f"run {id} was deleted meanwhile")
            number, last, *owner = row
            if driver := liveness.driver(*owner):
                raise JournalError(f"run {id} is being driven by {driver}. Stop it there first")
            kept = execute("SELECT n FROM checkpoints WHERE run = ?", (number,)).fetchone()
            if (kept[0] if kept else 0) != start.n:
                raise JournalError(f"run {id} was resumed elsewhere meanwhile. Resume it again from where it is now")
            execute(
                "UPDATE runs SET status='starting', error=NULL, count=?, done=?, total=?, elapsed=?, "
                "host=?, pid=?, born=?, heartbeat=?, claim=? WHERE number=?",
                (start.count, start.done, total, start.elapsed, *liveness.owner(), now, token, number),
            )
            execute("UPDATE settings SET body=? WHERE run=?", (settings, number))
            execute("UPDATE records SET superseded=1 WHERE run=? AND n>? AND superseded=0", (number, start.n))
            liveness.driving.add(token)
        return cls(database, id, number, token, last, start)

    def append(self, body: str, advances: bool, status: str, elapsed: float, total: int | None, state=None) -> None:
        """Commit one record, with the checkpoint that belongs to it if `state` is given."""
        now = time.time()
        n, count, done = self.last + 1, self.count + 1, self.done + advances
        with self._database.transaction() as execute:
            self._expect_mine(
                execute(
                    "UPDATE runs SET last=?, count=?, done=?, status=?, elapsed=?, total=?, heartbeat=? "
                    "WHERE number=? AND claim=?",
                    (n, count, done, status, elapsed, total, now, self._number, self._token),
                )
            )
            execute("INSERT INTO records VALUES (?, ?, ?, 0, ?)", (self._number, n, now, body))
            if state is not None:
                execute(
                    "REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?)", (self._number, n, count, done, elapsed, state)
                )
        self.last, self.count, self.done, self.elapsed, self.beat = n, count, done, elapsed, now

    def mark(self, status: str, elapsed: float, error: str | None = None) -> None:
        """Write status and heartbeat."""
        now = time.time()
        with self._database.transaction() as execute:
            self._expect_mine(
                execute(
                    "UPDATE runs SET status=?, elapsed=?, error=?, heartbeat=? WHERE number=? AND claim=?",
                    (status, elapsed, error, now, self._number, self._token),
                )
            )
        self.elapsed, self.beat = elapsed, now

    def release(self) -> None:
        """This process drives the run no longer, whatever the journal could be told."""
        liveness.driving.discard(self._token)

    def _expect_mine(self, updated: sqlite3.Cursor) -> None:
        if updated.rowcount != 1:
            raise JournalError(f"run {self._id} was deleted or resumed by another kernel; this one may not write to it")

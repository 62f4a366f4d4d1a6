"""The right to write to one run, held by the one thread that drives it."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable

from ..storage import liveness
from .database import Database, JournalError
from .liveness import driver as driver_of


class Claim:
    """Writes one run's records and status; each method is one transaction, calls are kept apart by the caller.

    Another kernel that finds the owner dead takes the run over with a claim of its own, and this one's writes fail.
    """

    def __init__(self, database: Database, id: str):
        self._database, self._id, self._token = database, id, secrets.token_hex(8)
        self._number = 0
        self.beat = 0.0
        """When this claim last wrote, unix time: the heartbeat."""

    def enter(self, name: str, notes: str, kind: str, created: float, settings: str, total: int | None) -> None:
        """Add a run with status "starting"; `settings` is JSON text."""
        values = (self._id, name, notes, kind, created, total, *self._owner())
        with self._database.transaction() as execute:
            self._number = execute(
                "INSERT INTO runs (id, name, notes, kind, created, total, host, pid, born, heartbeat, claim, status) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'starting')",
                values,
            ).lastrowid
            execute("INSERT INTO settings VALUES (?, ?)", (self._number, settings))

    def take_over(
        self, settings: str, total: int | None, load: Callable[[bytes], object] | None,
        log: Callable[[list[dict]], object] | None = None,
    ) -> tuple[int, int, float]:  # fmt: skip
        """Go on with a run that nobody drives: `load` its checkpoint if there is one, supersede what came after; or, if
        its records are its state, give them to `log`, and all stand.

        Returns count, done and elapsed as they were then. If `load` or `log` raises, nothing has changed.
        """
        with self._database.transaction() as execute:
            row = execute(
                "SELECT number, status, host, pid, born, heartbeat, claim FROM runs WHERE id = ?", (self._id,)
            ).fetchone()
            if row is None:
                raise JournalError(f"run {self._id} was deleted meanwhile")
            self._number = row[0]
            if driver := driver_of(*row[1:]):
                raise JournalError(f"run {self._id} is being driven by {driver}. Stop it there first")
            if log is None:
                n, count, done, elapsed, state = execute(
                    "SELECT n, count, done, elapsed, state FROM checkpoints WHERE run = ?", (self._number,)
                ).fetchone() or (0, 0, 0, 0.0, None)
                if state is not None:
                    load(state)
            else:
                n, count, done, elapsed = execute(
                    "SELECT last, count, done, elapsed FROM runs WHERE number = ?", (self._number,)
                ).fetchone()
                rows = execute(
                    "SELECT body FROM records WHERE run = ? AND superseded = 0 ORDER BY n", (self._number,)
                ).fetchall()
                log([json.loads(body) for (body,) in rows])
            execute(
                "UPDATE runs SET status='starting', error=NULL, count=?, done=?, elapsed=?, total=?, host=?, pid=?, "
                "born=?, heartbeat=?, claim=? WHERE number=?",
                (count, done, elapsed, total, *self._owner(), self._number),
            )
            execute("UPDATE settings SET body=? WHERE run=?", (settings, self._number))
            execute("UPDATE records SET superseded=1 WHERE run=? AND n>? AND superseded=0", (self._number, n))
        return count, done, elapsed

    def append(
        self, bodies: list[tuple[str, bool]], status: str, elapsed: float, total: int | None, state=None
    ) -> tuple[int, int]:  # fmt: skip
        """Commit records, (JSON text, whether it advances) each, with their checkpoint if `state` is given; returns
        count and done with them.
        """
        now, more = time.time(), len(bodies)
        with self._database.transaction() as execute:
            # fetchall: the statement must have ended before the commit
            row = execute(
                "UPDATE runs SET last=last+?, count=count+?, done=done+?, status=?, elapsed=?, total=?, heartbeat=? "
                "WHERE number=? AND claim=? RETURNING last, count, done",
                (more, more, sum(advances for _, advances in bodies), status, elapsed, total, now, self._number,
                 self._token),
            ).fetchall()  # fmt: skip
            n, count, done = self._mine(row)[0]
            for place, (body, _) in enumerate(bodies, n - more + 1):
                execute("INSERT INTO records (run, n, t, body) VALUES (?, ?, ?, ?)", (self._number, place, now, body))
            if state is not None:
                execute(
                    "REPLACE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?)", (self._number, n, count, done, elapsed, state)
                )
        self.beat = now
        return count, done

    def mark(self, status: str, elapsed: float, error: str | None) -> None:
        """Write status and heartbeat."""
        now = time.time()
        with self._database.transaction() as execute:
            changed = execute(
                "UPDATE runs SET status=?, elapsed=?, error=?, heartbeat=? WHERE number=? AND claim=?",
                (status, elapsed, error, now, self._number, self._token),
            ).rowcount
            self._mine(changed)
        self.beat = now

    def release(self) -> None:
        """This process drives the run no longer, whatever the journal could be told."""
        liveness.held.discard(self._token)

    def _owner(self) -> tuple[str, int, float, float, str]:
        self.beat = time.time()
        liveness.held.add(self._token)
        return *liveness.this_process(), self.beat, self._token

    def _mine(self, written):
        if not written:
            raise JournalError(f"run {self._id} was deleted or resumed by another kernel; this one may not write to it")
        return written

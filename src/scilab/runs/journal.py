"""The journal: every run on this machine, in one SQLite file."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import platformdirs

from . import checkpoint, exchange, liveness
from .database import Database, JournalError
from .stored import StoredRun

_COLUMNS = "id, name, notes, kind, created, recorded, status, error, count, done, total, elapsed"
_OWNER = "host, pid, born, heartbeat, claim"


class Journal:
    """Remembers runs in the file `path`, made if it is not there; usable from several threads and kernels at once.

    Without a path: the file named by the environment variable SCILAB_JOURNAL, else one in the user's data folder.

    Raises:
        JournalError: the file cannot be opened or is no journal; the message says what to do. So do all methods.
    """

    def __init__(self, path: str | os.PathLike | None = None):
        path = path or os.environ.get("SCILAB_JOURNAL") or platformdirs.user_data_path("scilab") / "journal.db"
        self.path = Path(path).expanduser().absolute()
        self._database: Database | None = Database.at(self.path)

    @property
    def database(self) -> Database:
        """The open file."""
        if self._database is None:
            raise JournalError(f"the journal {self.path} was closed. Open it again with Journal({str(self.path)!r})")
        return self._database

    def runs(self) -> list[StoredRun]:
        """All runs, newest first."""
        rows = self.database.read(f"SELECT {_COLUMNS}, {_OWNER} FROM runs ORDER BY created DESC, number DESC")
        return [self._stored(row) for row in rows]

    def run(self, id: str) -> StoredRun:
        """One run."""
        rows = self.database.read(f"SELECT {_COLUMNS}, {_OWNER} FROM runs WHERE id = ?", (id,))
        if not rows:
            raise self._unknown(id)
        return self._stored(rows[0])

    def records(self, id: str, since: int = 0) -> list[dict]:
        """See StoredRun.records."""
        rows = self.database.read(
            "SELECT n, t, body FROM records WHERE run = (SELECT number FROM runs WHERE id = ?) AND n > ? "
            "AND superseded = 0 ORDER BY n",
            (id, since),
        )
        return [{**json.loads(body), "n": n, "t": t} for n, t, body in rows]

    def settings_text(self, id: str) -> str:
        """A run's settings as JSON text."""
        rows = self.database.read("SELECT body FROM settings JOIN runs ON run = number WHERE id = ?", (id,))
        if not rows:
            raise self._unknown(id)
        return rows[0][0]

    def checkpoint(self, id: str) -> dict | None:
        """The state a run would be resumed from, on the CPU; None while it has none.

        Raises:
            ValueError: it is damaged, or holds something that could run code.
        """
        rows = self.database.read("SELECT state FROM checkpoints JOIN runs ON run = number WHERE id = ?", (id,))
        return checkpoint.from_bytes(rows[0][0]) if rows else None

    def rename(self, id: str, name: str) -> None:
        """Give a run another name."""
        self._write(id, "UPDATE runs SET name = ? WHERE id = ?", name)

    def note(self, id: str, text: str) -> None:
        """Replace a run's notes."""
        self._write(id, "UPDATE runs SET notes = ? WHERE id = ?", text)

    def delete(self, id: str) -> None:
        """Forget a run that nobody drives, and give its space back to the disk."""
        if not self._delete([id]):
            driver = self.run(id).driver or "another kernel"
            raise JournalError(f"run {id} is being driven by {driver}. Stop it there before deleting it")

    def prune(self, keep: int | None = None, older_than_days: float | None = None) -> list[str]:
        """Delete all but the `keep` newest runs, or those older than so many days; with both, what meets both.

        Runs being driven and recordings stay. Returns the ids deleted.
        """
        if keep is None and older_than_days is None:
            raise ValueError("prune() would delete every run: give keep=, older_than_days=, or both")
        if (keep or 0) < 0 or (older_than_days or 0) < 0:
            raise ValueError(f"keep={keep}, older_than_days={older_than_days}: give numbers of 0 or more")
        own = [run for run in self.runs() if not run.recorded][keep or 0 :]
        horizon = time.time() - 86_400 * (older_than_days or 0)
        return self._delete([run.id for run in own if run.created <= horizon and not run.driver])

    @property
    def size_bytes(self) -> int:
        """Bytes the journal takes on disk."""
        return self.database.size_bytes

    def export(self, id: str, path: str | os.PathLike) -> Path:
        """Write a run, with what it needs to be resumed, into one file `path` ending in .scilab-run; see exchange."""
        self.run(id)
        return exchange.export(self.database, id, Path(path).expanduser())

    def import_(self, path: str | os.PathLike, recorded: bool = False) -> StoredRun:
        """Take in a run from an exported file, after checking it; `recorded` marks it as a recording, never resumed.

        A run that is here already is returned as it is; another one with its id comes in under a new id.
        """
        return self.run(exchange.import_(self.database, Path(path).expanduser(), recorded))

    def close(self) -> None:
        """Let go of the file. Runs that use this journal must have ended."""
        self._database = None

    def __repr__(self) -> str:
        return f"<Journal {self.path}{' (closed)' if self._database is None else ''}>"

    def _stored(self, row: tuple) -> StoredRun:
        id, name, notes, kind, created, recorded, status, error, count, done, total, elapsed, *owner = row
        driver = liveness.driver(status, *owner)
        if status in liveness.LIVE and driver is None:
            status = "interrupted"
        return StoredRun(
            self, id, name, notes, kind, created, bool(recorded), status, error, count, done, total, elapsed, driver
        )

    def _write(self, id: str, statement: str, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError(f"names and notes are text, not {value!r}")
        with self.database.transaction() as execute:
            if execute(statement, (value, id)).rowcount == 0:
                raise self._unknown(id)

    def _delete(self, ids: list[str]) -> list[str]:
        deleted = []
        for id in ids:
            with self.database.transaction() as execute:
                row = execute(f"SELECT number, status, {_OWNER} FROM runs WHERE id = ?", (id,)).fetchone()
                if row and not liveness.driver(*row[1:]):
                    for table in ("records", "checkpoints", "settings"):
                        execute(f"DELETE FROM {table} WHERE run = ?", row[:1])
                    execute("DELETE FROM runs WHERE number = ?", row[:1])
                    deleted.append(id)
        if deleted:
            self.database.give_back()
        return deleted

    def _unknown(self, id: str) -> JournalError:
        return JournalError(f"there is no run {id!r} in {self.path}; journal.runs() lists what there is")

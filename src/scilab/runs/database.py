"""The SQLite file under a journal: its tables, its one lock, transactions, and errors in words.

Write-ahead log and synchronous=NORMAL: what is committed survives the death of the process, at no fsync per commit.
That log does not work on a network file system; there a rollback journal is used and the file held exclusively.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from contextlib import contextmanager
from pathlib import Path

from .filesystems import on_network

APPLICATION = 0x5C11AB01  # marks a SQLite file as ours (PRAGMA application_id)
VERSION = 1
# The checks are for imports as much as for us: an exported run has these tables to the letter, so SQLite checks it.
TABLES = (
    # What lists and progress bars need. claim names the thread that may write to the run.
    """CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE CHECK (length(id) BETWEEN 4 AND 32 AND id NOT GLOB '*[^0-9a-z]*'),
    name TEXT NOT NULL, notes TEXT NOT NULL, kind TEXT NOT NULL,
    created REAL NOT NULL CHECK (created BETWEEN 0 AND 1e12),
    recorded INTEGER NOT NULL DEFAULT 0 CHECK (recorded IN (0, 1)),
    status TEXT NOT NULL CHECK (status IN ('starting', 'running', 'pausing', 'paused', 'stopping',
        'stopped', 'finished', 'failed', 'interrupted')),
    error TEXT, last INTEGER NOT NULL DEFAULT 0, count INTEGER NOT NULL DEFAULT 0 CHECK (count BETWEEN 0 AND last),
    done INTEGER NOT NULL DEFAULT 0 CHECK (done BETWEEN 0 AND count), total INTEGER CHECK (total >= 0),
    elapsed REAL NOT NULL DEFAULT 0 CHECK (elapsed BETWEEN 0 AND 1e12), host TEXT NOT NULL DEFAULT '',
    pid INTEGER NOT NULL DEFAULT 0, born REAL NOT NULL DEFAULT 0, heartbeat REAL NOT NULL DEFAULT 0,
    claim TEXT NOT NULL DEFAULT '') STRICT""",
    # Apart from runs, which is rewritten with every record: a topology of thousands of nodes is large.
    "CREATE TABLE settings (run INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT",
    """CREATE TABLE records (
    run INTEGER NOT NULL, n INTEGER NOT NULL CHECK (n > 0), t REAL NOT NULL CHECK (t BETWEEN 0 AND 1e12),
    superseded INTEGER NOT NULL DEFAULT 0, body TEXT NOT NULL, PRIMARY KEY (run, n)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE checkpoints (
    run INTEGER PRIMARY KEY, n INTEGER NOT NULL CHECK (n > 0), count INTEGER NOT NULL CHECK (count > 0),
    done INTEGER NOT NULL CHECK (done BETWEEN 0 AND count), elapsed REAL NOT NULL CHECK (elapsed BETWEEN 0 AND 1e12),
    state BLOB NOT NULL) STRICT""",
)
BUSY_S = 60.0  # how long to wait while other kernels write

_ELSEWHERE = "set the environment variable SCILAB_JOURNAL, or Journal(path), to a file"
_EXPLAINED = {
    ("SQLITE_FULL", "SQLITE_IOERR"): "the disk that holds {path} is full or cannot be written ({error}). "
    f"Free a few megabytes there; then journal.prune can delete old runs. Or {_ELSEWHERE} on another disk",
    ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"): "{path} cannot be opened for writing ({error}). "
    f"Make its folder writable, or {_ELSEWHERE} where you may write",
    ("SQLITE_NOTADB",): "{path} is not a journal, nor any SQLite file. Give another path, or move that file away",
    ("SQLITE_CORRUPT",): "{path} is damaged ({error}). Move it and its -wal file away; a new journal is then begun",
    ("SQLITE_BUSY", "SQLITE_LOCKED"): "{path} is held by another kernel ({error}). Shut that kernel down, or "
    f"{_ELSEWHERE} of its own for this one. (On a local disk several kernels share a journal, on a network disk not.)",
    ("SQLITE_TOOBIG",): "a record or checkpoint is larger than the 1 GB {path} can hold: keep less in state_dict()",
}

_open: weakref.WeakValueDictionary[str, Database] = weakref.WeakValueDictionary()
_opening = threading.Lock()


class JournalError(OSError):
    """The journal cannot do what was asked; the message says why, and what to do."""


def explain(error: sqlite3.Error, path: Path) -> JournalError:
    """What SQLite says about `path`, in words that help."""
    name = getattr(error, "sqlite_errorname", None) or ""
    for names, text in _EXPLAINED.items():
        if name.startswith(names):
            return JournalError(text.format(path=path, error=error))
    return JournalError(f"{path}: {error}")


def create_tables(execute) -> None:
    """Make an empty SQLite file a journal, inside the caller's transaction."""
    for statement in (*TABLES, f"PRAGMA application_id={APPLICATION}", f"PRAGMA user_version={VERSION}"):
        execute(statement)


class Database:
    """One open journal file; all journals of a process on one path share it, with one connection and one lock."""

    @classmethod
    def at(cls, path: Path) -> Database:
        """The open database on `path`, opened (and made) if it is not yet."""
        key = os.path.realpath(path)
        with _opening:
            database = _open.get(key)
            if database is None or not path.exists():  # someone may have removed the file under us
                database = _open[key] = cls(path)
        database._check_process()
        return database

    def __init__(self, path: Path):
        if path.is_dir():
            raise JournalError(f"{path} is a folder. Give the path of a file in it, such as {path / 'journal.db'}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(f"the folder of {path} cannot be made ({error}): {_ELSEWHERE} elsewhere") from None
        self.path, self._process, self._lock = path, os.getpid(), threading.RLock()
        self._exclusive = on_network(path.parent)
        self._busy_s = 1.0 if self._exclusive else BUSY_S
        try:
            self._connection = sqlite3.connect(path, self._busy_s, isolation_level=None, check_same_thread=False)
            self._prepare()
        except sqlite3.Error as error:
            raise explain(error, path) from error

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA trusted_schema=OFF")
        if self._exclusive:
            execute("PRAGMA locking_mode=EXCLUSIVE")
        known = self._is_journal()  # before anything is changed in a file that may be someone else's
        if not known:
            execute("PRAGMA auto_vacuum=INCREMENTAL")  # only heard before the first table
        self._set_mode("TRUNCATE" if self._exclusive else "WAL")
        execute("PRAGMA synchronous=NORMAL")
        execute(f"PRAGMA journal_size_limit={16 * 2**20}")  # a large checkpoint leaves no large log for good
        # Also with nothing to write: a read-only disk, or another kernel's hold, shows now and not at the first record.
        with self.transaction() as execute:
            if not self._is_journal():
                create_tables(execute)

    def _is_journal(self) -> bool:
        """False if the file is still empty; JournalError if it is another program's, or of a newer scilab."""
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application == APPLICATION and version > VERSION:
            raise JournalError(
                f"{self.path} was written by a newer scilab (schema {version}, this one knows {VERSION}). "
                "Update scilab, or give another path"
            )
        if application != APPLICATION and (application or tables):
            raise JournalError(f"{self.path} is a database of some other program, not a journal. Give another path")
        return application == APPLICATION

    def _set_mode(self, mode: str) -> None:
        """SQLite does not wait for other kernels when it changes the mode, so we do."""
        deadline = time.monotonic() + min(self._busy_s, 10.0)
        while True:
            try:
                return self._connection.execute(f"PRAGMA journal_mode={mode}").fetchone()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise JournalError(
                f"{self.path} was opened before this process was forked, and SQLite's locks do not survive a fork. "
                "Start worker processes with the 'spawn' method, or let only the parent use the journal"
            )

    @contextmanager
    def transaction(self):
        """`with database.transaction() as execute:` all or nothing, from any thread; other kernels wait meanwhile."""
        self._check_process()
        with self._lock:
            execute = self._connection.execute
            try:
                execute("BEGIN IMMEDIATE")
                yield execute
                execute("COMMIT")
            except BaseException as error:  # KeyboardInterrupt too
                if self._connection.in_transaction:
                    execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise explain(error, self.path) from error
                raise

    def read(self, query: str, values: tuple = ()) -> list[tuple]:
        """All rows of a query."""
        self._check_process()
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise explain(error, self.path) from error

    def give_back(self) -> None:
        """Return freed pages to the disk, as far as other kernels allow it now."""
        with self._lock:
            execute = self._connection.execute
            try:
                execute("PRAGMA busy_timeout=200")
                self._connection.executescript("PRAGMA incremental_vacuum")  # execute() would free one page only
                execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.OperationalError:
                pass  # another kernel writes; what is free will be used by the next records
            finally:
                execute(f"PRAGMA busy_timeout={int(1000 * self._busy_s)}")

    @property
    def size_bytes(self) -> int:
        """Bytes on disk, with the log."""
        files = [Path(f"{self.path}{suffix}") for suffix in ("", "-wal", "-shm", "-journal")]
        return sum(file.stat().st_size for file in files if file.exists())

    def __del__(self):
        if hasattr(self, "_connection") and self._process == os.getpid():
            self._connection.close()

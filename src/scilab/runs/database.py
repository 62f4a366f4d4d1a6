"""The SQLite file under a journal: opening, one lock, transactions, and errors in words.

Write-ahead log and synchronous=NORMAL: what is committed survives the death of the process, at no fsync per commit.
On a network file system that log does not work; there a rollback journal is used and the file is held exclusively.
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

APPLICATION = 0x5C11AB01  # marks a SQLite file as ours, see PRAGMA application_id
SCHEMA_VERSION = 1
SCHEMA = (
    # One row a run: what lists and progress bars need. claim names the thread that may write to the run.
    """CREATE TABLE runs (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, notes TEXT NOT NULL,
kind TEXT NOT NULL, created REAL NOT NULL, recorded INTEGER NOT NULL, status TEXT NOT NULL, error TEXT,
last INTEGER NOT NULL, count INTEGER NOT NULL, done INTEGER NOT NULL, total INTEGER, elapsed REAL NOT NULL,
host TEXT NOT NULL, pid INTEGER NOT NULL, born REAL NOT NULL, heartbeat REAL NOT NULL, claim TEXT NOT NULL)""",
    # Apart from runs, which is rewritten with every record: a topology of thousands of nodes is large.
    "CREATE TABLE settings (run INTEGER PRIMARY KEY, body TEXT NOT NULL)",
    """CREATE TABLE records (run INTEGER NOT NULL, n INTEGER NOT NULL, t REAL NOT NULL, superseded INTEGER NOT NULL,
body TEXT NOT NULL, PRIMARY KEY (run, n)) WITHOUT ROWID""",
    """CREATE TABLE checkpoints (run INTEGER PRIMARY KEY, n INTEGER NOT NULL, count INTEGER NOT NULL,
done INTEGER NOT NULL, elapsed REAL NOT NULL, state BLOB NOT NULL)""",
)
BUSY_S = 60.0  # how long to wait while other kernels write

_open: weakref.WeakValueDictionary[str, Database] = weakref.WeakValueDictionary()
_opening = threading.Lock()
_inherited: list[Database] = []


class JournalError(OSError):
    """The journal cannot do what was asked; the message says why, and what to do."""


def explain(error: Exception, path: Path) -> JournalError:
    """What SQLite says about `path`, in words that help."""
    name = getattr(error, "sqlite_errorname", None) or ""
    elsewhere = "set the environment variable SCILAB_JOURNAL, or Journal(path), to a file"
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
        told = (
            f"the disk that holds {path} is full or cannot be written ({error}). Free some space, delete old runs "
            f"(journal.prune), or {elsewhere} on another disk"
        )
    elif name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        told = f"{path} cannot be opened for writing ({error}). Make its folder writable, or {elsewhere} where you may write"
    elif name == "SQLITE_NOTADB":
        told = f"{path} is not a journal: it is no SQLite file. Give another path, or move that file away"
    elif name.startswith("SQLITE_CORRUPT"):
        told = f"{path} is damaged ({error}). Move it away, together with its -wal file; a new journal is then begun"
    elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        told = (
            f"{path} is held by another kernel ({error}). Shut that kernel down, or {elsewhere} of its own for this one. "
            "(Several kernels can share a journal on a local disk, not on a network file system.)"
        )
    elif name == "SQLITE_TOOBIG" or isinstance(error, OverflowError):
        told = f"a checkpoint or record is larger than the 1 GB which {path} can hold: keep less in state_dict()"
    else:
        told = f"{path}: {error}"
    return JournalError(told)


def create_tables(execute) -> None:
    """Make an empty SQLite file a journal, inside a transaction of the caller."""
    for statement in (*SCHEMA, f"PRAGMA application_id={APPLICATION}", f"PRAGMA user_version={SCHEMA_VERSION}"):
        execute(statement)


def check_identity(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether `path` already is a journal (True) or still empty (False).

    Raises:
        JournalError: it is someone else's database, or a newer scilab wrote it.
    """
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION:
        if application or connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise JournalError(f"{path} is a database of some other program, not a journal. Give another path")
        return False
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"{path} was written by a newer scilab (schema {version}, this one knows {SCHEMA_VERSION}). "
            "Update scilab, or give another path"
        )
    return True


class Database:
    """One open journal file. All journals of a process on one path share it, and its one connection and lock."""

    @classmethod
    def at(cls, path: Path) -> Database:
        """The open database on `path`, opened (and made) if it is not yet."""
        key = os.path.realpath(path)
        with _opening:
            database = _open.get(key)
            if database is None:
                database = _open[key] = cls(path)
        database.check_process()
        return database

    def __init__(self, path: Path):
        if path.is_dir():
            raise JournalError(f"{path} is a folder. Give the path of a file in it, such as {path / 'journal.db'}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(
                f"the folder of {path} cannot be made ({error}). Give a path where you may write"
            ) from None
        self.path, self._process, self._lock = path, os.getpid(), threading.RLock()
        self._exclusive = on_network(path.parent)
        try:
            self._connection = sqlite3.connect(
                path, timeout=1.0 if self._exclusive else BUSY_S, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise explain(error, path) from error
        try:
            self._prepare()
        except BaseException as error:
            self._connection.close()
            if isinstance(error, sqlite3.Error):
                raise explain(error, path) from error
            raise

    def __del__(self):
        if hasattr(self, "_connection") and self._process == os.getpid():
            self._connection.close()

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA trusted_schema=OFF")
        if self._exclusive:
            execute("PRAGMA locking_mode=EXCLUSIVE")
        known = check_identity(self._connection, self.path)
        if not known:
            execute("PRAGMA auto_vacuum=INCREMENTAL")  # only heard before the first table
        self._set_journal_mode("TRUNCATE" if self._exclusive else "WAL")
        execute("PRAGMA synchronous=NORMAL")
        execute(f"PRAGMA journal_size_limit={16 * 2**20}")  # a large checkpoint must not leave a large log for good
        # The write shows now, not at the first record, that the disk is read-only or another kernel holds the file.
        with self.transaction() as execute:
            if not check_identity(self._connection, self.path):  # another kernel may have been quicker
                create_tables(execute)
            else:
                execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def _set_journal_mode(self, mode: str) -> None:
        """SQLite does not wait for other kernels when it changes the mode, so we do."""
        deadline = time.monotonic() + (1.0 if self._exclusive else 10.0)
        while True:
            try:
                self._connection.execute(f"PRAGMA journal_mode={mode}").fetchall()
                return
            except sqlite3.OperationalError as error:
                if (
                    error.sqlite_errorcode not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
                    or time.monotonic() > deadline
                ):
                    raise
                time.sleep(0.02)

    def check_process(self) -> None:
        """Refuse to work in a forked child: SQLite's locks do not survive fork()."""
        if self._process != os.getpid():
            raise JournalError(
                f"{self.path} was opened before this process was forked, and SQLite cannot be carried over a fork. "
                "Start worker processes with the 'spawn' method, or let only the parent use the journal"
            )

    @contextmanager
    def transaction(self):
        """`with database.transaction() as execute:` all or nothing, from any thread; other kernels wait meanwhile."""
        self.check_process()
        with self._lock:
            execute = self._connection.execute
            try:
                execute("BEGIN IMMEDIATE")
                yield execute
                execute("COMMIT")
            except BaseException as error:  # KeyboardInterrupt too
                if self._connection.in_transaction:
                    execute("ROLLBACK")
                if isinstance(error, (sqlite3.Error, OverflowError)):
                    raise explain(error, self.path) from error
                raise

    def read(self, query: str, values: tuple = ()) -> list[tuple]:
        """All rows of a query."""
        self.check_process()
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise explain(error, self.path) from error

    def give_back(self) -> None:
        """Return freed pages to the disk; as far as other kernels' readers allow it now."""
        self.check_process()
        with self._lock:
            execute = self._connection.execute
            try:
                execute("PRAGMA busy_timeout=200")
                execute("PRAGMA incremental_vacuum").fetchall()  # one page a step: it must be read to its end
                execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.OperationalError:
                pass  # a kernel is writing; the pages stay free for what is written next
            finally:
                execute(f"PRAGMA busy_timeout={int(1000 * BUSY_S)}")

    @property
    def size_bytes(self) -> int:
        """Bytes on disk, with the log."""
        files = [Path(f"{self.path}{suffix}") for suffix in ("", "-wal", "-shm", "-journal")]
        return sum(file.stat().st_size for file in files if file.exists())


def _keep_inherited() -> None:
    """In a forked child: never close the parent's connections, that would write to memory shared with the parent."""
    _inherited.extend(_open.values())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_inherited)

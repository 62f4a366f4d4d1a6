"""A SQLite file of ours: its one lock, transactions, and errors in words.

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
from typing import ClassVar, Self

from .filesystems import on_network

BUSY_S = 60.0  # how long to wait while other kernels write

_EXPLAINED = {
    ("SQLITE_FULL", "SQLITE_IOERR"): "the disk that holds {path} is full or cannot be written ({error}). "
    "Free a few megabytes there{shrink}. Or {elsewhere} on another disk",
    ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"): "{path} cannot be opened for writing ({error}). "
    "Make its folder writable, or {elsewhere} where you may write",
    ("SQLITE_NOTADB",): "{path} is not a {what}, nor any SQLite file. Give another path, or move that file away",
    ("SQLITE_CORRUPT",): "{path} is damaged ({error}). Move it and its -wal file away; a new {what} is then begun",
    ("SQLITE_BUSY", "SQLITE_LOCKED"): "{path} is held by another kernel ({error}). Shut that kernel down, or "
    "{elsewhere} of its own for this one. {shared}",
    ("SQLITE_TOOBIG",): "a record or checkpoint is larger than the 1 GB {path} can hold: keep less in it",
}

_open: weakref.WeakValueDictionary[tuple[type, str], Database] = weakref.WeakValueDictionary()
_opening = threading.Lock()


class DatabaseError(OSError):
    """The file cannot do what was asked; the message says why, and what to do."""


class Database:
    """One open file; all who use one path in a process share it, with one connection and one lock.

    A subclass says what is in it: its tables and the words for it.
    """

    what: ClassVar[str]
    """What the file is called in messages."""
    file_name: ClassVar[str]
    elsewhere: ClassVar[str]
    """How another place is given, such as "give LabelStore another path"."""
    shrink: ClassVar[str] = ""
    """How the file itself is made smaller, if it can be."""
    shared: ClassVar[str] = ""
    application: ClassVar[int]
    """Marks a SQLite file as one of these (PRAGMA application_id)."""
    version: ClassVar[int] = 1
    tables: ClassVar[tuple[str, ...]]
    synchronous: ClassVar[str] = "NORMAL"
    """"FULL" where a commit shall survive the failure of the machine, not only of the process."""
    error: ClassVar[type[DatabaseError]] = DatabaseError
    _closing = False

    @classmethod
    def at(cls, path: Path) -> Self:
        """The open database on `path`, opened (and made) if it is not yet."""
        key = cls, os.path.realpath(path)
        with _opening:
            database = _open.get(key)
            # A thread may meet one whose __del__ another is in; and someone may have removed the file under us.
            if database is None or database._closing or not path.exists():
                database = _open[key] = cls(path)
        database._check_process()
        return database

    @classmethod
    def explain(cls, error: sqlite3.Error, path: Path) -> DatabaseError:
        """What SQLite says about `path`, in words that help."""
        name = getattr(error, "sqlite_errorname", None) or ""
        for names, text in _EXPLAINED.items():
            if name.startswith(names):
                words = {"what": cls.what, "elsewhere": cls.elsewhere, "shrink": cls.shrink, "shared": cls.shared}
                return cls.error(text.format(path=path, error=error, **words).rstrip())
        return cls.error(f"{path}: {error}")

    @classmethod
    def create_tables(cls, execute) -> None:
        """Fill an empty SQLite file, inside the caller's transaction."""
        marks = f"PRAGMA application_id={cls.application}", f"PRAGMA user_version={cls.version}"
        for statement in (*cls.tables, *marks):
            execute(statement)

    def __init__(self, path: Path):
        if path.is_dir():
            raise self.error(f"{path} is a folder. Give the path of a file in it, such as {path / self.file_name}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self.error(f"the folder of {path} cannot be made ({error}): {self.elsewhere} elsewhere") from None
        self.path, self._process, self._lock = path, os.getpid(), threading.RLock()
        self._exclusive = on_network(path.parent)
        self._busy_s = 1.0 if self._exclusive else BUSY_S
        try:
            self._connection = sqlite3.connect(path, self._busy_s, isolation_level=None, check_same_thread=False)
            self._prepare()
        except sqlite3.Error as error:
            raise self.explain(error, path) from error

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA trusted_schema=OFF")
        if self._exclusive:
            execute("PRAGMA locking_mode=EXCLUSIVE")
        known = self._is_ours()  # before anything is changed in a file that may be someone else's
        if not known:
            execute("PRAGMA auto_vacuum=INCREMENTAL")  # only heard before the first table
        self._set_mode("TRUNCATE" if self._exclusive else "WAL")
        execute(f"PRAGMA synchronous={self.synchronous}")
        execute(f"PRAGMA journal_size_limit={16 * 2**20}")  # a large checkpoint leaves no large log for good
        # Also with nothing to write: a read-only disk, or another kernel's hold, shows now and not at the first record.
        with self.transaction() as execute:
            if not self._is_ours():
                self.create_tables(execute)

    def _is_ours(self) -> bool:
        """False if the file is still empty; an error if it is another program's, or of a newer scilab."""
        execute, alone = self._connection.execute, not self._connection.in_transaction
        if alone:  # all three from one moment: another kernel may be making the tables just now
            execute("BEGIN")
        try:
            (application,) = execute("PRAGMA application_id").fetchone()
            (version,) = execute("PRAGMA user_version").fetchone()
            (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            if alone and self._connection.in_transaction:
                execute("ROLLBACK")
        if application == self.application and version > self.version:
            raise self.error(
                f"{self.path} was written by a newer scilab (schema {version}, this one knows {self.version}). "
                "Update scilab, or give another path"
            )
        if application != self.application and (application or tables):
            raise self.error(f"{self.path} is a database of some other program, not a {self.what}. Give another path")
        return application == self.application

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
            raise self.error(
                f"{self.path} was opened before this process was forked, and SQLite's locks do not survive a fork. "
                "Start worker processes with the 'spawn' method, or let only the parent use the {self.what}"
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
                    raise self.explain(error, self.path) from error
                raise

    def read(self, query: str, values: tuple = ()) -> list[tuple]:
        """All rows of a query."""
        self._check_process()
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise self.explain(error, self.path) from error

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
        self._closing = True
        if hasattr(self, "_connection") and self._process == os.getpid():
            self._connection.close()

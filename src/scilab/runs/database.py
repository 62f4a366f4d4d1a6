"""The SQLite file under a journal: its tables and the words for its troubles."""

from __future__ import annotations

from ..storage import Database as StoredDatabase
from ..storage import DatabaseError

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


class JournalError(DatabaseError):
    """The journal cannot do what was asked; the message says why, and what to do."""


class Database(StoredDatabase):
    """One open journal file; all journals of a process on one path share it."""

    what = "journal"
    file_name = "journal.db"
    elsewhere = "set the environment variable SCILAB_JOURNAL, or Journal(path), to a file"
    shrink = "; then journal.prune can delete old runs"
    shared = "(On a local disk several kernels share a journal, on a network disk not.)"
    application = 0x5C11AB01
    tables = TABLES
    error = JournalError

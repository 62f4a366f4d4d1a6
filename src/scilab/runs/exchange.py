"""One run as one file: what a person downloads from a machine that forgets, and takes elsewhere.

The file is a SQLite database with the journal's own tables and one run in it, without superseded records. It may come
from anyone, so it is opened read-only, its schema must be ours to the letter (no triggers, no views), and every value
is checked before it is copied. Checkpoints stay bytes here; Run.resume reads them with torch.load(weights_only=True).
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

from .claim import Checkpoint
from .database import SCHEMA_VERSION, Database, JournalError, check_identity, create_tables
from .stored import LIVE, RESUMABLE

SUFFIX = ".scilab-run"
LARGEST_BYTES = 2 * 2**30
COLUMNS = (
    "id", "name", "notes", "kind", "created", "recorded", "status", "error", "last", "count", "done", "total", "elapsed"
)  # fmt: skip
_SELECT_RUN = f"SELECT {', '.join(COLUMNS)} FROM runs"
_INSERT_RUN = f"INSERT INTO runs VALUES (NULL{', ?' * 13}, '', 0, 0, 0, '')"
_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_master"


def export(database: Database, id: str, path: Path) -> Path:
    """Write run `id` to `path`, replacing an older export there; a run still being driven is "interrupted" in it."""
    if path.suffix != SUFFIX:
        raise ValueError(f"{path.name} is no name for an exported run: end it in {SUFFIX}")
    with database.transaction() as read:  # one moment of a run that may go on
        run = dict(zip(COLUMNS, read(f"{_SELECT_RUN} WHERE id = ?", (id,)).fetchone(), strict=True))
        (number,) = read("SELECT number FROM runs WHERE id = ?", (id,)).fetchone()
        settings = read("SELECT body FROM settings WHERE run = ?", (number,)).fetchone()
        records = read("SELECT n, t, body FROM records WHERE run = ? AND superseded = 0", (number,)).fetchall()
        checkpoint = read("SELECT n, count, done, elapsed, state FROM checkpoints WHERE run = ?", (number,)).fetchone()
    if run["status"] in LIVE:
        run["status"] = "interrupted"
    unfinished = path.with_name(path.name + ".tmp")
    try:
        unfinished.unlink(missing_ok=True)
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as target:
            target.execute("BEGIN")
            create_tables(target.execute)
            _insert(target.execute, run, settings[0], records, checkpoint)
            target.execute("COMMIT")
        os.replace(unfinished, path)
    except (sqlite3.Error, OSError) as error:
        unfinished.unlink(missing_ok=True)
        raise JournalError(
            f"the run cannot be written to {path} ({error}). Is its folder there and writable, and the disk not full?"
        ) from error
    return path


def import_(database: Database, path: Path, recorded: bool) -> str:
    """Check the file and copy its run into `database`; returns the run's id there."""
    if not path.is_file():
        raise JournalError(f"there is no file {path}")
    if path.stat().st_size > LARGEST_BYTES:
        raise JournalError(f"{path} is larger than {LARGEST_BYTES >> 30} GiB, more than an exported run may be")
    try:
        # immutable: SQLite trusts no journal lying beside the file and writes nothing
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as source:
            run, settings, records, checkpoint = _read(source, path)
    except (sqlite3.Error, OverflowError) as error:
        raise JournalError(f"{path} is not an exported run, or damaged ({error})") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise JournalError(f"{path} is not a sound export: {error}") from error
    run["recorded"] = int(recorded or run["recorded"])
    with database.transaction() as execute:
        here = execute("SELECT created, last FROM runs WHERE id = ?", (run["id"],)).fetchone()
        if here == (run["created"], run["last"]):
            return run["id"]
        if here:
            run["id"] = secrets.token_hex(5)
        _insert(execute, run, settings, records, None if run["recorded"] else checkpoint)
    return run["id"]


def _insert(execute, run, settings, records, checkpoint) -> None:
    number = execute(_INSERT_RUN, tuple(run[column] for column in COLUMNS)).lastrowid
    execute("INSERT INTO settings VALUES (?, ?)", (number, settings))
    for n, t, body in records:
        execute("INSERT INTO records VALUES (?, ?, ?, 0, ?)", (number, n, t, body))
    if checkpoint:
        execute("INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?, ?)", (number, *checkpoint))


def _read(source: sqlite3.Connection, path: Path) -> tuple[dict, str, list[tuple], tuple | None]:
    """The one run in a foreign file, each value checked; raises ValueError or sqlite3.Error."""
    for statement in ("PRAGMA trusted_schema=OFF", "PRAGMA cell_size_check=ON", "PRAGMA query_only=ON"):
        source.execute(statement)
    if not check_identity(source, path):
        raise ValueError("it is empty")
    if (version := source.execute("PRAGMA user_version").fetchone()[0]) != SCHEMA_VERSION:
        raise ValueError(f"its schema version is {version}, not {SCHEMA_VERSION}")
    with closing(sqlite3.connect(":memory:")) as model:
        create_tables(model.execute)
        if set(source.execute(_SCHEMA)) != set(model.execute(_SCHEMA)):
            raise ValueError("it holds other tables, triggers or views than a journal has")
    if (verdict := source.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise ValueError(verdict)

    numbers = [number for (number,) in source.execute("SELECT number FROM runs LIMIT 2")]
    if len(numbers) != 1:
        raise ValueError("it holds no run, or several")
    run = dict(zip(COLUMNS, source.execute(_SELECT_RUN).fetchone(), strict=True))
    _check_run(run)
    (settings,) = source.execute("SELECT body FROM settings WHERE run = ?", numbers).fetchone() or (None,)
    if not isinstance(_json(settings, "the settings"), dict):
        raise ValueError("its settings are no JSON object")
    records, before = [], 0
    for n, t, body in source.execute(
        "SELECT n, t, body FROM records WHERE run = ? AND superseded = 0 ORDER BY n", numbers
    ):
        if not (_whole(n) and n > before and _number(t)):
            raise ValueError(f"a record is numbered {n!r} at time {t!r}")
        record = _json(body, f"record {n}")
        if not (isinstance(record, dict) and isinstance(record.get("kind"), str) and not {"n", "t"} & record.keys()):
            raise ValueError(f"record {n} is no JSON object with a kind")
        records.append((n, t, body))
        before = n
    if len(records) != run["count"] or before > run["last"]:
        raise ValueError("it does not hold the records which it counts")
    checkpoint = source.execute(
        "SELECT n, count, done, elapsed, state FROM checkpoints WHERE run = ?", numbers
    ).fetchone()
    if checkpoint is not None:
        _check_checkpoint(Checkpoint(*checkpoint), run, records)
    return run, settings, records, checkpoint


def _check_run(run: dict) -> None:
    for field in ("id", "name", "notes", "kind", "status", "error"):
        if not (isinstance(run[field], str) or (field == "error" and run[field] is None)):
            raise ValueError(f"its {field} is {run[field]!r}, no text")
    for field in ("last", "count", "done", "total"):
        if not (_whole(run[field]) or (field == "total" and run[field] is None)):
            raise ValueError(f"its {field} is {run[field]!r}, no count")
    if not re.fullmatch(r"[0-9a-z]{4,32}", run["id"]):
        raise ValueError(f"its id is {run['id']!r}")
    if not (_number(run["created"]) and _number(run["elapsed"]) and run["recorded"] in (0, 1)):
        raise ValueError("its times make no sense")
    if not run["done"] <= run["count"] <= run["last"]:
        raise ValueError("its counters contradict each other")
    if run["status"] not in (*RESUMABLE, "finished"):
        raise ValueError(f"its status is {run['status']!r}")


def _check_checkpoint(checkpoint: Checkpoint, run: dict, records: list[tuple]) -> None:
    place = {n: place for place, (n, _, _) in enumerate(records, start=1)}.get(checkpoint.n)
    counted = (
        _whole(checkpoint.count) and _whole(checkpoint.done) and checkpoint.done <= min(checkpoint.count, run["done"])
    )
    if not (
        counted and checkpoint.count == place and _number(checkpoint.elapsed) and isinstance(checkpoint.state, bytes)
    ):
        raise ValueError("its checkpoint belongs to none of its records")


def _json(text, what: str):
    def refuse(number):
        raise ValueError(f"{what} holds the number {number}, which is not JSON")

    def finite(number):
        return float(number) if math.isfinite(float(number)) else refuse(number)

    if not isinstance(text, str):
        raise ValueError(f"{what} are no text")
    return json.loads(text, parse_constant=refuse, parse_float=finite)


def _whole(value) -> bool:
    return isinstance(value, int) and value >= 0


def _number(value) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value >= 0

"""One run as one file: what a person downloads from a machine that forgets, and takes elsewhere.

The file is a SQLite database with the journal's own tables and one run in it, without superseded records. It may
come from anyone: it is opened read-only, its schema must be ours to the letter (so no triggers, no views), and each
value must meet the constraints of our tables as it comes in. A checkpoint stays bytes here, and is never unpickled.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path

from .database import Database, JournalError
from .liveness import LIVE

SUFFIX = ".scilab-run"
LARGEST_BYTES = 2 * 2**30
_COLUMNS = "id, name, notes, kind, created, recorded, status, error, last, count, done, total, elapsed"
_SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_master"


def export(database: Database, id: str, path: Path) -> Path:
    """Write run `id` to `path`, replacing an older export there; a run still being driven is "interrupted" in it."""
    if path.suffix != SUFFIX:
        raise ValueError(f"{path.name} is no name for an exported run: end it in {SUFFIX}")
    with database.transaction() as execute:  # one moment of a run that may go on
        run, *rest = _read(execute, "WHERE id = ?", (id,))
    if run["status"] in LIVE:
        run["status"] = "interrupted"
    unfinished = path.with_name(path.name + ".tmp")
    try:
        unfinished.unlink(missing_ok=True)
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as target:
            target.execute("BEGIN")
            Database.create_tables(target.execute)
            _write(target.execute, run, *rest)
            target.execute("COMMIT")
        os.replace(unfinished, path)
    except (sqlite3.Error, OSError) as error:
        raise JournalError(
            f"the run cannot be written to {path} ({error}). Is its folder there and writable, and the disk not full?"
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def import_(database: Database, path: Path, recorded: bool) -> str:
    """Check the file and copy its run into `database`; returns the run's id there."""
    if not path.is_file():
        raise JournalError(f"there is no file {path}")
    if path.stat().st_size > LARGEST_BYTES:
        raise JournalError(f"{path} is larger than {LARGEST_BYTES >> 30} GiB, more than an exported run may be")
    try:
        # immutable: SQLite looks at no journal beside the file and writes nothing
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as source:
            _check_schema(source)
            run, settings, records, checkpoint = _read(source.execute)
        _check_json(settings, records)
        run["recorded"] = int(recorded or run["recorded"])
        run["count"], run["last"] = len(records), max([run["last"], *(n for n, _, _ in records)])  # not believed
        with database.transaction() as execute:
            here = execute("SELECT created, last FROM runs WHERE id = ?", (run["id"],)).fetchone()
            if here == (run["created"], run["last"]):
                return run["id"]
            if here:
                run["id"] = secrets.token_hex(5)
            try:
                _write(execute, run, settings, records, None if run["recorded"] else checkpoint)
            except sqlite3.IntegrityError as error:
                raise ValueError(error) from error
    except (sqlite3.Error, ValueError, TypeError, RecursionError) as error:
        raise JournalError(f"{path} is not an exported run, or not a sound one: {error}") from error
    return run["id"]


def _check_schema(source: sqlite3.Connection) -> None:
    source.execute("PRAGMA trusted_schema=OFF")
    source.execute("PRAGMA cell_size_check=ON")
    with closing(sqlite3.connect(":memory:")) as model:
        Database.create_tables(model.execute)
        if sorted(source.execute(_SCHEMA), key=repr) != sorted(model.execute(_SCHEMA), key=repr):
            (version,) = source.execute("PRAGMA user_version").fetchone()
            newer = f" (schema {version}: a newer scilab may read it)" if version > Database.version else ""
            raise ValueError(f"it holds other tables than a journal{newer}")
    (verdict,) = source.execute("PRAGMA quick_check(1)").fetchone()
    (runs,) = source.execute("SELECT count(*) FROM runs").fetchone()
    if verdict != "ok" or runs != 1:
        raise ValueError(f"it holds {runs} runs, not one" if verdict == "ok" else verdict)


def _check_json(settings: str, records: list[tuple]) -> None:
    def parse(text):
        return json.loads(text, parse_float=finite, parse_constant=finite)

    def finite(number):
        if not math.isfinite(float(number)):
            raise ValueError(f"it holds the number {number}")
        return float(number)

    if not isinstance(parse(settings), dict):
        raise ValueError("its settings are no JSON object")
    for n, _, body in records:
        record = parse(body)
        if not (isinstance(record, dict) and isinstance(record.get("kind"), str)):
            raise ValueError(f"record {n} is no JSON object with a kind")


def _read(execute, where: str = "", values: tuple = ()) -> tuple[dict, str, list[tuple], tuple | None]:
    number, *row = execute(f"SELECT number, {_COLUMNS} FROM runs {where}", values).fetchone()
    settings = execute("SELECT body FROM settings WHERE run = ?", (number,)).fetchone()
    records = execute(
        "SELECT n, t, body FROM records WHERE run = ? AND superseded = 0 ORDER BY n", (number,)
    ).fetchall()
    checkpoint = execute("SELECT n, count, done, elapsed, state FROM checkpoints WHERE run = ?", (number,)).fetchone()
    if settings is None:
        raise ValueError("it holds no settings")
    return dict(zip(_COLUMNS.split(", "), row, strict=True)), settings[0], records, checkpoint


def _write(execute, run: dict, settings: str, records: list[tuple], checkpoint: tuple | None) -> None:
    marks = ", ".join("?" * len(run))
    number = execute(f"INSERT INTO runs ({_COLUMNS}) VALUES ({marks})", tuple(run.values())).lastrowid
    execute("INSERT INTO settings VALUES (?, ?)", (number, settings))
    for n, t, body in records:
        execute("INSERT INTO records (run, n, t, body) VALUES (?, ?, ?, ?)", (number, n, t, body))
    if checkpoint:
        execute("INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?, ?)", (number, *checkpoint))

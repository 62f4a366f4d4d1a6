"""CORD-19 from its tar files, each read once from front to back.

A compressed tar cannot be looked up by name, and the abstracts of a million papers do not fit in memory: the rows of
metadata.csv wait in a scratch database until their parse comes by.
"""

from __future__ import annotations

import io
import json
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from . import cord19
from .papers import Paper, Problem
from .seen import Seen

_BROKEN = (tarfile.TarError, EOFError, zlib.error, OSError)


def check(path: Path) -> None:
    """Raises ValueError unless `path` is a tar with a metadata.csv that can be read."""
    with metadata(path) as file:
        cord19.check_columns(next(cord19.csv.reader(file), []), f"{path}: {cord19.METADATA}")


def metadata(path: Path) -> IO[str]:
    """metadata.csv of a release's tar."""
    try:
        # Not as a stream: text cannot be read from a member of one. Closed with that text.
        tar = tarfile.open(path, "r:*")  # noqa: SIM115
        for member in tar:
            tar.members = []
            if member.isfile() and Path(member.name).name == cord19.METADATA:
                return _Text(tar, tar.extractfile(member))
    except _BROKEN as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is not a whole tar file ({reason}); fetch it again, or give the folder") from error
    raise ValueError(f"{path} holds no {cord19.METADATA}: it is not a whole release of CORD-19; give the release's tar")


def papers(tars: list[Path], open_metadata: Callable[[], IO[str]], problems: list[Problem]) -> Iterator[Paper]:
    """The papers whose parse is in one of the tars, in that order, then all others of metadata.csv."""
    with tempfile.TemporaryDirectory(prefix="scilab-cord19-") as scratch:
        # Read by one thread at a time, but not always closed by the same.
        database = sqlite3.connect(Path(scratch) / "rows.db", isolation_level=None, check_same_thread=False)
        try:
            execute = database.execute
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-8000"):
                execute(f"PRAGMA {pragma}")
            execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, file TEXT, body TEXT NOT NULL)")
            execute("BEGIN")
            with open_metadata() as file:
                for row in cord19.rows(file, tars[0], problems):
                    execute("INSERT INTO rows (file, body) VALUES (?, ?)", (_key(row.file), json.dumps(row)))
            # Of two rows of one paper the first keeps its file, in whatever order the files come.
            copies, seen = [], Seen()
            for number, body in execute("SELECT number, body FROM rows WHERE file IS NOT NULL ORDER BY number"):
                row = _row(body)
                if sum([not seen.add(name) for name in (f"id {row.paper_id}", *row.keys)]):
                    copies.append((number,))
            database.executemany("UPDATE rows SET file = NULL WHERE number = ?", copies)
            execute("CREATE INDEX by_file ON rows (file)")
            for tar in tars:
                for name, content in _members(tar, problems):
                    found = execute("SELECT number, body FROM rows WHERE file = ? LIMIT 1", (_key(name),)).fetchone()
                    if found:
                        execute("DELETE FROM rows WHERE number = ?", found[:1])
                        yield cord19.paper(_row(found[1]), (f"{tar}: {name}", content), problems, str(tar))
            last = 0
            # What no archive held, and the papers and copies without a parse.
            while found := execute("SELECT number, file, body FROM rows WHERE number > ? LIMIT 1", (last,)).fetchone():
                last, file, row = found[0], found[1], _row(found[2])
                parse = (f"{tars[0]}: {row.file}", "is not there, though metadata.csv names it") if file else None
                yield cord19.paper(row, parse, problems, str(tars[0]))
        finally:
            database.close()


def _members(path: Path, problems: list[Problem]) -> Iterator[tuple[str, bytes]]:
    """(name, content) of all JSON files of a tar and of the tars inside it."""
    try:
        with tarfile.open(path, "r|*") as tar:
            yield from _inside(tar)
    except _BROKEN as error:
        problems.append(Problem(str(path), f"breaks off ({error}); what comes after was not read"))


def _inside(tar: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for member in tar:
        tar.members = []  # tarfile keeps a record of each, which is 400 MB for a release
        if not member.isfile():
            continue
        if member.name.endswith(".json"):
            yield member.name, tar.extractfile(member).read()
        elif member.name.endswith((".tar.gz", ".tar")) and "embedding" not in member.name:
            with tarfile.open(fileobj=tar.extractfile(member), mode="r|*") as inner:
                yield from _inside(inner)


def _key(file: str | None) -> str | None:
    """The last two parts of a path, "pmc_json/PMC7120747.xml.json": what stands before differs between releases."""
    return file and "/".join(file.split("/")[-2:])


def _row(body: str) -> cord19.Row:
    fields = json.loads(body)
    return cord19.Row(*fields[:4], tuple(fields[4]), fields[5])


class _Text(io.TextIOWrapper):
    """Text of a tar's member that closes the tar with it."""

    def __init__(self, tar: tarfile.TarFile, member: IO[bytes]) -> None:
        super().__init__(member, encoding="utf-8-sig", errors="replace", newline="")
        self._tar = tar

    def close(self) -> None:
        super().close()
        self._tar.close()

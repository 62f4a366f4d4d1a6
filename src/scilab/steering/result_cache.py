"""Results of earlier simulations, by what was simulated and by which function."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from types import CodeType
from typing import Any


class ResultCache:
    """Values and quarantines, kept in a file across campaigns (without one, in memory). For one thread.

    A result is found again if the candidate's text, the function's name and its code are the same. What the function
    calls is not looked at: give the file a new name when that has changed.
    """

    def __init__(self, file: str | Path = ":memory:") -> None:
        self.file = str(file)
        # Opened by the campaign's owner, used by the thread that drives it.
        self._database = sqlite3.connect(self.file, check_same_thread=False, isolation_level=None)
        self._database.execute("CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, body TEXT) WITHOUT ROWID")

    def get(self, key: str) -> dict[str, Any] | None:
        """What was kept under a key, None if nothing was."""
        row = self._database.execute("SELECT body FROM results WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, key: str, body: dict[str, Any]) -> None:
        """Keep plain data under a key."""
        self._database.execute("REPLACE INTO results VALUES (?, ?)", (key, json.dumps(body)))

    def close(self) -> None:
        self._database.close()


def identity(function: Callable) -> str:
    """A digest of a function's name, code, constants and defaults."""
    target = getattr(function, "func", function)  # of a functools.partial
    name = f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', type(target).__qualname__)}"
    settings = (getattr(function, "args", ()), getattr(function, "keywords", {}), getattr(target, "__defaults__", None))
    code = getattr(target, "__code__", None)
    return blake2b(repr((name, settings, code and _plain(code))).encode(), digest_size=16).hexdigest()


def result_key(identity: str, candidate: str) -> str:
    """Under what the result of one candidate is kept."""
    return blake2b(f"{identity}\0{candidate}".encode(), digest_size=16).hexdigest()


def _plain(code: CodeType) -> tuple:
    constants = tuple(_plain(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts)
    return code.co_code, code.co_names, constants

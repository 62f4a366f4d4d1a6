"""Prodigy's JSONL: one task a line, ASCII-escaped, written whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from .spans import shown
from .tasks import Task, Tokens


def read(path: str | os.PathLike) -> list[Task]:
    """All tasks of a file.

    Raises:
        ValueError: a line is no JSON or no task, or a span is not where its row says; names file and line.
    """
    return [task for _, task in numbered(path)]


def numbered(path: str | os.PathLike) -> Iterator[tuple[int, Task]]:
    """(line number, task) of each line that is not empty; errors as in `read`."""
    path = Path(path).expanduser()
    # "\n" alone ends a line: a U+2028 or a lone "\r" may stand in a text that another program did not escape.
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            try:
                yield number, Task.from_prodigy(parse(line))
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from None


def parse(line: bytes) -> object:
    """The JSON value of a line; ValueError says what is wrong with it, in words."""
    try:
        return json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is no UTF-8; save the file as UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply to be a task") from None
    except json.JSONDecodeError as error:
        cut = "" if line.endswith(b"\n") else " (the file ends in this line: was it cut off?)"
        raise ValueError(
            f"no JSON, {error.msg} at character {error.pos + 1} of {shown(error.doc.rstrip())}{cut}; "
            'each line holds one object, such as {"text": "…"}'
        ) from None


def write(
    path: str | os.PathLike, tasks: Iterable[Task], tokens: Tokens | Callable[[str], Tokens] | None = None
) -> int:
    """Write tasks to a file, replacing it in one step when all are on the disk; returns their number.

    `tokens` as in Task.to_prodigy.
    """
    path = Path(path).expanduser()
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    count = 0
    try:
        with open(part, "x", encoding="ascii", newline="\n") as file:
            for task in tasks:
                file.write(json.dumps(task.to_prodigy(tokens)) + "\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return count


def _open(path: Path):
    try:
        return open(path, "rb")
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); give the path of a Prodigy JSONL file") from None

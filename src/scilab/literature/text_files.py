"""Papers from text files, JSONL and CSV, and from texts in memory."""

from __future__ import annotations

import csv
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from .papers import Paper, Paragraph, Problem, listing
from .prodigy_file import parse

_BLANK = re.compile(r"\n[ \t\r]*\n\s*")
# A column can hold a whole paper; the module's limit is 128 KiB.
csv.field_size_limit(max(csv.field_size_limit(), 1 << 27))


class Folder:
    """Text files in UTF-8: first line the title (and paragraph 0), blank lines between paragraphs."""

    def __init__(self, path, pattern: str = "**/*.txt") -> None:
        self.path, self.pattern = Path(path).expanduser().absolute(), pattern
        if not self.path.is_dir():
            raise ValueError(f"there is no folder {self.path}; give the folder that holds the text files")
        if next(self._files(), None) is None:
            raise ValueError(
                f"{self.path} holds no file that matches {pattern!r}; give another folder, or another pattern such as "
                "'**/*.md'"
            )
        self.settings = {"corpus": "folder", "path": str(self.path), "pattern": pattern}

    def papers(self, problems: list[Problem]) -> Iterator[Paper]:
        """One paper a file, named by its path in the folder."""
        for file in sorted(self._files()):
            name = file.relative_to(self.path).as_posix()
            try:
                text = file.read_bytes().decode("utf-8-sig")
            except (OSError, UnicodeDecodeError) as error:
                problems.append(Problem(str(file), f"cannot be read as UTF-8 text: {error}"))
                continue
            title, _, body = text.lstrip().partition("\n")
            parts = [part.strip() for part in (title, *_BLANK.split(body))]
            yield Paper(name, title.strip(), "", tuple(Paragraph(part, "", n) for n, part in enumerate(parts) if part))

    def digest(self) -> str:
        """Of all files' names, sizes and times."""
        return listing(sorted(self._files()))

    def _files(self) -> Iterator[Path]:
        return (file for file in self.path.glob(self.pattern) if file.is_file())


class _Rows(ABC):
    """A file whose rows are papers of one paragraph; `text` and `id` name the fields."""

    kind: str

    def __init__(self, path, text: str = "text", id: str | None = None) -> None:
        self.path, self.text, self.id = Path(path).expanduser().absolute(), text, id
        if not self.path.is_file():
            raise ValueError(f"there is no file {self.path}; give the path of a {self.kind.upper()} file")
        self.settings = {"corpus": self.kind, "path": str(self.path), "text": text, "id": id}

    def papers(self, problems: list[Problem]) -> Iterator[Paper]:
        """One paper a row; its id is the row's, or file name and line. "title" and "published" are taken if there."""
        for line, row in self._rows(problems):
            text = row.get(self.text)
            if not isinstance(text, str) or not text.strip():
                reason = f"holds no text under {self.text!r}; it has {', '.join(map(str, row)) or 'nothing'}"
                problems.append(Problem(f"{self.path}, line {line}", reason))
                continue
            name = row.get(self.id) if self.id else None
            title, published = (str(row.get(key) or "") for key in ("title", "published"))
            yield Paper(str(name or f"{self.path.name}:{line}"), title, published, (Paragraph(text, "", 0),))

    def digest(self) -> str:
        """Of the file's name, size and time."""
        return listing([self.path])

    @abstractmethod
    def _rows(self, problems: list[Problem]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Line number and columns of each row; what cannot be read goes to `problems`."""


class JsonLines(_Rows):
    """One JSON object a line."""

    kind = "jsonl"

    def _rows(self, problems):
        with open(self.path, "rb") as file:
            for number, line in enumerate(file, 1):
                line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if not line.strip():
                    continue
                try:
                    row = parse(line)
                    if not isinstance(row, dict):
                        raise ValueError(f"an object such as {{{self.text!r}: …}} is expected, got {row!r:.60}")
                except ValueError as error:
                    problems.append(Problem(f"{self.path}, line {number}", str(error)))
                    continue
                yield number, row


class Csv(_Rows):
    """Comma-separated, with a header."""

    kind = "csv"

    def __init__(self, path, text: str = "text", id: str | None = None) -> None:
        super().__init__(path, text, id)
        with open(self.path, encoding="utf-8-sig", errors="replace", newline="") as file:
            columns = next(csv.reader(file), [])
        for column in (text, id):
            if column is not None and column not in columns:
                raise ValueError(
                    f"{self.path} has no column {column!r}; its header names {', '.join(columns) or 'nothing'}"
                )

    def _rows(self, problems):
        with open(self.path, encoding="utf-8-sig", errors="replace", newline="") as file:
            reader = csv.DictReader(file)
            try:
                for row in reader:
                    yield reader.line_num, row
            except csv.Error as error:
                problems.append(Problem(f"{self.path}, line {reader.line_num}", f"{error}; the rest was not read"))


class Texts:
    """Texts in memory."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._texts = texts
        self.settings = {"corpus": "texts", "texts": len(texts)}

    def papers(self, problems: list[Problem]) -> Iterator[Paper]:
        """One paper a text."""
        for number, text in enumerate(self._texts):
            yield Paper(f"text-{number}", "", "", (Paragraph(text, "", 0),))

    def digest(self) -> str:
        """Of all texts."""
        found = blake2b(digest_size=16)
        for text in self._texts:
            found.update(text.encode(errors="surrogatepass") + b"\0")
        return found.hexdigest()

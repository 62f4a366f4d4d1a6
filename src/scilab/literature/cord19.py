"""CORD-19 as published: L. L. Wang et al., "CORD-19: The COVID-19 Open Research Dataset" (2020), arXiv:2004.10706.

A release is a folder named by its date, or the tar of one:

    metadata.csv               a row a paper; from 2020-05-26 on it names the files, before it says which there are
    document_parses/           pdf_json/<sha>.json and pmc_json/PMC<id>.xml.json, or document_parses.tar.gz;
                               before 2020-05-26 the same two folders in comm_use_subset/, custom_license/ …

Of each paper one parse is read, that of PubMed Central if there is one: the others are copies of the same text.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from . import cord19_tar
from .papers import Paper, Paragraph, Problem, listing

NEW, OLD = ("pmc_json_files", "pdf_json_files"), ("has_pmc_xml_parse", "has_pdf_parse", "full_text_file")
METADATA = "metadata.csv"
_LAYOUT = (
    "give the folder of one release, which holds metadata.csv and document_parses (or comm_use_subset, … before "
    "2020-05-26), or the tar file of one"
)
_TITLE = 40  # letters and digits: a shorter title ("Editorial", "Correction to …") may belong to several papers


class Row(NamedTuple):
    """A row of metadata.csv: a paper, and the parse to read (its path in the release) or None."""

    paper_id: str
    title: str
    abstract: str
    published: str
    keys: tuple[str, ...]
    file: str | None


class Cord19:
    """A release, read paper by paper; those with a full text come first.

    Raises:
        ValueError: there is no release at `path`; the message says what was found and what is expected.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path).expanduser().absolute()
        self.settings = {"corpus": "cord19", "path": str(self.path)}
        if self.path.is_dir():
            _check_folder(self.path)
            with open_text(self.path / METADATA) as file:
                check_columns(next(csv.reader(file), []), self.path / METADATA)
        elif self.path.is_file():
            cord19_tar.check(self.path)
        else:
            raise ValueError(f"there is no file or folder {self.path}; {_LAYOUT}")

    def papers(self, problems: list[Problem]) -> Iterator[Paper]:
        """Title, abstract and body of each paper; one whose parse cannot be read has title and abstract only.

        Acknowledgements, captions and references are left out.
        """
        if self.path.is_file():
            yield from cord19_tar.papers([self.path], lambda: cord19_tar.metadata(self.path), problems)
        elif tars := _packed(self.path):
            yield from cord19_tar.papers(tars, lambda: open_text(self.path / METADATA), problems)
        else:
            yield from self._tree(problems)

    def digest(self) -> str:
        """Of the names, sizes and times of what lies in the release's folder, or of the tar file."""
        return listing(sorted(self.path.iterdir()) if self.path.is_dir() else [self.path])

    def _tree(self, problems: list[Problem]) -> Iterator[Paper]:
        for with_text in (True, False):  # of two rows of one paper, that with the text shall be the first
            with open_text(self.path / METADATA) as file:
                # What is wrong with the rows is told once.
                for row in rows(file, self.path / METADATA, problems if with_text else []):
                    if (row.file is not None) != with_text:
                        continue
                    yield paper(row, self._parse(row.file) if row.file else None, problems, f"{self.path / METADATA}")

    def _parse(self, file: str) -> tuple[str, bytes | str]:
        """Where a parse lies and its bytes, or why it cannot be had, in words."""
        # The archives that Kaggle made of the old releases repeat the subset's name.
        places = [self.path / file, self.path / file.partition("/")[0] / file]
        for place in places:
            try:
                return str(place), place.read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                return str(place), f"cannot be read: {error.strerror}"
        return str(places[0]), "is not there, though metadata.csv names it"


def rows(file: Iterable[str], where: Path, problems: list[Problem]) -> Iterator[Row]:
    """The rows of metadata.csv in either schema."""
    reader = csv.DictReader(file)
    check_columns(reader.fieldnames or [], where)
    chosen = _new if NEW[0] in reader.fieldnames else _old
    try:
        for row in reader:
            shas, pmcid, doi = _list(row.get("sha")), _text(row, "pmcid"), _text(row, "doi").lower()
            title = _text(row, "title")
            letters = "".join(filter(str.isalnum, title.casefold()))
            keys = [f"sha {sha}" for sha in shas]
            keys += [f"{name} {value}" for name, value in (("pmcid", pmcid), ("doi", doi)) if value]
            keys += [f"title {letters}"] if len(letters) >= _TITLE else []
            paper_id = _text(row, "cord_uid") or next(iter(keys), f"line {reader.line_num}")
            yield Row(
                paper_id, title, _text(row, "abstract"), _date(_text(row, "publish_time")), tuple(keys), chosen(row)
            )
    except csv.Error as error:
        problems.append(Problem(f"{where}, line {reader.line_num}", f"{error}; the rest was not read"))


def paper(row: Row, parse: tuple[str, bytes | str] | None, problems: list[Problem], where: str) -> Paper:
    """The paper of a row; `parse` is where its file lies and the bytes, or in place of these why there are none."""
    abstract, body = [("Abstract", row.abstract)] if row.abstract.strip() else [], []
    if parse is not None:
        place, content = parse
        try:
            if isinstance(content, str):
                raise ValueError(content)
            parts = _sections(content)
            abstract, body = abstract or parts[0], parts[1]
        except ValueError as error:
            problems.append(Problem(place, f"{error}; of paper {row.paper_id} title and abstract are read"))
    paragraphs = [("Title", row.title)] if row.title.strip() else []
    paragraphs += [*abstract, *body]
    if not paragraphs:
        problems.append(Problem(where, f"paper {row.paper_id} has no title, no abstract and no text"))
    return Paper(
        row.paper_id,
        row.title,
        row.published,
        tuple(Paragraph(text, section, index) for index, (section, text) in enumerate(paragraphs)),
        row.keys,
    )


def check_columns(columns: list[str], where: object) -> None:
    """Raises ValueError if a metadata.csv has neither of the two schemas."""
    if not (set(NEW) <= set(columns) or set(OLD) <= set(columns)):
        found = ", ".join(columns[:8]) + (", …" if len(columns) > 8 else "")
        raise ValueError(
            f"{where} is not CORD-19's: it needs the columns {' and '.join(NEW)}, or before 2020-05-26 "
            f"{', '.join(OLD)}; it has {found or 'none'}"
        )


def open_text(path: Path) -> IO[str]:
    """A CSV file as text; a byte that is no UTF-8 costs one character."""
    return open(path, encoding="utf-8-sig", errors="replace", newline="")


def _sections(content: bytes) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """(section, text) of the abstract's and of the body's paragraphs."""
    try:
        parse = json.loads(content)
        return tuple(
            [(part.get("section") or default, part["text"] + "") for part in parse.get(key) or []]
            for key, default in (("abstract", "Abstract"), ("body_text", ""))
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"is no UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is no JSON: {error}") from None
    except (AttributeError, KeyError, TypeError, RecursionError):
        raise ValueError("is not a parse of CORD-19: body_text, a list of objects with a text, is expected") from None


def _new(row: dict) -> str | None:
    return next(iter(_list(row["pmc_json_files"]) + _list(row["pdf_json_files"])), None)


def _old(row: dict) -> str | None:
    subset = _text(row, "full_text_file")
    if subset and _text(row, "has_pmc_xml_parse").lower() == "true" and _text(row, "pmcid"):
        return f"{subset}/pmc_json/{_text(row, 'pmcid')}.xml.json"
    if subset and _text(row, "has_pdf_parse").lower() == "true" and (shas := _list(row.get("sha"))):
        return f"{subset}/pdf_json/{shas[0]}.json"
    return None


def _list(value: str | None) -> list[str]:
    return [each.strip() for each in (value or "").split(";") if each.strip()]


def _text(row: dict, key: str) -> str:
    return (row.get(key) or "").strip()


def _date(text: str) -> str:
    """The ISO date or year in a publish_time ("2020-03-01", "2020", "2020 Mar 1")."""
    found = re.match(r"\d{4}(-\d\d(-\d\d)?)?(?!\d)", text) or re.search(r"\b(19|20)\d\d\b", text)
    return found[0] if found else ""


def _packed(folder: Path) -> list[Path]:
    """The tars of parses in a release's folder that were not unpacked."""
    tars = sorted(file for file in folder.glob("*.tar.gz") if "embedding" not in file.name)
    return [file for file in tars if not (folder / file.name.removesuffix(".tar.gz")).is_dir()]


def _check_folder(folder: Path) -> None:
    if (folder / METADATA).is_file():
        return
    inside = sorted(each.name + "/" * each.is_dir() for each in folder.iterdir())
    releases = [name for name in inside if (folder / name / METADATA).is_file()]
    found = ", ".join(inside[:6]) + (f" and {len(inside) - 6} more" if len(inside) > 6 else "") or "nothing"
    advice = _LAYOUT
    if releases:
        advice = f"the release is inside it: give {folder / releases[-1].rstrip('/')}"
    elif {"pdf_json/", "pmc_json/"} & set(inside):
        advice = f"these are the parses alone; give the folder above, {folder.parent}, with metadata.csv beside them"
    raise ValueError(f"{folder} is no release of CORD-19: there is no {METADATA} in it, only {found}; {advice}")

"""The labels and molecules of the CORD-19 drug paper: Z. Hong et al., Front. Mol. Biosci. 8:636077 (2021).

Published by Argonne National Laboratory, GitHub globus-labs/covid-nlp, free to copy and use with its notice, which is
kept beside each download. Every sentence of the labelled set holds a drug, some 5 % of the occurrences of known names
are unlabelled, and there are no paper ids: a score on it says nothing about text without drugs.
"""

from __future__ import annotations

import ast
import csv
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .spans import Span, shown
from .tasks import Task

COMMIT = "1b3f7c884fb830b98153e24dfd48181acbf1cb71"
URL = f"https://raw.githubusercontent.com/globus-labs/covid-nlp/{COMMIT}/"
FILES = {  # name → path in the repository, SHA-256
    "train_val": (
        "drug-ner/drug-ner-data/csv/train_val.csv",
        "429b9e7d8e91efe383a7e8e137243d77a1e1bd8e2787cdd7c385830ed2dd98a3",
    ),
    "test": (
        "drug-ner/drug-ner-data/csv/test.csv",
        "3932e4d248f82e6d958ebd8714819d10e35f1dc4485a4eb6e326ed0a78f7aaa5",
    ),
    "LIT": ("LIT/LIT.csv", "6cc494911974c1c2f799763b46eed8e14e98a995cdc0ba60edf4369af8f5a09f"),
}
NOTICE = """\
Unless otherwise indicated, this information has been authored by an employee or employees of the UChicago
Argonne, LLC., operator of the Argonne National laboratory with the U.S. Department of Energy. The U.S.
Government has rights to use, reproduce, and distribute this information. The public may copy and use this
information without charge, provided that this Notice and any statement of authorship are reproduced on all
copies.

While every effort has been made to produce valid data, by using this data, User acknowledges that neither the
Government nor UChicago Argonne LLC. makes any warranty, express or implied, of either the accuracy or
completeness of this information or assumes any liability or responsibility for the use of this information.
Additionally, this information is provided solely for research purposes and is not provided for purposes of
offering medical advice. Accordingly, the U.S. Government and UChicago Argonne LLC. are not to be liable to
any user for any loss or damage, whether in contract, tort (including negligence), breach of statutory duty,
or otherwise, even if foreseeable, arising under or in connection with use of or reliance on the content
displayed on this site.

For Scientific and Technical Information Only © Copyright UChicago Argonne LLC. All Rights Reserved.
"""
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class ScreenedMolecule:
    """One of the 803 molecules that the literature had tested against coronaviruses.

    `identifier` is the list's own ("LIT-1"), `smiles` canonical, `virus` and `reference` (a DOI) of the test.
    """

    name: str
    identifier: str
    smiles: str
    pubchem_id: str
    virus: str
    reference: str


def labelled_sentences(
    part: str = "train_val", path: str | os.PathLike | None = None, progress: Progress | None = None
) -> list[Task]:
    """The labelled sentences of one part, with DRUG spans, each text once.

    Args:
        part: "train_val" (2,715 rows) or "test" (1,275 rows).
        path: of the CSV file; without it the data folder is looked in, then it is downloaded and checked.
        progress: as in `scilab.datasets.fetch`.

    Raises:
        ValueError: the file is not that list; the message names the line. DownloadError: it cannot be had.
    """
    if part not in ("train_val", "test"):
        raise ValueError(f"the labelled set has the parts 'train_val' and 'test', got {part!r}")
    tasks: dict[str, Task] = {}
    for line, row in _rows(_file(part, path, progress), "|"):
        try:
            tokens, tags = (ast.literal_eval(column) for column in row)
            text, spans = _joined(tokens, tags)
        except (ValueError, SyntaxError, TypeError) as error:
            raise ValueError(
                f"line {line} of the labelled set is not two Python lists, of tokens and of as many tags O, B or I: "
                f"{shown('|'.join(row))} ({error})"
            ) from None
        meta = {"source": f"covid-nlp {part}", "line": line}
        tasks.setdefault(text, Task(text, spans, meta, "accept"))
    return list(tasks.values())


def screened_molecules(
    path: str | os.PathLike | None = None, progress: Progress | None = None
) -> list[ScreenedMolecule]:
    """The LIT list: molecules screened before, in its order. Arguments and errors as in `labelled_sentences`."""
    rows = _rows(_file("LIT", path, progress), ",")
    _, header = next(rows, (0, []))
    columns = ("molecule", "identifier", "canonical_smiles", "pubchem_id", "virus", "reference")
    if missing := [column for column in columns if column not in header]:
        raise ValueError(f"this is not the LIT list: its header has no {', '.join(missing)}, only {', '.join(header)}")
    places = [header.index(column) for column in columns]
    return [ScreenedMolecule(*(row[place].strip() for place in places)) for _, row in rows]


def _joined(tokens: list[str], tags: list[str]) -> tuple[str, tuple[Span, ...]]:
    """The sentence of tokens joined by one space, and the spans of its BIO tags."""
    if len(tokens) != len(tags) or not set(tags) <= {"O", "B", "I"}:
        raise ValueError(f"{len(tokens)} tokens, {len(tags)} tags")
    spans, place, begun = [], 0, None
    for token, tag in zip(tokens, tags, strict=True):
        # An I that follows no B begins a span.
        if tag == "B" or (tag == "I" and begun is None):
            begun = place
            spans.append((begun, place + len(token)))
        elif tag == "I":
            spans[-1] = (begun, place + len(token))
        else:
            begun = None
        place += len(token) + 1
    return " ".join(tokens), tuple(Span(start, end, "DRUG") for start, end in spans)


def _rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, columns) of a CSV file; quotes matter: splitting lines by hand loses 163 rows."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter)
            for row in reader:
                if row:
                    yield reader.line_num, row
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV file in UTF-8: {error}") from None


def _file(name: str, path: str | os.PathLike | None, progress: Progress | None) -> Path:
    if path is not None:
        return Path(path).expanduser()
    from ..datasets import data_folder, fetch  # here, for it takes torch with it

    place, sha256 = FILES[name]
    target = data_folder() / "covid-nlp" / Path(place).name
    fresh = not target.exists()
    fetch(URL + place, target, sha256, progress)
    if fresh:
        (target.parent / "NOTICE.md").write_text(NOTICE, encoding="utf-8")
    return target

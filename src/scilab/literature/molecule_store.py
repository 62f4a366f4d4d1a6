"""The molecules found in a corpus, in one SQLite file: every one leads to the sentences that name it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..storage import Database, DatabaseError, Holding
from ..storage.holding import TABLE as HOLDING
from .molecules import Molecules, drug_likeness
from .names import normalised
from .papers import Paper, Problem


class MoleculeStoreError(DatabaseError):
    """The table of molecules cannot be opened or written; the message says why, and what to do."""


class _File(Database):
    what = "table of molecules"
    file_name = "molecules.db"
    elsewhere = "give another path,"
    shared = "Several kernels may read it; one extraction at a time writes it"
    application = 0x5C11AB03
    tables = (
        "CREATE TABLE models (model TEXT PRIMARY KEY, began REAL NOT NULL) STRICT, WITHOUT ROWID",
        # What each model has read: the digest tells whether the paper has changed since.
        """CREATE TABLE papers (
        model TEXT NOT NULL, paper TEXT NOT NULL, digest BLOB NOT NULL, title TEXT NOT NULL, published TEXT NOT NULL,
        words INTEGER NOT NULL, PRIMARY KEY (model, paper)) STRICT, WITHOUT ROWID""",
        """CREATE TABLE mentions (
        model TEXT NOT NULL, key TEXT NOT NULL, paper TEXT NOT NULL, paragraph INTEGER NOT NULL, start INTEGER NOT NULL,
        stop INTEGER NOT NULL, section TEXT NOT NULL, label TEXT NOT NULL, raw TEXT NOT NULL,
        sentence_start INTEGER NOT NULL, sentence TEXT NOT NULL, score REAL,
        PRIMARY KEY (model, key, paper, paragraph, start, stop, label)) STRICT, WITHOUT ROWID""",
        "CREATE INDEX mentions_of_paper ON mentions (model, paper)",
        # All forms in which a name was printed, and what was done to each; never rewritten.
        "CREATE TABLE forms (raw TEXT PRIMARY KEY, key TEXT NOT NULL, rules TEXT NOT NULL) STRICT, WITHOUT ROWID",
        """CREATE TABLE facts (
        key TEXT PRIMARY KEY, smiles TEXT, qed REAL, lipinski INTEGER, screened INTEGER) STRICT, WITHOUT ROWID""",
        """CREATE TABLE problems (model TEXT NOT NULL, place TEXT NOT NULL, reason TEXT NOT NULL,
        PRIMARY KEY (model, place, reason)) STRICT, WITHOUT ROWID""",
        HOLDING,
    )
    error = MoleculeStoreError


@dataclass(frozen=True)
class Molecule:
    """One row of the table: a name under its normalised `key`.

    `name` is its most frequent printed form, `forms` all of them with their numbers, `rules` what `names.normalised`
    did to them. `papers` and `mentions` count, `first` and `last` are the earliest and latest dates of those papers
    ("" if unknown). `score` is the mean of the mentions that were scored, None if none was. `smiles`, `qed` and
    `lipinski` are None where no table knows the structure, `screened` is None without a list of screened molecules.
    """

    key: str
    name: str
    rules: tuple[str, ...]
    forms: Mapping[str, int]
    papers: int
    mentions: int
    first: str
    last: str
    score: float | None
    smiles: str | None
    qed: float | None
    lipinski: int | None
    screened: bool | None


@dataclass(frozen=True)
class Mention:
    """Where a name stands: code points of paragraph number `paragraph` of the paper, and of the sentence."""

    paper: str
    title: str
    published: str
    section: str
    paragraph: int
    start: int
    end: int
    raw: str
    label: str
    sentence: str
    in_sentence: int
    score: float | None
    model: str


@dataclass(frozen=True)
class Mentioned:
    """What a model found, as it is stored: a name at text[start:end] of a paragraph, in its sentence."""

    paragraph: int
    section: str
    start: int
    end: int
    label: str
    raw: str
    sentence_start: int
    sentence: str


class MoleculeStore:
    """Opens the file `path`, made if it is not there; usable from all threads. Several kernels may read it.

    Shows what `model` (a recogniser's digest) found; None: the model that read last.

    Raises:
        MoleculeStoreError: the file cannot be used.
    """

    def __init__(self, path: str | os.PathLike, model: str | None = None) -> None:
        self.path = Path(path).expanduser().absolute()
        self._database = _File.at(self.path)
        self._model, self._holding = model, None

    @property
    def model(self) -> str:
        """The digest of the model whose findings are shown; "" if none has read anything."""
        if self._model is not None:
            return self._model
        rows = self._database.read("SELECT model FROM models ORDER BY began DESC LIMIT 1")
        return rows[0][0] if rows else ""

    def models(self) -> list[str]:
        """The digests of all models that have read papers into this file, the newest last."""
        return [model for (model,) in self._database.read("SELECT model FROM models ORDER BY began")]

    def molecules(self, limit: int | None = None, order: str = "papers") -> list[Molecule]:
        """The table, those in most papers first (42 % of names occur once: mentions rank worse), or by "mentions",
        "score", "qed" or "key"; the first `limit`.

        Raises:
            ValueError: an order there is not.
        """
        orders = {"papers": "papers DESC, n DESC", "mentions": "n DESC", "key": "m.key"}
        orders |= {"score": "score DESC", "qed": "qed DESC"}
        if order not in orders:
            raise ValueError(f"order is one of {', '.join(orders)}, got {order!r}")
        model = self.model
        rows = self._database.read(
            "SELECT m.key, count(DISTINCT m.paper) papers, count(*) n, min(nullif(p.published, '')), max(p.published), "
            "avg(m.score) score, f.smiles, f.qed qed, f.lipinski, f.screened FROM mentions m "
            "JOIN papers p USING (model, paper) LEFT JOIN facts f ON f.key = m.key WHERE m.model = ? "
            f"GROUP BY m.key ORDER BY {orders[order]}, m.key LIMIT ?",
            (model, -1 if limit is None else limit),
        )
        return [self._molecule(model, *row) for row in rows]

    def _molecule(self, model, key, papers, mentions, first, last, score, smiles, qed, lipinski, screened) -> Molecule:
        forms = self._database.read(
            "SELECT raw, count(*) n, rules FROM mentions JOIN forms USING (raw) WHERE model = ? AND mentions.key = ? "
            "GROUP BY raw ORDER BY n DESC, raw",
            (model, key),
        )
        rules = tuple(sorted({rule for _, _, told in forms for rule in json.loads(told)}))
        return Molecule(
            key, forms[0][0], rules, {raw: n for raw, n, _ in forms}, papers, mentions, first or "", last or "", score,
            smiles, qed, lipinski, None if screened is None else bool(screened),
        )  # fmt: skip

    def mentions(self, key: str | None = None) -> list[Mention]:
        """All mentions of one molecule, or of all, by paper and place."""
        rows = self._database.read(
            "SELECT m.paper, title, published, section, paragraph, start, stop, raw, label, sentence, "
            "start - sentence_start, score, m.model FROM mentions m JOIN papers p USING (model, paper) "
            "WHERE m.model = ? AND (? IS NULL OR key = ?) ORDER BY m.paper, paragraph, start, stop, label",
            (self.model, key, key),
        )
        return [Mention(*row) for row in rows]

    def over_time(self, keys: Sequence[str]) -> dict[str, dict[str, int]]:
        """{key: {month "2020-03" or year: papers published then that name it}}; papers without a date are left out."""
        found: dict[str, dict[str, int]] = {}
        for key in keys:
            rows = self._database.read(
                "SELECT substr(published, 1, 7) month, count(DISTINCT paper) FROM mentions "
                "JOIN papers USING (model, paper) WHERE model = ? AND key = ? AND published != '' "
                "GROUP BY month ORDER BY month",
                (self.model, key),
            )
            found[key] = dict(rows)
        return found

    def counts(self) -> dict[str, int]:
        """Papers and words read, mentions, molecules and problems."""
        model = (self.model,)
        ((papers, words),) = self._database.read(
            "SELECT count(*), coalesce(sum(words), 0) FROM papers WHERE model = ?", model
        )
        ((mentions, molecules),) = self._database.read(
            "SELECT count(*), count(DISTINCT key) FROM mentions WHERE model = ?", model
        )
        found = {"papers": papers, "words": words, "mentions": mentions, "molecules": molecules}
        return found | {"problems": len(self.problems())}

    def problems(self) -> list[Problem]:
        """Papers and files that could not be read, and why."""
        return [Problem(*row) for row in self._database.read(
            "SELECT place, reason FROM problems WHERE model = ? ORDER BY place", (self.model,)
        )]  # fmt: skip

    # ---- for the one that writes ------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Make this process the one that writes.

        Raises:
            MoleculeStoreError: another living process is; the message says which.
        """
        if self._holding is None:
            self._holding = Holding.of(self._database)
            with self._database.transaction() as execute:
                execute("REPLACE INTO models VALUES (?, ?)", (self._model, time.time()))

    def digest_of(self, paper: str) -> bytes | None:
        """The digest under which the model has read a paper; None if it has not."""
        rows = self._database.read("SELECT digest FROM papers WHERE model = ? AND paper = ?", (self._model, paper))
        return rows[0][0] if rows else None

    def add(
        self, papers: Iterable[tuple[Paper, bytes, int, Sequence[Mentioned]]], molecules: Molecules
    ) -> tuple[int, int]:
        """Store what was found in each of `papers` (paper, digest, words, mentions), all of it or nothing; what was
        found in an earlier state of the same paper goes. Returns (mentions, molecules that are new).
        """
        mentions, new = 0, 0
        with self._database.transaction() as execute:
            self._holding.check(execute)
            for paper, digest, words, found in papers:
                execute("DELETE FROM mentions WHERE model = ? AND paper = ?", (self._model, paper.paper_id))
                execute("DELETE FROM problems WHERE model = ? AND place = ?", (self._model, paper.paper_id))
                execute(
                    "REPLACE INTO papers VALUES (?, ?, ?, ?, ?, ?)",
                    (self._model, paper.paper_id, digest, paper.title, paper.published, words),
                )
                for each in found:
                    name = normalised(each.raw)
                    before = "SELECT 1 FROM mentions WHERE model = ? AND key = ? LIMIT 1"
                    if execute(before, (self._model, name.key)).fetchone() is None:
                        new += 1
                        execute("INSERT OR IGNORE INTO facts VALUES (?, ?, ?, ?, ?)", facts(name.key, molecules))
                    form = (each.raw, name.key, json.dumps(name.rules))
                    execute("INSERT OR IGNORE INTO forms VALUES (?, ?, ?)", form)
                    execute(
                        "INSERT INTO mentions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                        (self._model, name.key, paper.paper_id, each.paragraph, each.start, each.end, each.section,
                         each.label, each.raw, each.sentence_start, each.sentence),
                    )  # fmt: skip
                    mentions += 1
        return mentions, new

    def add_problems(self, problems: Iterable[Problem]) -> None:
        """Note what could not be read."""
        with self._database.transaction() as execute:
            for each in problems:
                execute("INSERT OR IGNORE INTO problems VALUES (?, ?, ?)", (self._model, each.where, each.reason))

    def unscored(self, each: int, limit: int) -> list[tuple]:
        """(key, paper, paragraph, start, stop, label, offset in the sentence, sentence) of up to `limit` mentions that
        are among the first `each` of their molecule, in order of paper and place, and have no score yet.
        """
        return self._database.read(
            "SELECT key, paper, paragraph, start, stop, label, start - sentence_start, sentence FROM (SELECT *, "
            "row_number() OVER (PARTITION BY key ORDER BY paper, paragraph, start, stop, label) place FROM mentions "
            "WHERE model = ?) WHERE place <= ? AND score IS NULL ORDER BY key, paper, paragraph, start LIMIT ?",
            (self._model, each, limit),
        )

    def set_scores(self, scored: Iterable[tuple[Sequence[Any], float]]) -> None:
        """Keep the scores of mentions, each given as `unscored` gave it."""
        with self._database.transaction() as execute:
            for (key, paper, paragraph, start, stop, label, *_), score in scored:
                execute(
                    "UPDATE mentions SET score = ? WHERE model = ? AND key = ? AND paper = ? AND paragraph = ? "
                    "AND start = ? AND stop = ? AND label = ?",
                    (score, self._model, key, paper, paragraph, start, stop, label),
                )

    def set_facts(self, molecules: Molecules) -> None:
        """Look all names up again, as after a list of screened molecules was given."""
        with self._database.transaction() as execute:
            for (key,) in execute("SELECT key FROM facts").fetchall():
                execute("REPLACE INTO facts VALUES (?, ?, ?, ?, ?)", facts(key, molecules))

    def release(self) -> None:
        """Let another process write."""
        if self._holding is not None:
            self._holding.release()
            self._holding = None

    def close(self) -> None:
        """Let go of the file; closing twice is no error."""
        self.release()

    def __enter__(self) -> MoleculeStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<MoleculeStore {self.path}>"


def facts(key: str, molecules: Molecules) -> tuple:
    """(key, SMILES, QED, Lipinski's rules broken, screened) as far as they are known."""
    smiles, screened = molecules.smiles(key), molecules.screened(key)
    qed = lipinski = None
    if smiles is not None:
        try:
            likeness = drug_likeness(smiles)
        except ValueError:
            smiles = None  # a list of screened molecules may hold what RDKit cannot read
        else:
            qed, lipinski = likeness.qed, likeness.lipinski
    return key, smiles, qed, lipinski, None if screened is None else int(screened)

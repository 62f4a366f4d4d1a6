"""`ExtractionWidget`: a model reads a corpus; the molecules it finds, their structures and their sentences."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from scilab.literature import Corpus, Recogniser
from scilab.literature.extraction import Extraction
from scilab.literature.molecule_store import Molecule, MoleculeStore

from . import extraction_picture, words
from .acting import Launched
from .browser import file_stem
from .estimate import Estimate
from .federation import CORES
from .fields import Choice, Number, Text
from .panel import HERE, Panel
from .picture import chart, with_point

SHOWN = 60  # molecules in the table; a file has them all
SENTENCES = 40
CURVES = 5  # molecules whose papers are counted over time
ORDERS = {"papers": "papers", "mentions": "mentions", "score": "score", "qed": "drug-likeness", "key": "name"}


def _file(text: str) -> None:
    if text and not Path(text).expanduser().is_file():
        raise ValueError(f"There is no file “{text}”.")


def _path(text: str) -> None:
    if text and not Path(text).expanduser().exists():
        raise ValueError(f"There is nothing at “{text}”.")


def corpus(values: Mapping) -> Corpus:
    """The papers that the fields describe. ValueError where they cannot be read."""
    source, path = values["source"], values["path"]
    if source == "sample":
        return Corpus.sample()
    if source in ("jsonl", "csv"):
        return getattr(Corpus, source)(path, text=values["column"])
    return getattr(Corpus, source)(path)


class ExtractionWidget(Panel):
    """Extraction live: ``ExtractionWidget()`` sets everything by hand, ``ExtractionWidget(run)`` shows and steers a
    run, ``ExtractionWidget(extraction)`` launches one built in code. See `Panel` for what it does without a page.
    """

    title = "Extract"
    kind = "extraction"
    unit = "chunks"
    module = HERE / "extraction.js"
    _css = Panel._css + (HERE / "literature.css").read_text(encoding="utf-8")
    fields = (
        Choice(name="source", label="Papers", group="Corpus", default="sample",
               options=(("sample", "The sample"), ("cord19", "CORD-19, as published"), ("folder", "A folder of .txt"),
                        ("jsonl", "JSONL"), ("csv", "CSV")),
               help="What is read. The sample are two dozen short invented papers."),
        Text(name="path", label="Path", group="Corpus", default="", check=_path, placeholder="CORD-19/2022-06-02",
             help="Folder, tar or file on the machine of the kernel.",
             unless=lambda values: "The sample comes with scilab." if values["source"] == "sample" else None),
        Text(name="column", label="Text under", group="Corpus", default="text",
             help="The key or column that holds the text.", only=lambda values: values["source"] in ("jsonl", "csv")),
        Text(name="model", label="Model", group="Model", default="", check=_file, placeholder="drugs.model",
             help="The file of a recogniser, as Recogniser.save or the panel of training writes it."),
        Number(name="scored_mentions", label="Scored", group="Model", default=2, minimum=0, maximum=1_000_000,
               integer=True, unit="mentions", help="How many mentions of each molecule are read again for a score."),
        Text(name="to", label="Table", group="Result", default="molecules.db",
             help="The SQLite file that is filled. A paper that the same model has read into it is not read again."),
        Text(name="screened", label="Screened before", group="Result", default="", check=_file, placeholder="none",
             help="A CSV file of molecules with their SMILES, to tell those that are new from those that are not."),
        Choice(name="engine", label="Engine", group="Machine", default="threads",
               options=(("threads", "In this kernel"), ("processes", "Processes")),
               help="Threads share one core's worth of Python; processes take one each."),
        Number(name="workers", label="Workers", group="Machine", default=1, minimum=1, maximum=64, integer=True,
               help=f"How many read at once; this machine has {CORES} cores."),
        Number(name="chunk_words", label="Chunk", group="Machine", default=20_000, minimum=100, maximum=10_000_000,
               integer=True, unit="words", help="Read and stored together: what a stop or a crash can cost."),
    )  # fmt: skip
    _order: str = "papers"
    _chosen: str = ""
    _table: tuple = ((), {})

    def check(self, values: Mapping) -> Mapping[str, str]:
        if values["source"] != "sample" and not values["path"]:
            return {"path": "Give where the papers are."}
        if not values["model"]:
            return {"model": "Give a trained model: train one, then save it."}
        try:
            corpus(values)
        except (ValueError, OSError) as error:
            return {"path": str(error)}
        try:
            Recogniser.load(values["model"])
        except (ValueError, OSError) as error:
            return {"model": str(error)}
        return {}

    def estimate(self, values: Mapping) -> Estimate:
        per = 170e6 if values["engine"] == "processes" else 50e6
        return Estimate(None if values["source"] != "sample" else 3.0, 150e6 + per * values["workers"],
                        note="About 30,000 words a second on each core.")  # fmt: skip

    def build(self, values: Mapping) -> Any:
        extraction = Extraction(
            corpus(values), Recogniser.load(values["model"]), engine=f"{values['engine']}:{values['workers']}",
            to=values["to"], chunk_words=values["chunk_words"], scored_mentions=values["scored_mentions"],
            molecules=values["screened"] or None,
        )  # fmt: skip
        return Launched(extraction, values)

    def begin(self, settings: Mapping) -> dict:
        return extraction_picture.begin(settings)

    def draw(self, records: list[dict], picture: dict) -> dict:
        return extraction_picture.draw(records, picture)

    def saves(self) -> list[dict]:
        why = "Every molecule with its names, papers, score and structure, as CSV"
        return [{"label": "Table", "why": why, "action": "download", "args": {"what": "table"}}, *super().saves()]

    def script(self, values: Mapping) -> str:
        if self._form.errors:
            return ""
        made = {"sample": "sample()"}.get(values["source"], f"{values['source']}({values['path']!r})")
        screened = f", molecules={values['screened']!r}" if values["screened"] else ""
        return f"""\
from scilab.literature import Corpus, Recogniser
from scilab.literature.extraction import Extraction
from scilab.runs import Run

extraction = Extraction(Corpus.{made}, Recogniser.load({values["model"]!r}), to={values["to"]!r},
                        engine="{values["engine"]}:{values["workers"]}", chunk_words={values["chunk_words"]},
                        scored_mentions={values["scored_mentions"]}{screened})
run = Run(extraction).start()  # in a script: for record in extraction: …
run.wait()
for molecule in run.result.molecules(limit=10):
    print(molecule.name, molecule.papers, molecule.smiles)
"""

    # ---- the table

    @property
    def table(self) -> MoleculeStore | None:
        """What has been found so far, of the run shown; None if there is none."""
        settings = self._settings if self._run is not None else {}
        to, model = settings.get("to"), settings.get("model")
        return MoleculeStore(to, model) if to and Path(to).expanduser().is_file() else None

    def do_molecule(self, key: str | None = None) -> None:
        """Show the sentences that name a molecule, or of none."""
        self._chosen = key or ""

    def do_order(self, order: str) -> None:
        """Sort the table by papers, mentions, score, qed or key."""
        if order not in ORDERS:
            raise ValueError(f"The table is sorted by {', '.join(ORDERS)}; given {order!r}.")
        self._order = order

    def do_download(self, what: str = "table") -> dict:
        """Send the page the whole ``table`` as CSV."""
        table = self.table
        if table is None:
            raise ValueError("There is no table yet: nothing has been read.")
        data = table_csv(table.molecules())
        self._send_file(what, f"{file_stem(self._run)}.csv", data)
        return {"bytes": len(data)}

    def extra(self) -> dict:
        done = self._drawn.get("_stored")
        key = (self._run.id if self._run is not None else "", done, self._order, self._chosen)
        if key != self._table[0]:
            table = self.table if done else None
            self._table = (key, self._shown(table) if table is not None else {"rows": []})
        return {"table": self._table[1], "orders": [[key, label] for key, label in ORDERS.items()]}

    def _shown(self, table: MoleculeStore) -> dict:
        found = table.molecules(limit=SHOWN, order=self._order)
        top = [each.key for each in table.molecules(limit=CURVES)]
        keys = list(dict.fromkeys([*([self._chosen] if self._chosen else []), *top]))[:CURVES]
        times = chart("Papers that name them, by month", "month of 2020 = 1–12", "papers")
        for name, by_month in table.over_time(keys).items():
            for month, count in sorted(by_month.items()):
                times = with_point(times, name, _months(month), count)
        sentences = [_sentence(each) for each in table.mentions(self._chosen)[:SENTENCES]] if self._chosen else []
        return {"rows": [_row(each) for each in found], "count": table.counts()["molecules"], "order": self._order,
                "chosen": self._chosen, "sentences": sentences, "times": times, "path": str(table.path)}  # fmt: skip


def _months(month: str) -> float:
    """ "2020-03" → 3, "2021-01" → 13, "2020" → 6.5: months since the end of 2019."""
    year, _, part = month.partition("-")
    return (int(year) - 2020) * 12 + (int(part) if part else 6.5)


def _row(each: Molecule) -> dict:
    return {"key": each.key, "name": each.name, "forms": [f"{raw} ({n})" for raw, n in each.forms.items()],
            "rules": list(each.rules), "papers": each.papers, "mentions": each.mentions,
            "score": words.number(each.score, 2), "qed": words.number(each.qed, 2),
            "lipinski": words.DASH if each.lipinski is None else str(each.lipinski),
            "screened": {None: words.DASH, True: "before", False: "new"}[each.screened],
            "svg": structure(each.smiles) if each.smiles else ""}  # fmt: skip


def _sentence(each: Any) -> dict:
    end = each.in_sentence + each.end - each.start
    where = " · ".join(filter(None, (each.paper, each.published, each.section)))
    return {"paper": each.title or each.paper, "where": where,
            "before": each.sentence[:each.in_sentence], "name": each.sentence[each.in_sentence:end],
            "after": each.sentence[end:], "score": words.number(each.score, 2)}  # fmt: skip


@lru_cache(maxsize=512)
def structure(smiles: str, width: int = 150, height: int = 96) -> str:
    """The structural formula as SVG, its bonds in the colour of the text around it; "" if RDKit cannot read it."""
    from rdkit import Chem
    from rdkit.Chem.Draw import rdMolDraw2D

    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        return ""
    drawing = rdMolDraw2D.MolDraw2DSVG(width, height)
    options = drawing.drawOptions()
    options.clearBackground = False
    options.useBWAtomPalette()
    options.padding = 0.04
    drawing.DrawMolecule(molecule)
    drawing.FinishDrawing()
    text = drawing.GetDrawingText()
    return text[text.index("<svg"):].replace("#000000", "currentColor")


def table_csv(molecules: list[Molecule]) -> bytes:
    """The table with a header, UTF-8; several values in a cell are separated by "|"."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    names = ("key", "name", "papers", "mentions", "first", "last", "score", "smiles", "qed", "lipinski", "screened")
    table.writerow([*names, "forms", "rules"])
    for each in molecules:
        forms = "|".join(f"{raw} ({n})" for raw, n in each.forms.items())
        table.writerow([*(getattr(each, name) for name in names), forms, "|".join(each.rules)])
    return text.getvalue().encode()

"""The journal in a panel: list the runs, open one as it was, compare two, rename, note, delete, export, import."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from scilab.widgets import words
from scilab.widgets.files import Files
from scilab.widgets.picture import overlaid

SHOWN = 100  # rows


def rows(stored: list, kind: str, unit: str) -> list[dict]:
    """The newest runs as rows for the page; ``why`` says why a row cannot be opened in a panel of this kind."""
    return [{"id": run.id, "name": run.name, "kind": run.kind, "status": run.status, "recorded": bool(run.recorded),
             "created": run.created, "notes": run.notes or "", "resumable": bool(run.resumable and not run.recorded),
             "done": words.progress(run.progress, unit if run.kind == kind else "steps", False)["text"].split(" · ")[0],
             "why": "" if run.kind == kind else f"A run of kind “{run.kind}”; it opens in that kind's panel."}
            for run in stored[:SHOWN]]


def plain_settings(settings: dict, labels: dict[str, str] | None = None) -> dict[str, str]:
    """Settings by name (or label) as short texts: the values a panel set where there are any, big things by size."""
    labels = labels or {}
    chosen = settings.get("values") or {key: value for key, value in settings.items() if key != "values"}
    flat: dict[str, str] = {}
    for key, value in chosen.items():
        for name, item in ({f"{key}.{inner}": item for inner, item in value.items()} if isinstance(value, dict)
                           else {key: value}).items():
            if isinstance(item, list) and all(isinstance(each, dict) and "name" in each for each in item):
                item = ", ".join(each["name"] for each in item) or None
            text = f"{len(item)} entries" if isinstance(item, list | dict) and len(str(item)) > 60 else str(item)
            flat[labels.get(name, name)] = words.DASH if item is None else text
    return flat


def differing(first: dict, second: dict, labels: dict[str, str]) -> list[list[str]]:
    """[setting, first's value, second's value] for the settings in which two runs differ."""
    one, two = plain_settings(first, labels), plain_settings(second, labels)
    return [[name, one.get(name, words.DASH), two.get(name, words.DASH)]
            for name in {**one, **two} if one.get(name) != two.get(name)]


def file_stem(run: Any) -> str:
    """The run's name as that of a file."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in run.name).strip("-") or run.id


class Browsing(Files):
    """The actions of a panel (`do_…`) that concern stored runs. Each is called in the panel's worker thread."""

    def _rows(self) -> list[dict]:
        return rows(self._stored, self.kind, self.unit)

    def do_open(self, id: str) -> None:
        """Show a run as it was, or follow it where it still goes on."""
        run = self._find(id)
        if run.kind != self.kind:
            raise ValueError(rows([run], self.kind, self.unit)[0]["why"])
        self._show(run)

    def do_compare(self, ids: list[str]) -> None:
        """Put two runs side by side: their differing settings, their last numbers, their curves in the same charts."""
        if len(ids) != 2:
            raise ValueError(f"Two runs are compared; {len(ids)} are chosen.")
        runs = [self._find(id) for id in ids]
        if any(run.kind != self.kind for run in runs):
            raise ValueError(f"Only runs of kind “{self.kind}” can be compared here.")
        names = [run.name if runs[0].name != runs[1].name else f"{run.name} ({run.id})" for run in runs]
        pictures = [self._folded(run) for run in runs]
        labels = {field.name: field.label for field in self.fields}
        tiles = [{tile["label"]: tile["value"] for tile in picture.get("tiles", [])} for picture in pictures]
        self._comparison = overlaid(dict(zip(names, pictures, strict=True))) | {
            "names": names, "settings": differing(runs[0].settings, runs[1].settings, labels),
            "numbers": [[label, tiles[0].get(label, words.DASH), tiles[1].get(label, words.DASH)]
                        for label in {**tiles[0], **tiles[1]}]}

    def do_uncompare(self) -> None:
        self._comparison = {}

    def do_rename(self, id: str, name: str) -> None:
        if not name.strip():
            raise ValueError("A run needs a name.")
        self.journal.rename(id, name.strip())
        self._reread(id)

    def do_note(self, id: str, text: str) -> None:
        self.journal.note(id, text.strip())
        self._reread(id)

    def do_delete(self, id: str) -> None:
        run = self._find(id)
        if run.status in words.ACTIVE:
            raise ValueError(f"“{run.name}” is going on; stop it before deleting it.")
        self.journal.delete(id)
        if self._run is not None and self._run.id == id:
            self._show(None)
        self._comparison = {}
        self._rows_due = True

    def do_export(self, id: str, path: str | None = None) -> dict:
        """Write a run into one file at ``path``, or send it to the page as a download."""
        run = self._find(id)
        if path is not None:
            self.journal.export(id, path)
            return {"path": str(path)}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "run.scilab-run"
            self.journal.export(id, file)
            data = file.read_bytes()
        self._send_file(id, f"{file_stem(run)}.scilab-run", data)
        return {"bytes": len(data)}

    def do_import(self, path: str | None = None, data: Any = None, part: int = 0, parts: int = 1) -> dict:
        """Take in an exported run: a file at ``path``, or parts uploaded by the page, in order."""
        if path is None:
            whole = self._uploaded(data, part, parts)
            if whole is None:
                return {}
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "upload.scilab-run"
                file.write_bytes(whole)
                run = self.journal.import_(file)
        else:
            run = self.journal.import_(path)
        self._rows_due = True
        return {"run": run.id}

    def _reread(self, id: str) -> None:
        self._rows_due = True
        if self._run is not None and self._run.id == id and not self._live:
            self._run = self.journal.run(id)

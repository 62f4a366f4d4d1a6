"""`LabelWidget`: label text by hand, one paragraph at a time, by mouse or by keys alone."""

from __future__ import annotations

import hashlib
import secrets
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from scilab.literature import LabelStore, Span, Task

from .asking import Asking
from .assets import bundle
from .choosing import AHEAD, Choosing, text_of
from .fields import Choice, Field, Number, Text, Toggle, for_page, judge
from .files import Files
from .publisher import Publisher
from .tokens import tokens
from .worker import Worker

HERE = Path(__file__).parent
PACE_OF = 30  # answers over which the pace is told
NO_MODEL = "There is no model yet: texts come in random order."
PAUSE_S = 300.0  # no text is read for so long: the rest was a pause


def _annotator(text: str) -> None:
    if not text:
        raise ValueError("Give a name: answers are kept by who gave them.")


def _labels(text: str) -> None:
    names = split_labels(text)
    if not names:
        raise ValueError("Give at least one label, such as DRUG.")
    if len(set(names)) < len(names):
        raise ValueError("Each label once.")


def arm_of(answer_id: str) -> str:
    """ "policy" or "random": how the text of an answer was chosen, as its id says; "random" if it does not."""
    return "policy" if answer_id.startswith("policy ") else "random"


def split_labels(text: str) -> tuple[str, ...]:
    """ "DRUG, DOSE" → ("DRUG", "DOSE")"""
    return tuple(filter(None, (part.strip() for part in text.split(","))))


class LabelWidget(Files, Choosing, Asking, anywidget.AnyWidget):
    """Text after text to be labelled: ``LabelWidget("labels.db")``, or a `LabelStore`.

    ``recogniser`` suggests spans, and what is labelled next follows from what it does not know. It all works without a
    page: ``current`` is the text shown, ``answer("accept", [(0, 7, "DRUG")])`` gives an answer, ``act("undo")`` takes
    it back; offsets are code points. Each answer is on disk before it is confirmed to the page.
    """

    title: ClassVar[str] = "Label"
    module: ClassVar[Path] = HERE / "label.js"
    fields: tuple[Field, ...] = (
        Text(name="annotator", label="Annotator", default="me", check=_annotator,
             help="Who answers. Several people may answer the same texts; each begins anew."),
        Text(name="labels", label="Labels", default="DRUG", check=_labels, placeholder="DRUG, DOSE",
             help="What spans are called, by commas; keys 1 to 9 choose one."),
        Toggle(name="whole_words", label="Whole words", default=True,
               help="Spans grow to whole tokens, which is what a model can learn. Off: exactly what is drawn."),
        Toggle(name="suggestions", label="Suggestions", default=True,
               help="Show the spans that the model, or the imported file, proposes. Off: label without being led."),
        Choice(name="policy", label="Next", default="new names",
               options=(("new names", "New names, unsure"), ("uncertain", "Unsure"), ("random", "Random")),
               help="Which texts come next: those with names that are new to the model and of which it is unsure, "
                    "those of which it is unsure, or any."),
        Number(name="random_share", label="Random share", default=0.33, minimum=0.05, maximum=1, step=0.05,
               help="How many of the texts are drawn at random all the same. They are what the policy must beat."),
    )  # fmt: skip

    _esm = bundle(HERE / "label.js")
    _css = "".join((HERE / name).read_text(encoding="utf-8") for name in ("panel.css", "label.css"))
    desk = traitlets.Dict().tag(sync=True)  # all that is shown besides the texts
    items = traitlets.Dict().tag(sync=True)  # the texts that come next; "set" changes with the annotator

    def __init__(self, store: LabelStore | str | Path, annotator: str = "me", *, recogniser: Any = None, seed: int = 0):
        super().__init__()
        self.store = store if hasattr(store, "answer") else LabelStore(store)
        self._lock = threading.RLock()
        self._recogniser, self._seed = recogniser, seed
        self._typed: dict[str, Any] = {"annotator": annotator, "labels": ", ".join(self.store.labels)}
        self._pace: deque[float] = deque(maxlen=PACE_OF)
        self._heard: deque[str] = deque(maxlen=1000)
        self._worker, self._publisher = Worker(self), Publisher(self._flush)
        self._chooser = Worker(self, name="scilab-chooser")
        self.on_answer: Callable[[], None] = lambda: None
        self._judge()
        self._begin()
        self.on_msg(self._receive)
        self._flush()

    # ---- without a page

    @property
    def current(self) -> dict | None:
        """The text shown: {"key", "text", "spans": [[start, end, label, score]], "why", …}, or None at the end."""
        return self._offered[0] if self._offered else None

    def answer(self, answer: str, spans: Iterable[Sequence] | None = None, seconds: float | None = None) -> dict | None:
        """Answer the text shown, with its spans as they are or with these; returns the next text.

        Raises ValueError with the reason where the answer cannot be kept.
        """
        if self.current is None:
            raise ValueError(self.desk["empty"])
        told = self.act("answer", key=self.current["key"], answer=answer, seconds=seconds,
                        spans=self.current["spans"] if spans is None else spans,
                        answer_id=f"{self.current['arm']} {secrets.token_hex(8)}")  # fmt: skip
        if not told["ok"]:
            raise ValueError(told["message"])
        return self.current

    @property
    def values(self) -> dict:
        """The settings, by the names of the fields."""
        return dict(self._form.values)

    def use(self, recogniser: Any, text: str = "") -> None:
        """Take suggestions, and what comes next, from this model; ``text`` says what it is."""
        with self._lock:
            self._recogniser, self._coming = recogniser, text
            self._judge()
        self._choose(anew=True)
        self._publisher.wake()

    def close(self) -> None:
        """Remove the widget; what was answered is kept. Idempotent."""
        if self.comm is not None:
            for part in (self._worker, self._chooser, self._publisher):
                part.close()
        super().close()

    def __repr__(self) -> str:
        return f"{self.title}: {self.desk.get('progress', {}).get('text', 'closed')}. Run this cell to see it."

    # ---- what a click does

    def do_set(self, values: Mapping) -> None:
        """Type values into fields; another annotator has other texts before them."""
        self._named(values)
        with self._lock:
            before = self.values
            self._typed |= values
            self._judge()
            now = self.values
            if now["labels"] != before["labels"] and "labels" not in self._form.errors:
                try:
                    self.store.labels = split_labels(now["labels"])
                except ValueError as error:  # said beside the field; the project has the labels it had
                    self._form.errors["labels"] = str(error)
            if now["annotator"] != before["annotator"]:
                self._begin()
            elif {"policy", "random_share", "suggestions"} & values.keys():
                self._choose(anew=True)

    def do_answer(self, key: str, answer: str, answer_id: str, spans: Iterable[Sequence] = (),
                  annotator: str | None = None, seconds: float | None = None) -> dict:  # fmt: skip
        """Keep an answer to the text ``key``. The same ``answer_id`` twice is one answer."""
        task = self._task(key)
        with self._lock:
            who = annotator or self.values["annotator"]
            given = tuple(Span(*span[:3]) for span in spans)
            if strange := sorted({span.label for span in given} - set(self.store.labels)):
                raise ValueError(f"{strange[0]!r} is none of the labels {', '.join(self.store.labels)}: add it first.")
            seconds = None if seconds is None else min(float(seconds), PAUSE_S)
            self.store.answer(task, who, given, answer, answer_id, seconds)
            if answer_id not in self._heard:
                self._heard.append(answer_id)
                self._offered = [item for item in self._offered if text_of(item) != key.split(".")[0]]
                self._recount()
            if len(self._offered) <= AHEAD // 2:
                self._choose()
        self.on_answer()
        return {}

    def do_undo(self) -> dict:
        """Take the annotator's last answer back, in this session or an earlier one; its text is shown again."""
        with self._lock:
            taken = self.store.undo(self.values["annotator"])
            if taken is None:
                raise ValueError("There is no answer of yours to take back.")
            spans = [[span.start, span.end, span.label, None] for span in taken.spans]
            item = self._item(taken.task, "You answered this before.", spans, arm_of(taken.answer_id))
            self._offered = [item, *(each for each in self._offered if text_of(each) != text_of(item))]
            self._recount()
            return {"item": item}

    def do_review(self, hashes: Sequence[int]) -> None:
        """Show these texts next, answered or not, by their task hashes."""
        with self._lock:
            known = self._by_hash(hashes)
            here = [known[each] for each in hashes if each in known]
            items = [self._item(task, "To be looked at again.", arm="policy") for task in here]
            if not items:
                raise ValueError("None of these texts is in this project.")
            self._offered = items + self._offered
            self._set += 1  # the page goes to the first of them

    def do_guidelines(self, text: str) -> None:
        """Write down what counts and what does not."""
        self.store.guidelines = text.strip()

    def do_import(self, path: str | None = None, data: Any = None, part: int = 0, parts: int = 1) -> dict:
        """Take in Prodigy's JSONL, from a path or uploaded: texts to be answered, and answers."""
        if path is not None:
            return self._imported(path)
        whole = self._uploaded(data, part, parts)
        if whole is None:
            return {}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "upload.jsonl"
            file.write_bytes(whole)
            return self._imported(file)

    def do_export(self, path: str) -> dict:
        """Write all answers as Prodigy's JSONL."""
        return {"count": self.store.export_prodigy(path, tokens=tokens), "path": str(path)}

    def do_download(self, what: str = "answers") -> dict:
        """Send the page all answers as Prodigy's JSONL."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "answers.jsonl"
            count = self.store.export_prodigy(file, tokens=tokens)
            self._send_file(what, f"{Path(self.store.path).stem}.jsonl", file.read_bytes())
        return {"count": count}

    def do_dismiss(self) -> None:
        """Hide the message."""

    # ---- what comes next

    def _begin(self) -> None:
        """The texts and the counts of the annotator, from the store."""
        self._set += 1
        self._offered = []
        self._recount()
        self._choose(anew=True)

    def _task(self, key: str) -> Task:
        number = int(key.split(".")[0])
        task = self._by_hash([number]).get(number)
        if task is None:
            raise ValueError("This text is not in this project any more.")
        return task

    def _by_hash(self, wanted: Iterable[int] = ()) -> dict[int, Task]:
        if self._known is None or not self._known.keys() >= set(wanted):  # tasks may have been added by code
            self._known = {task.task_hash: task for task in self.store.tasks()}
        return self._known

    _known: dict[int, Task] | None = None

    # ---- files

    def _imported(self, path: str | Path) -> dict:
        with self._lock:
            tasks, answers = self.store.import_prodigy(path)
            self._known = None
            self._typed["labels"] = ", ".join(self.store.labels)
            self._judge()
            self._begin()
        return {"tasks": tasks, "answers": answers}

    # ---- what is shown

    def _judge(self) -> None:
        form = judge(self.fields, self._typed)
        if self._recogniser is None:
            form = replace(form, disabled={**form.disabled, "policy": NO_MODEL}, hidden=(*form.hidden, "random_share"))
        self._form = form

    def _recount(self) -> None:
        mine = self.store.answered(self.values["annotator"])
        self._done, self._total = len(mine), len(self._by_hash())
        self._spans = sum(len(answer.spans) for answer in mine if answer.answer == "accept")
        self._pace.clear()
        self._pace.extend(answer.seconds for answer in mine[-PACE_OF:] if answer.seconds is not None)

    def _progress(self) -> dict:
        text = f"{self._done:,} of {self._total:,} texts · {self._spans:,} spans"
        if len(self._pace) >= 3 and sum(self._pace) > 0:
            text += f" · {3600 * len(self._pace) / sum(self._pace):,.0f} texts an hour"
        return {"fraction": self._done / self._total if self._total else None, "text": text}

    def _empty(self) -> str:
        if not self._total:
            return "This project has no texts yet. Import some as JSONL, or give it a corpus."
        if self._done < self._total:
            return "Choosing the next texts…"
        return f"All {self._total:,} texts are answered. Undo goes back to the last one."

    def model_text(self) -> str:
        """What is known of the model, in a line."""
        return self._model_text

    def tools(self) -> list[dict]:
        """Buttons under the settings: {"label", "action", "on", "why"}."""
        return []

    def _flush(self) -> None:
        """Send what is true now."""
        with self._lock:
            form = for_page(self.fields, self._form, self._typed)
            desk = {"project": _project(self.store.path), "annotator": self.values["annotator"],
                    "labels": list(self.store.labels), "whole_words": self.values["whole_words"],
                    "guidelines": self.store.guidelines, "form": form, "progress": self._progress(),
                    "model": self.model_text(), "undo": self._done > 0, "empty": self._empty(),
                    "tools": self.tools(), "problem": dict(self._trouble)}  # fmt: skip
            offered = {"set": self._set, "list": self._offered}
            with self.hold_sync():
                self.desk = desk
                if self._worth_sending(offered):
                    self.items = offered

    def _worth_sending(self, offered: dict) -> bool:
        """Whether the page has not got these texts: that some were answered there, it knows."""
        sent = [item["key"] for item in self.items.get("list", ())]
        now = [item["key"] for item in offered["list"]]
        return self.items.get("set") != offered["set"] or not set(now) <= set(sent)


def _project(path: str | Path) -> str:
    """The same for the same file of answers on the same machine: under this, the page keeps what is on its way."""
    return hashlib.blake2b(f"{socket.gethostname()} {Path(path).resolve()}".encode(), digest_size=8).hexdigest()

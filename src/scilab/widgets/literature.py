"""`LiteratureWidget`: label, train, extract and exchange in one place, over one project."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ipywidgets

from scilab.literature import LabelStore, Paper
from scilab.runs import Journal

from .exchange import ExchangeWidget
from .extraction import ExtractionWidget
from .fields import Number, Toggle
from .label import LabelWidget
from .publisher import Publisher
from .training import TrainingWidget
from .words import ACTIVE, number

RECHECK_S = 1.0


class LiteratureWidget(ipywidgets.Tab):
    """A labelling project with all that is done with it: ``LiteratureWidget("labels.db", Corpus.sample())``.

    ``project`` is a `LabelStore` or its file; the paragraphs of ``papers`` are added to it. The parts can be used, and
    driven without a page, by themselves: ``label`` (a `LabelWidget`), ``training``, ``extraction`` (`Panel`s) and
    ``exchange``. A finished training is saved beside the project, suggests the next texts and spans, and is what the
    extraction reads with.
    """

    def __init__(self, project: LabelStore | str | Path, papers: Iterable[Paper] = (), *, annotator: str = "me",
                 journal: Journal | None = None, seed: int = 0):  # fmt: skip
        super().__init__()
        self.store = project if hasattr(project, "answer") else LabelStore(project)
        for paper in papers:
            self.store.add_tasks(paper.tasks())
        self._since, self._model = 0, None
        self.training = _Training(self, journal)
        self.extraction = ExtractionWidget(journal=journal)
        self.extraction.set(to=str(self.store.path.with_suffix(".molecules.db")))
        self.exchange = ExchangeWidget(self.store, model=lambda: self._model)
        self.label = _Label(self, annotator, seed)
        self.label.on_answer = self._answered
        self.exchange.on_pull = self.label.refresh
        self._recheck = Publisher(self._looked, RECHECK_S, name="scilab-recheck")
        self.children = (self.label, self.training, self.extraction, self.exchange)
        self.titles = ("Label", "Train", "Extract", "Exchange")
        if self.model_path.is_file():
            self._reload()

    @property
    def model_path(self) -> Path:
        """Where the newest model of the project is saved."""
        return self.store.path.with_suffix(".model")

    def close(self) -> None:
        """Remove all parts; what was answered is kept, a run that goes on goes on."""
        self._recheck.close()
        for part in self.children:
            part.close()
        super().close()

    def __repr__(self) -> str:
        return f"Literature, {self.store.path.name}. Run this cell to see it."

    def _answered(self) -> None:
        self._since += 1
        self._recheck.wake()
        every = self.label.values["train_every"]
        if self.label.values["train_along"] and self._since >= every and not self.training.busy:
            self._since = 0
            self.training._worker.submit(self.training.along)

    def _looked(self) -> None:
        """What follows from answers, at most once a second: whether there is something to train from, agreement."""
        self.training.recheck()
        self.exchange.refresh()
        self.label._publisher.wake()

    def _reload(self) -> None:
        from scilab.literature import Recogniser

        try:
            recogniser = Recogniser.load(self.model_path)
        except (ValueError, OSError):  # of another version: it is trained again
            return
        self._use(recogniser, "The model saved with this project suggests.")

    def _use(self, recogniser: Any, text: str) -> None:
        self._model = (recogniser, self.training.values["dev"])
        self.label.use(recogniser, text)
        self.extraction.set(model=str(self.model_path))
        self.exchange.refresh()


class _Label(LabelWidget):
    """Labelling in a room where a model can be trained."""

    fields = (
        *LabelWidget.fields,
        Toggle(name="train_along", label="Train along", default=False,
               help="Train while I label: in the background, after so many answers; then one of the random arm."),
        Number(name="train_every", label="Train after", default=20, minimum=1, maximum=10_000, integer=True,
               unit="answers", help="How many answers make a new training worth while.",
               only=lambda values: values["train_along"]),
    )  # fmt: skip

    def __init__(self, room: LiteratureWidget, annotator: str, seed: int):
        self._room = weakref.proxy(room)
        super().__init__(room.store, annotator, seed=seed)

    def do_train(self) -> dict:
        """Train on all answers given so far."""
        self._room.training.recheck()
        told = self._room.training.act("launch")
        if not told["ok"]:
            raise ValueError(told["message"])
        return {}

    def tools(self) -> list[dict]:
        state = self._room.training.head["buttons"]["launch"]
        why = "On all answers so far, in the background" if state["on"] else state["why"]
        return [{"label": "Train now", "action": "train", "on": state["on"], "why": why}]

    def model_text(self) -> str:
        run = self._room.training.run
        if run is not None and run.status in ACTIVE and self._room.training.busy:
            done, total = run.progress["done"], run.progress["total"]
            return f"Training on your answers: {done} of {total} epochs. {super().model_text()}"
        return super().model_text() or "No model yet: label some texts, then train."

    def refresh(self) -> None:
        """The store was changed from elsewhere."""
        with self._lock:
            self._known = None
            self._begin()
        self._publisher.wake()


class _Training(TrainingWidget):
    """Training from the project of a room; what is finished is given to the room."""

    def __init__(self, room: LiteratureWidget, journal: Journal | None):
        self._room, self._taken, self._arm_next = weakref.proxy(room), set(), False
        super().__init__(journal=journal)
        self.set(project=str(room.store.path))

    @property
    def busy(self) -> bool:
        """Whether a training goes on in this kernel."""
        return self._live and self._run.status in ACTIVE

    def recheck(self) -> None:
        """Answers have come: what was wrong may be right now."""
        with self._lock:
            self._judge()
        self._publisher.wake()

    def along(self) -> None:
        """Train in the background, and then the random arm for comparison, if there is something to train from."""
        self.recheck()
        self._perform("set", {"values": {"texts": "all"}})
        if self._perform("launch", {"name": "While labelling"})["ok"]:
            self._arm_next = True
        self._publisher.wake()

    def do_launch(self, name: str | None = None) -> dict:
        self._judge()
        told = super().do_launch(name)
        run = self._run
        run.subscribe(self._heard)
        self._heard(run)
        return told

    def do_look_again(self, hash: int) -> None:
        """Show a text again in the room's labelling."""
        told = self._room.label.act("review", hashes=[hash])
        if not told["ok"]:
            raise ValueError(told["message"])
        self._room.selected_index = 0

    def extra(self) -> dict:
        return {**super().extra(), "room": True}

    def _heard(self, run: Any) -> None:
        self._room.label._publisher.wake()
        if run.status in ("finished", "stopped") and run.id not in self._taken:
            self._taken.add(run.id)
            self._worker.submit(self._finished, run)

    def _finished(self, run: Any) -> None:
        result = run.result
        if result is None:
            return
        values = self.values_of(run.settings)
        if values["texts"] == "all":  # the random arm is there to be compared with, not to be used
            result.recogniser.save(self._room.model_path)
            texts = run.settings["examples"]["dev"]
            f1 = number(result.dev.f1, 2) if result.dev is not None and result.dev.f1 == result.dev.f1 else "–"
            self._room._use(result.recogniser, f"The model suggests: F1 {f1} on {texts} held-out texts.")
            if self._run is not None and self._run.id == run.id:
                self._perform("errors", {})
        if self._arm_next:
            self._arm_next = False
            self._perform("set", {"values": {"texts": "random"}})
            self._perform("launch", {"name": "While labelling, random arm"})
            self._perform("set", {"values": {"texts": "all"}})
        self._publisher.wake()

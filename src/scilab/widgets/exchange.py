"""`ExchangeWidget`: how well people and models agree, and the way to a doccano server and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets

from scilab.literature import Answer, LabelStore, Task, agreements, standings
from scilab.literature.doccano import Doccano
from scilab.literature.split import held_out

from .asking import Asking
from .assets import bundle
from .fields import Field, Text, Toggle, for_page, judge
from .panel import HERE
from .publisher import Publisher
from .tokens import tokens
from .words import DASH, number
from .worker import Worker


class ExchangeWidget(Asking, anywidget.AnyWidget):
    """Agreement of the annotators of a project, people and model against one of them, doccano out and in.

    ``model()`` gives a recogniser and the share of texts that was held out from it, or None. Without a page:
    ``set(url=…, …)``, ``act("push")``, ``act("pull")``; ``state`` is what is shown.
    """

    title: ClassVar[str] = "Agreement and exchange"
    fields: tuple[Field, ...] = (
        Text(name="adjudicator", label="Judge by", group="Agreement", default="", placeholder="nobody",
             help="The annotator whose answers count as right; all others, and the model, are measured by them."),
        Text(name="url", label="Server", group="doccano", default="", placeholder="http://127.0.0.1:8000",
             help="The address of a doccano server."),
        Text(name="name", label="Project", group="doccano", default="", placeholder="drugs",
             help="The name of the project there; it is made by the first push."),
        Text(name="user", label="User", group="doccano", default="", help="Who you are there."),
        Text(name="password", label="Password", group="doccano", default="", secret=True,
             help="Kept in this kernel only, as long as it lives."),
        Text(name="annotator", label="Answers of", group="doccano", default="", placeholder="all texts, no answers",
             help="Whose answers are pushed. Empty: all texts, with what was suggested in them."),
        Toggle(name="allow_overlapping", label="Overlaps", group="doccano", default=False,
               help="A project that is made allows overlapping spans. Elsewhere they are listed and not sent."),
    )  # fmt: skip

    _esm = bundle(HERE / "exchange.js")
    _css = "".join((HERE / name).read_text(encoding="utf-8") for name in ("panel.css", "literature.css"))
    state = traitlets.Dict().tag(sync=True)

    def __init__(self, store: LabelStore | str | Path, *, model: Callable[[], tuple | None] = lambda: None):
        super().__init__()
        self.store = store if hasattr(store, "answer") else LabelStore(store)
        self._model, self._typed, self._told, self._seen = model, {}, [], None
        self.on_pull: Callable[[], None] = lambda: None
        self.server: Any = None  # in place of the one at the address, for tests
        self._worker, self._publisher = Worker(self), Publisher(self._flush)
        self._judge()
        self.on_msg(self._receive)
        self._flush()

    def refresh(self) -> None:
        """Something was answered."""
        self._publisher.wake()

    def close(self) -> None:
        """Remove the widget. Idempotent."""
        if self.comm is not None:
            self._worker.close()
            self._publisher.close()
        super().close()

    def __repr__(self) -> str:
        return f"{self.title}. Run this cell to see it."

    # ---- what a click does

    def do_set(self, values: Mapping) -> None:
        """Type values into fields."""
        self._named(values)
        self._typed |= values
        self._judge()

    def do_push(self) -> dict:
        """Put texts and spans into the project on the server; all of it is checked, there and here."""
        values = self._ready()
        with_server = self._doccano(values)
        report = with_server.push(self.store, values["name"], annotator=values["annotator"] or None,
                                  allow_overlapping=values["allow_overlapping"])  # fmt: skip
        self._told = [f"Pushed to “{report.project}”: {report.texts} texts with {report.spans} spans are there as they "
                      f"are here; {report.already_there} of them had been there.",
                      *(f"{each.where}: {each.reason}" for each in report.problems)]  # fmt: skip
        return {"texts": report.texts, "spans": report.spans}

    def do_pull(self) -> dict:
        """Take over what each user of the project has confirmed there, as the answers of an annotator of that name."""
        values = self._ready()
        server = self._doccano(values)
        known = {task.text: task for task in self.store.tasks()}
        counts: dict[str, int] = {}
        for user, tasks in server.pull(values["name"]).items():
            for task in tasks:
                if task.answer is None:
                    continue
                said = f"{server.url} {values['name']} {user} {task.task_hash} {task.answer}"
                id = f"random doccano {blake2b(said.encode(), digest_size=12).hexdigest()}"
                question = known.get(task.text) or Task(task.text, meta=task.meta)
                counts[user] = counts.get(user, 0) + self.store.answer(question, user, task.spans, task.answer, id)
        new = ", ".join(f"{count} new answers of {user}" for user, count in counts.items())
        self._told = [f"Pulled from “{values['name']}”: {new or 'nothing is confirmed there'}.",
                      *(f"{each.where}: {each.reason}" for each in server.problems)]  # fmt: skip
        self.on_pull()
        return {"answers": counts}

    def do_dismiss(self) -> None:
        """Hide the message."""
        self._told = []

    def _ready(self) -> Mapping:
        values = self._form.values
        for name in ("url", "name", "user", "password"):
            if not values[name]:
                label = next(field.label for field in self.fields if field.name == name)
                raise ValueError(f"“{label}” is empty: give the server, the project there, your name and password.")
        return values

    def _doccano(self, values: Mapping) -> Doccano:
        return Doccano(values["url"], values["user"], values["password"], server=self.server)

    # ---- what is shown

    def _judge(self) -> None:
        self._form = judge(self.fields, self._typed)

    def _flush(self) -> None:
        answered = self.store.answered()
        model = self._model()
        seen = (len(answered), answered[-1].answer_id if answered else "", self._form.values["adjudicator"],
                model and id(model[0]))  # fmt: skip
        if seen != self._seen:
            self._seen = seen
            right = self._form.values["adjudicator"]
            self._tables = {"pairs": pairs(answered), "standings": judged(answered, right, model)}
        self.state = {"form": for_page(self.fields, self._form, self._typed), "told": list(self._told),
                      "problem": dict(self._trouble), **self._tables}  # fmt: skip


def pairs(answers: list[Answer]) -> list[list[str]]:
    """[pair, label, texts in common, F1 of spans, kappa of tokens] as texts."""
    return [[f"{each.first} and {each.second}", each.label or "all labels", f"{each.texts:,}", _figure(each.f1),
             _figure(each.kappa)] for each in agreements(answers, tokens)]  # fmt: skip


def judged(answers: list[Answer], adjudicator: str, model: tuple | None) -> list[list[str]]:
    """[who, what, texts, F1 with its interval, precision, recall]: people, and the model on texts it has not seen."""
    gold = [each.as_task for each in answers if each.annotator == adjudicator and each.answer == "accept"]
    if not gold:
        return []
    found = standings(gold, [each for each in answers if each.annotator != adjudicator])
    unseen = held_out(gold, model[1])[1] if model else []
    if unseen:
        found += standings(unseen, [], {"the model, held-out texts": model[0].find})
    rows = []
    for each in found:
        low, high = each.scores.f1_interval
        f1 = f"{_figure(each.scores.f1)} [{_figure(low)}, {_figure(high)}]"
        rows.append([each.name, each.kind, f"{len(each.texts):,}", f1,
                     _figure(each.scores.precision.value), _figure(each.scores.recall.value)])  # fmt: skip
    return rows


def _figure(value: float) -> str:
    return DASH if value != value else number(value, 2)

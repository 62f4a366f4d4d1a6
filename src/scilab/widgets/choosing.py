"""Which texts a person labels next: in random order, or as a model asks for them."""

from __future__ import annotations

import random
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

from scilab.literature import Task

from .tokens import tokens

AHEAD = 16  # texts in the page; more are chosen once half of them are answered
KEPT = 1  # of these, when a new model chooses: the one that is being read


class Choosing:
    """The half of a widget that has texts ready: ``_offered``, as the page takes them, those of the ``_set``-th choice.

    The other half has a ``store``, ``values``, a ``_lock``, a ``_publisher``, and a ``_chooser``, the worker in which a
    model chooses; it counts ``_set`` up where all before is void.
    """

    _recogniser: Any = None
    _seed = _set = _given = 0
    _choosing = False
    _offered: Sequence[dict] = ()
    _model_text = _coming = ""  # said of the model that chose, and of the one that is to

    def _choose(self, anew: bool = False) -> None:
        """Have more texts ready; ``anew`` also chooses again what the page does not show yet."""
        if self._recogniser is None:
            with self._lock:
                self._take(self._in_order(), anew)
        elif not self._choosing or anew:
            self._choosing = True
            self._chooser.submit(self._try_to_choose, anew, self._set)

    def _pool(self, anew: bool) -> list[Task]:
        kept = {text_of(item) for item in self._offered[:KEPT if anew else None]}
        return [task for task in self.store.unanswered(self.values["annotator"]) if str(task.task_hash) not in kept]

    def _in_order(self) -> list[tuple[Task, str]]:
        """Everybody has the same random order, so that the answers of several can be compared."""
        tasks = self._pool(anew=True)
        tasks.sort(key=lambda task: random.Random(f"{self._seed} {task.task_hash}").random())
        return [(task, "") for task in tasks[:AHEAD]]

    def _try_to_choose(self, anew: bool, of: int) -> None:
        try:
            self._choose_by_model(anew, of)
        except Exception as error:  # said, and labelling goes on in random order
            self._trouble = {"message": f"The model cannot choose texts: {error}", "details": traceback.format_exc()}
            with self._lock:
                self._choosing = False
                self._take(self._in_order(), anew)
        self._model_text = self._coming
        self._publisher.wake()

    def _choose_by_model(self, anew: bool, of: int) -> None:
        from scilab.literature.sampling import next_texts

        with self._lock:
            values, recogniser, pool = self.values, self._recogniser, self._pool(anew)
            labelled = [answer.task for answer in self.store.answered(values["annotator"])]
        chosen = pool and next_texts(recogniser, pool, labelled, AHEAD, policy=values["policy"],
                                     random_share=values["random_share"], seed=self._seed)  # fmt: skip
        texts = [each.task.text for each in chosen]
        found = list(recogniser.find(texts, scores=True)) if values["suggestions"] else [()] * len(texts)
        with self._lock:
            self._choosing = False
            if of == self._set:
                spans = [[[f.start, f.end, f.label, round(f.score, 3)] for f in each] for each in found]
                pairs = zip(chosen, spans, strict=True)
                self._take([(each.task, each.why, own, each.arm) for each, own in pairs], anew)

    def _take(self, chosen: Sequence[tuple], anew: bool) -> None:
        """Offer these after what is offered already; ``anew`` after the first few, which the page may show."""
        first = self._offered[:KEPT if anew else None]
        known = {text_of(item) for item in first}
        more = [self._item(*each) for each in chosen if str(each[0].task_hash) not in known]
        self._offered = [*first, *more][:2 * AHEAD]

    def _item(self, task: Task, why: str = "", spans: list | None = None, arm: str = "random") -> dict:
        self._given += 1
        if spans is None:
            spans = [[s.start, s.end, s.label, None] for s in task.spans] if self.values["suggestions"] else []
        where = [str(task.meta[name]) for name in ("paper", "section", "source") if task.meta.get(name)]
        return {"key": f"{task.task_hash}.{self._set}-{self._given}", "text": task.text, "tokens": tokens(task.text),
                "spans": spans, "why": why, "arm": arm, "where": " · ".join(where)}  # fmt: skip


def text_of(item: Mapping) -> str:
    """Which text is offered; each time it is, under another key."""
    return item["key"].split(".")[0]

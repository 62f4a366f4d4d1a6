"""The state of a campaign, as a policy sees it: what has come, what runs, what is next. No engine, no clock.

`happened` takes in an event, `decided` a decision. A log holds both in their order, so that it can bring a state to
where it was, or be decided again from the beginning.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Any

import numpy as np

from .acquisitions import Acquisition
from .ranking import OPEN, Ranking, by_score
from .records import Decision, Evaluated, Failed, Learned, Reallocate, Simulate, Steered, Train


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one simulation gave; `value` is None if it failed, `usable` if a model may learn from it."""

    index: int
    fidelity: str
    value: float | None
    usable: bool
    details: Mapping[str, Any]


def seed_of(seed: int, purpose: str, number: int) -> int:
    """A seed of 31 bits that depends on what it is for, never on when or where something runs."""
    return Random(f"{seed}/{purpose}/{number}").getrandbits(31)


class State:
    """Policies read it and leave it as it is. `fidelities` from the cheapest to the one that counts."""

    def __init__(
        self, candidates: Sequence[str], *, budget: int, slots: Mapping[str, int], threshold: float | None,
        maximize: bool, acquisition: Acquisition, retrain: Any, initial: int, fidelities: tuple[str, ...], seed: int,
    ) -> None:  # fmt: skip
        self.candidates, self.budget, self.slots = list(candidates), budget, dict(slots)
        self.threshold, self.sign, self.seed = threshold, 1.0 if maximize else -1.0, seed
        self.acquisition, self.retrain, self.initial, self.fidelities = acquisition, retrain, initial, fidelities
        self.full = fidelities[-1]
        self.number = {candidate: index for index, candidate in enumerate(self.candidates)}
        self.injected = 0
        start = np.random.default_rng(seed_of(seed, "start", 0)).permutation(len(self.candidates))
        self.ranking = Ranking(start)
        self.pending: dict[tuple[int, str], Simulate] = {}
        self.training: Train | None = None
        self.model: Train | None = None
        """What the present model was trained as, None before the first."""
        self.mean = self.std = None
        self.ranked = (0, None)  # how many rankings there were, and the best value at the last
        self.outcomes: list[Outcome] = []
        self.scheduled: Counter = Counter()  # by fidelity, as the next
        self.done: Counter = Counter()
        self.screened: list[tuple[float, int]] = []  # a heap of (-value, index) by the cheap fidelity
        self.surprises: list[float] = []
        self.results = self.trained_on = self.failed = self._hits = 0
        self.asked = False
        """Whether a person wants a new model now."""
        self.best: float | None = None
        self.best_index: int | None = None
        self.values: list[float] = []  # those that count, for the hits

    # ---- what policies ask -----------------------------------------------------------------------------------------

    def free(self, pool: str) -> int:
        """Slots of a pool that nothing uses."""
        used = len(self.pending) if pool == "simulate" else int(self.training is not None)
        return max(0, self.slots[pool] - used)

    @property
    def left(self) -> int:
        """Simulations of the highest fidelity that the budget still allows to start."""
        return max(0, self.budget - self.scheduled[self.full])

    def due(self) -> bool:
        """Whether a new model should be trained now, slots or not."""
        if self.training is not None or not (self.left and self._more()):
            return False
        if self.asked or getattr(self.retrain, "untrained", False):
            return self.asked
        return self.results >= self.initial if self.model is None else self.retrain.due(self)

    def _more(self) -> bool:
        """Whether anything is left that a model could choose."""
        return bool(self.ranking.open or self.screened)

    def next(self, n: int, fidelity: str | None = None) -> list[Simulate]:
        """Decisions to simulate the next candidates of the queue, at most `n` and no more than the budget allows."""
        fidelity = fidelity or self.full
        n = min(n, self.left) if fidelity == self.full else n
        return [self.simulation(index, fidelity) for index in self.ranking.first(n)] if n > 0 else []

    def promoted(self, n: int) -> list[Simulate]:
        """Decisions to simulate in full the `n` best of those that were screened."""
        best = heapq.nsmallest(max(0, min(n, self.left)), self.screened)
        return [self.simulation(index, self.full, "best of the screened") for _, index in best]

    def train(self) -> list[Train]:
        """The decision to train, if it is due and the pool has a slot; in a list, for a policy to add to."""
        if not (self.due() and self.free("learn")):
            return []
        return [self.lesson("asked for" if self.asked else f"{self.results - self.trained_on} new results")]

    def lesson(self, why: str) -> Train:
        """The decision to train on all that is known, whether it is due or not."""
        version = self.model.version + 1 if self.model else 1
        return Train(version, len(self.outcomes), len(self.candidates), seed_of(self.seed, "train", version), why)

    @property
    def hits(self) -> int:
        """Values that count beyond the threshold, 0 without one."""
        return self._hits

    def simulation(self, index: int, fidelity: str, why: str | None = None) -> Simulate:
        """The decision to simulate this candidate, with what the model says of it."""
        why = why or self._why(index)
        version, mean, std = 0, None, None
        if self.model is not None and self.mean is not None and index < len(self.mean):
            version, mean, std = self.model.version, float(self.mean[index]), float(self.std[index])
        return Simulate(index, self.candidates[index], fidelity, why, version, self.ranking.digest, mean, std)

    def _why(self, index: int) -> str:
        if index in self.ranking.pins:
            return "pinned"
        return self.acquisition.name if self.ranked[0] else "start"

    # ---- what happens ----------------------------------------------------------------------------------------------

    def decided(self, decision: Decision) -> None:
        """A decision stands."""
        if isinstance(decision, Reallocate):
            self.slots[decision.source] -= decision.n
            self.slots[decision.to] += decision.n
            return
        if isinstance(decision, Train):
            self.training, self.trained_on, self.asked = decision, self.results, False
            return
        self.pending[decision.index, decision.fidelity] = decision
        self.scheduled[decision.fidelity] += 1
        if self.ranking.status[decision.index] == OPEN:
            self.ranking.take(decision.index)
        elif self.screened and self.screened[0][1] == decision.index:
            heapq.heappop(self.screened)
        else:
            self.screened = [entry for entry in self.screened if entry[1] != decision.index]
            heapq.heapify(self.screened)

    def happened(self, event: Any, mean: np.ndarray | None = None, std: np.ndarray | None = None) -> None:
        """An event of the log; a `Learned` comes with its predictions, or without when a log is only read."""
        kind = type(event)
        if kind is Evaluated:
            self._evaluated(event)
        elif kind is Failed:
            self.pending.pop((event.index, event.fidelity), None)
            self.outcomes.append(Outcome(event.index, event.fidelity, None, False, {}))
            self.done[event.fidelity] += 1
            self.failed += 1
        elif kind is Learned:
            self.model, self.training = self.training, None
            self.surprises.clear()
            self.predict(mean, std)
            self.rerank()
        elif kind is Steered:
            self.steer(event.command)

    def _evaluated(self, event: Evaluated) -> None:
        decision = self.pending.pop((event.index, event.fidelity), None)
        usable = event.flag is None
        self.done[event.fidelity] += 1
        self.outcomes.append(Outcome(event.index, event.fidelity, event.value, usable, event.details))
        if not usable:
            return
        if event.fidelity != self.full:
            heapq.heappush(self.screened, (-self.sign * event.value, event.index))
            return
        self.results += 1
        self.best, self._hits, better = self.standing(event.value)
        self.values.append(event.value)
        if better:
            self.best_index = event.index
        present = self.model is not None and decision is not None and decision.model == self.model.version
        if present and decision.uncertainty:
            self.surprises.append((event.value - decision.predicted) / decision.uncertainty)

    def beyond(self, value: float) -> bool:
        """Whether a value is a hit."""
        return self.threshold is not None and self.sign * value > self.sign * self.threshold

    def standing(self, value: float) -> tuple[float, int, bool]:
        """(best, hits, whether it is the best) if this value came now."""
        better = self.best is None or self.sign * value > self.sign * self.best
        return value if better else self.best, self._hits + self.beyond(value), better

    def predict(self, mean: np.ndarray | None, std: np.ndarray | None) -> None:
        """What the present model says of the candidates, (n,) each; None while a log is only read."""
        self.mean, self.std = mean, std

    def rerank(self, again: bool = False) -> None:
        """A new ranking by the present predictions and acquisition; `again`: the last one once more."""
        if not again:
            self.ranked = (self.ranked[0] + 1, self.best)
        if self.mean is None:
            return
        number, best = self.ranked
        self.scores = self.acquisition(
            self.sign * self.mean, self.std, -inf if best is None else self.sign * best,
            np.random.default_rng(seed_of(self.seed, "ranking", number)),
        )  # fmt: skip
        self.ranking.reorder(by_score(self.scores))

    # ---- what people do --------------------------------------------------------------------------------------------

    def steer(self, command: Mapping[str, Any]) -> None:
        """Carry out a command that `commands.checked` has passed; ValueError if it cannot be done now."""
        ((word, what),) = command.items()
        getattr(self, f"_steer_{word}")(what)

    def index(self, candidate: str) -> int:
        """A candidate's number; ValueError if it is none."""
        if candidate not in self.number:
            raise ValueError(f"{candidate!r} is not among the candidates; inject it first")
        return self.number[candidate]

    def _steer_pin(self, candidate: str) -> None:
        self.ranking.pin(self.index(candidate))

    def _steer_unpin(self, candidate: str) -> None:
        self.ranking.unpin(self.index(candidate))

    def _steer_ban(self, candidate: str) -> None:
        self.ranking.ban(self.index(candidate))

    def _steer_unban(self, candidate: str) -> None:
        self.ranking.unban(self.index(candidate))

    def _steer_inject(self, candidate: str) -> None:
        if candidate not in self.number:
            self.number[candidate] = self.ranking.add()
            self.candidates.append(candidate)
            self.injected += 1
        self.ranking.pin(self.number[candidate])

    def _steer_acquisition(self, what: Mapping[str, Any]) -> None:
        self.acquisition = Acquisition(**what)
        if self.model is not None:
            self.rerank()

    def _steer_slots(self, what: Mapping[str, Any]) -> None:
        source, to, n = what["source"], what["to"], what["n"]
        if self.slots[source] - n < (1 if source == "simulate" else 0):
            least = "1: nothing would ever run" if source == "simulate" else "0"
            raise ValueError(f"{source} has {self.slots[source]} slots, and must keep {least}")
        self.slots[source] -= n
        self.slots[to] += n

    def _steer_threshold(self, value: float) -> None:
        self.threshold = float(value)
        self._hits = sum(map(self.beyond, self.values))

    def _steer_budget(self, budget: int) -> None:
        if budget < self.scheduled[self.full]:
            raise ValueError(f"{self.scheduled[self.full]} simulations have been started already")
        self.budget = budget

    def _steer_drain(self, _: Any) -> None:
        self.budget = self.scheduled[self.full]

    def _steer_retrain(self, _: Any) -> None:
        if self.training is not None:
            raise ValueError("a model is being trained already")
        if self.results == self.trained_on:
            raise ValueError("nothing has come since the last training that a model could learn from")
        if not self.slots["learn"]:
            raise ValueError("learn has no slots; move one there first")
        if not (self.left and self._more()):
            raise ValueError("nothing is left that a model could choose")
        self.asked = True

    def _steer_cancel(self, candidate: str) -> None:
        index = self.index(candidate)
        if not any(at == index for at, _ in self.pending):
            raise ValueError(f"{candidate!r} is not being simulated")

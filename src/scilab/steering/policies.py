"""What is done next: `decide(state, event)` returns decisions and changes nothing.

A policy is any object with such a method; it sees the `State` after each event, and the event. The four here are the
field's: batch, streaming and interleaved search (Colmena's optimiser examples) and search at several fidelities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from .records import Decision
from .state import State


class Policy(Protocol):
    """Decides; pure: the same state and event give the same decisions."""

    def decide(self, state: State, event: Any) -> list[Decision]:
        """What follows from the event."""
        ...


@dataclass(frozen=True)
class Streaming:
    """No worker waits: whoever falls idle gets the first of the queue, and training overlaps simulation."""

    def decide(self, state: State, event: Any) -> list[Decision]:
        return [*state.train(), *state.next(state.free("simulate"))]


@dataclass(frozen=True)
class Batch:
    """`size` simulations, then a new model from all of them, then the next `size`: the textbook's synchronous search.

    The retrain policy decides whether a model is due between two batches.
    """

    size: int = 25

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or self.size < 1:
            raise ValueError(f"size is {self.size!r}; give a whole number of simulations from 1")

    def decide(self, state: State, event: Any) -> list[Decision]:
        left = -state.scheduled[state.full] % self.size  # of the batch under way
        if not left:
            if state.pending or state.training:
                return []
            if training := state.train():
                return training
            left = self.size
        return state.next(min(left, state.free("simulate")))


@dataclass(frozen=True)
class Interleaved:
    """Simulation and learning take turns on the same workers: when a model is due, what runs is finished, the model
    trained, and simulation goes on.
    """

    def decide(self, state: State, event: Any) -> list[Decision]:
        if state.training:
            return []
        if state.due() and state.slots["learn"]:
            return [] if state.pending else state.train()
        return state.next(state.free("simulate"))


@dataclass(frozen=True)
class MultiFidelity:
    """Screen `ratio` candidates by the cheap simulator for each that is simulated in full, the best of them first.

    A campaign that uses it has two simulators. A pinned candidate is screened, too.
    """

    ratio: int = 4

    def __post_init__(self) -> None:
        if not isinstance(self.ratio, int) or self.ratio < 1:
            raise ValueError(f"ratio is {self.ratio!r}; give a whole number of screenings from 1")

    def decide(self, state: State, event: Any) -> list[Decision]:
        free, cheap = state.free("simulate"), state.fidelities[0]
        earned = state.done[cheap] // self.ratio - state.scheduled[state.full] + (state.ranking.open == 0) * free
        full = state.promoted(min(free, earned))
        enough = state.budget * self.ratio - state.scheduled[cheap]
        return [*state.train(), *full, *state.next(min(free - len(full), enough), cheap)]

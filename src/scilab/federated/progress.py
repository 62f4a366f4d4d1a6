"""What a round of a federation that flows adds up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import fsum

from .deployment import Deployment
from .records import RoundFinished
from .traffic import Flight


class Progress:
    """Counts what has happened since the round began, at `since` seconds of the federation's clock; `asked` devices
    take part in it.
    """

    def __init__(self, deployment: Deployment) -> None:
        self.deployment, self.asked = deployment, len(deployment.topology.leaves)
        self.begin()

    def begin(self) -> None:
        """Count from now on."""
        self.since, self.moved = self.deployment.clock(), self.deployment.wires.moved.copy()
        self.busy, self.failed = 0.0, 0
        self.losses: list[tuple[float, int]] = []
        self.ages: Counter[int] = Counter()

    def trained(self, flight: Flight, loss: float, samples: int, age: int) -> None:
        """A device's update has come."""
        self.losses.append((loss, samples))
        self.ages[age] += 1
        self.busy += self._within(flight, flight.due)

    def _within(self, flight: Flight, now: float) -> float:
        """Simulated seconds of this round that a device's training and messages have taken."""
        return max(0.0, min(now, flight.due) - max(flight.began, self.since))

    def finished(self, number: int, scores: tuple, under_way: Sequence[Flight]) -> RoundFinished:
        """The round's record; the next one begins."""
        deployment, now = self.deployment, self.deployment.clock()
        seconds, tiers = now - self.since, deployment.wires.by_tier(self.moved)
        samples = sum(n for _, n in self.losses)
        busy = self.busy + sum(self._within(flight, now) for flight in under_way if flight.what == "train")
        span = seconds * self.asked if deployment.simulated else 0
        record = RoundFinished(
            number,
            *scores,
            seconds,
            sum(down for down, _ in tiers),
            sum(up for _, up in tiers),
            tiers,
            self.failed,
            fsum(loss * n for loss, n in self.losses) / samples if samples else None,
            deployment.wires.on_network(self.moved),
            1 - busy / span if span else None,
            tuple(sorted(self.ages.items())),
        )
        self.begin()
        return record

"""What is on its way between the nodes of a federation that flows: tasks, messages and deadlines, and their arrival."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

from ..planes import Completion
from .contributions import Contribution, advance, collect, nothing
from .deployment import Deployment
from .round import RETRIES
from .training import evaluate, train
from .versions import Version

PAUSED_S = 0.05
"""How often a deadline that is due looks whether people still pause."""


@dataclass(eq=False)
class Flight:
    """Something on its way, with what it needs to be sent again; `began` and `due` in the federation's seconds."""

    what: str
    given: dict[str, Any]
    began: float
    due: float
    outputs: tuple = ()


class Traffic:
    """Sends things on their way and says which arrives next.

    Kinds: "train", "sum", "advance" and "evaluate" are tasks; "deliver" (a version to an aggregator), "absent" (a
    device that will not answer) and "deadline" only take time, and that in simulated time alone, but for deadlines.
    """

    def __init__(self, deployment: Deployment) -> None:
        self.deployment, self.session = deployment, deployment.session
        self.place = {w: (shard, at) for shard, (_, ws) in enumerate(deployment.shards) for at, w in enumerate(ws)}
        self.tasks: dict[int, Flight] = {}
        self.arrived: deque[Flight] = deque()
        self.deadlines: list[tuple[float, int, Flight]] = []
        self._order = itertools.count()

    def clock(self) -> float:
        """The federation's seconds, without those for which people have paused it: a deadline minds no pause."""
        return self.deployment.clock() - (0.0 if self.deployment.simulated else self.session.paused_s)

    def start(self, what: str, seconds: float = 0.0, began: float | None = None, **given: Any) -> None:
        """Send something that will take so many simulated seconds; `began` if it had been sent before."""
        now = self.clock()
        flight = Flight(what, given, now if began is None else began, now + seconds)
        if what in ("deliver", "absent", "deadline"):
            if not self.deployment.simulated and what == "deadline":
                heapq.heappush(self.deadlines, (flight.due, next(self._order), flight))
            elif not self.deployment.simulated:
                self.arrived.append(flight)
            else:
                self.tasks[self.session.submit(nothing, tag=(seconds,))] = flight
            return
        function, *args = getattr(self, f"_{what}")(flight, **given)
        # what many depend on does not queue behind trainings
        more = {"retries": 1} if what == "train" else {"retries": RETRIES, "ahead": True}
        more |= self.deployment.at(given["workers"][0] if what == "train" else given.get("name"))
        number = self.session.submit(function, *args, tag=(seconds,), outputs=flight.outputs, **more)
        self.tasks[number] = flight

    def under_way(self) -> list[Flight]:
        """All, in the order in which they are to be sent again after a stop."""
        return [*self.arrived, *self.tasks.values(), *(flight for *_, flight in sorted(self.deadlines))]

    def next(self) -> tuple[Flight | None, Completion | dict | None]:
        """Wait for what arrives next: a flight with its task's completion, if it is one; or a person's command.

        Raises RuntimeError if nothing is on its way: nothing would ever arrive.
        """
        if self.arrived:
            return self.arrived.popleft(), None
        if not (self.tasks or self.deadlines):
            raise RuntimeError("nothing is on its way, and nothing will come")
        wait = None
        if self.deadlines:
            wait = max(PAUSED_S if self.session.paused else 0.0, self.deadlines[0][0] - self.clock())
        completion = self.session.next(wait)
        if isinstance(completion, Completion):
            return self.tasks.pop(completion.task), completion
        if completion is None and not self.session.paused and self.deadlines[0][0] <= self.clock():
            return heapq.heappop(self.deadlines)[2], None
        return None, completion

    def _train(self, flight: Flight, parent: str, workers: Sequence[str], count: int, version: Version) -> tuple:
        """Workers of one shard, asked for the `count`-th time."""
        deployment = self.deployment
        shard = self.place[workers[0]][0]
        devices = [(self.place[worker][1], deployment.number[worker]) for worker in workers]
        flight.outputs = (deployment.address(),)
        groups = [(devices, *flight.outputs, *deployment.edges[deployment.topology.depth[parent]])]
        rows = deployment.shards[shard][0]
        return train, deployment.skeleton, version.key, rows, deployment.keep, deployment.seed, count, groups

    def _sum(self, flight: Flight, name: str, parts: Sequence[Contribution], like: Version) -> tuple:
        flight.outputs = (self.deployment.address(),)
        types = like.key if self.deployment.means else None
        return collect, [part.source() for part in parts], fsum(part.total for part in parts), types, *flight.outputs

    def _advance(self, flight: Flight, steps: Sequence[tuple], version: Version) -> tuple:
        deployment = self.deployment
        address, kept = deployment.address(), []
        if deployment.strategy.replaces("server"):
            kept = [deployment.address()]
        flight.outputs = (address, *kept)
        sums = [(mix, [part.source() for part in parts], fsum(part.total for part in parts)) for mix, parts in steps]
        return advance, deployment.skeleton, version.key, sums, address, deployment.server, *kept

    def _evaluate(self, flight: Flight, version: Version) -> tuple:
        deployment = self.deployment
        return evaluate, deployment.skeleton, version.key, deployment.test, deployment.keep

"""One synchronous round: devices train, aggregators sum as soon as their children are done, the coordinator divides."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from math import fsum
from typing import Any

import numpy as np

from ..planes import Completion, EngineError, Key
from .aggregation import Child, aggregate, finish
from .checks import selected
from .cohort import train_cohorts
from .contributions import nothing
from .deployment import TOLD_EACH, Deployment, Siblings
from .records import (
    AggregatorFailed,
    CohortFinished,
    DeviceFailed,
    DeviceFinished,
    DevicesFailed,
    Notice,
    RoundFinished,
    RoundStarted,
)
from .training import evaluate, train
from .wires import split

RETRIES = 2
JOBS = 64
"""Aggregators that become ready together share a task, up to so many."""
FOLD_BYTES, FOLD_MODELS = 64 << 20, 8
"""Updates that wait for their siblings are summed up when they take so much, and so many times the model."""


class RoundError(RuntimeError):
    """A round could not be brought to its end; the text says what failed and why."""


class Round:
    """Round `number`, which starts from `version`. Nodes are places in the topology's arrays, devices numbers."""

    def __init__(self, deployment: Deployment, number: int, version: Key) -> None:
        self.deployment, self.number, self.version = deployment, number, version
        self.topology, self.submit = deployment.topology, deployment.session.submit
        self.strategy, self.wires, self.busy = deployment.strategy, deployment.wires, 0.0
        devices = len(self.topology.leaves)
        self.chosen = np.zeros(devices, bool)
        self.chosen[selected(self.strategy, number, deployment)] = True
        self.asked = int(self.chosen.sum())
        if not self.asked:
            raise RoundError(f"round {number}: the strategy chose none of {devices} devices; choose one or more")
        self.missing = self._children()
        self.root = int(self.topology.near[0])
        self.arrived: dict[int, list[Child]] = {}
        self.unfolded: set[int] = set()  # nodes where summing up before the last has come did not work
        self.ready: list[int] = []
        self.losses, self.samples = np.full(devices, np.nan), np.zeros(devices, np.int64)
        self.failed, self.reason = 0, ""

    def run(self) -> Generator[Any, None, tuple[Key, RoundFinished]]:
        """Yields what happens; returns the new version's key and the record that ends the round."""
        deployment, before = self.deployment, self.deployment.bytes_by_tier()
        began, moved = deployment.clock(), self.wires.moved.copy()
        yield RoundStarted(self.number, self.asked)
        for shard in deployment.shards:
            mine = np.flatnonzero(self.chosen[shard[1].numbers])
            here, absent = self._available(shard[1], mine)
            if len(here):
                self._train(shard, here)
            yield from self._absent(shard[1], absent)
        self._advance()
        fresh, scores = None, None if deployment.test is not None else (None, None)
        while fresh is None or scores is None:
            completion = deployment.session.next()
            if isinstance(completion, dict):
                yield Notice(str(completion.get("reason", completion)))
                continue
            _, what, *rest = completion.tag
            if what == "train":
                yield from self._trained(completion, *rest)
            elif what == "came":
                yield from self._came(*rest)
            elif what == "fold":
                self._folded(completion, *rest)
            elif what == "aggregate":
                yield from self._aggregated(completion, *rest)
            elif what == "finish":
                fresh, kept = self._value(completion, "the coordinator's aggregation", rest)
                deployment.hold(fresh)
                if kept is not None:
                    deployment.drop(*[deployment.server] * (deployment.server is not None))
                    deployment.server = deployment.hold(kept)
                deployment.drop(*(child[0] for child in self.arrived.pop(self.root)))
                self._evaluate(fresh)
            else:
                scores = self._value(completion, "the evaluation", ())
            self._advance()
        tiers = [(d1 - d0, u1 - u0) for (d0, u0), (d1, u1) in zip(before, deployment.bytes_by_tier(), strict=True)]
        down, up = (sum(way) for way in zip(*tiers, strict=True))
        gave = self.samples > 0
        # exactly rounded: in whatever order the devices came
        train_loss = fsum((self.losses[gave] * self.samples[gave]).tolist()) / int(self.samples.sum())
        seconds = deployment.clock() - began
        idle = 1 - self.busy / (seconds * self.asked) if deployment.simulated and seconds else None
        return fresh, RoundFinished(
            self.number,
            *scores,
            seconds,
            down,
            up,
            tuple(tiers),
            self.failed,
            train_loss,
            self.wires.on_network(moved),
            idle,
        )

    def _children(self) -> np.ndarray:
        """How many children of each node have a part in this round: chosen devices, and nodes above some."""
        above, missing = self.topology.above, np.zeros(len(self.topology.above), np.int32)
        part = np.zeros(len(above), bool)
        part[self.topology.leaves[self.chosen]] = True
        for places in self.topology.levels[:0:-1]:
            parents = above[places[part[places]]]
            np.add.at(missing, parents, 1)
            part[parents] = True
        return missing

    def _available(self, workers: Siblings, mine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The places in a shard of those who answer, and of those who do not."""
        if self.deployment.always:
            return mine, mine[:0]
        answers = np.array([self.deployment.available(workers[place], self.number) for place in mine.tolist()], bool)
        return mine[answers], mine[~answers]

    def _absent(self, workers: Siblings, absent: np.ndarray) -> Iterator[Any]:
        for parent, places in self._by_parent(workers, absent):
            yield from self._failures(workers, dict.fromkeys(places.tolist(), "it was not available when it was asked"))
            self._settle(parent, None, len(places))

    def _by_parent(self, workers: Siblings, places: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Places in a shard, by their parents."""
        parents = self.topology.above[workers.places[places]]
        order = np.argsort(parents, kind="stable")
        cuts = np.flatnonzero(np.diff(parents[order])) + 1
        return [(int(parents[some[0]]), places[some]) for some in np.split(order, cuts) if len(some)]

    def _train(self, shard: tuple[Key, Siblings], places: np.ndarray, blank: np.ndarray | None = None) -> None:
        """Submit the training of those at `places` in a shard; those at `blank` only keep their lanes."""
        deployment, (key, workers), siblings = self.deployment, shard, self._by_parent(shard[1], places)
        groups = []
        for parent, below in siblings:
            numbers, own = workers.numbers[below], ()
            if deployment.kept is not None:
                own = (deployment.kept.of(numbers.tolist()), deployment.address())
            edges = deployment.edges[self.topology.level[parent]]
            groups.append((np.stack([below, numbers], 1), deployment.address(), *edges, *own))
        addresses = tuple(group[1] for group in groups)
        own = tuple(group[5] for group in groups if deployment.kept is not None)
        given = [deployment.skeleton, self.version, key, deployment.keep, deployment.seed, self.number, groups]
        if deployment.cohort > 1:
            given.append([] if blank is None else np.stack([blank, workers.numbers[blank]], 1))
            given.append(deployment.samples if deployment.sums else 0)
        self.submit(
            train if deployment.cohort == 1 else train_cohorts, *given,
            tag=(0.0, "train", shard, siblings, addresses, own),  # what it takes in simulated time follows, see _came
            outputs=(*addresses, *own), retries=1,
            **deployment.at(workers[int(places[0])]),
        )  # fmt: skip

    def _trained(
        self, completion: Completion, shard: tuple, siblings: list, addresses: Sequence, own: Sequence
    ) -> Iterator[Any]:
        results, began = completion.value, (completion.timing.started or 0.0) - self.deployment.began
        workers = shard[1]
        if completion.failure is not None:
            self._forget(completion, (*addresses, *own))
            places = np.concatenate([below for _, below in siblings])
            if len(places) > 1:  # a device that takes its worker down must not take others along
                self._each_alone(shard, places)
                return
            results = [(None, [(0, 0.0, 0.0, str(completion.failure))])]
        for index, ((parent, below), address, result) in enumerate(zip(siblings, addresses, results, strict=True)):
            key, told, *kept = result
            if key is None:
                self.deployment.drop(address, *own[index : index + 1])
            if not self.deployment.simulated:
                yield from self._came(workers, parent, below, key, told, kept, completion.worker, began)
                began += sum(seconds for _, _, seconds, _ in told)
                continue
            # they were computed together; each takes its own simulated time, and siblings are awaited together
            took = [self.deployment.device_s(workers[place], self.version.nbytes) for place in below.tolist()]
            told = [(n, loss, seconds, why) for (n, loss, _, why), seconds in zip(told, took, strict=True)]
            came = (workers, parent, below, key, told, kept, completion.worker, began)
            self.submit(nothing, tag=(max(took), "came", *came))

    def _came(
        self, workers: Siblings, parent: int, below: np.ndarray, key: Key | None, told: list, kept: list,
        worker: str | None, began: float,
    ) -> Iterator[Any]:  # fmt: skip
        """Siblings are done: what they left lies under one key."""
        counts = tuple(samples for samples, _, _, reason in told if reason is None)
        sums = self.deployment.sums
        left = None if key is None else (self.deployment.hold(key), (sum(counts),) if sums else counts, sums)
        self._settle(parent, left, len(below))
        gave = below[[reason is None for *_, reason in told]]
        if key is not None:
            numbers = workers.numbers[gave]
            self.samples[numbers] = counts
            self.losses[numbers] = [loss for _, loss, _, reason in told if reason is None]
            self.busy += sum(seconds for _, _, seconds, reason in told if reason is None)
            if kept:
                self.deployment.kept.take(numbers.tolist(), self.deployment.hold(kept[0]))
            each = self.version.nbytes if sums else split(key.nbytes, len(counts))
            self.wires.count(workers.places[gave], self.version.nbytes, each)
        yield from self._told(workers, parent, below, told, worker, began)

    def _each_alone(self, shard: tuple, places: np.ndarray) -> None:
        """Train these anew, each in a task of its own; of a cohort, with nobody's rows in the others' lanes."""
        block = shard[1].numbers[places] // self.deployment.cohort
        for i, place in enumerate(places):
            others = places[(block == block[i]) & (places != place)]
            self._train(shard, places[i : i + 1], others)

    def _told(
        self, workers: Siblings, parent: int, below: np.ndarray, told: list, worker: str | None, began: float
    ) -> Iterator[Any]:  # fmt: skip
        """The records of siblings who trained one after another, or together."""
        reasons = {int(place): one[3] for place, one in zip(below, told, strict=True) if one[3] is not None}
        yield from self._failures(workers, reasons)
        gave = [one for one in told if one[3] is None]
        if self.asked > TOLD_EACH and gave:
            samples = sum(one[0] for one in gave)
            loss = fsum(one[0] * one[1] for one in gave) / samples
            seconds = sum(one[2] for one in told)
            node = self.topology.ids[parent]
            yield CohortFinished(self.number, node, len(gave), samples, loss, seconds, worker, began)
            return
        for place, (samples, loss, seconds, reason) in zip(below.tolist(), told, strict=True):
            if reason is None:
                yield DeviceFinished(self.number, workers[place], samples, loss, seconds, worker, began)
            began += 0.0 if self.deployment.simulated else seconds

    def _failures(self, workers: Siblings, reasons: dict[int, str]) -> Iterator[Any]:
        """Who failed and why, by places in a shard."""
        self.failed += len(reasons)
        if reasons and not self.reason:
            place, reason = next(iter(reasons.items()))
            self.reason = f"{workers[place]}: {reason}"
        if self.asked <= TOLD_EACH:
            for place, reason in reasons.items():
                yield DeviceFailed(self.number, workers[place], reason)
            return
        for reason in dict.fromkeys(reasons.values()):
            names = tuple(workers[place] for place, why in reasons.items() if why == reason)
            yield DevicesFailed(self.number, names, reason)

    def _settle(self, parent: int, left: Child | None, children: int) -> None:
        """So many of a parent's children are done with the round and have `left` something for it, or nothing."""
        while parent >= 0:
            if left is not None:
                self.arrived.setdefault(parent, []).append(left)
            self.missing[parent] -= children
            if self.missing[parent]:
                self._fold(parent)
                return
            if parent in self.arrived or parent == self.root:
                self.ready.append(parent)
                return
            parent, children = int(self.topology.above[parent]), 1  # nothing came of its children: nothing of it

    def _fold(self, node: int) -> None:
        """While others are missing, sum up what has arrived at a node, if it is much: only the sum need be kept."""
        waiting = [] if node in self.unfolded else [child for child in self.arrived.get(node, ()) if not child[2]]
        if sum(child[0].nbytes for child in waiting) < max(FOLD_BYTES, FOLD_MODELS * self.version.nbytes):
            return
        address, children = self.deployment.address(), self.arrived.pop(node)
        self.missing[node] += 1  # the sum comes as one child more
        given = (self.deployment.skeleton, self.version, self.deployment.samples)
        tag, jobs = (0.0, "fold", node, children, address), [(children, address, None, None)]
        more = self.deployment.at(self.topology.ids[node])
        self.submit(aggregate, *given, jobs, tag=tag, outputs=(address,), retries=RETRIES, **more)

    def _folded(self, completion: Completion, node: int, children: list[Child], address: Any) -> None:
        """A sum is there; if it failed, what was to be summed waits for the node's own sum."""
        left = children
        if completion.failure is None:
            self.deployment.drop(*(child[0] for child in children))
            left = [(self.deployment.hold(completion.value[0]), (_samples(children),), True)]
        else:
            self._forget(completion, (address,))
            self.unfolded.add(node)
        self.arrived.setdefault(node, []).extend(left[1:])
        self._settle(node, left[0], 1)

    def _advance(self) -> None:
        """Submit the aggregators that have all their children, several in a task; the coordinator's sum at the end."""
        deployment, (ready, self.ready) = self.deployment, (self.ready, [])
        jobs_a_task = 1 if deployment.simulated else JOBS
        if ready == [self.root]:
            if self.root not in self.arrived:
                raise RoundError(f"round {self.number}: none of {self.asked} devices gave an update; {self.reason}")
            address = deployment.address()
            children = self.arrived[self.root]
            outputs, state = (address,), deployment.server
            if self.strategy.replaces("server"):
                outputs = (address, deployment.address())
            given = (deployment.skeleton, self.version, deployment.samples)
            more = (*given, children, address, state, *outputs[1:])
            self.submit(finish, *more, tag=(0.0, "finish", *outputs), outputs=outputs, retries=RETRIES)
            return
        where = [deployment.sites.get(self.topology.ids[node], "") if deployment.sites else "" for node in ready]
        for site in dict.fromkeys(where):
            here = [node for node, other in zip(ready, where, strict=True) if other == site]
            for start in range(0, len(here), jobs_a_task):
                self._aggregate(here[start : start + jobs_a_task])

    def _aggregate(self, nodes: Sequence[int]) -> None:
        deployment, jobs = self.deployment, []
        for node in nodes:
            edges = deployment.edges[self.topology.level[node] - 1]
            jobs.append((self.arrived[node], deployment.address(), *edges))
        addresses = tuple(job[1] for job in jobs)
        seconds = deployment.up_s(self.topology.ids[nodes[0]], self.version.nbytes) if deployment.simulated else 0.0
        given = (deployment.skeleton, self.version, deployment.samples, jobs, deployment.means)
        tag = (seconds, "aggregate", nodes, addresses)
        more = deployment.at(self.topology.ids[nodes[0]]) if deployment.sites else {}
        self.submit(aggregate, *given, tag=tag, outputs=addresses, retries=RETRIES, **more)

    def _aggregated(self, completion: Completion, nodes: Sequence[int], addresses: Sequence) -> Iterator[Any]:
        if completion.failure is not None:
            self._forget(completion, addresses)
            if len(nodes) > 1:
                for node in nodes:
                    self._aggregate([node])
                return
            yield self._passed_on(nodes[0], completion)
            return
        for node, key in zip(nodes, completion.value, strict=True):
            # only now may its children's updates go: until its sum was there, it could be run again
            children = self.arrived.pop(node)
            self.deployment.drop(*(child[0] for child in children))
            self.wires.count(node, self.version.nbytes, key.nbytes)
            left = (self.deployment.hold(key), (_samples(children),), not self.deployment.means)
            self._settle(int(self.topology.above[node]), left, 1)

    def _passed_on(self, node: int, completion: Completion) -> AggregatorFailed:
        """An aggregator that keeps failing: for this round its children are its parent's, each with the same weight."""
        parent, children = int(self.topology.above[node]), self.arrived.pop(node)
        for child in children[1:]:
            self.arrived.setdefault(parent, []).append(child)
        self._settle(parent, children[0], 1)
        reason = f"{attempts(completion)}: {completion.failure}"
        return AggregatorFailed(self.number, self.topology.ids[node], self.topology.ids[parent], reason)

    def _evaluate(self, version: Key) -> None:
        deployment = self.deployment
        if deployment.test is not None:
            given = (deployment.skeleton, version, deployment.test, deployment.keep)
            self.submit(evaluate, *given, tag=(0.0, "evaluate"), retries=RETRIES)

    def _forget(self, completion: Completion, addresses: Sequence) -> None:
        """A task failed: nothing will be at its addresses. An engine that failed is beyond all help."""
        self.deployment.forget(*addresses)
        if completion.failure.kind == "engine":
            raise EngineError(str(completion.failure))

    def _value(self, completion: Completion, what: str, addresses: Sequence) -> Any:
        if completion.failure is not None:
            self.deployment.forget(*addresses)
            raise RoundError(f"round {self.number}: {what} failed after {attempts(completion)}: {completion.failure}")
        return completion.value


def attempts(completion: Completion) -> str:
    """How often a task was tried, in words."""
    return f"{completion.attempts} attempts" if completion.attempts > 1 else "one attempt"


def _samples(children: Sequence[Child]) -> int:
    return sum(sum(child[1]) for child in children)

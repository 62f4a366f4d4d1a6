"""One synchronous round: devices train, aggregators sum as soon as their children are done, the coordinator divides."""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from math import fsum
from typing import Any

from ..planes import Completion, EngineError, Key
from .aggregation import Child, aggregate, finish
from .deployment import Deployment
from .records import DeviceFailed, DeviceFinished, Notice, RoundFinished, RoundStarted
from .training import evaluate, train

RETRIES = 2
JOBS = 64
"""Aggregators that become ready together share a task, up to so many."""


class RoundError(RuntimeError):
    """A round could not be brought to its end; the text says what failed and why."""


class Round:
    """Round `number`, which starts from `version`."""

    def __init__(self, deployment: Deployment, number: int, version: Key) -> None:
        self.deployment, self.number, self.version = deployment, number, version
        self.topology, self.submit = deployment.topology, deployment.session.submit
        self.missing = {node: len(below) for node, below in self.topology.children.items()}
        self.arrived: dict[str, list[tuple[str, Child]]] = {}
        self.ready: list[str] = []
        self.losses: list[tuple[float, int]] = []
        self.reasons: list[str] = []

    def run(self) -> Generator[Any, None, tuple[Key, RoundFinished]]:
        """Yields what happens; returns the new version's key and the record that ends the round."""
        deployment, began, before = self.deployment, time.perf_counter(), self.deployment.bytes_by_tier()
        yield RoundStarted(self.number, len(self.topology.workers))
        for key, workers in deployment.shards:
            self._train(key, list(enumerate(workers)))
        fresh, scores = None, None if deployment.test is not None else (None, None)
        while fresh is None or scores is None:
            completion = deployment.session.next()
            if isinstance(completion, dict):
                yield Notice(str(completion.get("reason", completion)))
                continue
            what, *rest = completion.tag
            if what == "train":
                yield from self._trained(completion, *rest)
            elif what == "aggregate":
                self._aggregated(completion, *rest)
            elif what == "finish":
                fresh = deployment.hold(self._value(completion, "the coordinator's aggregation", rest))
                deployment.drop(*(child[0] for _, child in self.arrived.pop(self.topology.root)))
                self._evaluate(fresh)
            else:
                scores = self._value(completion, "the evaluation", ())
            self._advance()
        tiers = [(d1 - d0, u1 - u0) for (d0, u0), (d1, u1) in zip(before, deployment.bytes_by_tier(), strict=True)]
        down, up = (sum(way) for way in zip(*tiers, strict=True))
        train_loss = fsum(loss * n for loss, n in self.losses) / sum(n for _, n in self.losses)
        seconds, failed = time.perf_counter() - began, len(self.reasons)
        return fresh, RoundFinished(self.number, *scores, seconds, down, up, tuple(tiers), failed, train_loss)

    def _train(self, shard: Key, places: Sequence[tuple[int, str]]) -> None:
        deployment, jobs = self.deployment, []
        for place, worker in places:
            edges = deployment.edges[self.topology.depth[worker] - 1]
            jobs.append((place, deployment.number[worker], deployment.address(), *edges))
        addresses = tuple(job[2] for job in jobs)
        self.submit(
            train, deployment.skeleton, self.version, shard, deployment.keep, deployment.seed, self.number, jobs,
            tag=("train", shard, places, addresses), outputs=addresses, retries=1,
        )  # fmt: skip

    def _trained(self, completion: Completion, shard: Key, places: Sequence, addresses: Sequence) -> Any:
        results = completion.value
        if completion.failure is not None:
            self.deployment.forget(*addresses)
            if completion.failure.kind == "engine":
                raise EngineError(str(completion.failure))
            if len(places) > 1:  # a device that takes its worker down must not take others along
                for place in places:
                    self._train(shard, [place])
                return
            results = [(None, 0, 0.0, 0.0, str(completion.failure))]
        for (_, worker), address, (key, samples, loss, seconds, reason) in zip(places, addresses, results, strict=True):
            if reason is None:
                self.losses.append((loss, samples))
                self._settle(worker, (self.deployment.hold(key), samples, False))
                yield DeviceFinished(self.number, worker, samples, loss, seconds, completion.worker)
            else:
                self.deployment.drop(address)
                self.reasons.append(f"{worker}: {reason}")
                self._settle(worker, None)
                yield DeviceFailed(self.number, worker, reason)

    def _settle(self, node: str, left: Child | None) -> None:
        """A node is done with the round and has `left` something for its parent, or nothing."""
        while (parent := self.topology.parent[node]) is not None:
            if left is not None:
                self.arrived.setdefault(parent, []).append((node, left))
            self.missing[parent] -= 1
            if self.missing[parent]:
                return
            if parent in self.arrived or parent == self.topology.root:
                self.ready.append(parent)
                return
            node = parent  # none of its children gave anything: neither does it

    def _advance(self) -> None:
        """Submit the aggregators that have all their children, several in a task; the coordinator's sum at the end."""
        deployment, (ready, self.ready) = self.deployment, (self.ready, [])
        given = (deployment.skeleton, self.version, deployment.samples)
        if ready == [self.topology.root]:
            if not self.losses:
                devices = len(self.topology.workers)
                raise RoundError(f"round {self.number}: none of {devices} devices gave an update; {self.reasons[0]}")
            address = deployment.address()
            children = self._children(self.topology.root)
            self.submit(finish, *given, children, address, tag=("finish", address), outputs=(address,), retries=RETRIES)
            return
        for start in range(0, len(ready), JOBS):
            jobs, nodes = [], ready[start : start + JOBS]
            for node in nodes:
                edges = deployment.edges[self.topology.depth[node] - 1]
                jobs.append((self._children(node), deployment.address(), *edges))
            addresses = tuple(job[1] for job in jobs)
            tag = ("aggregate", nodes, addresses)
            self.submit(aggregate, *given, jobs, tag=tag, outputs=addresses, retries=RETRIES)

    def _children(self, node: str) -> list[Child]:
        return [child for _, child in sorted(self.arrived[node], key=lambda entry: entry[0])]

    def _aggregated(self, completion: Completion, nodes: Sequence[str], addresses: Sequence) -> None:
        keys = self._value(completion, f"aggregator {', '.join(nodes)}", addresses)
        for node, key in zip(nodes, keys, strict=True):
            # only now may its children's updates go: until its sum was there, it could be run again
            children = [child for _, child in self.arrived.pop(node)]
            self.deployment.drop(*(child[0] for child in children))
            self._settle(node, (self.deployment.hold(key), sum(child[1] for child in children), True))

    def _evaluate(self, version: Key) -> None:
        deployment = self.deployment
        if deployment.test is not None:
            given = (deployment.skeleton, version, deployment.test, deployment.keep)
            self.submit(evaluate, *given, tag=("evaluate",), retries=RETRIES)

    def _value(self, completion: Completion, what: str, addresses: Sequence) -> Any:
        if completion.failure is not None:
            self.deployment.forget(*addresses)
            attempts = f"{completion.attempts} attempts" if completion.attempts > 1 else "one attempt"
            raise RoundError(f"round {self.number}: {what} failed after {attempts}: {completion.failure}")
        return completion.value

"""One synchronous round: devices train, aggregators sum as soon as their children are done, the coordinator divides."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from math import fsum
from typing import Any

from ..planes import Completion, EngineError, Key
from .aggregation import Child, aggregate, finish
from .deployment import Deployment
from .records import DeviceFailed, DeviceFinished, Notice, RoundFinished, RoundStarted
from .training import evaluate, train
from .wires import split

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
        self.strategy, self.wires, self.busy = deployment.strategy, deployment.wires, 0.0
        chosen = self.strategy.select(number, len(self.topology.workers), deployment.seed)
        self.chosen = {self.topology.workers[device] for device in chosen}
        self.missing = self._children()
        self.arrived: dict[str, list[Child]] = {}
        self.ready: list[str] = []
        self.losses: list[tuple[float, int]] = []
        self.reasons: list[str] = []

    def run(self) -> Generator[Any, None, tuple[Key, RoundFinished]]:
        """Yields what happens; returns the new version's key and the record that ends the round."""
        deployment, before = self.deployment, self.deployment.bytes_by_tier()
        began, moved = deployment.clock(), self.wires.moved.copy()
        yield RoundStarted(self.number, len(self.chosen))
        for key, workers in deployment.shards:
            mine = [(place, worker) for place, worker in enumerate(workers) if worker in self.chosen]
            if here := [(place, worker) for place, worker in mine if self._available(worker)]:
                self._train(key, here)
            for _, worker in mine if len(here) < len(mine) else ():
                if not self._available(worker):
                    yield self._failed(worker, "it was not available when it was asked")
                    self._settle(self.topology.parent[worker], None, 1)
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
            elif what == "aggregate":
                self._aggregated(completion, *rest)
            elif what == "finish":
                fresh, kept = self._value(completion, "the coordinator's aggregation", rest)
                deployment.hold(fresh)
                if kept is not None:
                    deployment.drop(*[deployment.server] * (deployment.server is not None))
                    deployment.server = deployment.hold(kept)
                deployment.drop(*(child[0] for child in self.arrived.pop(self.topology.root)))
                self._evaluate(fresh)
            else:
                scores = self._value(completion, "the evaluation", ())
            self._advance()
        tiers = [(d1 - d0, u1 - u0) for (d0, u0), (d1, u1) in zip(before, deployment.bytes_by_tier(), strict=True)]
        down, up = (sum(way) for way in zip(*tiers, strict=True))
        train_loss = fsum(loss * n for loss, n in self.losses) / sum(n for _, n in self.losses)
        seconds, failed = deployment.clock() - began, len(self.reasons)
        idle = 1 - self.busy / (seconds * len(self.losses)) if deployment.simulated and seconds else None
        return fresh, RoundFinished(
            self.number,
            *scores,
            seconds,
            down,
            up,
            tuple(tiers),
            failed,
            train_loss,
            self.wires.on_network(moved),
            idle,
        )

    def _children(self) -> dict[str, int]:
        """How many children of each node have a part in this round: chosen devices, and nodes above some."""
        topology, missing = self.topology, {}
        for node in reversed(topology.depth):
            if node in self.chosen or node in missing:
                parent = topology.parent[node]
                missing[parent] = missing.get(parent, 0) + 1
        return missing

    def _train(self, shard: Key, workers: Sequence[tuple[int, str]]) -> None:
        """Submit the training of workers, given with their places in the shard."""
        deployment, siblings = self.deployment, {}
        for place, worker in workers:
            siblings.setdefault(self.topology.parent[worker], []).append((place, worker))
        groups = []
        for parent, below in siblings.items():
            devices = [(place, deployment.number[worker]) for place, worker in below]
            groups.append((devices, deployment.address(), *deployment.edges[self.topology.depth[parent]]))
        addresses = tuple(group[1] for group in groups)
        self.submit(
            train, deployment.skeleton, self.version, shard, deployment.keep, deployment.seed, self.number, groups,
            tag=(self._train_s(workers), "train", shard, siblings, addresses), outputs=addresses, retries=1,
        )  # fmt: skip

    def _available(self, worker: str) -> bool:
        return self.deployment.available(worker, self.number)

    def _failed(self, worker: str, reason: str) -> DeviceFailed:
        self.reasons.append(f"{worker}: {reason}")
        return DeviceFailed(self.number, worker, reason)

    def _train_s(self, workers: Sequence[tuple[int, str]]) -> float:
        return max(self.deployment.device_s(worker, self.version.nbytes) for _, worker in workers)

    def _trained(self, completion: Completion, shard: Key, siblings: dict, addresses: Sequence) -> Any:
        results, began = completion.value, (completion.timing.started or 0.0) - self.deployment.began
        if completion.failure is not None:
            self.deployment.forget(*addresses)
            if completion.failure.kind == "engine":
                raise EngineError(str(completion.failure))
            workers = [worker for below in siblings.values() for worker in below]
            if len(workers) > 1:  # a device that takes its worker down must not take others along
                for worker in workers:
                    self._train(shard, [worker])
                return
            results = [(None, [(0, 0.0, 0.0, str(completion.failure))])]
        for (parent, below), address, (key, told) in zip(siblings.items(), addresses, results, strict=True):
            counts = tuple(samples for samples, _, _, reason in told if reason is None)
            self.deployment.drop(*[address] * (key is None))
            shares = split(0 if key is None else key.nbytes, len(counts))
            self._settle(parent, None if key is None else (self.deployment.hold(key), counts, False), len(below))
            for (_, worker), (samples, loss, seconds, reason) in zip(below, told, strict=True):
                if self.deployment.simulated:
                    seconds = completion.timing.seconds
                if reason is None:
                    self.losses.append((loss, samples))
                    self.busy += seconds
                    self.wires.count(worker, self.version.nbytes, shares.pop())
                    yield DeviceFinished(self.number, worker, samples, loss, seconds, completion.worker, began)
                else:
                    yield self._failed(worker, reason)
                began += seconds

    def _settle(self, parent: str | None, left: Child | None, children: int) -> None:
        """So many of a parent's children are done with the round and have `left` something for it, or nothing."""
        while parent is not None:
            if left is not None:
                self.arrived.setdefault(parent, []).append(left)
            self.missing[parent] -= children
            if self.missing[parent]:
                return
            if parent in self.arrived or parent == self.topology.root:
                self.ready.append(parent)
                return
            parent, children = self.topology.parent[parent], 1  # nothing came of its children: nothing comes of it

    def _advance(self) -> None:
        """Submit the aggregators that have all their children, several in a task; the coordinator's sum at the end."""
        deployment, (ready, self.ready) = self.deployment, (self.ready, [])
        given = (deployment.skeleton, self.version, deployment.samples)
        jobs_a_task = 1 if deployment.simulated else JOBS
        if ready == [self.topology.root]:
            if not self.losses:
                raise RoundError(
                    f"round {self.number}: none of {len(self.chosen)} devices gave an update; {self.reasons[0]}"
                )
            address = deployment.address()
            children = self.arrived[self.topology.root]
            outputs, state = (address,), deployment.server
            if self.strategy.replaces("server"):
                outputs = (address, deployment.address())
            more = (*given, children, address, state, *outputs[1:])
            self.submit(finish, *more, tag=(0.0, "finish", *outputs), outputs=outputs, retries=RETRIES)
            return
        for start in range(0, len(ready), jobs_a_task):
            jobs, nodes = [], ready[start : start + jobs_a_task]
            for node in nodes:
                edges = deployment.edges[self.topology.depth[node] - 1]
                jobs.append((self.arrived[node], deployment.address(), *edges))
            addresses = tuple(job[1] for job in jobs)
            tag = (self.deployment.up_s(nodes[0], self.version.nbytes), "aggregate", nodes, addresses)
            self.submit(aggregate, *given, jobs, deployment.means, tag=tag, outputs=addresses, retries=RETRIES)

    def _aggregated(self, completion: Completion, nodes: Sequence[str], addresses: Sequence) -> None:
        keys = self._value(completion, f"aggregator {', '.join(nodes)}", addresses)
        for node, key in zip(nodes, keys, strict=True):
            # only now may its children's updates go: until its sum was there, it could be run again
            children = self.arrived.pop(node)
            self.deployment.drop(*(child[0] for child in children))
            samples = sum(sum(child[1]) for child in children)
            self.wires.count(node, self.version.nbytes, key.nbytes)
            partial = not self.deployment.means
            self._settle(self.topology.parent[node], (self.deployment.hold(key), (samples,), partial), 1)

    def _evaluate(self, version: Key) -> None:
        deployment = self.deployment
        if deployment.test is not None:
            given = (deployment.skeleton, version, deployment.test, deployment.keep)
            self.submit(evaluate, *given, tag=(0.0, "evaluate"), retries=RETRIES)

    def _value(self, completion: Completion, what: str, addresses: Sequence) -> Any:
        if completion.failure is not None:
            self.deployment.forget(*addresses)
            attempts = f"{completion.attempts} attempts" if completion.attempts > 1 else "one attempt"
            raise RoundError(f"round {self.number}: {what} failed after {attempts}: {completion.failure}")
        return completion.value

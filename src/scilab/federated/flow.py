"""Federations in which some do not wait: every node acts by its tier's policy on what comes in, one event at a time.

Messages between the coordinator and the devices are events, too; in simulated time they take as long as the profiles
say. The coordinator alone makes versions. A child that has sent something to a node that does not wait is answered at
once with the newest version the node knows: a device trains on it, an aggregator passes it on by its own policy.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from math import fsum
from typing import Any

from ..planes import Completion, EngineError, Key
from .contributions import Contribution, Version, advance, collect, nothing
from .deployment import Deployment
from .policies import Asynchronous, Deadline, Policy
from .records import DeviceFailed, DeviceFinished, Notice, RoundFinished, RoundStarted
from .round import RETRIES, RoundError
from .training import evaluate, train

PATIENCE, ASKS = 3, 100
"""Where nobody waits, a child that has failed, or not answered, so many times in a row is asked no more."""


@dataclass(eq=False)
class Node:
    """The coordinator or an aggregator: what it knows, whom it has asked, what has come."""

    name: str
    policy: Policy
    version: Version | None = None
    asked: dict[str, int] = field(default_factory=dict)  # child → collection in which it was asked
    came: set[str] = field(default_factory=set)  # in this collection
    parts: list[Contribution] = field(default_factory=list)
    collection: int = 0
    collecting: bool = False
    past: bool = False  # the deadline of this collection
    failures: list[str] = field(default_factory=list)  # of this collection


@dataclass(eq=False)
class Flight:
    """A task or message on its way, with what it needs to be sent again."""

    what: str
    given: dict[str, Any]
    began: float
    due: float
    outputs: tuple = ()


class Flow:
    """Runs rounds until `total` are done; a coordinator that waits makes one version a round, another finishes a round
    with every as many updates as there are devices.
    """

    def __init__(self, deployment: Deployment, policies: Sequence[Policy], total: int, model: Key) -> None:
        self.deployment, self.topology, self.total = deployment, deployment.topology, total
        self.session, self.wires, self.strategy = deployment.session, deployment.wires, deployment.strategy
        self.simulated, depth = deployment.simulated, self.topology.depth
        self.nodes = {name: Node(name, policies[depth[name]]) for name in self.topology.children}
        self.root = self.nodes[self.topology.root]
        self.mixing = isinstance(self.root.policy, Asynchronous)
        self.place = {w: (shard, at) for shard, (_, ws) in enumerate(deployment.shards) for at, w in enumerate(ws)}
        self.counts: Counter[str] = Counter()  # how often each device was asked: its streams follow from it
        self.misses: Counter[str] = Counter()
        self.retired: set[str] = set()
        self.round, self.counted, self.replies = 0, 0, []
        self.flights: dict[int, Flight] = {}
        self.newest = self.held(Version(0, model))
        self.tested, self.scores, self.advancing = self.held(self.newest), None, False
        self.said: deque[Any] = deque()
        self.local: deque[Callable] = deque()
        self.timers: list[tuple[float, int, Flight]] = []
        self._order = itertools.count()
        self.begin_at(deployment.clock())

    # ---- the loop ------------------------------------------------------------------------------------------------

    def run(self) -> Generator[Any, None, None]:
        """Yields records. Just before a RoundFinished, `tested` is the round's version and `snapshot` is of use."""
        while self.round < self.total:
            self._begin_round()
            self._drain()
            yield from self._told()
            while self.scores is None:
                self._next()
                self._drain()
                yield from self._told()
            yield self._finish_round()

    def _begin_round(self) -> None:
        chosen = self.strategy.select(self.round + 1, len(self.topology.workers), self.deployment.seed)
        self.chosen = {self.topology.workers[device] for device in chosen}
        for worker in list(self.chosen) if len(self.chosen) < len(self.topology.workers) else ():
            while (worker := self.topology.parent[worker]) is not None and worker not in self.chosen:
                self.chosen.add(worker)
        if len(self.chosen) == len(self.topology.workers):
            self.chosen = set(self.topology.depth)
        self.said.append(RoundStarted(self.round + 1, len(chosen)))
        if self.root.policy.waits or self.root.version is None:
            self._receive(self.root.name, self.newest)
        else:
            self._advance()  # what has come while the last version of the round before was tested

    def _finish_round(self) -> RoundFinished:
        self.round += 1
        (accuracy, loss), now = self.scores, self.deployment.clock()
        seconds, tiers = now - self.since, self.wires.by_tier(self.moved)
        samples = sum(n for _, n in self.losses)
        share = sum(self._overlap(flight, now) for flight in self.flights.values() if flight.what == "train")
        span = seconds * len(self.topology.workers)
        record = RoundFinished(
            self.round, accuracy, loss, seconds, sum(d for d, _ in tiers), sum(u for _, u in tiers), tiers,
            self.failed, fsum(loss * n for loss, n in self.losses) / samples if samples else None,
            self.wires.on_network(self.moved), 1 - (self.busy + share) / span if self.simulated and span else None,
            tuple(sorted(self.ages.items())),
        )  # fmt: skip
        self.scores = None
        self.begin_at(now)
        return record

    def begin_at(self, now: float) -> None:
        """A round's sums begin anew."""
        self.since, self.moved, self.busy, self.failed = now, self.wires.moved.copy(), 0.0, 0
        self.losses: list[tuple[float, int]] = []
        self.ages: Counter[int] = Counter()

    def _overlap(self, flight: Flight, now: float) -> float:
        """Simulated seconds of this round that a device's training and messages take up."""
        return max(0.0, min(now, flight.due) - max(flight.began, self.since)) * len(flight.given["workers"])

    def _told(self) -> Generator[Any, None, None]:
        while self.said:
            yield self.said.popleft()

    def _drain(self) -> None:
        while self.local:
            self.local.popleft()()

    def _next(self) -> None:
        """Wait for the next event and act on it."""
        clock = self.deployment.clock
        if not (self.flights or self.timers):
            raise RoundError(f"round {self.round + 1}: nothing is on its way, and the round is not over")
        wait, began = (max(0.0, self.timers[0][0] - clock()) if self.timers else None), clock()
        completion = self.session.next(wait)
        if isinstance(completion, dict):
            self.said.append(Notice(str(completion.get("reason", completion))))
        elif completion is not None:
            flight = self.flights.pop(completion.task)
            getattr(self, f"_{flight.what}_done")(completion, flight, **flight.given)
        elif self.session.paused:  # no deadline passes while people pause
            self.timers = [(due + clock() - began, number, flight) for due, number, flight in self.timers]
        else:
            flight = heapq.heappop(self.timers)[2]
            self._deadline_done(None, flight, **flight.given)

    # ---- versions ------------------------------------------------------------------------------------------------

    def held(self, version: Version) -> Version:
        version.users += 1
        return version

    def let_go(self, version: Version | None) -> None:
        if version is not None:
            version.users -= 1
            if not version.users:
                self.deployment.drop(version.key)

    # ---- going down ----------------------------------------------------------------------------------------------

    def _receive(self, name: str, version: Version) -> None:
        """A version, perhaps the one it has, has come to a node."""
        node = self.nodes[name]
        first = node.version is None
        if first or version.number > node.version.number:
            old, node.version = node.version, self.held(version)
            self.let_go(old)
        if node.policy.waits:
            self._collect(node)
        elif first:
            self._ask(node, self.topology.children[name])

    def _collect(self, node: Node) -> None:
        node.collection, node.collecting, node.past = node.collection + 1, True, False
        node.came, node.failures = set(), []
        wanted = [c for c in self.topology.children[node.name] if c in self.chosen and c not in self.retired]
        if isinstance(node.policy, Deadline):
            self.start("deadline", node.policy.seconds, name=node.name, collection=node.collection)
        self._ask(node, [child for child in wanted if child not in node.asked])
        self._check(node)

    def _ask(self, node: Node, children: Sequence[str]) -> None:
        """Send a node's version to children of it that have nothing to do."""
        if self.round + 1 == self.total and self.counted >= self._quota() and not self.root.policy.waits:
            return  # the last round has all its updates
        together: dict[tuple, list[str]] = {}
        for child in children:
            node.asked[child] = node.collection
            if child in self.nodes:
                known = self.nodes[child].version
                newer = known is None or known.number < node.version.number
                if newer or self.nodes[child].policy.waits:
                    nbytes = node.version.key.nbytes if newer else 0
                    self.wires.count(child, down=nbytes)
                    seconds = self.wires.up_s(child, nbytes)  # links are as fast downwards
                    self.start("deliver", seconds, name=child, version=self.held(node.version))
                continue
            self.counts[child] += 1
            count, (shard, _) = self.counts[child], self.place[child]
            if not self.deployment.available(child, count):
                self.start("absent", self._device_s(child, node.version), parent=node.name, worker=child)
            elif node.policy.waits and not self.simulated:
                together.setdefault((shard, count), []).append(child)
            else:
                together[shard, count, child] = [child]
        for (shard, count, *_), workers in together.items():
            self._train(node.name, workers, shard, count, self.held(node.version))

    def _device_s(self, worker: str, version: Version) -> float:
        """Simulated seconds from the parent's sending a version to its having the update."""
        if not self.simulated:
            return 0.0
        samples = len(self.deployment.parts[self.deployment.number[worker]]) * self.strategy.local_epochs
        return 2 * self.wires.up_s(worker, version.key.nbytes) + self.wires.train_s(worker, samples)

    def _train(self, parent: str, workers: Sequence[str], shard: int, count: int, version: Version) -> None:
        seconds = max(self._device_s(worker, version) for worker in workers)
        self.start("train", seconds, parent=parent, workers=list(workers), shard=shard, count=count, version=version)

    # ---- what is on its way --------------------------------------------------------------------------------------

    def start(self, what: str, seconds: float = 0.0, began: float | None = None, **given: Any) -> None:
        """Send a task or a message on its way; `began` if it had been sent before."""
        now = self.deployment.clock()
        flight = Flight(what, given, now if began is None else began, now + seconds)
        function, args, more = getattr(self, f"_{what}_call")(flight, **given) if what in TASKS else (nothing, (), {})
        if function is nothing and not self.simulated:
            if seconds and what == "deadline":
                heapq.heappush(self.timers, (flight.due, next(self._order), flight))
            else:
                self.local.append(lambda: getattr(self, f"_{what}_done")(None, flight, **given))
            return
        self.flights[self.session.submit(function, *args, tag=(seconds,), outputs=flight.outputs, **more)] = flight

    def _train_call(
        self, flight: Flight, parent: str, workers: list[str], shard: int, count: int, version: Version
    ) -> tuple:  # fmt: skip
        deployment = self.deployment
        devices = [(self.place[worker][1], deployment.number[worker]) for worker in workers]
        flight.outputs = (deployment.address(),)
        groups = [(devices, *flight.outputs, *deployment.edges[self.topology.depth[parent]])]
        rows = deployment.shards[shard][0]
        args = (deployment.skeleton, version.key, rows, deployment.keep, deployment.seed, count, groups)
        return train, args, {"retries": 1}

    def _sum_call(self, flight: Flight, name: str, parts: Sequence[Contribution]) -> tuple:
        flight.outputs = (self.deployment.address(),)
        like = self.newest.key if self.deployment.means else None
        args = ([part.source(1.0) for part in parts], fsum(part.total for part in parts), like, *flight.outputs)
        return collect, args, {"retries": RETRIES, "ahead": True}

    def _advance_call(self, flight: Flight, steps: Sequence[tuple[float | None, list[Contribution]]]) -> tuple:
        deployment = self.deployment
        flight.outputs = (deployment.address(),)
        if self.strategy.replaces("server"):
            flight.outputs = (*flight.outputs, deployment.address())
        sums = [(mix, [p.source(1.0) for p in parts], fsum(p.total for p in parts)) for mix, parts in steps]
        address, *kept = flight.outputs
        args = (deployment.skeleton, self.newest.key, sums, address, deployment.server, *kept)
        return advance, args, {"retries": RETRIES, "ahead": True}

    def _evaluate_call(self, flight: Flight, version: Version) -> tuple:
        deployment = self.deployment
        return evaluate, (deployment.skeleton, version.key, deployment.test, deployment.keep), {"retries": RETRIES}

    # ---- what has come -------------------------------------------------------------------------------------------

    def _deliver_done(self, completion: Any, flight: Flight, name: str, version: Version) -> None:
        self._receive(name, version)
        self.let_go(version)

    def _absent_done(self, completion: Any, flight: Flight, parent: str, worker: str) -> None:
        self._gave_nothing(parent, worker, "it was not available when it was asked", ASKS)

    def _deadline_done(self, completion: Any, flight: Flight, name: str, collection: int) -> None:
        node = self.nodes[name]
        if node.collecting and node.collection == collection:
            node.past = True
            self._check(node)

    def _train_done(
        self, completion: Completion, flight: Flight, parent: str, workers: list[str], shard: int, count: int,
        version: Version,
    ) -> None:  # fmt: skip
        deployment, node, (address,) = self.deployment, self.nodes[parent], flight.outputs
        if completion.failure is not None:
            deployment.forget(address)
            if completion.failure.kind == "engine":
                raise EngineError(str(completion.failure))
            if len(workers) > 1:  # a device that takes its worker down must not take others along
                for worker in workers:
                    self._train(parent, [worker], shard, count, self.held(version))
            else:
                self._gave_nothing(parent, workers[0], str(completion.failure), PATIENCE)
            self.let_go(version)
            return
        ((key, told),) = completion.value
        deployment.drop(*[address] * (key is None))
        began = flight.began if self.simulated else (completion.timing.started or 0.0) - deployment.began
        came, age = [], self.newest.number - version.number
        if self.simulated:
            self.busy += self._overlap(flight, flight.due)
        for worker, (samples, loss, seconds, reason) in zip(workers, told, strict=True):
            if reason is not None:
                self._gave_nothing(parent, worker, reason, PATIENCE)
                continue
            seconds = flight.due - flight.began if self.simulated else seconds
            self.losses.append((loss, samples))
            self.ages[age] += 1
            self.misses[worker] = 0
            came.append((worker, samples))
            self.said.append(
                DeviceFinished(self.round + 1, worker, samples, loss, seconds, completion.worker, began, age)
            )
            began += seconds if not self.simulated else 0
        if came:
            nbytes = deployment.hold(key).nbytes
            for i, (worker, _) in enumerate(came):
                self.wires.count(worker, version.key.nbytes, (nbytes + i) // len(came))
            counts = tuple(float(samples) for _, samples in came)
            base = None if self.mixing else self.held(version)
            part = Contribution(key, counts, sum(counts), version.number, len(came), base)
            self._contribute(node, [worker for worker, _ in came], part)
        self.let_go(version)

    def _sum_done(self, completion: Completion, flight: Flight, name: str, parts: list[Contribution]) -> None:
        key = self.deployment.hold(self._value(completion, f"aggregator {name}", flight))
        total = fsum(part.total for part in parts)
        self.wires.count(name, up=key.nbytes)
        made_from, devices = min(part.made_from for part in parts), sum(part.devices for part in parts)
        self._spent(parts)
        self.misses[name] = 0
        part = Contribution(key, (total if self.deployment.means else 1.0,), total, made_from, devices)
        self._contribute(self.nodes[self.topology.parent[name]], [name], part)

    def _contribute(self, node: Node, children: Sequence[str], part: Contribution) -> None:
        """Something has come to a node from children of it."""
        policy, age = node.policy, node.version.number - part.made_from
        asked = min((node.asked.pop(child, node.collection) for child in children), default=node.collection)
        late = policy.waits and (not node.collecting or asked < node.collection)
        why = None
        if late and isinstance(policy, Deadline) and policy.late == "drop":
            why = "what it sent came after the deadline and was dropped"
        elif policy.max_staleness is not None and age > policy.max_staleness:
            why = f"what it sent was {age} versions old and was dropped; at most {policy.max_staleness} are allowed"
        if why is None:
            node.parts.append(part if node is self.root else self._weighed(node, part, age))
        else:
            self._spent([part])
            for child in children:
                self._report(child, why)
        if policy.waits:
            node.came.update(children if node.collecting and (why is None or not late) else ())
            self._check(node)
        elif node is self.root:
            self.replies += children
            self._advance()
        else:
            if len(node.parts) >= policy.size:
                self._pass_on(node)
            self._ask(node, children)

    def _weighed(self, node: Node, part: Contribution, age: int) -> Contribution:
        """As the node counts it in: from now on it is as old as the node's own version."""
        scale = node.policy.staleness(age)
        weights = tuple(scale * weight for weight in part.weights)
        total = part.total * scale if self.mixing else part.total
        return replace(part, weights=weights, total=total, made_from=max(part.made_from, node.version.number))

    def _gave_nothing(self, parent: str, child: str, reason: str, patience: int) -> None:
        """A child has failed or not answered."""
        node = self.nodes[parent]
        node.asked.pop(child, None)
        node.failures.append(f"{child}: {reason}")
        self._report(child, reason)
        if node.policy.waits:
            self._check(node)
            return
        self.misses[child] += 1
        if self.misses[child] < patience:
            self._ask(node, [child])
            return
        self.retired.add(child)
        self.said.append(Notice(f"{child} gave nothing {patience} times in a row and is asked no more: {reason}"))
        if all(sibling in self.retired for sibling in self.topology.children[parent]):
            self.retired.add(parent)
            if node is self.root:
                raise RoundError(f"round {self.round + 1}: nobody is left to train; the last failure was {reason}")
            self._gave_nothing(self.topology.parent[parent], parent, f"nobody below it is left: {reason}", 1)

    def _report(self, child: str, reason: str) -> None:
        if child in self.nodes:
            self.said.append(Notice(f"round {self.round + 1}, {child}: {reason}"))
        else:
            self.failed += 1
            self.said.append(DeviceFailed(self.round + 1, child, reason))

    # ---- passing on ----------------------------------------------------------------------------------------------

    def _check(self, node: Node) -> None:
        """Close the collection of a node that waits, if it may."""
        if not node.collecting:
            return
        wanted = len(node.came) + len(node.asked) + len(node.failures)
        if isinstance(node.policy, Deadline):
            need = min(node.policy.need(wanted), wanted)
            if len(node.came) + len(node.asked) < need:
                node.collecting = False
                what = f"a quorum of {node.policy.quorum} cannot be met: {len(node.came)} of {wanted} answered, {need} "
                what += f"are needed; {node.failures[0]}"
                if node is self.root:
                    raise RoundError(f"round {self.round + 1}: at {node.name}, {what}")
                self._spent(node.parts)
                node.parts = []
                self._went_out(node, what)
                return
            if node.asked and not (node.past and len(node.came) >= need):
                return
        elif node.asked:
            return
        node.collecting = False
        if node.parts and node is self.root:
            self._advance()
        elif node.parts:
            self._pass_on(node)
        elif node is self.root:
            raise RoundError(f"round {self.round + 1}: no device gave an update; {(node.failures or ['none came'])[0]}")
        else:
            reason = (node.failures or ["nothing came from below"])[0]
            self._went_out(node, reason)

    def _went_out(self, node: Node, reason: str) -> None:
        """Nothing comes of an aggregator's collection."""
        self.local.append(lambda: self._gave_nothing(self.topology.parent[node.name], node.name, reason, PATIENCE))

    def _pass_on(self, node: Node) -> None:
        parts, node.parts = node.parts, []
        seconds = self.deployment.up_s(node.name, self.newest.key.nbytes)
        self.start("sum", seconds, name=node.name, parts=parts)

    def _quota(self) -> int:
        """How many updates are in when this round is over, where the coordinator does not wait."""
        return (self.round + 1) * len(self.topology.workers)

    def _advance(self) -> None:
        """Make the coordinator's next version from what has come, if it is time."""
        root, policy = self.root, self.root.policy
        if self.advancing:
            return
        steps: list[tuple[float | None, list[Contribution]]] = []
        size, counted = len(root.parts) if policy.waits else policy.size, self.counted
        while len(root.parts) >= max(1, size) and (policy.waits or counted < self._quota()):
            parts, root.parts = root.parts[:size], root.parts[size:]
            counted += sum(part.devices for part in parts)
            ages = [self.newest.number + len(steps) - part.made_from for part in parts]
            mix = policy.mix * policy.staleness(ages[0]) if self.mixing else None
            scales = [1.0 if self.mixing else policy.staleness(age) for age in ages]
            weighed = [replace(p, weights=tuple(s * w for w in p.weights)) for p, s in zip(parts, scales, strict=True)]
            steps.append((mix, weighed))
        if steps:
            self.counted, self.advancing = counted, True
            self.start("advance", steps=steps)
        else:
            self._answer()

    def _answer(self) -> None:
        """Those that wait for the coordinator's answer have it."""
        replies, self.replies = self.replies, []
        self._ask(self.root, replies)

    def _advance_done(self, completion: Completion, flight: Flight, steps: list) -> None:
        deployment = self.deployment
        fresh, kept = self._value(completion, "the coordinator's aggregation", flight)
        if kept is not None:
            deployment.drop(*[deployment.server] * (deployment.server is not None))
            deployment.server = deployment.hold(kept)
        for _, parts in steps:
            self._spent(parts)
        old, self.newest = self.newest, self.held(Version(self.newest.number + len(steps), deployment.hold(fresh)))
        self.let_go(old)
        old, self.root.version = self.root.version, self.held(self.newest)
        self.let_go(old)
        self.advancing = False
        if self.root.policy.waits or self.counted >= self._quota():
            old, self.tested = self.tested, self.held(self.newest)
            self.let_go(old)
            if deployment.test is None:
                self.scores = (None, None)
            else:
                self.start("evaluate", version=self.held(self.tested))
        if not self.root.policy.waits:
            self._answer()
            self._advance()

    def _evaluate_done(self, completion: Completion, flight: Flight, version: Version) -> None:
        self.scores = self._value(completion, "the evaluation", flight)
        self.let_go(version)

    def _value(self, completion: Completion, what: str, flight: Flight) -> Any:
        if completion.failure is not None:
            self.deployment.forget(*flight.outputs)
            attempts = f"{completion.attempts} attempts" if completion.attempts > 1 else "one attempt"
            raise RoundError(f"round {self.round + 1}: {what} failed after {attempts}: {completion.failure}")
        return completion.value

    def _spent(self, parts: Sequence[Contribution]) -> None:
        """These contributions have been counted in, or dropped."""
        for part in parts:
            self.deployment.drop(part.key)
            self.let_go(part.base)


TASKS = ("train", "sum", "advance", "evaluate")

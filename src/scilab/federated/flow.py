"""Federations in which some do not wait: every node acts by its tier's policy on what comes in, one event at a time.

Messages between the coordinator and the devices are events, too; in simulated time they take as long as the profiles
say. The coordinator alone makes versions. A child that has sent something to a node that does not wait is answered at
once with the newest version the node knows: a device trains on it, an aggregator passes it on by its own policy.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator, Sequence
from math import fsum
from typing import Any

from ..planes import Completion, EngineError, Key
from .checks import selected
from .contributions import Contribution
from .deployment import Deployment
from .node import Node
from .policies import Asynchronous, Deadline, Policy
from .progress import Progress
from .records import AggregatorFailed, DeviceFailed, DeviceFinished, Notice, RoundStarted
from .round import RoundError, attempts
from .traffic import Flight, Traffic
from .versions import Version, Versions

PATIENCE, ASKS = 3, 100
"""Where nobody waits, a child that has failed, or not answered, so many times in a row is asked no more."""


class Flow:
    """Runs rounds until `total` are done; a coordinator that waits makes one version a round, another finishes a round
    with every as many updates as there are devices. `model` is what `done` rounds have made.
    """

    def __init__(
        self, deployment: Deployment, policies: Sequence[Policy], total: int, model: Key, done: int = 0
    ) -> None:
        self.deployment, self.topology, self.total = deployment, deployment.topology, total
        self.traffic, self.progress = Traffic(deployment), Progress(deployment)
        self.wires, self.strategy, self.simulated = deployment.wires, deployment.strategy, deployment.simulated
        depth = self.topology.depth
        self.nodes = {name: Node(name, policies[depth[name]]) for name in self.topology.children}
        self.root = self.nodes[self.topology.root]
        self.waits, self.mixing = self.root.policy.waits, isinstance(self.root.policy, Asynchronous)
        self.round, self.counted = done, done * len(self.topology.workers)  # rounds finished; updates in `newest`
        # how often each device was asked: its streams follow from it
        self.counts: Counter[str] = Counter(dict.fromkeys(self.topology.workers, done))
        self.misses: Counter[str] = Counter()  # in a row
        self.retired: set[str] = set()
        self.replies: list[str] = []  # those to be answered once the coordinator has made its next version
        self.advancing = 0  # how many versions are being made
        self.versions = Versions(deployment, model, done)
        self.testing, self.scores = False, None
        self.said: deque[Any] = deque()
        self._choice: tuple[int, set[str]] = (-1, set())

    def run(self) -> Generator[Any, None, None]:
        """Yields records. Just before a RoundFinished, `versions.tested` is the round's."""
        while self.round < self.total:
            self._begin_round()
            while self.scores is None:
                while self.said:
                    yield self.said.popleft()
                self._next()
            yield from self.said
            self.said.clear()
            self.round += 1
            record = self.progress.finished(self.round, self.scores, self.traffic.under_way())
            self.testing, self.scores = False, None
            yield record

    def _begin_round(self) -> None:
        self.progress.asked = len(selected(self.strategy, self.round + 1, self.deployment))
        self.said.append(RoundStarted(self.round + 1, self.progress.asked))
        if self.waits or self.root.version is None:
            self._receive(self.root, self.versions.newest)
        else:
            self._test_if_due()
            self._advance()

    def _next(self) -> None:
        """Wait for the next event and act on it."""
        flight, completion = self.traffic.next()
        if flight is not None:
            getattr(self, f"_{flight.what}_done")(completion, flight, **flight.given)
        elif completion is not None:
            self.said.append(Notice(str(completion.get("reason", completion))))

    # ---- down the tree ---------------------------------------------------------------------------------------------

    def _receive(self, node: Node, version: Version) -> None:
        """A version, perhaps the one it has, has come to a node."""
        known = node.version
        if known is None or version.number > known.number:
            node.version = self.versions.instead(known, version)
        if node.policy.waits:
            self._collect(node)
        elif known is None:
            self._ask(node, self.topology.children[node.name])

    def _collect(self, node: Node) -> None:
        node.collect()
        chosen = self._chosen(node.version.number)
        children = self.topology.children[node.name]
        wanted = [child for child in children if child in chosen and child not in self.retired]
        if isinstance(node.policy, Deadline):
            self.traffic.start("deadline", node.policy.seconds, name=node.name, collection=node.collection)
        self._ask(node, [child for child in wanted if child not in node.asked])
        self._check(node)

    def _chosen(self, version: int) -> set[str]:
        """The devices that take part in what is made of a version, and all above them."""
        if version != self._choice[0]:
            topology, devices = self.topology, selected(self.strategy, version + 1, self.deployment)
            found = set(topology.depth) if len(devices) == len(topology.workers) else set()
            for node in () if found else [topology.workers[device] for device in devices]:
                while node is not None and node not in found:
                    found.add(node)
                    node = topology.parent[node]
            self._choice = version, found
        return self._choice[1]

    def _ask(self, node: Node, children: Sequence[str]) -> None:
        """Send a node's version to children of it that have nothing to do."""
        together: dict[Any, list[str]] = {}
        for child in children:
            node.asked[child] = node.collection
            if child in self.nodes:
                self._send_down(node, self.nodes[child])
                continue
            self.counts[child] += 1
            if not self.deployment.available(child, self.counts[child]):
                self.traffic.start("absent", self._device_s(child, node.version), parent=node.name, worker=child)
                continue
            alone = self.simulated or not node.policy.waits
            group = child if alone else (self.traffic.place[child][0], self.counts[child])
            together.setdefault(group, []).append(child)
        for workers in together.values():
            self._train(node, workers, self.counts[workers[0]], node.version)

    def _send_down(self, node: Node, child: Node) -> None:
        newer = child.version is None or child.version.number < node.version.number
        if newer or child.policy.waits:
            nbytes = node.version.key.nbytes if newer else 0
            self.wires.count(child.name, down=nbytes)
            seconds = self.wires.up_s(child.name, nbytes)  # links are as fast downwards
            self.traffic.start("deliver", seconds, name=child.name, version=self.versions.hold(node.version))

    def _deliver_done(self, completion: Any, flight: Flight, name: str, version: Version) -> None:
        self._receive(self.nodes[name], version)
        self.versions.let_go(version)

    # ---- devices ---------------------------------------------------------------------------------------------------

    def _train(self, node: Node, workers: Sequence[str], count: int, version: Version) -> None:
        seconds = max(self._device_s(worker, version) for worker in workers)
        given = {"parent": node.name, "workers": list(workers), "count": count, "version": self.versions.hold(version)}
        self.traffic.start("train", seconds, **given)

    def _device_s(self, worker: str, version: Version) -> float:
        """Simulated seconds from the parent's sending a version to its having the update."""
        if not self.simulated:
            return 0.0
        samples = len(self.deployment.parts[self.deployment.number[worker]]) * self.strategy.local_epochs
        return 2 * self.wires.up_s(worker, version.key.nbytes) + self.wires.train_s(worker, samples)

    def _absent_done(self, completion: Any, flight: Flight, parent: str, worker: str) -> None:
        self._gave_nothing(self.nodes[parent], worker, "it was not available when it was asked", ASKS)

    def _train_done(
        self, completion: Completion, flight: Flight, parent: str, workers: list[str], count: int, version: Version
    ) -> None:
        deployment, node, (address,) = self.deployment, self.nodes[parent], flight.outputs
        if completion.failure is None:
            ((key, told),) = completion.value
            deployment.drop(*[address] * (key is None))
            self._trained(completion, flight, node, key, list(zip(workers, told, strict=True)), version)
        else:
            self._failed(completion, flight)
            if len(workers) == 1:
                self._gave_nothing(node, workers[0], str(completion.failure), PATIENCE)
            for worker in workers if len(workers) > 1 else ():  # one that takes its worker down must not take others
                self._train(node, [worker], count, version)
        self.versions.let_go(version)

    def _trained(
        self, completion: Completion, flight: Flight, node: Node, key: Key | None, told: list, version: Version
    ) -> None:
        began = flight.began if self.simulated else (completion.timing.started or 0.0) - self.deployment.began
        came, age = [], self._coming() - version.number
        for worker, (samples, loss, seconds, reason) in told:
            if reason is None:
                took = flight.due - flight.began if self.simulated else seconds
                self.progress.trained(flight, loss, samples, age)
                self.misses[worker] = 0
                came.append((worker, samples))
                fields = (self.round + 1, worker, samples, loss, took, completion.worker, began, age)
                self.said.append(DeviceFinished(*fields))
            else:
                self._gave_nothing(node, worker, reason, PATIENCE)
            began += 0.0 if self.simulated else seconds
        if came:
            nbytes = self.deployment.hold(key).nbytes
            for i, (worker, _) in enumerate(came):
                self.wires.count(worker, version.key.nbytes, (nbytes + i) // len(came))
            counts = tuple(float(samples) for _, samples in came)
            base = None if self.mixing else self.versions.hold(version)
            part = Contribution(key, counts, sum(counts), version.number, len(came), base)
            self._contribute(node, [worker for worker, _ in came], [part])

    # ---- up the tree -----------------------------------------------------------------------------------------------

    def _contribute(self, node: Node, children: Sequence[str], parts: Sequence[Contribution]) -> None:
        """Something has come to a node from children of it."""
        policy, version = node.policy, self._coming() if node is self.root else node.version.number
        late = node.late(children)
        limit = version if policy.max_staleness is None else policy.max_staleness
        if late and isinstance(policy, Deadline) and policy.late == "drop":
            self._dropped(parts, children, "what it sent came after the deadline and was dropped")
            if node.collecting:  # it was busy when the others were asked
                chosen = self._chosen(node.version.number)
                self._ask(node, [child for child in children if child in chosen])
        elif (age := max(version - part.made_from for part in parts)) > limit:
            self._dropped(parts, children, f"what it sent was {age} versions old, more than {limit}, and was dropped")
        else:
            # the coordinator weighs what has come when it makes its next version
            node.parts += parts if node is self.root else [p.weighed(policy, version, self.mixing) for p in parts]
            if node.collecting:
                node.came.update(children)
        if policy.waits:
            self._check(node)
        elif node is self.root:
            self.replies += children
            self._advance()
        else:
            if len(node.parts) >= policy.size:
                self._pass_on(node)
            self._ask(node, children)

    def _dropped(self, parts: Sequence[Contribution], children: Sequence[str], why: str) -> None:
        self._spent(parts)
        for child in children:
            self._report(child, why)

    def _spent(self, parts: Sequence[Contribution]) -> None:
        """These contributions have been counted in, or dropped."""
        for part in parts:
            self.deployment.drop(part.key)
            self.versions.let_go(part.base)

    def _gave_nothing(self, node: Node, child: str, reason: str, patience: int) -> None:
        """A node's child has failed or not answered."""
        node.asked.pop(child, None)
        self._report(child, reason)
        if node.policy.waits:
            node.failures.append(f"{child}: {reason}")
            node.absent += patience == ASKS
            self._check(node)
            return
        self.misses[child] += 1
        if self.misses[child] < patience:
            self._ask(node, [child])
            return
        self.retired.add(child)
        self.said.append(Notice(f"{child} gave nothing {patience} times in a row and is asked no more: {reason}"))
        if self.retired.issuperset(self.topology.children[node.name]):
            self.retired.add(node.name)
            self._gives_up(node, f"nobody below it is left: {reason}")

    def _gives_up(self, node: Node, reason: str) -> None:
        """Nothing comes of a node, this time at least."""
        if node is self.root:
            raise RoundError(f"round {self.round + 1}: at {node.name}, {reason}")
        patience = PATIENCE if len(node.failures) > node.absent else ASKS
        patience = 1 if node.name in self.retired else patience
        self._gave_nothing(self.nodes[self.topology.parent[node.name]], node.name, reason, patience)

    def _report(self, child: str, reason: str) -> None:
        if child in self.nodes:
            self.said.append(Notice(f"round {self.round + 1}, {child}: {reason}"))
        else:
            self.progress.failed += 1
            self.said.append(DeviceFailed(self.round + 1, child, reason))

    def _deadline_done(self, completion: Any, flight: Flight, name: str, collection: int) -> None:
        node = self.nodes[name]
        if node.collecting and node.collection == collection:
            node.past = True
            self._check(node)

    def _check(self, node: Node) -> None:
        """End the collection of a node that waits, if it may; there is one end to each."""
        if not node.over():
            return
        if (why := node.shortfall()) is not None:
            self._spent(node.parts)
            node.parts = []
            self._gives_up(node, why)
        elif node is self.root:
            self._advance()
        else:
            self._pass_on(node)

    def _pass_on(self, node: Node) -> None:
        parts, node.parts = node.parts, []
        seconds = self.deployment.up_s(node.name, self.versions.newest.key.nbytes)
        self.traffic.start("sum", seconds, name=node.name, parts=parts, like=self.versions.hold(self.versions.newest))

    def _sum_done(
        self, completion: Completion, flight: Flight, name: str, parts: list[Contribution], like: Version
    ) -> None:
        parent = self.nodes[self.topology.parent[name]]
        self.versions.let_go(like)
        if completion.failure is not None:  # its children's updates go to its parent as they are
            self._failed(completion, flight)
            reason = f"{attempts(completion)}: {completion.failure}"
            self.said.append(AggregatorFailed(self.round + 1, name, parent.name, reason))
            self._contribute(parent, [name], parts)
            return
        key = self.deployment.hold(completion.value)
        self.wires.count(name, up=key.nbytes)
        total = fsum(part.total for part in parts)
        made_from, devices = min(part.made_from for part in parts), sum(part.devices for part in parts)
        self._spent(parts)
        self.misses[name] = 0
        part = Contribution(key, (total if self.deployment.means else 1.0,), total, made_from, devices)
        self._contribute(parent, [name], [part])

    # ---- the coordinator's versions --------------------------------------------------------------------------------

    def _quota(self) -> int:
        """How many updates are in when this round is over, where the coordinator does not wait."""
        return (self.round + 1) * len(self.topology.workers)

    def _coming(self) -> int:
        """The number of the version that comes next, less one, seen from the end of what waits at the coordinator."""
        waiting = 0 if self.waits else len(self.root.parts) // self.root.policy.size
        return self.versions.newest.number + self.advancing + waiting

    def _advance(self) -> None:
        """Make the coordinator's next version from what has come, if it is time; or several, one after another."""
        if self.advancing:
            return
        root, policy = self.root, self.root.policy
        steps: list[tuple[float | None, list[Contribution]]] = []
        size = len(root.parts) if self.waits else policy.size
        # while a round's version is tested, those of the next round, but not of the one after it, may come
        counted, limit = self.counted, self._quota() + len(self.topology.workers) * self.testing
        while len(root.parts) >= max(1, size) and (self.waits or counted < limit):
            parts, root.parts = root.parts[:size], root.parts[size:]
            counted += sum(part.devices for part in parts)
            ages = [self.versions.newest.number + len(steps) - part.made_from for part in parts]
            if self.mixing:
                steps.append((policy.mix * policy.staleness(ages[0]), parts))
            else:
                steps.append((None, [p.scaled(policy.staleness(age)) for p, age in zip(parts, ages, strict=True)]))
        if steps:
            self.counted, self.advancing = counted, len(steps)
            self.traffic.start("advance", steps=steps, version=self.versions.hold(self.versions.newest))
        else:
            self._answer()

    def _answer(self) -> None:
        """Those that wait for the coordinator's answer have it."""
        replies, self.replies = self.replies, []
        self._ask(self.root, replies)

    def _advance_done(self, completion: Completion, flight: Flight, steps: list, version: Version) -> None:
        deployment = self.deployment
        fresh, kept = self._value(completion, "the coordinator's aggregation", flight)
        if kept is not None:
            deployment.drop(*[deployment.server] * (deployment.server is not None))
            deployment.server = deployment.hold(kept)
        for _, parts in steps:
            self._spent(parts)
        self.versions.let_go(version)
        fresh = self.versions.made(version.number + len(steps), deployment.hold(fresh))
        self.root.version = self.versions.instead(self.root.version, fresh)
        self.advancing = 0
        self._test_if_due()
        if not self.waits:
            self._answer()
            self._advance()

    def _test_if_due(self) -> None:
        """The version that ends a round is tested."""
        if self.testing or not (self.waits or self.counted >= self._quota()):
            return
        self.testing, self.versions.tested = True, self.versions.instead(self.versions.tested, self.versions.newest)
        if self.deployment.test is None:
            self.scores = (None, None)
        else:
            self.traffic.start("evaluate", version=self.versions.hold(self.versions.tested))

    def _evaluate_done(self, completion: Completion, flight: Flight, version: Version) -> None:
        self.scores = self._value(completion, "the evaluation", flight)
        self.versions.let_go(version)

    def _value(self, completion: Completion, what: str, flight: Flight) -> Any:
        if completion.failure is not None:
            self._failed(completion, flight)
            raise RoundError(
                f"round {self.round + 1}: {what} failed after {attempts(completion)}: {completion.failure}"
            )
        return completion.value

    def _failed(self, completion: Completion, flight: Flight) -> None:
        """A task has failed for good: nothing lies where it was to put its result."""
        self.deployment.forget(*flight.outputs)
        if completion.failure.kind == "engine":
            raise EngineError(str(completion.failure))

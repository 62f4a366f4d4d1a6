"""A tree that a person draws: every act gives a new draft, or a sentence that names the node it cannot be done to."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from scilab.federated import Profile, Topology

LETTER = {"aggregator": "a", "worker": "w"}
MOST = 100_000  # nodes of a drawn tree


@dataclass(frozen=True)
class Draft:
    """Nodes (id, parent's id or None, kind) which need not make a whole topology yet, and profiles by id.

    The coordinator is there and stays; no node hangs below a worker or below itself. What may be missing are workers.
    """

    nodes: tuple[tuple[str, str | None, str], ...]
    profiles: Mapping[str, Profile] = field(default_factory=dict)

    @classmethod
    def of(cls, topology: Topology) -> Draft:
        """The draft of a whole tree."""
        return cls(topology.nodes, dict(topology.profiles))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Draft:
        """From what `Topology.to_dict` gives. ValueError if that is no tree."""
        return cls.of(Topology.from_dict(values))

    @cached_property
    def topology(self) -> Topology:
        """The tree. Raises ValueError, with the node named, while it is not whole."""
        return Topology(self.nodes, self.profiles)

    @cached_property
    def kinds(self) -> dict[str, str]:
        return {node: kind for node, _, kind in self.nodes}

    @cached_property
    def parents(self) -> dict[str, str | None]:
        return {node: parent for node, parent, _ in self.nodes}

    @cached_property
    def children(self) -> dict[str | None, list[str]]:
        found: dict[str | None, list[str]] = {}
        for node, parent, _ in self.nodes:
            found.setdefault(parent, []).append(node)
        return found

    def below(self, nodes: Iterable[str]) -> set[str]:
        """These nodes and all that hangs below them."""
        found, waiting = set(), list(nodes)
        while waiting:
            found.add(node := waiting.pop())
            waiting += self.children.get(node, ())
        return found

    def add(self, near: str, kind: str, count: int = 1) -> Draft:
        """So many new nodes below ``near``, or beside it where it is a worker."""
        self._known([near])
        if len(self.nodes) + count > MOST:
            raise ValueError(f"A drawn tree has {MOST:,} nodes at most; {count:,} more would make it larger.")
        parent = self.parents[near] if self.kinds[near] == "worker" else near
        letter, taken = LETTER[kind], self.kinds
        numbers = [int(node[1:]) for node in taken if node[:1] == letter and node[1:].isdecimal()]
        first = max(numbers, default=-1) + 1
        return replace(self, nodes=(*self.nodes, *((f"{letter}{first + i}", parent, kind) for i in range(count))))

    def remove(self, nodes: Collection[str]) -> Draft:
        """Without these nodes and what hangs below them."""
        self._known(nodes)
        self._not_the_coordinator(nodes, "removed")
        gone = self.below(nodes)
        return Draft(tuple(node for node in self.nodes if node[0] not in gone),
                     {node: profile for node, profile in self.profiles.items() if node not in gone})

    def move(self, nodes: Collection[str], parent: str) -> Draft:
        """These nodes, with what hangs below them, below another parent."""
        self._known([*nodes, parent])
        self._not_the_coordinator(nodes, "moved")
        if self.kinds[parent] == "worker":
            raise ValueError(f"Nothing can hang below {parent!r}: it is a device, and devices are leaves.")
        for node in nodes:
            if parent in self.below([node]):
                below = "itself" if node == parent else f"{parent!r}, which is below it"
                raise ValueError(f"{node!r} cannot hang below {below}: that would be a cycle.")
        moved = set(nodes)
        return replace(self, nodes=tuple((n, parent if n in moved else p, kind) for n, p, kind in self.nodes))

    def rename(self, node: str, name: str) -> Draft:
        """The same tree with another id for this node."""
        self._known([node])
        name = name.strip()
        if not name:
            raise ValueError(f"{node!r} needs a name that is not empty.")
        if name != node and name in self.kinds:
            raise ValueError(f"There is a node {name!r} already; names must differ from each other.")
        new = {node: name}
        return Draft(tuple((new.get(n, n), new.get(p, p), kind) for n, p, kind in self.nodes),
                     {new.get(n, n): profile for n, profile in self.profiles.items()})

    def profiled(self, nodes: Collection[str], **changes: Any) -> Draft:
        """The same tree; these nodes' profiles with these values."""
        self._known(nodes)
        changed = {node: replace(self.profiles.get(node, Profile()), **changes) for node in nodes}
        return replace(self, profiles={**self.profiles, **changed})

    def _known(self, nodes: Iterable[str]) -> None:
        for node in nodes:
            if node not in self.kinds:
                raise ValueError(f"There is no node {node!r} in the tree.")

    def _not_the_coordinator(self, nodes: Iterable[str], what: str) -> None:
        for node in nodes:
            if self.kinds[node] == "coordinator":
                raise ValueError(f"{node!r} is the coordinator; it cannot be {what}.")


def read_tree(text: str) -> Topology:
    """The tree that a YAML text holds. ValueError with a sentence for the person where it holds none."""
    import yaml

    try:
        return Topology.from_yaml(text + "\n")
    except yaml.YAMLError as error:
        raise ValueError(f"This is not YAML: {' '.join(str(error).split())}") from None
    except (AttributeError, TypeError) as error:  # YAML of some other form
        raise ValueError(f"This YAML holds no tree, such as “a: {{children: [b]}}” and “b: {{}}”: {error}") from None


def ragged(workers: int) -> Topology:
    """A tree whose devices lie at different depths: some right below the coordinator, the others below aggregators of
    growing size, every third of which hangs below another.
    """
    if workers < 4:
        return Topology.flat(workers)
    count = max(1, min(workers - 1, round(math.sqrt(workers) / 2)))
    above = [f"a{i - 1}" if i % 3 == 2 else "coordinator" for i in range(count)]
    inner = [(f"a{i}", parent, "aggregator") for i, parent in enumerate(above)]
    places = [(i, f"a{i}") for i in range(count)]  # one each, then shares of 1 to count + 1
    ends = [(i + 1) * (i + 2) / (count + 1) / (count + 2) for i in range(count + 1)]
    for worker in range(count, workers):
        share = next(i for i, end in enumerate(ends) if (worker - count + 0.5) / (workers - count) <= end)
        places.append((worker, "coordinator" if share == 0 else f"a{share - 1}"))
    leaves = [(f"w{worker}", parent, "worker") for worker, parent in places]
    return Topology((("coordinator", None, "coordinator"), *inner, *leaves))

"""The tree a federation runs on: one coordinator, aggregators below it, workers (the devices) as its leaves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .profile import Profile

KINDS = ("coordinator", "aggregator", "worker")
_DEFAULT = Profile()


@dataclass(frozen=True)
class Numbered(Sequence):
    """The ids of a tree that was made by numbers, none of them stored: coordinator, a0, a1, …, w0, w1, …"""

    aggregators: int
    workers: int

    def __len__(self) -> int:
        return 1 + self.aggregators + self.workers

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(index)
        if index == 0:
            return "coordinator"
        return f"a{index - 1}" if index <= self.aggregators else f"w{index - 1 - self.aggregators}"

    def index(self, node: str) -> int:
        """Where a node stands; KeyError if there is none of that id."""
        kind, digits = node[:1], node[1:]
        if kind in ("a", "w") and digits.isdecimal():
            index = int(digits) + (1 if kind == "a" else 1 + self.aggregators)
            if index < len(self) and self[index] == node:
                return index
        elif node == "coordinator":
            return 0
        raise KeyError(node)


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Topology:
    """An immutable tree: `Topology(nodes)` from (id, parent's id or None, kind), in any order.

    Workers are numbered in the order in which they are named here, wherever they hang: a device keeps its data and
    its random streams when it is moved to another parent. `profiles` says by id what a node and its link to the parent
    can do (given as a mapping, kept as sorted pairs); nodes without one have `Profile()`.

    Inside there are arrays over the nodes in that order, so that a million of them stay small: `ids`, `above` (the
    parent's place, -1 for the coordinator) and `kinds` (places in `KINDS`). `nodes`, `parent`, `children`, `depth` and
    `workers` say the same by id, and are made when they are first asked for.
    """

    ids: Sequence[str]
    above: np.ndarray
    kinds: np.ndarray
    profiles: tuple[tuple[str, Profile], ...]

    def __init__(
        self,
        nodes: Iterable[tuple[str, str | None, str]],
        profiles: Mapping[str, Profile] | tuple[tuple[str, Profile], ...] = (),
    ) -> None:
        nodes = tuple((node, parent, kind) for node, parent, kind in nodes)
        known: dict[str, int] = {}
        for node, _, kind in nodes:
            if not isinstance(node, str) or not node:
                raise ValueError(f"a node's id must be a text that is not empty, got {node!r}")
            if kind not in KINDS:
                raise ValueError(f"node {node!r} is a {kind!r}; kinds are {', '.join(KINDS)}")
            if node in known:
                raise ValueError(f"node {node!r} is there twice; ids must differ from each other")
            known[node] = len(known)
        roots = [node for node, _, kind in nodes if kind == "coordinator"]
        if len(roots) != 1:
            raise ValueError(f"there must be one coordinator, got {len(roots)}: {roots}")
        for node, parent, kind in nodes:
            if (parent is None) != (kind == "coordinator"):
                raise ValueError(f"{kind} {node!r} has parent {parent!r}; the coordinator alone has none")
            if parent is not None and parent not in known:
                raise ValueError(f"{kind} {node!r} hangs below {parent!r}, which is not there")
        above = np.array([-1 if parent is None else known[parent] for _, parent, _ in nodes], dtype=np.int32)
        kinds = np.array([KINDS.index(kind) for _, _, kind in nodes], dtype=np.int8)
        self._set(tuple(known), above, kinds, ())
        object.__setattr__(self, "_places", known)
        for place, (node, _, kind) in enumerate(nodes):
            below = self.below(place)
            if kind == "worker" and len(below):
                raise ValueError(f"worker {node!r} has {self.ids[below[0]]!r} below it; workers are leaves")
            if kind != "worker" and not len(below):
                raise ValueError(f"{kind} {node!r} has no worker below it; give it one or remove it")
        if len(cut_off := np.flatnonzero(self.level < 0)):
            raise ValueError(f"node {self.ids[cut_off[0]]!r} does not reach the coordinator: its parents form a cycle")
        self._take_profiles(dict(profiles))

    def _set(self, ids: Sequence[str], above: np.ndarray, kinds: np.ndarray, profiles: tuple) -> None:
        for array in (above, kinds):
            array.flags.writeable = False
        for name, value in (("ids", ids), ("above", above), ("kinds", kinds), ("profiles", profiles)):
            object.__setattr__(self, name, value)

    def _take_profiles(self, given: Mapping[str, Profile]) -> None:
        for node, profile in given.items():
            try:
                kind = KINDS[self.kinds[self.index(node)]]
            except KeyError:
                raise ValueError(f"there is a profile for node {node!r}, which is not there") from None
            if not isinstance(profile, Profile):
                raise ValueError(f"the profile of node {node!r} must be a Profile, got {profile!r}")
            devices_only = {"speed", "availability"} & profile.to_dict().keys()
            if kind == "coordinator" and profile != Profile():
                raise ValueError(f"coordinator {node!r} has a profile; it neither trains nor has a link to a parent")
            if kind != "worker" and devices_only:
                raise ValueError(f"{kind} {node!r} has {sorted(devices_only)[0]}, which only workers have")
        object.__setattr__(self, "profiles", tuple(sorted(p for p in given.items() if p[1] != Profile())))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Topology):
            return NotImplemented
        same = np.array_equal(self.above, other.above) and np.array_equal(self.kinds, other.kinds)
        return same and self.profiles == other.profiles and (self.ids == other.ids or [*self.ids] == [*other.ids])

    def __hash__(self) -> int:
        return hash((self.above.tobytes(), self.kinds.tobytes(), self.profiles))

    def index(self, node: str) -> int:
        """The place of a node in the arrays; KeyError if there is none of that id."""
        return self.ids.index(node) if isinstance(self.ids, Numbered) else self._places[node]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {node: place for place, node in enumerate(self.ids)}

    def below(self, place: int) -> np.ndarray:
        """The places of a node's children."""
        order, starts = self._below
        return order[starts[place] : starts[place + 1]]

    @cached_property
    def _below(self) -> tuple[np.ndarray, np.ndarray]:
        """All children, sorted by parent, and where each parent's begin."""
        order = np.argsort(self.above, kind="stable").astype(np.int32)[1:]  # without the coordinator
        return order, np.searchsorted(self.above[order], np.arange(len(self.above) + 1)).astype(np.int32)

    @cached_property
    def level(self) -> np.ndarray:
        """How many edges lie between each node and the coordinator; -1 where no way leads there."""
        order, starts = self._below
        found, here, depth = np.full(len(self.above), -1, np.int32), np.flatnonzero(self.above < 0), 0
        while len(here):
            found[here], depth = depth, depth + 1
            below = [order[starts[place] : starts[place + 1]] for place in here[self.kinds[here] < 2]]
            here = np.concatenate([here[:0], *below])
        return found

    @cached_property
    def levels(self) -> list[np.ndarray]:
        """The places of the nodes at each depth."""
        order = np.argsort(self.level, kind="stable")
        return np.split(order, np.flatnonzero(np.diff(self.level[order])) + 1)

    @cached_property
    def height(self) -> int:
        return int(self.level.max())

    @cached_property
    def leaves(self) -> np.ndarray:
        """The places of the workers, by number."""
        return np.flatnonzero(self.kinds == 2).astype(np.int32)

    @cached_property
    def near(self) -> np.ndarray:
        """The places of all nodes, parents before their children and siblings together, branch by branch."""
        order, starts = self._below
        found, open_nodes = [np.flatnonzero(self.above < 0)], [int(np.flatnonzero(self.above < 0)[0])]
        while open_nodes:
            place = open_nodes.pop()
            below = order[starts[place] : starts[place + 1]]
            found.append(below)
            open_nodes.extend(below[self.kinds[below] < 2][::-1].tolist())
        return np.concatenate(found)

    @cached_property
    def nodes(self) -> tuple[tuple[str, str | None, str], ...]:
        """(id, parent's id or None, kind) of every node."""
        ids = tuple(self.ids)
        pairs = zip(ids, self.above.tolist(), self.kinds.tolist(), strict=True)
        return tuple((node, ids[above] if above >= 0 else None, KINDS[kind]) for node, above, kind in pairs)

    @cached_property
    def root(self) -> str:
        return self.ids[int(np.flatnonzero(self.above < 0)[0])]

    @cached_property
    def parent(self) -> dict[str, str | None]:
        return {node: parent for node, parent, _ in self.nodes}

    @cached_property
    def children(self) -> dict[str, list[str]]:
        """The children of every node that has some, in the order of `nodes`."""
        found: dict[str, list[str]] = {}
        for node, parent, _ in self.nodes:
            if parent is not None:
                found.setdefault(parent, []).append(node)
        return found

    def profile(self, node: str) -> Profile:
        """What a node and its link to the parent can do."""
        return self._profile.get(node, _DEFAULT)

    @cached_property
    def _profile(self) -> dict[str, Profile]:
        return dict(self.profiles)

    def with_profiles(self, profiles: Mapping[str, Profile]) -> Topology:
        """The same tree with these profiles; nodes not named keep theirs."""
        other = object.__new__(Topology)
        other._set(self.ids, self.above, self.kinds, ())
        other._take_profiles({**self._profile, **profiles})
        return other

    @cached_property
    def workers(self) -> tuple[str, ...]:
        return tuple(self.ids[place] for place in self.leaves.tolist())

    @cached_property
    def depth(self) -> dict[str, int]:
        """How many edges lie between each node and the coordinator; in the order of `near`."""
        levels = self.level.tolist()
        return {self.ids[place]: levels[place] for place in self.near.tolist()}

    @classmethod
    def flat(cls, workers: int) -> Topology:
        """`workers` workers right below the coordinator."""
        return cls.tree(workers, [])

    @classmethod
    def tree(cls, workers: int, fanouts: Sequence[int] = (16,)) -> Topology:
        """Aggregators tier by tier from the top, each node with `fanouts[tier]` children; workers below the last tier.

        The workers are spread evenly; a last tier of exactly `workers` nodes is the workers themselves, so that
        `tree(2048, [16, 128])` is 16 aggregators of 128 workers each, just as `tree(2048, [16])` is.
        """
        for number in (workers, *fanouts):
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise ValueError(f"workers and fanouts must be whole numbers from 1, got {workers} and {list(fanouts)}")
        above, tier = [np.array([-1])], np.array([0])
        for fanout in fanouts:
            if len(tier) * fanout == workers:
                break
            if len(tier) * fanout > workers:
                raise ValueError(
                    f"fanouts {list(fanouts)} make {len(tier) * fanout} aggregators for {workers} workers; "
                    "every aggregator needs one: take fewer tiers, smaller fanouts or more workers"
                )
            above.append(tier.repeat(fanout))
            tier = tier[-1] + 1 + np.arange(len(tier) * fanout)
        above.append(tier[np.arange(workers) * len(tier) // workers])
        inner = sum(map(len, above[:-1]))
        kinds = np.ones(inner + workers, np.int8)
        kinds[0], kinds[inner:] = 0, 2
        made = object.__new__(cls)
        made._set(Numbered(inner - 1, workers), np.concatenate(above).astype(np.int32), kinds, ())
        return made

    @classmethod
    def balanced(cls, branching: int, height: int) -> Topology:
        """Every node above the workers has `branching` children; `branching ** height` workers."""
        if branching < 1 or height < 1:
            raise ValueError(f"branching and height must be at least 1, got {branching} and {height}")
        return cls.tree(branching**height, [branching] * height)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Topology:
        """From what `to_dict` gives, or Flight's `{id: {"kind": …, "children": [ids], "speed": …, …}, …}`."""
        if "nodes" in values:
            profiles = {str(node): Profile(**entry) for node, entry in values.get("profiles", {}).items()}
            return cls(tuple(tuple(node) for node in values["nodes"]), profiles)
        parent: dict[str, str] = {}
        for node, entry in values.items():
            for child in entry.get("children") or ():
                if str(child) in parent:
                    raise ValueError(f"node {str(child)!r} is a child of {parent[str(child)]!r} and of {str(node)!r}")
                parent[str(child)] = str(node)
        return cls._from_parents({str(node): entry for node, entry in values.items()}, parent)

    @classmethod
    def from_yaml(cls, source: str | Path) -> Topology:
        """From a YAML file, or YAML text, of one of the forms that `from_dict` takes."""
        import yaml

        text = source if isinstance(source, str) and "\n" in source else Path(source).read_text()
        values = yaml.safe_load(text)
        if not isinstance(values, dict):
            raise ValueError(f"expected a mapping of node ids or one with 'nodes', got {type(values).__name__}")
        return cls.from_dict(values)

    @classmethod
    def from_networkx(cls, graph: Any) -> Topology:
        """From a `networkx.DiGraph` with edges from parent to child; nodes may have a `kind` and what `Profile` has."""
        parent: dict[str, str] = {}
        for above, below in graph.edges:
            if str(below) in parent:
                raise ValueError(f"node {str(below)!r} has two parents, {parent[str(below)]!r} and {str(above)!r}")
            parent[str(below)] = str(above)
        return cls._from_parents({str(node): data for node, data in graph.nodes(data=True)}, parent)

    @classmethod
    def _from_parents(cls, nodes: Mapping[str, Mapping[str, Any]], parent: dict[str, str]) -> Topology:
        for child, above in parent.items():
            if child not in nodes:
                raise ValueError(f"node {above!r} has a child {child!r}, which is not there")
        inner = set(parent.values())
        place = {True: "aggregator", False: "worker"}
        other = {"leader": "coordinator", "coord": "coordinator", "aggr": "aggregator"}  # Flight's words
        found = []
        for node, entry in nodes.items():
            kind = entry.get("kind")
            guess = place[node in inner] if node in parent else "coordinator"
            kind = str(kind).lower() if kind is not None else guess
            found.append((node, parent.get(node), other.get(kind, kind)))
        profiles = {node: profile for node, entry in nodes.items() if (profile := Profile.among(entry))}
        return cls(tuple(found), profiles)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: `{"nodes": [[id, parent or None, kind], …]}`, and "profiles" by id if there are some."""
        nodes = {"nodes": [list(node) for node in self.nodes]}
        return nodes | {"profiles": {node: one.to_dict() for node, one in self.profiles}} if self.profiles else nodes

    def __repr__(self) -> str:
        aggregators = len(self.above) - len(self.leaves) - 1
        return f"Topology({len(self.leaves)} workers, {aggregators} aggregators, height {self.height})"

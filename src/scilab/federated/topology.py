"""The tree a federation runs on: one coordinator, aggregators below it, workers (the devices) as its leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .profile import Profile

KINDS = ("coordinator", "aggregator", "worker")
_DEFAULT = Profile()


@dataclass(frozen=True)
class Topology:
    """An immutable tree: `nodes` are (id, parent's id or None, kind), in any order.

    Workers are numbered in the order in which they are named here, wherever they hang: a device keeps its data and
    its random streams when it is moved to another parent. `profiles` says by id what a node and its link to the parent
    can do (given as a mapping, kept as sorted pairs); nodes without one have `Profile()`.
    """

    nodes: tuple[tuple[str, str | None, str], ...]
    profiles: Mapping[str, Profile] | tuple[tuple[str, Profile], ...] = ()

    def __post_init__(self) -> None:
        nodes = tuple((node, parent, kind) for node, parent, kind in self.nodes)
        object.__setattr__(self, "nodes", nodes)
        known: set[str] = set()
        for node, _, kind in nodes:
            if not isinstance(node, str) or not node:
                raise ValueError(f"a node's id must be a text that is not empty, got {node!r}")
            if kind not in KINDS:
                raise ValueError(f"node {node!r} is a {kind!r}; kinds are {', '.join(KINDS)}")
            if node in known:
                raise ValueError(f"node {node!r} is there twice; ids must differ from each other")
            known.add(node)
        roots = [node for node, _, kind in nodes if kind == "coordinator"]
        if len(roots) != 1:
            raise ValueError(f"there must be one coordinator, got {len(roots)}: {roots}")
        for node, parent, kind in nodes:
            if (parent is None) != (kind == "coordinator"):
                raise ValueError(f"{kind} {node!r} has parent {parent!r}; the coordinator alone has none")
            if parent is not None and parent not in known:
                raise ValueError(f"{kind} {node!r} hangs below {parent!r}, which is not there")
        for node, _, kind in nodes:
            if kind == "worker" and node in self.children:
                raise ValueError(f"worker {node!r} has {self.children[node][0]!r} below it; workers are leaves")
            if kind != "worker" and node not in self.children:
                raise ValueError(f"{kind} {node!r} has no worker below it; give it one or remove it")
        if cut_off := [node for node, _, _ in nodes if node not in self.depth]:
            raise ValueError(f"node {cut_off[0]!r} does not reach the coordinator: its parents form a cycle")
        self._check_profiles({node: kind for node, _, kind in nodes} if self.profiles else {})

    def _check_profiles(self, kinds: Mapping[str, str]) -> None:
        given = dict(self.profiles)
        for node, profile in given.items():
            if node not in kinds:
                raise ValueError(f"there is a profile for node {node!r}, which is not there")
            if not isinstance(profile, Profile):
                raise ValueError(f"the profile of node {node!r} must be a Profile, got {profile!r}")
            devices_only = {"speed", "availability"} & profile.to_dict().keys()
            if kinds[node] == "coordinator" and profile != Profile():
                raise ValueError(f"coordinator {node!r} has a profile; it neither trains nor has a link to a parent")
            if kinds[node] != "worker" and devices_only:
                raise ValueError(f"{kinds[node]} {node!r} has {sorted(devices_only)[0]}, which only workers have")
        object.__setattr__(self, "profiles", tuple(sorted(p for p in given.items() if p[1] != Profile())))

    @cached_property
    def root(self) -> str:
        return next(node for node, _, kind in self.nodes if kind == "coordinator")

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
        return Topology(self.nodes, {**self._profile, **profiles})

    @cached_property
    def workers(self) -> tuple[str, ...]:
        return tuple(node for node, _, kind in self.nodes if kind == "worker")

    @cached_property
    def depth(self) -> dict[str, int]:
        """How many edges lie between each node and the coordinator; parents first, siblings together."""
        found, open_nodes = {self.root: 0}, [self.root]
        while open_nodes:
            node = open_nodes.pop()
            below = self.children.get(node, [])
            found.update((child, found[node] + 1) for child in below)
            open_nodes.extend(reversed(below))
        return found

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
        nodes: list[tuple[str, str | None, str]] = [("coordinator", None, "coordinator")]
        tier, made = ["coordinator"], 0
        for fanout in fanouts:
            if len(tier) * fanout == workers:
                break
            if len(tier) * fanout > workers:
                raise ValueError(
                    f"fanouts {list(fanouts)} make {len(tier) * fanout} aggregators for {workers} workers; "
                    "every aggregator needs one: take fewer tiers, smaller fanouts or more workers"
                )
            below = [f"a{made + i}" for i in range(len(tier) * fanout)]
            nodes += [(node, tier[i // fanout], "aggregator") for i, node in enumerate(below)]
            tier, made = below, made + len(below)
        nodes += [(f"w{i}", tier[i * len(tier) // workers], "worker") for i in range(workers)]
        return cls(tuple(nodes))

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
        aggregators = len(self.nodes) - len(self.workers) - 1
        return f"Topology({len(self.workers)} workers, {aggregators} aggregators, height {max(self.depth.values())})"

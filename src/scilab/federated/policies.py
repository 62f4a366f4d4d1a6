"""When a node passes on what its children have sent it: one policy for each tier of the tree, from the top.

The coordinator passes on by making a new version of the model, an aggregator by sending its parent one sum. Under
`Synchronous` and `Deadline` a node sends its version to its children, collects, passes on, and waits for the next
version. Under `Buffered` and `Asynchronous` nobody waits: whoever has sent something is answered at once with the
newest version that the node knows, and goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import ceil, isfinite
from typing import Any

from .staleness import Constant, Polynomial, Staleness, as_staleness, plain
from .topology import Topology

SQUARE_ROOT = Polynomial(0.5)


@dataclass(frozen=True)
class Synchronous:
    """Wait for all children that were asked; those that failed count as having answered."""

    waits, staleness, max_staleness = True, Constant(), None


@dataclass(frozen=True)
class Deadline:
    """Wait for all children that were asked, but no longer than `seconds` once a `quorum` of them has answered.

    `quorum` is a share of the children (a float up to 1.0) or a number of them (an int); until it is met, the node
    waits past its deadline. What comes late is either carried into the node's next sum, weighted by `staleness`, or
    dropped and reported. Source of the idea: K. Bonawitz et al., "Towards federated learning at scale", MLSys 2019.
    """

    seconds: float
    quorum: float | int = 0.5
    late: str = "carry"
    staleness: Staleness = SQUARE_ROOT

    waits, max_staleness = True, None

    def __post_init__(self) -> None:
        if not (_number(self.seconds) and self.seconds > 0):
            raise ValueError(f"seconds must be a positive number, got {self.seconds!r}")
        whole = isinstance(self.quorum, int) and not isinstance(self.quorum, bool)
        if not _number(self.quorum) or self.quorum <= 0 or (not whole and self.quorum > 1):
            raise ValueError(
                f"quorum must be a share above 0 and at most 1.0, or a number of children from 1, got {self.quorum!r}"
            )
        if self.late not in ("carry", "drop"):
            raise ValueError(f"late must be 'carry' (into the next sum) or 'drop', got {self.late!r}")
        object.__setattr__(self, "staleness", as_staleness(self.staleness))

    def need(self, asked: int) -> int:
        """How many of so many children must have answered."""
        return self.quorum if isinstance(self.quorum, int) else ceil(self.quorum * asked)


@dataclass(frozen=True)
class Buffered:
    """Pass on as soon as `size` contributions of children have come, whoever they are from (FedBuff).

    At the coordinator the new version is w + Σ nᵢ s(τᵢ) (xᵢ - vᵢ) / Σ nᵢ, where vᵢ is the version that the i-th device
    was sent. Updates staler than `max_staleness` are dropped and reported. Source: J. Nguyen et al., "Federated
    learning with buffered asynchronous aggregation", AISTATS 2022, algorithm 1, with weights by samples.
    """

    size: int = 10
    staleness: Staleness = SQUARE_ROOT
    max_staleness: int | None = None

    waits = False

    def __post_init__(self) -> None:
        _whole("size", self.size, 1)
        _unwaiting(self)


@dataclass(frozen=True)
class Asynchronous:
    """Pass on every contribution as it comes (FedAsync).

    At the coordinator the new version is (1 - α) w + α x with α = `mix` · s(τ), where x is the contribution's model; an
    aggregator makes no version and does not use `mix`. Updates staler than `max_staleness` are dropped and reported.
    Source: C. Xie et al., "Asynchronous federated optimization", 2019, algorithm 1.
    """

    mix: float = 0.6
    staleness: Staleness = SQUARE_ROOT
    max_staleness: int | None = None

    waits = False
    size = 1

    def __post_init__(self) -> None:
        if not (_number(self.mix) and 0 < self.mix <= 1):
            raise ValueError(f"mix must be above 0 and at most 1, got {self.mix!r}")
        _unwaiting(self)


Policy = Synchronous | Deadline | Buffered | Asynchronous
POLICIES: dict[str, type] = {
    "synchronous": Synchronous,
    "deadline": Deadline,
    "buffered": Buffered,
    "asynchronous": Asynchronous,
}
"""By the names that settings take."""


def as_policies(given: Any, topology: Topology) -> tuple[Policy, ...]:
    """One policy for each depth that has nodes with children, the coordinator's first.

    `given` is None (all synchronous), one policy for all tiers, or a sequence from the top; tiers that are not named
    are synchronous. A policy is one of the above, its name, or plain values such as `{"name": "buffered", "size": 4}`.
    ValueError if there are more policies than tiers, or a quorum cannot be met.
    """
    tiers = topology.height
    if given is None or isinstance(given, str | Mapping | Policy):
        given = [given or Synchronous()] * tiers
    if not isinstance(given, Sequence):
        raise ValueError(f"policies must be one policy or a sequence of them from the top, got {given!r}")
    found = [as_policy(one) for one in given]
    if len(found) > tiers:
        raise ValueError(f"there are {len(found)} policies and {tiers} tiers of nodes with children; give {tiers}")
    found += [Synchronous()] * (tiers - len(found))
    if any(isinstance(policy, Deadline) for policy in found):
        answers: dict[str, bool] = {}  # whether anybody at or below a node ever answers
        for node in reversed(topology.depth):
            below = topology.children.get(node)
            answers[node] = any(answers[c] for c in below) if below else topology.profile(node).availability > 0
        for node, children in topology.children.items():
            _check_quorum(found[topology.depth[node]], node, children, answers)
    return tuple(found)


def as_policy(given: Any) -> Policy:
    """From one of the above, its name, or plain values; ValueError if there is no such policy."""
    values = {"name": given} if isinstance(given, str) else given
    if isinstance(values, Mapping):
        kind = POLICIES.get(values.get("name"))
        if kind is None:
            raise ValueError(f"there is no policy {values.get('name')!r}; take {', '.join(POLICIES)}")
        try:
            named = {name: value for name, value in values.items() if name != "name"}
            if "staleness" in named:
                named["staleness"] = as_staleness(named["staleness"])
            return kind(**named)
        except TypeError:
            names = ", ".join(field.name for field in fields(kind)) or "no numbers"
            raise ValueError(f"policy {values['name']!r} takes {names}, got {dict(values)}") from None
    if not isinstance(given, Policy):
        raise ValueError(f"a policy must be {', '.join(POLICIES)} or made by one of them, got {given!r}")
    return given


def plain_policy(policy: Policy) -> dict[str, Any]:
    """Plain JSON that `as_policy` takes."""
    name = next(name for name, kind in POLICIES.items() if type(policy) is kind)
    values = {"name": name, **asdict(policy)}
    if "staleness" in values:
        values["staleness"] = plain(policy.staleness)
    return values


def _check_quorum(policy: Policy, node: str, children: Sequence[str], answers: Mapping[str, bool]) -> None:
    if not isinstance(policy, Deadline):
        return
    there = [child for child in children if answers[child]]
    if (need := policy.need(len(children))) > len(there):
        never = f", of which {len(children) - len(there)} are never available" if len(there) < len(children) else ""
        raise ValueError(
            f"a quorum of {policy.quorum} can never be met at {node!r}: it needs {need} answers and has "
            f"{len(children)} children{never}; take a smaller quorum"
        )


def _unwaiting(policy: Any) -> None:
    object.__setattr__(policy, "staleness", as_staleness(policy.staleness))
    if policy.max_staleness is not None:
        _whole("max_staleness", policy.max_staleness, 0)


def _whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number from {least}, got {value!r}")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)

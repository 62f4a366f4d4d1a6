"""How a tier waits for those below it: the fields of a policy, and a policy as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from .fields import Choice, Field, Number

OWN = {  # by policy: which of the fields below are its own
    "synchronous": (), "deadline": ("seconds", "quorum", "late"), "buffered": ("size", "max_staleness"),
    "asynchronous": ("mix", "max_staleness"),
}  # fmt: skip
STALENESS = {"constant": (), "polynomial": ("a",), "hinge": ("a", "b")}
SYNCHRONOUS = {"name": "synchronous"}


def _of(*policies: str):
    return lambda values: values["policy"] in policies


def _weighed(*kinds: str):
    return lambda values: values["policy"] != "synchronous" and values["staleness"] in kinds


FIELDS = (
    Choice(name="policy", label="Policy", default="synchronous",
           options=(("synchronous", "Synchronous"), ("deadline", "Deadline"), ("buffered", "Buffered"),
                    ("asynchronous", "Asynchronous")),
           help="Synchronous waits for all children; with a deadline late ones are left out; buffered goes on after so "
                "many updates, asynchronous after each."),
    Number(name="seconds", label="Deadline", unit="s", default=60, minimum=1e-6, maximum=1e9, only=_of("deadline"),
           help="How long a round waits at most, once the quorum is there; simulated seconds in simulated time."),
    Number(name="quorum", label="Quorum", default=0.5, minimum=1e-6, maximum=1, only=_of("deadline"),
           help="The share of the children without which a round does not end, however late it is."),
    Choice(name="late", label="Late updates", default="carry",
           options=(("carry", "Count next round"), ("drop", "Drop")), only=_of("deadline"),
           help="What becomes of an update that comes after the deadline."),
    Number(name="size", label="Buffer", unit="updates", default=8, minimum=1, maximum=100_000, integer=True,
           only=_of("buffered"), help="After so many updates a new version is made."),
    Number(name="mix", label="Mix", default=0.6, minimum=0.0001, maximum=1, only=_of("asynchronous"),
           help="The share of the new version that a fresh update makes."),
    Choice(name="staleness", label="Stale updates", default="polynomial",
           only=_of("deadline", "buffered", "asynchronous"),
           options=(("constant", "Count in full"), ("polynomial", "Polynomial"), ("hinge", "Hinge")),
           help="How much an update counts that began so many versions ago: polynomial (1+τ)^-a; hinge 1 up to b "
                "versions, then 1/(a(τ-b)+1)."),
    Number(name="a", label="a", default=0.5, minimum=1e-6, maximum=100, only=_weighed("polynomial", "hinge"),
           help="How fast the weight falls with the versions τ."),
    Number(name="b", label="b", unit="versions", default=4, minimum=0, maximum=1000, only=_weighed("hinge"),
           help="Up to so many versions an update counts in full."),
    Number(name="max_staleness", label="Stalest", unit="versions", default=None, minimum=0, maximum=1e9, integer=True,
           optional=True, only=_of("buffered", "asynchronous"), help="Staler updates are dropped; empty is no limit."),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PoliciesField(Field):
    """Policies as plain values, from the coordinator's tier down; tiers that are missing are synchronous."""

    control: ClassVar[str] = ""

    def parse(self, given: Any) -> tuple[dict, ...]:
        return tuple(given)


def typed(policy: Mapping) -> dict:
    """A policy as the fields have it."""
    stale = policy.get("staleness") or {}
    flat = {name: value for name, value in policy.items() if name not in ("name", "staleness")}
    return {"policy": policy["name"], **flat, **{name: value for name, value in stale.items() if name != "name"},
            **({"staleness": stale["name"]} if stale else {})}  # fmt: skip


def plain(values: Mapping) -> dict:
    """The policy that the fields' values describe."""
    name, kind = values["policy"], values["staleness"]
    policy = {"name": name, **{own: values[own] for own in OWN[name]}}
    if name != "synchronous":
        policy["staleness"] = {"name": kind, **{own: values[own] for own in STALENESS[kind]}}
    return policy


def with_policy(policies: Sequence[Mapping], tier: int, policy: Mapping) -> tuple[dict, ...]:
    """The policies with another one for a tier; synchronous ones at the end are left out."""
    longer = [*policies, *[SYNCHRONOUS] * (tier + 1 - len(policies))]
    longer[tier] = dict(policy)
    while longer and longer[-1] == SYNCHRONOUS:
        longer.pop()
    return tuple(longer)


def said(policy: Mapping) -> str:
    """A policy in few words, for the drawing: "buffered, 8", "deadline, 60 s"."""
    first = {"deadline": "{seconds:g} s", "buffered": "{size}", "asynchronous": "{mix:g}"}.get(policy["name"])
    return policy["name"] + (f", {first.format(**policy)}" if first else "")


def names(policies: Sequence[Mapping]) -> set[str]:
    """What a script imports for them."""
    return {each["name"].capitalize() for each in policies} | {
        each["staleness"]["name"] for each in policies if "staleness" in each}


def as_code(policy: Mapping) -> str:
    """The call that makes it: Buffered(size=8, staleness=polynomial(a=0.5))."""
    given = [f"{name}={value!r}" for name, value in policy.items()
             if name not in ("name", "staleness") and value is not None]
    if stale := policy.get("staleness"):
        inner = ", ".join(f"{name}={value!r}" for name, value in stale.items() if name != "name")
        given.append(f"staleness={stale['name']}({inner})")
    return f"{policy['name'].capitalize()}({', '.join(given)})"

"""Federations from plain values: what a widget's fields, a command line or the journal hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..datasets import load
from ..models import build
from .fedavg import FedAvg
from .partition import Partition, dirichlet, iid, resample, shards
from .stragglers import stragglers
from .strategies import as_strategy
from .topology import Topology

DEFAULTS: dict[str, Any] = {
    "dataset": "digits",
    "model": "mlp",
    "devices": 16,
    "fanouts": [4],
    "partition": "dirichlet",
    "alpha": 0.5,
    "per_device": 2,
    "rows": 16,
    "strategy": "fedavg",
    "fraction": 1.0,
    "clip": None,
    "noise": 0.0,
    "mu": 0.1,
    "server_lr": 0.03,
    "rounds": 10,
    "local_epochs": 1,
    "batch_size": 16,
    "lr": 0.5,
    "momentum": 0.0,
    "slow": 0.0,
    "slowdown": 10.0,
    "partials": "float64",
    "buffers": "mean",
    "cohort": None,
    "policies": [],
    "engine": "threads:2",
    "seed": 0,
}
"""`dataset` and `model` are names of `datasets.load` and `models.build`; `fanouts` numbers or a text such as "4, 8";
`partition` is "iid", "dirichlet" (by `alpha`), "shards" (`per_device`) or "resample" (`rows` a device); `strategy` is a
name of `STRATEGIES`, with `mu` for "fedprox" and `server_lr` for "fedadam"; `buffers` and `cohort` are as `Federation`
takes them. `policies` are names of `POLICIES`, or plain values as `as_policy` takes them, from the coordinator's tier
down. "topology", as `Topology.to_dict` gives it, replaces `devices` and `fanouts` if it is there; of the devices a
share `slow`, drawn by `seed`, trains `slowdown` times as slowly as its profile says."""


def federation_arguments(values: Mapping[str, Any], engine: Any = None) -> dict[str, Any]:
    """Arguments of `Federation` for `values`; missing ones are those of `DEFAULTS`. ValueError for unknown ones."""
    if "values" in values:
        if values["values"] is None:
            raise ValueError("this federation was built in code: run the cell that builds it again")
        values = values["values"]
    if unknown := sorted(set(values) - set(DEFAULTS) - {"topology"}):
        raise ValueError(f"a federation has no setting {', '.join(unknown)}; it has {', '.join(DEFAULTS)} and topology")
    given = {**DEFAULTS, **values}
    split = load(given["dataset"])
    if "topology" in given:
        topology = Topology.from_dict(given["topology"])
    else:
        topology = Topology.tree(given["devices"], _fanouts(given["fanouts"]))
    return {
        "model": build(given["model"], split.shape, len(split.classes), given["seed"]),
        "train": split.train,
        "test": split.test,
        "topology": stragglers(topology, given["slow"], given["slowdown"], given["seed"]),
        "strategy": _strategy(given),
        "partition": partition_of(given),
        "rounds": given["rounds"],
        "partials": given["partials"],
        "buffers": given["buffers"],
        "cohort": given["cohort"],
        "policies": given["policies"] or None,
        "engine": engine or given["engine"],
        "seed": given["seed"],
        "values": given,
    }


def _strategy(given: Mapping[str, Any]) -> FedAvg:
    """Of the named kind, with those of the values that it has."""
    kind = type(as_strategy(given["strategy"]))
    return kind(**{field.name: given[field.name] for field in fields(kind) if field.init and field.name in given})


def partition_of(given: Mapping[str, Any]) -> Partition:
    """Of the named kind, with its own of the values."""
    made = {
        "iid": iid,
        "dirichlet": lambda: dirichlet(given["alpha"]),
        "shards": lambda: shards(given["per_device"]),
        "resample": lambda: resample(given["rows"]),
    }
    if given["partition"] not in made:
        names = ", ".join(map(repr, list(made)[:-1]))
        raise ValueError(f"partition must be {names} or 'resample', got {given['partition']!r}")
    return made[given["partition"]]()


def _fanouts(given: Any) -> list[int]:
    words = given.replace(",", " ").split() if isinstance(given, str) else given
    try:
        return [int(word) for word in words]
    except (TypeError, ValueError):
        raise ValueError(f"fanouts must be whole numbers such as '4, 8', got {given!r}") from None

"""Federations from plain values: what a widget's fields, a command line or the journal hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..datasets import load
from ..models import build
from .fedavg import FedAvg
from .partition import dirichlet, iid
from .topology import Topology

DEFAULTS: dict[str, Any] = {
    "dataset": "digits",
    "model": "mlp",
    "devices": 16,
    "fanouts": [4],
    "partition": "dirichlet",
    "alpha": 0.5,
    "rounds": 10,
    "local_epochs": 1,
    "batch_size": 16,
    "lr": 0.5,
    "momentum": 0.0,
    "engine": "threads:2",
    "seed": 0,
}
"""`dataset` and `model` are names of `datasets.load` and `models.build`; `fanouts` numbers or a text such as "4, 8";
`partition` is "iid" or "dirichlet" (by `alpha`). "topology", as `Topology.to_dict` gives it, replaces `devices` and
`fanouts` if it is there."""


def federation_arguments(values: Mapping[str, Any], engine: Any = None) -> dict[str, Any]:
    """Arguments of `Federation` for `values`; missing ones are those of `DEFAULTS`. ValueError for unknown ones."""
    if "values" in values:
        if values["values"] is None:
            raise ValueError("this federation was built in code: run the cell that builds it again")
        values = values["values"]
    if unknown := sorted(set(values) - set(DEFAULTS) - {"topology"}):
        raise ValueError(f"a federation has no setting {', '.join(unknown)}; it has {', '.join(DEFAULTS)} and topology")
    given = {**DEFAULTS, **values}
    if given["partition"] not in ("iid", "dirichlet"):
        raise ValueError(f"partition must be 'iid' or 'dirichlet', got {given['partition']!r}")
    split = load(given["dataset"])
    if "topology" in given:
        topology = Topology.from_dict(given["topology"])
    else:
        topology = Topology.tree(given["devices"], _fanouts(given["fanouts"]))
    return {
        "model": build(given["model"], split.shape, len(split.classes), given["seed"]),
        "train": split.train,
        "test": split.test,
        "topology": topology,
        "strategy": FedAvg(given["local_epochs"], given["batch_size"], given["lr"], given["momentum"]),
        "partition": dirichlet(given["alpha"]) if given["partition"] == "dirichlet" else iid(),
        "rounds": given["rounds"],
        "engine": engine or given["engine"],
        "seed": given["seed"],
        "values": given,
    }


def _fanouts(given: Any) -> list[int]:
    words = given.replace(",", " ").split() if isinstance(given, str) else given
    try:
        return [int(word) for word in words]
    except (TypeError, ValueError):
        raise ValueError(f"fanouts must be whole numbers such as '4, 8', got {given!r}") from None

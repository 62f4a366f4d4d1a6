"""Campaigns from plain values: what a widget's fields, a command line or the journal hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .acquisitions import Acquisition
from .applications import APPLICATIONS
from .policies import Batch, Interleaved, MultiFidelity, Policy, Streaming
from .result_cache import ResultCache
from .retrain import every, never, on_drift
from .surrogates import Ensemble, Forest
from .water import Potential

DEFAULTS: dict[str, Any] = {
    "application": "ionization_potential",
    "heavy_atoms": 5,
    "file": "",
    "elements": "Cu, Pd, Pt, Au",
    "molecules": 3,
    "clusters": 200,
    "candidates": None,
    "method": "GFN2",
    "threshold": 16.5,
    "maximize": True,
    "budget": 60,
    "initial": 20,
    "surrogate": "forest",
    "trees": 100,
    "share": 1.0,
    "members": 8,
    "hidden": 64,
    "epochs": 150,
    "acquisition": "ucb",
    "weight": 1.0,
    "retrain": "every",
    "retrain_every": 10,
    "drift": 2.0,
    "window": 10,
    "policy": "streaming",
    "batch": 10,
    "ratio": 4,
    "simulate": 2,
    "learn": 1,
    "timeout_s": 60.0,
    "retries": 0,
    "cache": "",
    "engine": "threads:2",
    "learn_engine": "",
    "seed": 0,
}
"""`application` is a name of `APPLICATIONS`. Its candidates are molecules of up to `heavy_atoms`, or the lines of
`file`, or a list `candidates`; or orderings of `elements`; or so many `clusters` of `molecules` of water. `surrogate`
is "forest" (with `trees`, `share`), "ensemble" (`members`, `hidden`, `epochs`) or, for water, "potential" (`members`);
`acquisition` a name of `SCORES` with its `weight`; `retrain` "every" (`retrain_every` results),
"drift" (`drift`, `window`), "once" or "never"; `policy` "streaming", "batch" (of `batch`), "interleaved" or
"multifidelity" (`ratio` screened for each computed in full). `simulate` and `learn` are slots; `cache` a file of
results, "" for none; with a `learn_engine` models are trained there, at a site of their own."""

PRESETS: dict[str, dict[str, Any]] = {
    "ionization_potential": {},
    "alloy_stability": {"threshold": -0.08, "maximize": False, "budget": 100, "initial": 30},
    "water_potential": {
        "surrogate": "potential", "acquisition": "uncertainty", "threshold": None, "policy": "batch", "batch": 10,
        "budget": 60, "initial": 10,
    },
}  # fmt: skip
"""What differs from `DEFAULTS` for each application."""


def preset(application: str) -> dict[str, Any]:
    """All values for an application."""
    return {**DEFAULTS, **_of(PRESETS, "application", {"application": application}), "application": application}


def campaign_arguments(values: Mapping[str, Any], engine: Any = None) -> dict[str, Any]:
    """Arguments of `Campaign` for `values`; missing ones are the application's preset. ValueError for unknown ones."""
    if "values" in values:
        if values["values"] is None:
            raise ValueError("this campaign was built in code: run the cell that builds it again")
        values = values["values"]
    if unknown := sorted(set(values) - set(DEFAULTS)):
        raise ValueError(f"a campaign has no setting {', '.join(unknown)}; it has {', '.join(DEFAULTS)}")
    given = {**preset(values.get("application", DEFAULTS["application"])), **values}
    application = APPLICATIONS[given["application"]]
    engines = {"simulate": given["engine"], "learn": given["learn_engine"]}
    return {
        "space": application.space(given),
        "simulator": application.simulator(given) if given["policy"] != "multifidelity" else application.both(given),
        "surrogate": _surrogate(given, application.features),
        "acquisition": Acquisition(given["acquisition"], given["weight"]),
        "retrain": _of(_RETRAINS, "retrain", given)(given),
        "policy": policy_of(given),
        "slots": {"simulate": given["simulate"], "learn": given["learn"]},
        "cache": ResultCache(given["cache"]) if given["cache"] else None,
        "engine": engine or (engines if given["learn_engine"] else given["engine"]),
        "written": application.written,
        "values": given,
        **{key: given[key] for key in ("budget", "initial", "threshold", "maximize", "timeout_s", "retries", "seed")},
    }  # fmt: skip


def policy_of(given: Mapping[str, Any]) -> Policy:
    """Of the named kind, with its own of the values."""
    return _of(_POLICIES, "policy", given)(given)


def _surrogate(given: Mapping[str, Any], features: Any) -> Any:
    made = _of(_SURROGATES, "surrogate", given)(given, features)
    if made.features is not features:
        raise ValueError(f"the surrogate {given['surrogate']!r} cannot learn {given['application']}; take 'forest'")
    return made


_SURROGATES = {
    "forest": lambda given, features: Forest(trees=given["trees"], share=given["share"], features=features),
    "ensemble": lambda given, features: Ensemble(
        members=given["members"], hidden=given["hidden"], epochs=given["epochs"], features=features
    ),
    "potential": lambda given, features: Potential(members=given["members"]),
}
_RETRAINS = {
    "every": lambda given: every(given["retrain_every"]),
    "drift": lambda given: on_drift(given["drift"], given["window"]),
    "once": lambda given: never(),
    "never": lambda given: never(untrained=True),
}
_POLICIES = {
    "streaming": lambda given: Streaming(),
    "batch": lambda given: Batch(given["batch"]),
    "interleaved": lambda given: Interleaved(),
    "multifidelity": lambda given: MultiFidelity(given["ratio"]),
}


def _of(known: Mapping[str, Any], what: str, given: Mapping[str, Any]) -> Any:
    if given[what] not in known:
        raise ValueError(f"there is no {what} {given[what]!r}; there are {', '.join(known)}")
    return known[given[what]]

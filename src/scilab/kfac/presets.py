"""Races from plain values: what a widget's fields, a command line or the journal hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch

from .footprint import shapes_of
from .layers import Shape
from .networks import MaskedLM, UNet, autoencoder, digits_cnn
from .racers import Racer
from .tasks import TASKS, TOKENS, WORDS, Task, imagenet

DEFAULTS: dict[str, Any] = {
    "task": "digits_autoencoder", "path": "", "batch_size": 256, "epochs": 60, "schedule": "constant", "warmup": 0,
    "weight_decay": 0.0,
    "kfac": True, "sgd": True, "adam": True, "muon": False,
    "lr_kfac": 0.5, "momentum_kfac": 0.5, "lr_sgd": 0.05, "lr_adam": 0.01, "lr_muon": 0.01,
    "damping": 0.03, "factors_every": 1, "decompose_every": 5, "kl_clip": 0.03, "fraction": 1.0,
    "devices": "cpu", "ranks": 1, "seed": 0,
}  # fmt: skip
"""`task` is a name of `TASKS` (with a `path` for those that take one); `kfac`, `sgd`, `adam`, `muon` say who races;
`fraction` is K-FAC's of gradient workers; `kl_clip` 0 is none."""

_RESNET = {
    "batch_size": 128, "epochs": 100, "schedule": "cosine", "warmup": 5, "weight_decay": 5e-4, "lr_kfac": 0.1,
    "momentum_kfac": 0.9, "lr_sgd": 0.1, "lr_adam": 0.001, "lr_muon": 0.02, "damping": 0.003, "factors_every": 10,
    "decompose_every": 100, "kl_clip": 0.001, "adam": False,
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "digits_autoencoder": {},
    "digits_cnn": {"batch_size": 64, "epochs": 15, "lr_kfac": 0.3, "lr_sgd": 0.1, "lr_adam": 0.003, "lr_muon": 0.01,
                   "damping": 0.1, "factors_every": 5, "decompose_every": 10, "kl_clip": 0.01},
    "resnet8": {**_RESNET, "epochs": 30}, "resnet20": _RESNET, "resnet32": _RESNET,
    "unet": {"batch_size": 64, "epochs": 10, "lr_kfac": 0.1, "lr_sgd": 0.01, "lr_adam": 0.003, "lr_muon": 0.01,
             "damping": 1.0, "factors_every": 5, "decompose_every": 20, "kl_clip": 0.03},
    "masked_lm": {"batch_size": 128, "epochs": 10, "lr_kfac": 0.3, "lr_sgd": 0.3, "lr_adam": 0.003, "lr_muon": 0.01,
                  "damping": 0.01, "factors_every": 2, "decompose_every": 10, "kl_clip": 0.03},
    # J. G. Pauloski et al. (SC20): per rank batch 32 and rate 0.0125; stated, not run here.
    "imagenet": {**_RESNET, "batch_size": 32, "epochs": 55, "lr_kfac": 0.0125, "lr_sgd": 0.0125,
                 "weight_decay": 5e-5, "damping": 0.001, "devices": "cuda"},
}  # fmt: skip
"""What differs from `DEFAULTS` for each task."""

_MODELS = {
    "digits_autoencoder": autoencoder, "digits_cnn": digits_cnn, "unet": UNet,
    "masked_lm": lambda: MaskedLM(len(WORDS), TOKENS),
}  # fmt: skip


def preset(task: str) -> dict[str, Any]:
    """All values for a task."""
    return {**DEFAULTS, **PRESETS[task], "task": task}


def race_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of `Race` for `values`; missing ones are the task's preset. ValueError for unknown ones."""
    if "values" in values:
        if values["values"] is None:
            raise ValueError("this race was built in code: run the cell that builds it again")
        values = values["values"]
    if unknown := sorted(set(values) - set(DEFAULTS)):
        raise ValueError(f"a race has no setting {', '.join(unknown)}; it has {', '.join(DEFAULTS)}")
    name = values.get("task", DEFAULTS["task"])
    if name not in TASKS:
        raise ValueError(f"there is no task {name!r}; there are {', '.join(TASKS)}")
    given = {**preset(name), **values}
    return {
        "task": named_task(name, given["path"], given["batch_size"], given["seed"]),
        "racers": racers(given),
        "values": given,
        **{key: given[key] for key in ("epochs", "ranks", "devices", "schedule", "warmup", "seed")},
    }  # fmt: skip


def named_task(name: str, path: str = "", batch_size: int | None = None, seed: int = 0) -> Task:
    """A task of `TASKS`; `path` has one or several paths, by commas, for those that read images."""
    batch_size = batch_size or preset(name)["batch_size"]
    paths = [part.strip() for part in path.split(",") if part.strip()]
    if name == "imagenet":  # its loader makes the batches
        return imagenet(paths[0] if paths else "", seed, batch_size)
    made = TASKS[name](seed, paths) if name.startswith("resnet") and paths else TASKS[name](seed)
    return replace(made, batch_size=batch_size)


def racers(given: Mapping[str, Any]) -> list[Racer]:
    """Those that the values name; ValueError if they name none."""
    decay = {"weight_decay": given["weight_decay"]}
    found = []
    if given["kfac"]:
        kfac = {name: given[name] for name in ("damping", "factors_every", "decompose_every")}
        kfac |= {"kl_clip": given["kl_clip"] or None, "gradient_worker_fraction": given["fraction"]}
        found.append(Racer("sgd", given["lr_kfac"], given["momentum_kfac"], kfac=kfac, **decay))
    known = {"sgd": "sgd", "adam": "adamw" if given["weight_decay"] else "adam", "muon": "muon"}
    found += [Racer(optimizer, given[f"lr_{name}"], **decay) for name, optimizer in known.items() if given[name]]
    if not found:
        raise ValueError("nobody races: choose at least one optimizer")
    return found


@lru_cache
def layer_shapes(task: str) -> dict[str, Shape]:
    """Sizes of a named task's layers, without its data and without memory."""
    with torch.device("meta"):
        if task in _MODELS:
            return shapes_of(_MODELS[task]())
        from ..models import MODELS

        large = task == "imagenet"
        shape, classes = ((3, 224, 224), 1000) if large else ((3, 32, 32), 10)
        return shapes_of(MODELS["resnet50" if large else task](shape, classes))

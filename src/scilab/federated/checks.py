"""What a federation finds out about its parts before it starts, so that a mistake costs no round."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from .fedavg import FedAvg
from .layout import tensors_of
from .topology import Topology
from .training import Loss, local_sgd


def as_pair(data: Any, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(inputs, labels) on the CPU from a pair of tensors or a torch Dataset."""
    if not (isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(part, torch.Tensor) for part in data)):
        if not (hasattr(data, "__getitem__") and hasattr(data, "__len__") and len(data)):
            raise ValueError(
                f"{name} must be a pair of tensors (inputs, labels) or a torch Dataset, got {type(data).__name__}"
            )
        rows = [data[row] for row in range(len(data))]
        data = [torch.stack([torch.as_tensor(row[part]) for row in rows]) for part in (0, 1)]
    inputs, labels = (part.detach().cpu() for part in data)
    if len(inputs) != len(labels) or not len(labels):
        raise ValueError(f"{name} has {len(inputs)} inputs and {len(labels)} labels; give as many, and at least one")
    for part, what in ((inputs, "inputs"), (labels, "labels")):
        if part.is_floating_point() and not torch.isfinite(part).all():
            raise ValueError(f"{name} holds NaN or infinity in its {what}; replace or drop those rows")
    return inputs, labels


def check_parts(parts: Sequence[Any], rows: int, topology: Topology) -> int:
    """Every worker needs rows, and rows that are there; returns how many all have."""
    if len(parts) != len(topology.leaves):
        raise ValueError(f"the partition made {len(parts)} parts for {len(topology.leaves)} workers")
    counts = np.fromiter(map(len, parts), np.int64, len(parts))
    if not counts.all():
        worker = topology.workers[int(np.argmin(counts))]
        raise ValueError(f"worker {worker!r} has no data; take fewer workers or another partition")
    every = parts if isinstance(parts, np.ndarray) else np.concatenate([np.asarray(part) for part in parts])
    if np.min(every) < 0 or np.max(every) >= rows:
        worker = next(w for w, part in zip(topology.workers, parts, strict=True) if min(part) < 0 or max(part) >= rows)
        raise ValueError(f"the partition gave worker {worker!r} a row outside 0 to {rows - 1}")
    return int(counts.sum())


def selected(strategy: FedAvg, number: int, deployment: Any) -> np.ndarray:
    """The numbers of the devices that a strategy chooses for round `number`; ValueError if there is no such device."""
    devices = len(deployment.topology.leaves)
    chosen = np.unique(np.asarray(strategy.select(number, devices, deployment.seed), dtype=np.int64))
    if len(chosen) and not 0 <= chosen[0] <= chosen[-1] < devices:
        wrong = chosen[0] if chosen[0] < 0 else chosen[-1]
        raise ValueError(f"round {number}: the strategy chose device {wrong}; they are numbered 0 to {devices - 1}")
    return chosen


def check_sites(topology: Topology, engine: Any) -> None:
    """Where nodes are to run must be known."""
    sites = getattr(engine, "engines", None)
    for node, profile in topology.profiles:
        if profile.engine and sites is None:
            raise ValueError(
                f"node {node!r} is to run at engine {profile.engine!r}, and there is only one engine here; give "
                f"engine=Sites({{{profile.engine!r}: …}}), or no engine in the profile"
            )
        if profile.engine and profile.engine not in sites:
            raise ValueError(f"node {node!r} is to run at engine {profile.engine!r}; there are {', '.join(sites)}")


def try_step(model: nn.Module, loss: Loss, train: tuple, strategy: FedAvg, batch: int) -> tuple[bool, float]:
    """Train a copy on a batch of so many samples: (whether it draws from torch's global stream, seconds of a step)."""
    for name, tensor in tensors_of(model).items():
        if tensor.is_complex() or (tensor.is_floating_point() and not torch.isfinite(tensor).all()):
            raise ValueError(f"the model's {name} is complex or holds NaN or infinity; give finite real values")
    inputs, labels = train
    rows = torch.arange(min(batch, len(labels)))
    if labels.dim() == 1:
        rows[0] = int(labels.argmax())  # the largest class, which a model with too few outputs cannot meet
    trial, once, seconds = copy.deepcopy(model).train(), FedAvg(1, None, strategy.lr), []
    with torch.random.fork_rng(devices=[]):
        before = torch.random.get_rng_state()
        try:
            for _ in range(4):  # the first pays for torch's own set-up, and others may be at work
                began = time.perf_counter()
                local_sgd(trial, loss, inputs[rows], labels[rows], once, torch.Generator(), list(trial.parameters()))
                seconds.append(time.perf_counter() - began)
        except Exception as error:
            given = f"inputs {tuple(inputs.shape)} {inputs.dtype}, labels {tuple(labels.shape)} {labels.dtype}"
            reason = f"{type(error).__name__}: {error} ({given})"
            raise ValueError(f"the model, the loss and the data do not fit each other: {reason}") from error
        return not torch.equal(before, torch.random.get_rng_state()), min(seconds)

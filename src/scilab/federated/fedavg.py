"""Federated averaging (H. B. McMahan et al., "Communication-Efficient Learning …", AISTATS 2017, algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from math import ceil, isfinite

import numpy as np
import torch

from .streams import stream


@dataclass(frozen=True)
class FedAvg:
    """Every device trains by SGD from the round's model; the new model is the mean weighted by numbers of samples.

    `local_epochs` passes over its data in shuffled batches of `batch_size` samples (None: all at once) with learning
    rate `lr` and heavy-ball `momentum`, which starts from zero in every round. A `fraction` of the devices, drawn anew
    in each round, takes part. What a device has changed is scaled down to the length `clip` (all parameters as one
    vector), then Gaussian noise of standard deviation `noise` · `clip` is added to each parameter (H. B. McMahan et
    al., "Learning differentially private recurrent language models", ICLR 2018). Buffers (running means) are neither
    clipped nor noised.

    A strategy of your own is a subclass, a frozen dataclass too, that replaces one or more of four functions:
    `select`, `gradient`, `leave`, `server`. They run wherever the work is done, so they keep nothing between calls.
    """

    local_epochs: int = 1
    batch_size: int | None = 16
    lr: float = 0.1
    momentum: float = 0.0
    _: KW_ONLY
    fraction: float = 1.0
    clip: float | None = None
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("local_epochs", self.local_epochs), ("batch_size", self.batch_size)):
            if value is None and name == "batch_size":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be a whole number from 1, got {value!r}")
        if not (isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"lr must be a positive number, got {self.lr}; 0.1 suits most small networks")
        if not 0.0 <= self.momentum < 1.0:
            raise ValueError(f"momentum must be at least 0 and below 1, got {self.momentum}")
        if not 0.0 < self.fraction <= 1.0:
            raise ValueError(
                f"fraction must be above 0 and at most 1, got {self.fraction}; 0.1 asks every tenth device"
            )
        if self.clip is not None and not (isfinite(self.clip) and self.clip > 0):
            raise ValueError(f"clip must be a positive number, or None for no limit, got {self.clip}")
        if not (isfinite(self.noise) and self.noise >= 0):
            raise ValueError(f"noise must be a number from 0, in multiples of clip, got {self.noise}")
        if self.noise and self.clip is None:
            raise ValueError(f"noise {self.noise} is in multiples of clip, and there is no clip; give one, such as 1.0")

    def select(self, number: int, devices: int, seed: int) -> Sequence[int]:
        """The numbers, from 0, of the devices that take part in round `number`."""
        if self.fraction == 1.0:
            return range(devices)
        rng = np.random.default_rng(stream(seed, "select", number))
        return np.sort(rng.choice(devices, ceil(self.fraction * devices), replace=False)).tolist()

    def gradient(self, gradient: torch.Tensor, parameter: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        """The gradient to descend along, from that of the loss, the parameter now, and as it came with the model."""
        return gradient

    def leave(self, change: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """What a device reports of what it changed: trained minus received, all parameters as one vector (p,)."""
        if self.clip is not None:
            change = change * min(1.0, self.clip / max(float(torch.linalg.vector_norm(change)), 1e-30))
        if self.noise:
            change = change + torch.randn(change.shape, generator=random, dtype=change.dtype) * self.noise * self.clip
        return change

    def server(
        self, model: torch.Tensor, mean: torch.Tensor, state: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """The new parameters (p,) from those of the round's model, the devices' mean, and the state kept since the last
        round (empty in the first); returns the state to keep, too. Called for each type of number by itself.
        """
        return mean, state

    def replaces(self, name: str) -> bool:
        """Whether `gradient`, `leave` or `server` does anything; what does nothing is not called."""
        own = getattr(type(self), name) is not getattr(FedAvg, name)
        return own or (name == "leave" and self.clip is not None)

"""Federated averaging (H. B. McMahan et al., "Communication-Efficient Learning …", AISTATS 2017, algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True)
class FedAvg:
    """Every device trains by SGD from the round's model; the new model is the mean weighted by numbers of samples.

    `local_epochs` passes over its data in shuffled batches of `batch_size` samples (None: all at once) with learning
    rate `lr` and heavy-ball `momentum`, which starts from zero in every round.
    """

    local_epochs: int = 1
    batch_size: int | None = 16
    lr: float = 0.1
    momentum: float = 0.0

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

"""Strategies beside FedAvg, each a small change of it; also what to write one's own like."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from math import isfinite
from typing import Any

import torch

from .fedavg import FedAvg


@dataclass(frozen=True)
class FedSGD(FedAvg):
    """Every device takes one step along the gradient of all its data: the mean is a step of gradient descent.

    Source: H. B. McMahan et al., AISTATS 2017, section 2 (B = ∞, E = 1).
    """

    local_epochs: int = field(default=1, init=False)
    batch_size: int | None = field(default=None, init=False)
    momentum: float = field(default=0.0, init=False)


@dataclass(frozen=True)
class FedProx(FedAvg):
    """FedAvg whose devices minimise loss + mu/2 · ‖w - w_received‖², which holds them near the round's model.

    Source: T. Li et al., "Federated optimization in heterogeneous networks", MLSys 2020, equation 2.
    """

    _: KW_ONLY
    mu: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isfinite(self.mu) and self.mu >= 0):
            raise ValueError(f"mu must be a number from 0, got {self.mu}; 0.01 to 1 are usual")

    def gradient(self, gradient: torch.Tensor, parameter: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        return gradient + self.mu * (parameter - start)


@dataclass(frozen=True)
class FedAdam(FedAvg):
    """FedAvg whose server takes an Adam step along what the devices changed on average.

    Source: S. Reddi et al., "Adaptive federated optimization", ICLR 2021, algorithm 2.
    """

    _: KW_ONLY
    server_lr: float = 0.03
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("server_lr", "tau"):
            if not (isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} must be a positive number, got {getattr(self, name)}")
        for name in ("beta1", "beta2"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")

    def server(self, model: torch.Tensor, mean: torch.Tensor, state: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
        change = mean - model
        first, second = state or (torch.zeros_like(model), torch.zeros_like(model))
        first = self.beta1 * first + (1 - self.beta1) * change
        second = self.beta2 * second + (1 - self.beta2) * change**2
        return model + self.server_lr * first / (second.sqrt() + self.tau), [first, second]


STRATEGIES: dict[str, type[FedAvg]] = {"fedavg": FedAvg, "fedsgd": FedSGD, "fedprox": FedProx, "fedadam": FedAdam}
"""By the names that `Federation` and its settings take."""


def as_strategy(given: FedAvg | str | None) -> FedAvg:
    """A strategy from what a user gave; ValueError if there is none of that name."""
    if isinstance(given, str) and given in STRATEGIES:
        return STRATEGIES[given]()
    if given is not None and not isinstance(given, FedAvg):
        names = ", ".join(STRATEGIES)
        raise ValueError(f"there is no strategy {given!r}; take {names}, or an instance of FedAvg or of a subclass")
    return given or FedAvg()

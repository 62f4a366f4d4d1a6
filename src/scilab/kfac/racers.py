"""Who races: a torch optimizer, with or without K-FAC before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from .preconditioner import KFAC

OPTIMIZERS = ("sgd", "adam", "adamw", "muon")
LIVE = ("lr", "damping", "factors_every", "decompose_every")
"""What may be changed while the race runs."""


class Together:
    """Several optimizers of disjoint parameters that step as one."""

    def __init__(self, optimizers: Iterable[torch.optim.Optimizer]) -> None:
        self._optimizers = list(optimizers)

    @property
    def param_groups(self) -> list[dict]:
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]

    def step(self) -> None:
        for optimizer in self._optimizers:
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [optimizer.state_dict() for optimizer in self._optimizers]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for optimizer, part in zip(self._optimizers, state["parts"], strict=True):
            optimizer.load_state_dict(part)


@dataclass(frozen=True, eq=False)
class Racer:
    """A torch optimizer by name (`OPTIMIZERS`), or `optimizer(parameters) -> torch.optim.Optimizer`; and K-FAC's
    keyword arguments in `kfac`, but for `likelihood` and `lr`, which follow from the task and the optimizer.

    `weight_decay` is decoupled. "muon" is torch's Muon for the matrices and AdamW with the same rate for all else.
    `momentum` is that of "sgd" and "muon". `name` is what it is called in the race; by default what it is.

    Raises ValueError for what cannot be.
    """

    optimizer: str | Callable = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0
    kfac: Mapping[str, Any] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if not callable(self.optimizer) and self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)} or a function of the parameters that "
                             f"makes one, got {self.optimizer!r}")  # fmt: skip
        if self.optimizer == "muon" and not hasattr(torch.optim, "Muon"):
            raise ValueError(f"torch {torch.__version__} has no Muon; take torch 2.9 or newer, or another optimizer")
        if not self.lr > 0:
            raise ValueError(f"lr must be above 0, got {self.lr!r}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, got {self.momentum!r}")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay must be 0 or more, got {self.weight_decay!r}")
        if self.kfac is not None and (given := sorted({"likelihood", "class_dim", "lr", "group"} & set(self.kfac))):
            raise ValueError(f"{given[0]} is not for a racer to say: it follows from the task, the optimizer, the race")
        if not self.name:
            known = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "muon": "Muon"}
            word = known.get(self.optimizer) if isinstance(self.optimizer, str) else None
            word = word or getattr(self.optimizer, "__name__", "optimizer")
            object.__setattr__(self, "name", f"K-FAC + {word}" if self.kfac is not None else word)

    def describe(self) -> dict[str, Any]:
        """Plain JSON that says what it is."""
        used = self.optimizer if isinstance(self.optimizer, str) else getattr(self.optimizer, "__name__", "own")
        kfac = None if self.kfac is None else {key: _plain(value) for key, value in self.kfac.items()}
        return {"name": self.name, "optimizer": used, "lr": self.lr, "momentum": self.momentum,
                "weight_decay": self.weight_decay, "kfac": kfac}  # fmt: skip

    def make_optimizer(self, model: nn.Module) -> Any:
        """The optimizer of a model's parameters."""
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if callable(self.optimizer):
            made = self.optimizer(parameters)
            for group in made.param_groups:
                group["lr"] = self.lr
            return made
        if self.optimizer == "sgd":
            # torch couples SGD's decay to the gradient, which K-FAC has preconditioned by then: so it is done apart.
            return torch.optim.SGD(parameters, self.lr, momentum=self.momentum)
        if self.optimizer == "adam":
            return torch.optim.Adam(parameters, self.lr)
        if self.optimizer == "adamw":
            return torch.optim.AdamW(parameters, self.lr, weight_decay=0.0)
        matrices = [parameter for parameter in parameters if parameter.dim() == 2]
        rest = [parameter for parameter in parameters if parameter.dim() != 2]
        parts = [torch.optim.Muon(matrices, self.lr, weight_decay=0.0, momentum=self.momentum)] if matrices else []
        return Together([*parts, *([torch.optim.AdamW(rest, self.lr, weight_decay=0.0)] if rest else [])])

    def make_kfac(self, model: nn.Module, likelihood: Mapping[str, Any], optimizer: Any, seed: int) -> KFAC | None:
        """Its K-FAC, if it has one; clipping follows the optimizer's rate."""
        if self.kfac is None:
            return None
        return KFAC(model, **{"seed": seed, **self.kfac}, **likelihood, lr=lambda _: optimizer.param_groups[0]["lr"])


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool | None) else str(value)

"""What becomes of a model's buffers, the running means and variances of batch normalisation above all.

"mean": averaged as parameters are. "pooled": running variances are those of all devices' data together, the mean
variance and the variance of the means; means and other buffers as before. "keep": layers with buffers, their
parameters too, stay with each device from round to round (FedBN: X. Li et al., ICLR 2021, algorithm 1); the
coordinator's model, which nobody starts from in these, has their mean. Of integers (num_batches_tracked) the largest is
taken, always.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..planes import Key
from .layout import tensors_of

if TYPE_CHECKING:
    from .deployment import Deployment

BUFFERS = ("mean", "pooled", "keep")


def check_buffers(buffers: str, model: nn.Module) -> None:
    """ValueError for a policy that is none, or has nothing to do with this model."""
    if buffers not in BUFFERS:
        raise ValueError(f"buffers must be 'mean', 'pooled' or 'keep', got {buffers!r}")
    if buffers == "pooled" and not pairs(model):
        raise ValueError("buffers is 'pooled', and the model has no running_mean and running_var; take 'mean'")
    if buffers == "keep" and not own_names(model):
        raise ValueError("buffers is 'keep', and the model has no buffers that a device could keep; take 'mean'")


def pairs(model: nn.Module) -> list[tuple[str, str]]:
    """The names of running means and of the variances that belong to them."""
    names = set(tensors_of(model))
    found = [
        (name, name.removesuffix("running_mean") + "running_var") for name in names if name.endswith("running_mean")
    ]
    return sorted(pair for pair in found if pair[1] in names)


def own_names(model: nn.Module) -> list[str]:
    """The tensors of all layers that have buffers."""
    prefixes = [name for name, module in model.named_modules() if any(True for _ in module.buffers(recurse=False))]
    return [name for name in tensors_of(model) if name.rpartition(".")[0] in prefixes]


class Kept:
    """Where on the data plane each device's own tensors lie: rows of what its siblings and it left together."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment, self.where, self._rows = deployment, {}, Counter()

    def of(self, numbers: Sequence[int]) -> list[tuple[Key, int] | None]:
        """(key, row) of each device by number; None before its first round."""
        return [self.where.get(number) for number in numbers]

    def take(self, numbers: Sequence[int], key: Key) -> None:
        """These devices have left new rows under a key, in this order."""
        for row, number in enumerate(numbers):
            before, self.where[number] = self.where.get(number), (key, row)
            self._rows[key.name] += 1
            if before is not None:
                self._rows[before[0].name] -= 1
                if not self._rows[before[0].name]:
                    self.deployment.drop(before[0])

    def state(self) -> dict[str, Any]:
        """All devices that keep something, and their tensors, flat by type, a row each."""
        read = {key: self.deployment.store.get(key) for key in {key for key, _ in self.where.values()}}
        rows = [[flat[row] for flat in read[key]] for key, row in self.where.values()]
        return {"devices": list(self.where), "rows": [torch.stack(same) for same in zip(*rows, strict=True)]}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.take(state["devices"], self.deployment.put(state["rows"]))

"""One rank among several, or alone: what all ranks agree on, add up and gather."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

PATIENCE = timedelta(days=30)
"""How long a collective waits: a paused race is no fault, and a dead rank is seen by its process, not its silence."""


class World:
    """This rank among `ranks`; alone, all of it is free. Numbers of `sum` travel by `device`, the rest by the host."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        joined = dist.is_available() and dist.is_initialized()
        self.rank, self.ranks = (dist.get_rank(), dist.get_world_size()) if joined else (0, 1)
        # Commands and counts must not wait for the device, and NCCL carries no objects.
        self._host = dist.new_group(backend="gloo", timeout=PATIENCE) if self.ranks > 1 else None

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Added up over the ranks, in place."""
        if self.ranks > 1:
            dist.all_reduce(tensor)
        return tensor

    def agree(self, value: Any) -> Any:
        """Rank 0's value."""
        if self.ranks == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self._host)
        return box[0]

    def called(self, here: bool) -> bool:
        """Whether rank 0 wants to talk; one byte a step."""
        if self.ranks == 1:
            return here
        flag = torch.tensor([here], dtype=torch.uint8)
        dist.broadcast(flag, src=0, group=self._host)
        return bool(flag.item())

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in order, on every rank."""
        if self.ranks == 1:
            return [value]
        found: list[Any] = [None] * self.ranks
        dist.all_gather_object(found, value, group=self._host)
        return found

    def same_buffers(self, model: torch.nn.Module) -> None:
        """Rank 0's buffers (the averages of BatchNorm) to all, as DistributedDataParallel has it."""
        if self.ranks > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)


def device_of(devices: str, rank: int) -> torch.device:
    """Where a rank computes: "cpu", or "cuda", one GPU a rank in turn."""
    if devices == "cpu":
        return torch.device("cpu")
    device = torch.device("cuda", rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def join(devices: str, rank: int, ranks: int, store: dist.Store | None = None) -> World:
    """Become `rank` of `ranks`: by `store`, or by the environment that torchrun sets."""
    if store is not None:
        os.environ.setdefault("LOCAL_RANK", str(rank))
    device = device_of(devices, int(os.environ.get("LOCAL_RANK", rank)))
    if not dist.is_initialized():
        backend = "nccl" if device.type == "cuda" else "gloo"
        given = {} if store is None else {"store": store, "rank": rank, "world_size": ranks}
        dist.init_process_group(backend, timeout=PATIENCE, **given)
    return World(device)

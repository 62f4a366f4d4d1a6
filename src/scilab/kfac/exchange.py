"""What ranks send each other: one collective call for all factors, one per peer for decompositions and for gradients.

Every call is made by `KFAC.step`, none in a hook, in the same order on all ranks, with sizes that follow from the
layers' shapes alone. Bytes are counted by purpose and layer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
import torch.distributed as dist

from .placement import Placement
from .stopwatch import Stopwatch


class Exchange:
    """Collectives over `group` (None: one process, nothing is sent) for one `Placement`.

    Raises:
        ValueError: a grid of HYBRID-OPT in a part of the world; its rows and columns are made by all ranks together.
    """

    def __init__(
        self, placement: Placement, group: dist.ProcessGroup | None, device: torch.device, watch: Stopwatch
    ) -> None:  # fmt: skip
        self.placement, self._group, self._device, self._watch = placement, group, device, watch
        self.rank = 0 if group is None else dist.get_rank(group)
        self.received: Counter[tuple[str, str]] = Counter()
        self.sent: Counter[tuple[str, str]] = Counter()
        self.calls: Counter[str] = Counter()
        self._column = self._row = None
        self._made: list[dist.ProcessGroup] = []
        if group is None:
            return
        ranks = dist.get_process_group_ranks(group)
        if 1 < placement.workers < placement.ranks < dist.get_world_size():
            raise ValueError(
                f"gradient_worker_fraction {placement.workers}/{placement.ranks} in a group of {placement.ranks} of "
                f"{dist.get_world_size()} ranks: in a part of the world it must be 1 or 1/{placement.ranks}"
            )
        for kind, members_of in (("_column", placement.column), ("_row", placement.row)):
            for members in dict.fromkeys(tuple(members_of(rank)) for rank in range(placement.ranks)):
                if len(members) == placement.ranks:
                    made = group
                elif len(members) > 1:
                    made = dist.new_group([ranks[member] for member in members])  # every rank makes every group
                    self._made.append(made)
                else:
                    made = None
                if self.rank in members:
                    setattr(self, kind, made)

    def close(self) -> None:
        """Let go of the groups that were made here."""
        while self._made:
            group = self._made.pop()
            if dist.is_initialized() and group is not dist.GroupMember.NON_GROUP_MEMBER:
                dist.destroy_process_group(group)

    def add_up(self, vectors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Sum each layer's vector over the ranks, for its owner only: this rank's layers come back.

        One all-to-all: each rank receives (p - 1) · its own layers, (p - 1)/p of a factor set on average, half of what
        an all-reduce moves; terms are added in the order of ranks, so the bits do not depend on timing.
        """
        if self._group is None:
            return dict(vectors)
        names = [self.placement.owned(rank) for rank in range(self.placement.ranks)]
        sizes = [sum(vectors[name].numel() for name in owned) for owned in names]
        sent = torch.cat([vectors[name] for owned in names for name in owned])
        mine, ranks = sizes[self.rank], self.placement.ranks
        received = sent.new_empty(ranks * mine)
        with self._watch("exchange"):
            dist.all_to_all_single(received, sent, [mine] * ranks, sizes, group=self._group)
        self.calls["factors"] += 1
        for name, vector in vectors.items():
            if self.placement.owners[name] == self.rank:
                self.received["factors", name] += (ranks - 1) * vector.nbytes
            else:
                self.sent["factors", name] += vector.nbytes
        total = received.view(ranks, mine)[0].clone()
        for part in received.view(ranks, mine)[1:]:
            total += part
        own = names[self.rank]
        return dict(zip(own, total.split([vectors[name].numel() for name in own]), strict=True))

    def share_decompositions(
        self, mine: Mapping[str, torch.Tensor], sizes: Mapping[str, int]
    ) -> dict[str, torch.Tensor]:
        """Bytes of each layer of this rank's column, from their owners: one broadcast per member, all at once."""
        return self._spread("decompositions", self._column, self.placement.column(self.rank), {
            rank: self.placement.owned(rank) for rank in self.placement.column(self.rank)
        }, mine, sizes, torch.uint8)  # fmt: skip

    def share_gradients(
        self, mine: Mapping[str, torch.Tensor], sizes: Mapping[str, int], dtype: torch.dtype
    ) -> dict[str, torch.Tensor]:
        """Preconditioned gradients of all layers, flat, each from the gradient worker in this rank's row."""
        return self._spread("gradients", self._row, self.placement.row(self.rank), {
            rank: self.placement.preconditions(rank) for rank in self.placement.row(self.rank)
        }, mine, sizes, dtype)  # fmt: skip

    def share_state(
        self, mine: Mapping[str, torch.Tensor], sizes: Mapping[str, int], dtype: torch.dtype
    ) -> dict[str, torch.Tensor]:
        """What the owners have, to all ranks: for a checkpoint."""
        ranks = range(self.placement.ranks)
        names = {rank: self.placement.owned(rank) for rank in ranks}
        return self._spread("state", self._group, list(ranks), names, mine, sizes, dtype)

    def _spread(
        self, kind: str, group: dist.ProcessGroup | None, members: list[int], names: Mapping[int, list[str]],
        mine: Mapping[str, torch.Tensor], sizes: Mapping[str, int], dtype: torch.dtype,
    ) -> dict[str, torch.Tensor]:  # fmt: skip
        if group is None:
            return dict(mine)
        buffers, works = {}, []
        with self._watch("exchange"):
            for place, member in enumerate(members):
                length = sum(sizes[name] for name in names[member])
                if not length:
                    continue
                if member == self.rank:
                    buffers[member] = torch.cat([mine[name] for name in names[member]])
                else:
                    buffers[member] = torch.empty(length, dtype=dtype, device=self._device)
                works.append(dist.broadcast(buffers[member], group=group, group_src=place, async_op=True))
                self.calls[kind] += 1
                counter, times = (self.sent, len(members) - 1) if member == self.rank else (self.received, 1)
                for name in names[member]:
                    counter[kind, name] += times * sizes[name] * dtype.itemsize
            for work in works:
                work.wait()
        return {
            name: part
            for member, buffer in buffers.items()
            for name, part in zip(names[member], buffer.split([sizes[n] for n in names[member]]), strict=True)
        }

    def sum(self, numbers: list[float]) -> list[float]:
        """Each number, added up over the ranks."""
        if self._group is None:
            return numbers
        total = torch.tensor(numbers, dtype=torch.float64, device=self._device)
        dist.all_reduce(total, group=self._group)
        self.calls["damping"] += 1
        return total.tolist()


def by_layer(counter: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """{purpose: {layer: bytes}}"""
    found: dict[str, dict[str, int]] = {}
    for (kind, name), number in counter.items():
        found.setdefault(kind, {})[name] = number
    return found


def by_kind(counter: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Bytes by purpose."""
    return {kind: sum(layers.values()) for kind, layers in by_layer(counter).items()}

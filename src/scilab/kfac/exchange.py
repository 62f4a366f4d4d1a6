"""What ranks send each other: one collective call for all factors, one per peer for decompositions and for gradients.

Every call is made by `KFAC.step`, none in a hook, in the same order on all ranks, with sizes that follow from the
layers' shapes alone. Received bytes are counted by purpose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
import torch.distributed as dist

from .placement import Placement


class Exchange:
    """Collectives over `group` (None: one process, nothing is sent) for one `Placement`."""

    def __init__(self, placement: Placement, group: dist.ProcessGroup | None, device: torch.device) -> None:
        self.placement, self._group, self._device = placement, group, device
        self.rank = 0 if group is None else dist.get_rank(group)
        self.received, self.calls = Counter(), Counter()
        self._column = self._row = None
        self._made: list[dist.ProcessGroup] = []
        if group is None:
            return
        ranks = dist.get_process_group_ranks(group)
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
        dist.all_to_all_single(received, sent, [mine] * ranks, sizes, group=self._group)
        self.calls["factors"] += 1
        self.received["factors"] += (ranks - 1) * mine * sent.element_size()
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
        for place, member in enumerate(members):
            length = sum(sizes[name] for name in names[member])
            if not length:
                continue
            if member == self.rank:
                buffers[member] = torch.cat([mine[name] for name in names[member]])
            else:
                buffers[member] = torch.empty(length, dtype=dtype, device=self._device)
                self.received[kind] += buffers[member].nbytes
            works.append(dist.broadcast(buffers[member], group=group, group_src=place, async_op=True))
            self.calls[kind] += 1
        for work in works:
            work.wait()
        return {
            name: part
            for member, buffer in buffers.items()
            for name, part in zip(names[member], buffer.split([sizes[n] for n in names[member]]), strict=True)
        }

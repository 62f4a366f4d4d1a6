"""What is kept of all layers between steps, on the ranks that need it: running averages and decompositions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from .averages import absent, advance, packed_length, unpack
from .exchange import Exchange
from .footprint import Storage, from_wire, to_wire
from .layers import Shape
from .solve import Basis, decompose


class Curvature:
    """Factors and decompositions of layers of the given `shapes`, on this rank of `exchange`'s placement.

    With `storage.factors` "owner", averages lie with the rank that decomposes them. With "local", each rank averages
    what it saw, and they are added up when decompositions are due. `tell(layer, text)` hears of trouble.
    """

    def __init__(
        self, shapes: Mapping[str, Shape], storage: Storage, exchange: Exchange, device: torch.device,
        tolerance: float | None, tell: Callable[[str, str], None],
    ) -> None:  # fmt: skip
        self.shapes, self.storage, self.exchange, self.device = shapes, storage, exchange, device
        self.tolerance, self._tell = tolerance, tell
        self.averages: dict[str, torch.Tensor] = {}
        self.bases: dict[str, Basis] = {}

    def update(self, sums: Mapping[str, torch.Tensor], decay: float) -> None:
        """One step of the running averages, from packed sums; a layer without any counts nothing and decays."""
        new = {
            name: sums[name] if name in sums else absent(0, shape, self.storage.dtype, self.device)
            for name, shape in self.shapes.items()
        }
        if self.storage.factors == "owner":
            new = self.exchange.add_up(new)
        for name in list(new):
            self.averages[name] = advance(self.averages.get(name), new.pop(name), decay)

    def fold(self) -> None:
        """Bring local averages to their owners, who add them up; the others begin again from zero. Exact: averages are
        linear.
        """
        if self.storage.factors == "local" and self.exchange.placement.ranks > 1 and self.averages:
            totals = self.exchange.add_up(self.averages)
            for name, average in self.averages.items():
                average.copy_(totals[name]) if name in totals else average.zero_()

    def factors(self, name: str) -> tuple[torch.Tensor, torch.Tensor] | None:
        """(A, G) of a layer that this rank owns, None before the first update."""
        return unpack(self.averages[name], self.shapes[name]) if name in self.averages else None

    def decompose(self, damping: float) -> None:
        """Decompose what this rank owns and exchange it with the column."""
        self.fold()
        rank, placement = self.exchange.rank, self.exchange.placement
        mine: dict[str, Basis | None] = {}
        for name in placement.owned(rank):
            factors, old = self.factors(name), self.bases.get(name)
            mine[name] = old if factors is None else decompose(
                factors, self.shapes[name], self.storage.method, damping, old, self.storage.basis_dtype, self.tolerance,
                lambda text, name=name: self._tell(name, text),
            )  # fmt: skip
        if placement.workers > 1:
            sizes = {name: self._wire(name, None).numel() for name in placement.preconditions(rank)}
            wires = self.exchange.share_decompositions({n: self._wire(n, basis) for n, basis in mine.items()}, sizes)
            mine = {name: mine[name] if name in mine else self._unwired(name, wire) for name, wire in wires.items()}
        self.bases = {name: basis for name, basis in mine.items() if basis is not None}

    def _wire(self, name: str, basis: Basis | None) -> torch.Tensor:
        return to_wire(None if basis is None else basis.tensors(), self.storage, self.shapes[name], self.device)

    def _unwired(self, name: str, wire: torch.Tensor) -> Basis | None:
        tensors = from_wire(wire, self.storage, self.shapes[name])
        return None if tensors is None else self._basis(name, tensors)

    def _basis(self, name: str, tensors: list[torch.Tensor]) -> Basis:
        if self.storage.method == "inverse":
            return Basis(tensors[0], None, tensors[1], None)
        return Basis(*([None, *tensors] if self.shapes[name].diagonal else tensors))

    def held(self) -> dict[str, tuple[int, int]]:
        """Bytes held here now: (factors, decomposition) of each layer."""
        return {
            name: (
                self.averages[name].nbytes if name in self.averages else 0,
                sum(tensor.nbytes for tensor in self.bases[name].tensors()) if name in self.bases else 0,
            )
            for name in self.shapes
        }

    def state_dict(self) -> dict[str, Any]:
        """{layer: {"factors": vector, "basis": tensors or None}} of all layers, on the CPU; called by all ranks."""
        self.fold()
        own = self.exchange.placement.owned(self.exchange.rank)
        vectors = {
            name: self.averages.get(name, torch.zeros(packed_length(self.shapes[name]), dtype=self.storage.dtype)).to(
                self.device
            )
            for name in own
        }
        lengths = {name: packed_length(shape) for name, shape in self.shapes.items()}
        vectors = self.exchange.share_state(vectors, lengths, self.storage.dtype)
        sizes = {name: self._wire(name, None).numel() for name in self.shapes}
        wires = self.exchange.share_state({n: self._wire(n, self.bases.get(n)) for n in own}, sizes, torch.uint8)
        state = {}
        for name, shape in self.shapes.items():
            tensors = from_wire(wires[name], self.storage, shape)
            basis = None if tensors is None else [tensor.cpu() for tensor in tensors]
            state[name] = {"factors": vectors[name].to("cpu", copy=True), "basis": basis}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take from a state of any number of ranks and fraction what this rank needs, and no more."""
        wrong = sorted(self.shapes.keys() ^ state.keys()) or sorted(
            name for name, shape in self.shapes.items() if state[name]["factors"].numel() != packed_length(shape)
        )
        if wrong:
            raise ValueError(f"this state is of another model or selection of layers: they differ in {wrong[0]!r}")
        rank, placement = self.exchange.rank, self.exchange.placement
        self.averages, self.bases = {}, {}
        for name in self.shapes:
            vector = state[name]["factors"].to(self.device, self.storage.dtype, copy=True)
            if name in placement.owned(rank):
                self.averages[name] = vector
            elif self.storage.factors == "local":
                self.averages[name] = torch.zeros_like(vector)
        for name in placement.preconditions(rank):
            tensors, sizes = state[name]["basis"], self.storage.basis_sizes(self.shapes[name])
            if tensors is not None:
                if [tuple(tensor.shape) for tensor in tensors] != [size for size, _ in sizes]:
                    raise ValueError(f"this state was made by another method than {self.storage.method!r}")
                tensors = [t.to(self.device, dtype, copy=True) for t, (_, dtype) in zip(tensors, sizes, strict=True)]
                self.bases[name] = self._basis(name, tensors)

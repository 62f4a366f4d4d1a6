"""What K-FAC will hold and receive, from the layers' sizes alone: a model on the meta device will do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from .averages import packed_length
from .layers import Shape, find_layers
from .placement import Placement, cost, place
from .solve import METHODS

HOLDINGS = ("owner", "local")
HEADER_BYTES = 8
"""Before each layer's decomposition goes whether there is one."""


@dataclass(frozen=True)
class Storage:
    """How K-FAC keeps things: `factors` are averaged by their "owner", or where they arise ("local"); decompositions by
    `method` in `dtype`, their matrices in `basis_dtype` (None: also `dtype`).
    """

    factors: str = "owner"
    method: str = "eigen"
    dtype: torch.dtype = torch.float32
    basis_dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        if self.factors not in HOLDINGS:
            raise ValueError(f"factors must be 'owner' or 'local', got {self.factors!r}")
        if self.method not in METHODS:
            raise ValueError(f"method must be 'eigen' or 'inverse', got {self.method!r}")
        if self.basis_dtype not in (None, torch.float16, torch.bfloat16, torch.float32, torch.float64):
            raise ValueError(f"basis_dtype must be None or a dtype such as torch.bfloat16, got {self.basis_dtype!r}")

    def basis_sizes(self, shape: Shape) -> list[tuple[tuple[int, ...], torch.dtype]]:
        """Shape and dtype of each tensor of a layer's `Basis`, in its order."""
        b, a, o, stored = shape.blocks, shape.inputs, shape.outputs, self.basis_dtype or self.dtype
        if self.method == "inverse":
            return [((b, a) if shape.diagonal else (b, a, a), stored), ((b, o, o), stored)]
        left = [((b, a), self.dtype)] if shape.diagonal else [((b, a, a), stored), ((b, a), self.dtype)]
        return [*left, ((b, o, o), stored), ((b, o), self.dtype)]

    def basis_bytes(self, shape: Shape) -> int:
        """Bytes of a layer's decomposition as it is held."""
        return sum(torch.Size(size).numel() * dtype.itemsize for size, dtype in self.basis_sizes(shape))

    def factor_bytes(self, shape: Shape) -> int:
        """Bytes of a layer's running averages, packed."""
        return packed_length(shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Prediction:
    """Bytes by rank. `factors` and `decompositions` are held; the others received: at each reduction of the factors,
    each decomposition, each step. `layers` has (factors, decomposition) of each layer where it is held.
    """

    placement: Placement
    layers: dict[str, tuple[int, int]]
    factors: list[int]
    decompositions: list[int]
    received_factors: list[int]
    received_decompositions: list[int]
    received_gradients: list[int]
    messages: dict[str, tuple[int, int]]
    """(decomposition, preconditioned gradient) of each layer as they are sent."""
    storage: Storage

    @property
    def held(self) -> list[int]:
        """All K-FAC holds between steps, by rank."""
        return [sum(pair) for pair in zip(self.factors, self.decompositions, strict=True)]

    def received_per_step(self, rank: int, reduced_every: float, decompose_every: float) -> float:
        """Mean bytes a step, if factors are reduced and decomposed so often."""
        rare = self.received_factors[rank] / reduced_every + self.received_decompositions[rank] / decompose_every
        return rare + self.received_gradients[rank]

    def held_by_layer(self, rank: int) -> dict[str, tuple[int, int]]:
        """(factors, decomposition) of each layer that `rank` holds between steps."""
        grid, everywhere = self.placement, self.storage.factors == "local"
        with_factors, with_basis = set(grid.owned(rank)), set(grid.preconditions(rank))
        return {
            name: (factors * (everywhere or name in with_factors), basis * (name in with_basis))
            for name, (factors, basis) in self.layers.items()
        }

    def received_by_layer(self, rank: int) -> dict[str, dict[str, int]]:
        """{purpose: {layer: bytes}} that `rank` receives at each reduction, each decomposition, each step."""
        grid = self.placement
        own, held = set(grid.owned(rank)), set(grid.preconditions(rank))
        found = {
            "factors": {name: (grid.ranks - 1) * self.layers[name][0] for name in own},
            "decompositions": {name: self.messages[name][0] for name in held - own},
            "gradients": {name: message[1] for name, message in self.messages.items() if name not in held},
        }
        return {kind: {name: number for name, number in each.items() if number} for kind, each in found.items()}

    def sent_by_layer(self, rank: int) -> dict[str, dict[str, int]]:
        """The same for what `rank` sends, once for each that receives it."""
        grid = self.placement
        own, held = grid.owned(rank), grid.preconditions(rank)
        found = {
            "factors": {name: sizes[0] for name, sizes in self.layers.items() if name not in own},
            "decompositions": {name: (grid.workers - 1) * self.messages[name][0] for name in own},
            "gradients": {name: (grid.columns - 1) * self.messages[name][1] for name in held},
        }
        return {kind: {name: number for name, number in each.items() if number} for kind, each in found.items()}


def shapes_of(model: nn.Module, skip: Iterable[str] = ()) -> dict[str, Shape]:
    """Sizes of the layers that K-FAC would precondition; the model's parameters may be on the meta device."""
    return {name: layer.shape for name, layer in find_layers(model, skip).items()}


def predict(
    model: nn.Module | Mapping[str, Shape], *, ranks: int = 1, gradient_worker_fraction: float = 1.0,
    storage: Storage | None = None, costs: Mapping[str, float] | None = None,
) -> Prediction:  # fmt: skip
    """Memory and traffic of K-FAC for `model`, or the sizes of its layers, to the byte.

    As J. G. Pauloski et al. (SC21) place them, with packed triangles (half of the factors) and no stored reciprocals.
    `costs` are milliseconds to decompose each layer, estimated if None.
    """
    shapes, storage = shapes_of(model) if isinstance(model, nn.Module) else model, storage or Storage()
    costs = costs or {name: cost(shape) for name, shape in shapes.items()}
    layers = {name: (storage.factor_bytes(shape), storage.basis_bytes(shape)) for name, shape in shapes.items()}
    messages = {
        name: (_on_the_wire(layers[name][1]), shape.parameters * storage.dtype.itemsize)
        for name, shape in shapes.items()
    }
    found = Prediction(place(costs, ranks, gradient_worker_fraction), layers, [], [], [], [], [], messages, storage)
    for rank in range(ranks):
        held, received = found.held_by_layer(rank).values(), found.received_by_layer(rank)
        found.factors.append(sum(factors for factors, _ in held))
        found.decompositions.append(sum(basis for _, basis in held))
        found.received_factors.append(sum(received["factors"].values()))
        found.received_decompositions.append(sum(received["decompositions"].values()))
        found.received_gradients.append(sum(received["gradients"].values()))
    return found


def _on_the_wire(nbytes: int) -> int:
    return HEADER_BYTES + -(-nbytes // HEADER_BYTES) * HEADER_BYTES  # every layer begins at a multiple of a header


def to_wire(tensors: list[torch.Tensor] | None, storage: Storage, shape: Shape, device: torch.device) -> torch.Tensor:
    """A decomposition, or that there is none, as bytes."""
    wire = torch.zeros(_on_the_wire(storage.basis_bytes(shape)), dtype=torch.uint8, device=device)
    if tensors is not None:
        wire[0], at = 1, HEADER_BYTES
        for tensor in sorted(tensors, key=lambda t: -t.element_size()):
            wire[at : at + tensor.nbytes] = tensor.contiguous().view(-1).view(torch.uint8)
            at += tensor.nbytes
    return wire


def from_wire(wire: torch.Tensor, storage: Storage, shape: Shape) -> list[torch.Tensor] | None:
    """The tensors that `to_wire` was given; copies, so that no rank keeps a whole message alive."""
    if not int(wire[0]):
        return None
    sizes, at, found = storage.basis_sizes(shape), HEADER_BYTES, {}
    # Wide numbers first, so that each tensor begins where its dtype may.
    for number in sorted(range(len(sizes)), key=lambda number: -sizes[number][1].itemsize):
        size, dtype = sizes[number]
        nbytes = torch.Size(size).numel() * dtype.itemsize
        found[number] = wire[at : at + nbytes].clone().view(dtype).view(size)
        at += nbytes
    return [found[number] for number in range(len(sizes))]

"""The preconditioner beside a torch optimizer: `loss.backward(); kfac.step(); optimizer.step()`."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from .capture import REDUCTIONS, Capture
from .curvature import Curvature
from .exchange import Exchange
from .footprint import Prediction, Storage, predict
from .layers import find_layers
from .likelihood import Likelihood, stream

Hyper = float | Callable[[int], float]
LIMITS = {
    "damping": (0.0, math.inf, "a positive number; 0.003 suits most networks at a mean loss"),
    "factors_every": (1, math.inf, "a whole number of steps from 1"),
    "decompose_every": (1, math.inf, "a whole number of steps from 1"),
    "decay": (0.0, 1.0, "at least 0 and below 1; 0.95 is usual"),
    "kl_clip": (0.0, math.inf, "a positive number, or None for no clipping; 0.001 is usual"),
    "lr": (0.0, math.inf, "the optimizer's learning rate"),
}


@dataclass(frozen=True)
class Report:
    """What the last step did: λ, ν (1 without clipping), ⟨V, ∇L⟩ before clipping, and cos(∇L, V) by layer.

    A cosine of 1.000 means that a layer is not preconditioned at all; nan that it has no gradient.
    """

    step: int
    damping: float
    scale: float
    product: float
    cosines: dict[str, float]


class KFAC:
    """Kronecker-factored approximate curvature for the Linear, Conv1d, Conv2d and Embedding layers of `model`.

    Call the model in training mode, then `loss.backward(); kfac.step(); optimizer.step()`: `step` replaces the
    gradients of these layers, in place, by V = (F + λ I)⁻¹ ∇L with F ≈ A ⊗ G of each layer. All other gradients, those
    of BatchNorm say, stay as they are, outside the clip too, and meet the same learning rate. Apply weight decay
    decoupled, in the optimizer: as part of the gradient it would be preconditioned. Under AMP, unscale first.

    likelihood: "categorical" (the model returns logits; `class_dim` if they have more than two dimensions), "gaussian"
        (means, unit variance: half the squared distance) or "bernoulli" (logits). The loss is a mean over its terms.
    damping: λ, added to the eigenvalues of A ⊗ G; it is in units of the mean loss.
    factors_every, decompose_every: intervals in steps. decay: of the factors' running average.
    kl_clip: κ, None for none; it needs `lr`.
    fisher: "sampled" (targets drawn from the model) or "empirical" (the loss's own gradients, which needs `reduction`,
        "mean" or "sum"; `accumulation`, by which each of several backward passes a step was divided; and `loss_scale`,
        such as `scaler.get_scale`).
    automatic: whether a tensor that the model returns is taken for its outputs; otherwise, and for models that return
        something else, call `observe(outputs)` between forward and backward.
    sharing: "expand" or "reduce" for layers with several rows per example, for all or by name pattern.
    skip: names or patterns of layers to leave to the optimizer.
    method: "eigen" (exact damping) or "inverse" (π-damped inverses, cheaper to decompose).
    basis_dtype: half precision to store and send decompositions in. basis_tolerance: keep a basis that still fits
        up to this relative error (see `solve.eigh`).
    gradient_worker_fraction, factors, group: over ranks of torch.distributed (see `placement`, `footprint.Storage`);
        "owner" reduces factors at every update of them, "local" only when decompositions are due.

    Hyper-parameters may be callables of the step (from 0); `set` changes them between steps.

    Raises:
        ValueError: an argument out of its limits, or a model with nothing to precondition.
    """

    def __init__(
        self, model: nn.Module, *, likelihood: str, damping: Hyper = 3e-3, factors_every: Hyper = 10,
        decompose_every: Hyper = 100, decay: Hyper = 0.95, kl_clip: Hyper | None = None, lr: Hyper | None = None,
        fisher: str = "sampled", reduction: str | None = None, accumulation: int = 1,
        loss_scale: Callable[[], float] | None = None, class_dim: int | None = None, automatic: bool = True,
        sharing: str | Mapping[str, str] = "expand", skip: Iterable[str] = (), method: str = "eigen",
        basis_dtype: torch.dtype | None = None, basis_tolerance: float | None = None,
        gradient_worker_fraction: float = 1.0, factors: str = "owner", group: Any = None, seed: int = 0,
    ) -> None:  # fmt: skip
        model = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
        if fisher not in ("sampled", "empirical"):
            raise ValueError(f"fisher must be 'sampled' or 'empirical', got {fisher!r}")
        if (fisher == "empirical") != (reduction in REDUCTIONS):
            raise ValueError(
                f"fisher={fisher!r} with reduction={reduction!r}: the empirical Fisher needs to know whether the loss "
                "is a 'mean' or a 'sum' over its terms; the sampled one does not ask"
            )
        if basis_tolerance is not None and not 0 < basis_tolerance < 1:
            raise ValueError(f"basis_tolerance must lie between 0 and 1, or be None, got {basis_tolerance!r}")
        self._hyper: dict[str, Any] = {"kl_clip": None, "lr": None}
        self.steps, self.seed = 0, seed
        self.set(damping=damping, factors_every=factors_every, decompose_every=decompose_every, decay=decay)
        self.set(lr=lr, kl_clip=kl_clip)
        self.layers = find_layers(model, skip, sharing)
        places = {(layer.weight.device, layer.name) for layer in self.layers.values()}
        self.device = next(iter(self.layers.values())).weight.device
        if elsewhere := sorted(name for device, name in places if device != self.device):
            raise ValueError(f"layer {elsewhere[0]!r} is not on {self.device} like the others: give a rank one device")
        dtype = reduce(torch.promote_types, (layer.dtype for layer in self.layers.values()))
        for layer in self.layers.values():
            layer.dtype = dtype
        self.storage = Storage(factors, method, dtype, basis_dtype)
        ranks = 1
        if dist.is_available() and dist.is_initialized():
            group = dist.group.WORLD if group is None else group
            ranks = dist.get_world_size(group)
        self.shapes = {name: layer.shape for name, layer in self.layers.items()}
        self.predicted: Prediction = predict(
            self.shapes, ranks=ranks, gradient_worker_fraction=gradient_worker_fraction, storage=self.storage
        )
        self.placement = self.predicted.placement
        self._exchange = Exchange(self.placement, group if ranks > 1 else None, self.device)
        self.curvature = Curvature(self.shapes, self.storage, self._exchange, self.device, basis_tolerance, self._tell)
        self.notices: list[str] = []
        self._figures: tuple | None = None
        self._seconds: Counter[str] = Counter()
        scale = loss_scale or (lambda: 1.0)
        self._capture = Capture(
            model, self.layers, Likelihood(likelihood, class_dim), sampled=fisher == "sampled", automatic=automatic,
            due=lambda: self._due("factors_every"), seed=lambda number: stream(seed, "fisher", self.steps, number),
            unscale=lambda terms: (terms if reduction == "mean" else 1) * accumulation / scale(),
        )  # fmt: skip
        self._capture.rank = self._exchange.rank

    def __enter__(self) -> KFAC:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the hooks; the model is as before. Idempotent."""
        self._capture.close()
        self._exchange.close()

    def set(self, **changes: Hyper | None) -> None:
        """Change hyper-parameters from the coming step on; ValueError says what is allowed. On all ranks alike."""
        for name, value in changes.items():
            if name not in LIMITS:
                raise ValueError(f"K-FAC has no hyper-parameter {name!r}; it has {', '.join(LIMITS)}")
            if not callable(value) and not (value is None and name in ("kl_clip", "lr")):
                _checked(name, value)
        merged = {**self._hyper, **changes}
        if merged["kl_clip"] is not None and merged["lr"] is None:
            raise ValueError("kl_clip bounds a step, so it needs to know lr: a number, or a callable of the step")
        self._hyper = merged

    def value(self, name: str) -> float | None:
        """A hyper-parameter at the coming step."""
        given = self._hyper[name]
        return _checked(name, given(self.steps)) if callable(given) else given

    def _due(self, interval: str) -> bool:
        return self.steps % int(self.value(interval)) == 0

    def observe(self, outputs: torch.Tensor, first: int | None = None) -> None:
        """Name the outputs of the forward pass just done; `first` is the global number of their first example."""
        self._capture.first, before = (self._capture.first if first is None else first), self._capture.first
        try:
            self._capture.observe(outputs)
        finally:
            self._capture.first = before

    @property
    def first_example(self) -> int | None:
        """Global number of the first example of this rank's coming batch; None: rank · the size of its batch.

        Draws belong to global numbers, so equal data on any number of ranks meet equal draws.
        """
        return self._capture.first

    @first_example.setter
    def first_example(self, first: int | None) -> None:
        self._capture.first = first

    @torch.no_grad()
    def step(self) -> None:
        """Replace the gradients of the layers by V; on all ranks, after their gradients were averaged.

        Raises:
            RuntimeError: factors are due and no forward pass was observed since the last step.
        """
        if self._due("factors_every"):
            with self._timed("factors"):
                self._update()
        if self._due("decompose_every"):
            with self._timed("decompose"):
                self.curvature.decompose(self.value("damping"))
        with self._timed("precondition"):
            self._precondition()
        self.steps += 1

    def _update(self) -> None:
        if not self._capture.observed:
            raise RuntimeError(
                f"step {self.steps} updates the factors, but no forward pass was observed: call the model that K-FAC "
                "was given, in training mode with gradients on, and if it returns no tensor kfac.observe(outputs)"
            )
        sums = self._capture.take()
        for name in sorted(self.layers.keys() - sums.keys()):
            self._tell(name, "took no part in the forward pass; it is left to the optimizer while it does not")
        self.curvature.update(sums, self.value("decay"))

    def _precondition(self) -> None:
        damping = self.value("damping")
        gradients = {name: layer.gradient() for name, layer in self.layers.items()}
        solved: dict[str, torch.Tensor] = {}
        for name in self.placement.preconditions(self._exchange.rank):
            grad, basis = gradients[name], self.curvature.bases.get(name)
            if grad is None:
                grad = torch.zeros(self._size(name), dtype=self.storage.dtype, device=self.device)
            solved[name] = grad if basis is None else basis.solve(grad, damping)
        if self.placement.columns > 1:
            flat = {name: each.reshape(-1) for name, each in solved.items()}
            sizes = {name: shape.parameters for name, shape in self.shapes.items()}
            flat = self._exchange.share_gradients(flat, sizes, self.storage.dtype)
            solved = {name: each.view(self._size(name)) for name, each in flat.items()}
        pairs = {name: (solved[name].flatten(), grad.flatten()) for name, grad in gradients.items() if grad is not None}
        if not pairs:
            return
        figures = torch.stack([torch.stack([v @ g, v @ v, g @ g]) for v, g in pairs.values()])
        product, scale = figures[:, 0].sum(), None
        if (clip := self.value("kl_clip")) is not None:
            # ν = min(1, √(κ / (η² |Σ ⟨V, ∇L⟩|))) (Pauloski et al., SC20): ⟨V, ∇L⟩ = Vᵀ F V for V = F⁻¹ ∇L.
            rate = self.value("lr")
            scale = (clip / (rate**2 * product.abs())).sqrt().clamp(max=1.0) if rate else torch.ones_like(product)
        for name in pairs:
            self.layers[name].write(solved[name] if scale is None else solved[name] * scale)
        self._figures = (self.steps, damping, scale, product, dict(zip(pairs, figures, strict=True)))

    def _size(self, name: str) -> tuple[int, int, int]:
        shape = self.shapes[name]
        return shape.blocks, shape.outputs, shape.inputs

    @property
    def report(self) -> Report | None:
        """Figures of the last step, None before the first; waits for the device."""
        if self._figures is None:
            return None
        step, damping, scale, product, figures = self._figures
        cosines = {}
        for name, (vg, vv, gg) in zip(figures, torch.stack(list(figures.values())).tolist(), strict=True):
            cosines[name] = vg / math.sqrt(vv * gg) if vv * gg > 0 else math.nan
        return Report(step, damping, 1.0 if scale is None else float(scale), float(product), cosines)

    def spectra(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """(d_A, d_G) on the CPU, ascending within a block, of the layers this rank preconditions by "eigen"."""
        return {
            name: (basis.left_values.cpu(), basis.right_values.cpu())
            for name, basis in self.curvature.bases.items()
            if basis.right_values is not None
        }

    def held(self) -> dict[str, int]:
        """Bytes this rank holds between steps: "factors" and "decompositions"; `predicted` says the same beforehand."""
        return self.curvature.held()

    @property
    def received(self) -> dict[str, int]:
        """Bytes this rank has received so far from others: "factors", "decompositions", "gradients", "state"."""
        return dict(self._exchange.received)

    @property
    def calls(self) -> dict[str, int]:
        """Collective calls so far, by the same purposes."""
        return dict(self._exchange.calls)

    def state_dict(self) -> dict[str, Any]:
        """All layers' averages and decompositions by name, the step and plain hyper-parameters; on the CPU.

        To be called by all ranks between steps. Loads at any number of ranks and any fraction. Draws of the Fisher
        follow from the step, so there is no generator to save.
        """
        plain = {name: value for name, value in self._hyper.items() if not callable(value)}
        return {"steps": self.steps, "hyper": plain, "layers": self.curvature.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`; ValueError if it is of another model. Callables stay those given here."""
        self.curvature.load_state_dict(state["layers"])
        self._capture.take()
        self.steps = int(state["steps"])
        plain = {name: value for name, value in state["hyper"].items() if not callable(self._hyper[name])}
        self._hyper = {**self._hyper, **plain}

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds so far as the host sees them: "capture" (in the hooks), "factors", "decompose", "precondition"."""
        return {"capture": self._capture.seconds, **self._seconds}

    @contextlib.contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self._seconds[stage] += time.perf_counter() - began

    def _tell(self, name: str, text: str) -> None:
        """Say once what a person should know of a layer."""
        message = f"layer {name!r}: {text}"
        if message not in self.notices:
            self.notices.append(message)
            warnings.warn(f"K-FAC, {message}", stacklevel=4)


def _checked(name: str, value: Any) -> float:
    low, high, allowed = LIMITS[name]
    good = isinstance(value, int | float) and not isinstance(value, bool) and low <= value < high
    if good and name.endswith("_every"):
        good = value == int(value)
    if not good or (value == 0 and name in ("damping", "kl_clip")):
        raise ValueError(f"{name} must be {allowed}; got {value!r}")
    return value

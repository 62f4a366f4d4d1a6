"""The preconditioner beside a torch optimizer: `loss.backward(); kfac.step(); optimizer.step()`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from .capture import REDUCTIONS, Capture
from .curvature import Curvature
from .damping import Adaptation, LevenbergMarquardt
from .directions import Figures, directions, measure
from .exchange import Exchange, by_kind, by_layer
from .footprint import Prediction, Storage, predict
from .hyper import Hyper, HyperParameters
from .layers import find_layers
from .likelihood import Likelihood, stream
from .report import Report, cosines, thinned
from .sites import agreed_costs
from .stopwatch import Late, Stopwatch


class KFAC:
    """Kronecker-factored approximate curvature for the Linear, Conv1d, Conv2d and Embedding layers of `model`.

    Call the model in training mode, then `loss.backward(); kfac.step(); optimizer.step()`: `step` replaces the
    gradients of these layers, in place, by V = (F + λ I)⁻¹ ∇L with F ≈ A ⊗ G of each layer. All other gradients, those
    of BatchNorm say, stay as they are, outside the clip too, and meet the same learning rate. Apply weight decay
    decoupled, in the optimizer: as part of the gradient it would be preconditioned. Under AMP, unscale first.

    likelihood: "categorical" (the model returns logits; `class_dim` if they have more than two dimensions), "gaussian"
        (means, unit variance: half the squared distance) or "bernoulli" (logits). The loss is a mean over its terms.
    damping: λ, added to the eigenvalues of A ⊗ G, in units of the mean loss; a number, a callable of the step, or a
        `LevenbergMarquardt` that adapts it, for which call `adapt` after `optimizer.step()`.
    factors_every, decompose_every: intervals in steps. decay: of the factors' running average.
    kl_clip: κ, None for none; it needs `lr`.
    fisher: "sampled" (targets drawn from the model) or "empirical" (the loss's own gradients, which needs `reduction`,
        "mean" or "sum" over this rank's terms; `accumulation`, by which each of several backward passes a step was
        divided; and `loss_scale`, such as `scaler.get_scale`, or whatever else multiplies the loss).
    automatic: whether a tensor that the model returns is taken for its outputs; otherwise, and for models that return
        something else, call `observe(outputs)` between forward and backward.
    sharing: "expand" or "reduce" for layers with several rows per example, for all or by name pattern.
    skip: names or patterns of layers to leave to the optimizer.
    method: "eigen" (exact damping) or "inverse" (π-damped inverses, cheaper to decompose).
    basis_dtype: half precision to store and send decompositions in. basis_tolerance: keep a basis that still fits
        up to this relative error (see `solve.eigh`).
    gradient_worker_fraction, factors, group: over ranks of torch.distributed (see `placement`, `footprint.Storage`);
        "owner" reduces factors at every update of them, "local" only when decompositions are due.
    costs: milliseconds to decompose each layer, by name, by which layers are spread over ranks; None estimates them
        from their sizes, "measured" measures each size once, on rank 0, now.

    Hyper-parameters may be callables of the step (from 0); `set` changes them between steps.

    Raises:
        ValueError: an argument out of its limits, or a model with nothing to precondition.
    """

    def __init__(
        self, model: nn.Module, *, likelihood: str, damping: Hyper | LevenbergMarquardt = 3e-3,
        factors_every: Hyper = 10, decompose_every: Hyper = 100, decay: Hyper = 0.95,
        kl_clip: Hyper | None = None, lr: Hyper | None = None,
        fisher: str = "sampled", reduction: str | None = None, accumulation: int = 1,
        loss_scale: Callable[[], float] | None = None, class_dim: int | None = None, automatic: bool = True,
        sharing: str | Mapping[str, str] = "expand", skip: Iterable[str] = (), method: str = "eigen",
        basis_dtype: torch.dtype | None = None, basis_tolerance: float | None = None,
        gradient_worker_fraction: float = 1.0, factors: str = "owner", costs: Mapping[str, float] | str | None = None,
        group: Any = None, seed: int = 0,
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
        rule = damping if isinstance(damping, LevenbergMarquardt) else None
        if rule and method != "eigen":
            raise ValueError("adaptive damping needs method='eigen': inverses hold the damping they were made with")
        self._hyper = HyperParameters(
            damping=rule.initial if rule else damping, factors_every=factors_every,
            decompose_every=decompose_every, decay=decay, kl_clip=kl_clip, lr=lr,
        )  # fmt: skip
        self.steps, self.seed = 0, seed
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
        group = group if ranks > 1 else None
        self.predicted: Prediction = predict(
            self.shapes, ranks=ranks, gradient_worker_fraction=gradient_worker_fraction, storage=self.storage,
            costs=agreed_costs(costs, self.shapes, dtype, self.device, group),
        )  # fmt: skip
        self.placement = self.predicted.placement
        self._watch = Stopwatch(self.device)
        self._exchange = Exchange(self.placement, group, self.device, self._watch)
        self.curvature = Curvature(
            self.shapes, self.storage, self._exchange, self.device, basis_tolerance,
            lambda name, text: self._tell(f"layer {name!r}: {text}"),
        )  # fmt: skip
        self.notices: list[str] = []
        self._told: set[str] = set()
        self._figures: Figures | None = None
        self._products, self._spectra = Late(), {}
        self._adaptation = Adaptation(rule, model, self.layers, self.curvature, self._tell) if rule else None
        scale = loss_scale or (lambda: 1.0)
        self._capture = Capture(
            model, self.layers, Likelihood(likelihood, class_dim), sampled=fisher == "sampled", automatic=automatic,
            due=lambda: self._due("factors_every"), seed=lambda number: stream(seed, "fisher", self.steps, number),
            unscale=lambda terms: (terms if reduction == "mean" else 1) * accumulation / scale(),
            watch=self._watch, rank=self._exchange.rank,
        )  # fmt: skip

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
        self._hyper.set(**changes)

    def value(self, name: str) -> float | None:
        """A hyper-parameter at the coming step."""
        return self._hyper.at(name, self.steps)

    def _due(self, interval: str) -> bool:
        return self._hyper.due(interval, self.steps)

    def observe(self, outputs: torch.Tensor, first: int | None = None) -> None:
        """Name the outputs of the forward pass just done; `first` is the global number of their first example.

        No effect on steps that need no factors.
        """
        self._capture.first, before = (self._capture.first if first is None else first), self._capture.first
        try:
            self._capture.observe(outputs)
        finally:
            self._capture.first = before

    @property
    def first_example(self) -> int | None:
        """Global number of the first example of this rank's coming batch; None: rank · the size of its batch.

        Draws belong to the step and the global number, so a batch meets the same draws however it is spread over ranks,
        or over micro-batches, which count on from here.
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
            with self._watch("factors"):
                self._update()
        if self._due("decompose_every"):
            with self._watch("decompose"):
                self.curvature.decompose(self.value("damping"))
                self._spectra = {}
        with self._watch("precondition"):
            self._precondition()
        self.steps += 1
        self._watch.lap()
        self._heed()

    def _heed(self) -> None:
        """Tell of gradients that were not finite, as soon as it is known without waiting for the device."""
        for step, product in self._products.take():
            if not math.isfinite(product):
                self._tell(
                    f"step {step}: the gradients are not finite, because the loss is NaN or infinite: go on from an "
                    "earlier checkpoint with a lower learning rate, more damping or a kl_clip. (If it is a scaled loss "
                    "that overflowed, the scaler skips this step.)",
                    once="not finite",
                )

    def _update(self) -> None:
        if not self._capture.observed:
            raise RuntimeError(
                f"step {self.steps} updates the factors, but no forward pass was observed: call the model that K-FAC "
                "was given, in training mode with gradients on, and if it returns no tensor kfac.observe(outputs)"
            )
        for name in sorted(self.layers.keys() - self._capture.called):
            self._tell(
                f"layer {name!r}: took no part in the forward pass; while it never does, it is left to the optimizer"
            )
        self.curvature.update(self._capture.take(), self.value("decay"))

    def _precondition(self) -> None:
        damping = self.value("damping")
        gradients = {name: layer.gradient() for name, layer in self.layers.items()}
        solved = directions(gradients, self.curvature, damping)
        found = measure(self.steps, damping, gradients, solved, self.value("kl_clip"), self.value("lr"))
        if found is None:
            return
        if self._adaptation is not None:
            self._adaptation.begin(self.steps, damping, gradients)  # before they are overwritten
        if found.scale is not None:
            torch._foreach_mul_([solved[name] for name in found.layers], found.scale)
        for name in found.layers:
            self.layers[name].write(solved[name])
        self._figures = found
        self._products.put(self.steps, found.product)

    @torch.no_grad()
    def adapt(self, loss: torch.Tensor | float, again: Callable[[], torch.Tensor | float]) -> float | None:
        """Adapt the damping after `optimizer.step()`: `loss` is this step's, `again()` computes it anew, same batch.

        ρ = (L(θ + δ) - L(θ)) / (M(δ) - M(0)), δ what the optimizer changed, momentum included (Martens & Grosse 2015,
        section 6.5). Returns ρ on steps that adapt, None on others, on which `again` is not called. On all ranks
        together; losses are averaged over them.
        """
        ratio = None if self._adaptation is None else self._adaptation.end(loss, again)
        if ratio is not None:
            self._hyper.set(damping=self._adaptation.rule.adapted(self.value("damping"), ratio))
        return ratio

    @property
    def report(self) -> Report | None:
        """Figures of the last step, None before the first; waits for the device, nothing else does."""
        if self._figures is None:
            return None
        now = self._figures
        if not self._spectra:
            self._spectra = {name: (thinned(a), thinned(g)) for name, (a, g) in self.spectra().items()}
        return Report(
            now.step, now.damping, 1.0 if now.scale is None else float(now.scale), float(now.product),
            cosines(now), self._watch.milliseconds, self.held(), self.received, self.sent, self._spectra,
        )  # fmt: skip

    def spectra(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """(d_A, d_G) on the CPU, ascending within a block, of the layers this rank preconditions by "eigen"."""
        return {
            name: (basis.left_values.cpu(), basis.right_values.cpu())
            for name, basis in self.curvature.bases.items()
            if basis.right_values is not None
        }

    def held(self) -> dict[str, int]:
        """Bytes this rank holds between steps: "factors" and "decompositions"; `predicted` says the same beforehand."""
        factors, decompositions = zip(*self.curvature.held().values(), strict=True)
        return {"factors": sum(factors), "decompositions": sum(decompositions)}

    def traffic(self) -> dict[str, dict[str, dict[str, int]]]:
        """Bytes so far: {"received" or "sent": {purpose: {layer: bytes}}}, with the purposes of `received`."""
        return {way: by_layer(c) for way, c in (("received", self._exchange.received), ("sent", self._exchange.sent))}

    @property
    def received(self) -> dict[str, int]:
        """Bytes this rank has received so far from others: "factors", "decompositions", "gradients", "state"."""
        return by_kind(self._exchange.received)

    @property
    def sent(self) -> dict[str, int]:
        """Bytes this rank has sent so far, once for each that receives them."""
        return by_kind(self._exchange.sent)

    @property
    def calls(self) -> dict[str, int]:
        """Collective calls so far, by the same purposes."""
        return dict(self._exchange.calls)

    def state_dict(self) -> dict[str, Any]:
        """All layers' averages and decompositions by name, the step and plain hyper-parameters; on the CPU.

        To be called by all ranks between steps. Loads at any number of ranks and any fraction. Draws of the Fisher
        follow from the step, so there is no generator to save.
        """
        return {"steps": self.steps, "hyper": self._hyper.state_dict(), "layers": self.curvature.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`; ValueError if it is of another model. Callables stay those given here."""
        self.curvature.load_state_dict(state["layers"])
        self._hyper.load_state_dict(state["hyper"])
        self._capture.take()
        self.steps = int(state["steps"])
        self._spectra, self._figures = {}, None
        if self._adaptation is not None:
            self._adaptation.forget()

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds so far by stage; see `Report` for the stages."""
        return self._watch.seconds

    def _tell(self, text: str, once: str | None = None) -> None:
        """Say once what a person should know."""
        if (once or text) not in self._told:
            self._told.add(once or text)
            self.notices.append(text)
            warnings.warn(f"K-FAC, {text}", stacklevel=4)

"""Surrogates: models that predict a simulation's value, with an uncertainty, from a candidate's features.

A surrogate is any frozen object with `features(candidates) → (n, d)` and `fit(features, values, seed) → model`, where
`model.predict(features) → (mean (n,), std (n,))`. Both run as tasks, so they must be picklable, and the same seed must
give the same model. One with an attribute `wants`, the name of a detail that the simulator returns (such as "forces"),
is given these, too: `fit(features, values, seed, wanted)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .fingerprints import composition

Features = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class Forest:
    """Extremely randomised trees (Geurts et al. 2006), each on a bootstrap sample; std is that over the trees.

    `features(candidates)` gives an array (n, d); by default the composition of molecules given as SMILES. The trees
    weigh features as they are, counts as well as measures.
    """

    trees: int = 100
    min_leaf: int = 1
    share: float = 1.0
    """Of the features, how many are tried at a split."""
    features: Features = composition

    def __post_init__(self) -> None:
        for name in ("trees", "min_leaf"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}; give a whole number from 1")
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share!r}; give a share above 0 and at most 1")

    def fit(self, features: np.ndarray, values: np.ndarray, seed: int) -> FittedForest:
        from sklearn.ensemble import ExtraTreesRegressor

        trees = ExtraTreesRegressor(
            self.trees, min_samples_leaf=self.min_leaf, max_features=self.share, bootstrap=True, random_state=seed
        )
        return FittedForest(trees.fit(features.astype(np.float32), values))


@dataclass(frozen=True)
class FittedForest:
    """Trees that have been fitted."""

    trees: Any

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = features.astype(np.float32)
        each = np.stack([tree.predict(rows) for tree in self.trees.estimators_])
        return each.mean(0), each.std(0)


@dataclass(frozen=True)
class Ensemble:
    """Small torch networks that differ in their initial weights and bootstrap samples; std is that over the members.

    One hidden layer of `hidden` units on standardised features, trained by Adam for `epochs` passes over all values at
    once (B. Lakshminarayanan et al. 2017, without the adversarial examples).
    """

    members: int = 8
    hidden: int = 64
    epochs: int = 150
    lr: float = 3e-3
    weight_decay: float = 1e-3
    features: Features = composition

    def __post_init__(self) -> None:
        for name in ("members", "hidden", "epochs"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}; give a whole number from 1")
        if not (self.lr > 0 and self.weight_decay >= 0):
            raise ValueError(f"lr is {self.lr!r} and weight_decay {self.weight_decay!r}; give lr > 0, weight_decay ≥ 0")

    def fit(self, features: np.ndarray, values: np.ndarray, seed: int) -> FittedEnsemble:
        import torch

        generator = torch.Generator().manual_seed(seed)
        x, y = torch.from_numpy(features.astype(np.float32)), torch.from_numpy(values.astype(np.float32))
        at, width = x.mean(0), x.std(0, correction=0)
        width = torch.where(width > 0, width, torch.ones(()))
        level, spread = y.mean(), y.std(correction=0)
        spread = spread if spread > 0 else torch.ones(())
        x, y = (x - at) / width, (y - level) / spread
        rows = torch.randint(len(x), (self.members, len(x)), generator=generator)
        inputs, targets = x[rows], y[rows]  # (members, n, d), (members, n)
        w1 = torch.randn(self.members, x.shape[1], self.hidden, generator=generator) / x.shape[1] ** 0.5
        w2 = torch.randn(self.members, self.hidden, 1, generator=generator) / self.hidden**0.5
        weights = [w1, torch.zeros(self.members, 1, self.hidden), w2, torch.zeros(self.members, 1, 1)]
        for tensor in weights:
            tensor.requires_grad_()
        adam = torch.optim.AdamW(weights, lr=self.lr, weight_decay=self.weight_decay)
        for _ in range(self.epochs):
            adam.zero_grad()
            loss = ((_network(weights, inputs) - targets) ** 2).mean(1).sum()
            loss.backward()
            adam.step()
        numbers = [tensor.detach() for tensor in weights]
        return FittedEnsemble(numbers, at, width, float(level), float(spread))


@dataclass(frozen=True, eq=False)
class FittedEnsemble:
    """Networks that have been fitted, and what standardises their inputs and outputs."""

    weights: list
    at: Any
    width: Any
    level: float
    spread: float

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        import torch

        with torch.no_grad():
            x = (torch.from_numpy(features.astype(np.float32)) - self.at) / self.width
            each = self.level + self.spread * _network(self.weights, x.expand(len(self.weights[0]), *x.shape))
        return each.mean(0).numpy(), each.std(0, correction=0).numpy()


def _network(weights: list, x: Any) -> Any:
    w1, b1, w2, b2 = weights
    return ((x @ w1 + b1).relu() @ w2 + b2)[..., 0]

"""Preconditioned gradients beside those of curvlinops' KFACLinearOperator, where it covers the case, in float64.

    pip install --no-deps --target=FOLDER curvlinops-for-pytorch backpack-for-pytorch einops einconv unfoldNd \\
        linear_operator opt-einsum jaxtyping wadler_lindig tqdm
    PYTHONPATH=FOLDER python tests/benchmarks/kfac_against_curvlinops.py

It is no dependency of the tests, because installing it the ordinary way replaces torch by another build. For each case
curvlinops' operator K is made dense, (K + λ I) v = ∇L is solved, and v compared with what K-FAC writes into the
gradients. The last line is JSON; the exit status says whether all differ by less than 1e-12, relative.
"""

import json
import sys

import torch
from curvlinops import KFACLinearOperator
from torch import nn
from torch.nn.functional import cross_entropy

from scilab.kfac import KFAC

DAMPING, LIMIT = 0.1, 1e-12


class Mean(nn.Module):
    """Mean over positions, so that one loss term pools them."""

    def forward(self, x):
        return x.mean(1)


CASES = {
    "linear": ((9, 5), lambda: [nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3, bias=False)]),
    "convolution": ((5, 2, 6, 5), lambda: [nn.Conv2d(2, 3, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(90, 3)]),
    "stride": ((5, 2, 7, 6), lambda: [nn.Conv2d(2, 3, (3, 2), (2, 1), (1, 0)), nn.Flatten(), nn.Linear(60, 3)]),
    "dilation": ((5, 2, 7, 7), lambda: [nn.Conv2d(2, 3, 3, dilation=2, padding=1), nn.Flatten(), nn.Linear(75, 3)]),
    "no bias": ((5, 2, 6, 6), lambda: [nn.Conv2d(2, 4, 3, bias=False), nn.Flatten(), nn.Linear(64, 3)]),
    "sequence": ((7, 4, 5), lambda: [nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3), Mean()]),
}


def difference(size, parts, sharing, reduction):
    """Largest relative difference over the layers."""
    torch.manual_seed(0)
    model = nn.Sequential(*parts())
    x, y = torch.randn(size), torch.randint(3, (size[0],))
    worst = 0.0
    layers = [layer for layer in model if hasattr(layer, "weight")]
    kfac = KFAC(
        model, likelihood="categorical", fisher="empirical", reduction=reduction, damping=DAMPING, sharing=sharing
    )  # fmt: skip
    cross_entropy(model(x), y, reduction=reduction).backward()
    before = {layer: [p.grad.clone() for p in layer.parameters()] for layer in layers}
    kfac.step()
    kfac.close()
    for layer in layers:
        params = list(layer.parameters())
        operator = KFACLinearOperator(
            model, nn.CrossEntropyLoss(reduction=reduction), params, [(x, y)], fisher_type="empirical",
            kfac_approx=sharing, separate_weight_and_bias=False, check_deterministic=False,
        )  # fmt: skip
        # The Fisher of the mean loss; of a sum over N terms theirs is N times as large, ours stays the mean's.
        count = len(x) if reduction == "sum" else 1
        dense = operator @ torch.eye(operator.shape[1]) / count
        flat = torch.cat([grad.flatten() for grad in before[layer]])
        wanted = torch.linalg.solve(dense + DAMPING * torch.eye(len(flat)), flat)
        got = torch.cat([p.grad.flatten() for p in params])
        worst = max(worst, float((got - wanted).norm() / wanted.norm()))
    return worst


def main() -> None:
    """Compare, print, end with a line of JSON."""
    torch.set_default_dtype(torch.float64)
    found = {}
    for name, (size, parts) in CASES.items():
        for sharing in ("expand", "reduce"):
            for reduction in ("mean", "sum"):
                found[f"{name}, {sharing}, {reduction}"] = difference(size, parts, sharing, reduction)
                print(f"{name:12} {sharing:7} {reduction:5} {found[f'{name}, {sharing}, {reduction}']:.1e}")
    worst = max(found.values())
    print(json.dumps({"worst_relative_difference": worst, "limit": LIMIT, "torch": torch.__version__, "cases": found}))
    sys.exit(not worst < LIMIT)


if __name__ == "__main__":
    main()

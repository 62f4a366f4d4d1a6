"""Preconditioned gradients equal the dense damped solve of the definition, for every kind of layer."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from scilab.kfac import KFAC

DAMPING = 0.1  # the condition of the dense system, which is at most ‖F‖ / λ, limits what 1e-12 can mean
CASES = {
    "linear": (lambda: nn.Linear(5, 3), (7, 5)),
    "linear without bias": (lambda: nn.Linear(5, 3, bias=False), (7, 5)),
    "linear over a sequence": (lambda: nn.Linear(5, 3), (7, 4, 5)),
    "conv 3x3": (lambda: nn.Conv2d(2, 3, 3, padding=1), (7, 2, 6, 5)),
    "conv without padding": (lambda: nn.Conv2d(2, 3, 3), (4, 2, 6, 5)),
    "conv 5x3, too much padding": (lambda: nn.Conv2d(2, 3, (5, 3), padding=(3, 2)), (4, 2, 4, 5)),
    "conv larger than its image": (lambda: nn.Conv2d(2, 3, 5, padding=2), (4, 2, 3, 2)),
    "conv stride": (lambda: nn.Conv2d(2, 3, (3, 2), (2, 1), (1, 0), bias=False), (7, 2, 6, 5)),
    "conv stride in width alone": (lambda: nn.Conv2d(2, 3, 3, (1, 2), 1), (5, 2, 6, 7)),
    "conv dilation": (lambda: nn.Conv2d(2, 3, 3, padding=2, dilation=2), (5, 2, 7, 6)),
    "conv stride and dilation": (lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1, dilation=2), (5, 2, 8, 7)),
    "conv groups": (lambda: nn.Conv2d(4, 6, 3, padding=1, groups=2), (5, 4, 5, 4)),
    "conv depthwise": (lambda: nn.Conv2d(3, 3, 3, padding=1, groups=3), (5, 3, 5, 4)),
    "conv 1x1": (lambda: nn.Conv2d(3, 4, 1), (5, 3, 4, 4)),
    "conv same": (lambda: nn.Conv2d(2, 3, (4, 3), padding="same"), (5, 2, 6, 5)),
    "conv reflect": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (5, 2, 6, 5)),
    "conv circular": (lambda: nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode="circular"), (5, 2, 6, 5)),
    "conv1d": (lambda: nn.Conv1d(2, 3, 3, stride=2, padding=1, padding_mode="replicate"), (5, 2, 9)),
    "conv1d dilation": (lambda: nn.Conv1d(2, 4, 3, dilation=3, groups=2), (5, 2, 11)),
}


def far(x, y):
    return float((x - y).norm() / y.norm())


class Outputs(nn.Module):
    """A layer whose flattened output is taken for the model's, so that each example has one loss term."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        self.raw = self.layer(x)
        return self.raw.flatten(1).sin() * 2


def half_square(outputs, targets):
    return (outputs - targets).square().flatten(1).sum(1).mean() / 2


@pytest.mark.parametrize("sharing", ["expand", "reduce"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("case", CASES)
def test_empirical_equals_the_dense_solve(case, reduction, sharing, double, dense):
    make, size = CASES[case]
    model, x = Outputs(make()), torch.randn(size)
    kfac = KFAC(model, likelihood="gaussian", fisher="empirical", reduction=reduction, damping=DAMPING, sharing=sharing)
    outputs = model(x)
    loss = half_square(outputs, torch.randn_like(outputs)) * (1 if reduction == "mean" else len(x))
    (g,) = torch.autograd.grad(loss, model.raw, retain_graph=True)
    loss.backward()
    grad = dense.gradient(model.layer)
    kfac.step()
    per_example = g * len(x) if reduction == "mean" else g
    wanted = dense.solve(*dense.factors(model.layer, x, per_example, sharing), grad, DAMPING)
    assert far(dense.gradient(model.layer), wanted) < 1e-12


@pytest.mark.parametrize("likelihood", ["gaussian", "categorical", "bernoulli"])
@pytest.mark.parametrize("case", ["linear", "conv stride", "conv groups", "conv 3x3"])
def test_sampled_equals_the_dense_solve(case, likelihood, double, dense):
    make, size = CASES[case]
    model, x = Outputs(make()), torch.randn(size)
    kfac = KFAC(model, likelihood=likelihood, damping=DAMPING, seed=3)
    outputs = model(x)
    drawn = kfac._capture.likelihood.draw(outputs, kfac._capture._seed(1))
    (g,) = torch.autograd.grad(outputs, model.raw, drawn, retain_graph=True)
    half_square(outputs, torch.randn_like(outputs)).backward()
    grad = dense.gradient(model.layer)
    kfac.step()
    wanted = dense.solve(*dense.factors(model.layer, x, g), grad, DAMPING)
    assert far(dense.gradient(model.layer), wanted) < 1e-12


def test_embedding_equals_the_dense_solve_with_one_hot_rows(double, dense):
    tokens, padding = torch.randint(6, (9, 4)), 2
    model = nn.Sequential(nn.Embedding(6, 3, padding_idx=padding), nn.Flatten())
    kfac = KFAC(model, likelihood="gaussian", fisher="empirical", reduction="mean", damping=DAMPING)
    outputs = model(tokens)
    loss = half_square(outputs, torch.randn_like(outputs))
    (g,) = torch.autograd.grad(loss, outputs, retain_graph=True)
    loss.backward()
    before = model[0].weight.grad.clone()
    kfac.step()
    rows = functional.one_hot(tokens.flatten(), 6).to(torch.float64)
    real = tokens.flatten() != padding
    g = (g * 9).view(-1, 3)[real]
    left, right = rows[real].T @ rows[real] / 9, g.T @ g / real.sum()
    wanted = dense.solve(left[None], right[None], before.T[None], DAMPING)[0].T
    assert far(model[0].weight.grad, wanted) < 1e-12
    assert model[0].weight.grad[padding].abs().max() == 0


def test_a_module_called_twice_and_two_modules_with_one_weight_are_one_layer(double, dense):
    class Twice(nn.Module):
        def __init__(self, tied):
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
            self.second.weight, self.second.bias = self.first.weight, self.first.bias
            self.tied = tied

        def forward(self, x):
            self.inner = self.first(x)
            self.inputs = [x, self.inner.tanh()]
            self.outer = (self.second if self.tied else self.first)(self.inputs[1])
            return self.outer

    x, targets = torch.randn(6, 4), torch.randn(6, 4)
    for sharing in ("expand", "reduce"):
        for tied in (False, True):
            model = Twice(tied)
            kfac = KFAC(
                model, likelihood="gaussian", fisher="empirical", reduction="mean", damping=DAMPING, sharing=sharing
            )
            assert list(kfac.layers) == ["first"]
            loss = half_square(model(x), targets)
            gs = torch.autograd.grad(loss, [model.inner, model.outer], retain_graph=True)
            loss.backward()
            grad = dense.gradient(model.first)
            kfac.step()
            rows = torch.stack([*model.inputs], 1).detach()  # calls are positions
            wanted = dense.solve(*dense.factors(model.first, rows, torch.stack(gs, 1) * 6, sharing), grad, DAMPING)
            assert far(dense.gradient(model.first), wanted) < 1e-12


def test_the_loss_terms_of_tokens_are_counted_not_the_examples(double, dense):
    model, x = nn.Linear(5, 3), torch.randn(7, 4, 5)
    kfac = KFAC(model, likelihood="categorical", class_dim=-1, fisher="empirical", reduction="mean", damping=DAMPING)
    outputs = model(x)
    loss = functional.cross_entropy(outputs.flatten(0, 1), torch.randint(3, (28,)))
    (g,) = torch.autograd.grad(loss, outputs, retain_graph=True)
    loss.backward()
    grad = dense.gradient(model)
    kfac.step()
    left, right = dense.factors(model, x.view(28, 5), (g * 28).view(28, 3))  # 28 terms of their own
    assert far(dense.gradient(model), dense.solve(left, right, grad, DAMPING)) < 1e-12


def test_linear_regression_has_the_hessian_for_its_fisher(double):
    model, x, y = nn.Linear(4, 2), torch.randn(9, 4), torch.randn(9, 2)
    kfac = KFAC(model, likelihood="gaussian", damping=DAMPING)
    half_square(model(x), y).backward()
    kfac.step()

    def loss(matrix):
        return (x @ matrix[:, :-1].T + matrix[:, -1] - y).square().sum() / 18

    matrix = torch.cat([model.weight, model.bias[:, None]], 1).detach()
    hessian = torch.autograd.functional.hessian(loss, matrix).reshape(10, 10)
    left, _ = kfac.curvature.factors("")
    assert far(torch.kron(torch.eye(2), left[0]), hessian) < 1e-12


def test_batch_of_one_is_the_exact_fisher(double):
    """For one example K-FAC is no approximation (F. Dangel et al., arXiv 2507.05127): g gᵀ ⊗ a aᵀ is the gradient's
    own outer product."""
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    kfac = KFAC(model, likelihood="gaussian", fisher="empirical", reduction="mean", damping=DAMPING)
    half_square(model(torch.randn(1, 4)), torch.randn(1, 2)).backward()
    grads = [torch.cat([m.weight.grad, m.bias.grad[:, None]], 1).flatten() for m in (model[0], model[2])]
    kfac.step()
    for module, grad in zip((model[0], model[2]), grads, strict=True):
        fisher = torch.outer(grad, grad)
        wanted = torch.linalg.solve(fisher + DAMPING * torch.eye(len(grad)), grad)
        got = torch.cat([module.weight.grad, module.bias.grad[:, None]], 1).flatten()
        assert far(got, wanted) < 1e-12


def test_accumulated_micro_batches_give_the_factors_of_one_batch(double):
    def gradient(parts, **options):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
        x, y = torch.randn(8, 5), torch.randint(3, (8,))
        kfac = KFAC(model, likelihood="categorical", damping=DAMPING, **options)
        for rows in torch.arange(8).chunk(parts):
            (functional.cross_entropy(model(x[rows]), y[rows]) / parts).backward()
        kfac.step()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    once = gradient(1, fisher="empirical", reduction="mean")
    assert far(gradient(4, fisher="empirical", reduction="mean", accumulation=4), once) < 1e-12


def test_inverse_method_is_the_factored_solve_and_agrees_in_scale(double, dense):
    model, x = Outputs(nn.Conv2d(2, 3, 3, padding=1)), torch.randn(20, 2, 4, 4)
    grads = {}
    for method in ("inverse", "eigen"):
        model.zero_grad()
        kfac = KFAC(model, likelihood="gaussian", damping=DAMPING, method=method)
        outputs = model(x)
        half_square(outputs, torch.zeros_like(outputs)).backward()
        grad = dense.gradient(model.layer).clone()
        kfac.step()
        grads[method] = dense.gradient(model.layer).clone()
        left, right = (factor[0] for factor in kfac.curvature.factors("layer"))
        kfac.close()
    pi = ((left.trace() / len(left)) / (right.trace() / len(right))).sqrt()
    root = DAMPING**0.5
    wanted = torch.linalg.solve(right + root / pi * torch.eye(3), grad[0])
    wanted = torch.linalg.solve(left + pi * root * torch.eye(19), wanted.T).T
    assert far(grads["inverse"][0], wanted) < 1e-12
    ratio = grads["inverse"].norm() / grads["eigen"].norm()
    assert 0.3 < ratio < 3  # (A + λ I) ⊗ (G + λ I) would be hundreds of times off in flat directions

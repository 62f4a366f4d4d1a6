"""Draws follow the likelihood, and belong to examples, not to batches."""

import pytest
import torch

from scilab.kfac.likelihood import Likelihood


@pytest.mark.parametrize(
    "name, outputs", [("categorical", [2.0, 0.0, -1.0]), ("gaussian", [3.0]), ("bernoulli", [-1.0])]
)
def test_draws_have_the_fisher_of_the_likelihood(name, outputs):
    """E[gradient] = 0 and E[gradient gradientᵀ] = diag(p) - p pᵀ, 1, p (1 - p)."""
    outputs = torch.tensor(outputs, dtype=torch.float64)
    draws = Likelihood(name).draw(outputs.expand(200_000, -1), seed=5)
    if name == "categorical":
        p = outputs.softmax(0)
        wanted = torch.diag(p) - torch.outer(p, p)
    elif name == "gaussian":
        wanted = torch.eye(1, dtype=torch.float64)
    else:
        p = outputs.sigmoid()
        wanted = torch.diag(p * (1 - p))
    assert draws.mean(0).abs().max() < 0.01
    assert (draws.T @ draws / len(draws) - wanted).abs().max() < 0.01


@pytest.mark.parametrize("name", ["categorical", "gaussian", "bernoulli"])
def test_parts_of_a_batch_draw_what_the_whole_draws(name):
    outputs = torch.randn(37, 5)
    whole = Likelihood(name).draw(outputs, seed=9)
    parts = [Likelihood(name).draw(outputs[a:b], seed=9, first=a) for a, b in ((0, 3), (3, 20), (20, 37))]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-6, atol=1e-7)  # vector code rounds a tail otherwise
    assert not torch.equal(Likelihood(name).draw(outputs, seed=10), whole)


def test_classes_may_stand_in_any_dimension():
    outputs = torch.randn(4, 3, 6)
    last = Likelihood("categorical", -1).draw(outputs.movedim(1, -1), seed=2)
    assert torch.equal(Likelihood("categorical", 1).draw(outputs, seed=2).movedim(1, -1), last)
    assert (last.sum(-1).abs() < 1e-6).all() and ((last < 0).sum(-1) == 1).all()  # p minus one-hot

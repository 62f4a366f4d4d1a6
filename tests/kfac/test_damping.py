"""Adaptive damping: the model's foretold change against dense algebra, the rule, and what is said when it is unused."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from scilab.kfac import KFAC, LevenbergMarquardt


def make():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 3))
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    return model, x, torch.randint(3, (9,), generator=generator)


def test_the_reduction_ratio_is_that_of_the_dense_quadratic_model(double):
    model, x, y = make()
    optimizer = torch.optim.SGD(model.parameters(), 0.3, momentum=0.9)
    kfac = KFAC(model, likelihood="categorical", damping=LevenbergMarquardt(0.2, every=2), factors_every=1,
                decompose_every=1)  # fmt: skip
    damping, ratios = 0.2, []
    for step in range(5):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        before = {n: (p.detach().clone(), p.grad.clone()) for n, p in model.named_parameters()}
        kfac.step()
        optimizer.step()
        ratio = kfac.adapt(loss, lambda: functional.cross_entropy(model(x), y))
        if step % 2:
            assert ratio is None
            continue
        foretold = sum(float(((p - before[n][0]) * before[n][1]).detach().sum()) for n, p in model.named_parameters())
        for layer in ("0", "3"):
            left, right = (factor[0] for factor in kfac.curvature.factors(layer))
            weight, bias = (dict(model.named_parameters())[f"{layer}.{part}"] for part in ("weight", "bias"))
            change = torch.cat([weight - before[f"{layer}.weight"][0],
                                (bias - before[f"{layer}.bias"][0])[:, None]], 1).flatten()  # fmt: skip
            curvature = torch.kron(right, left) + damping * torch.eye(len(change))
            foretold += float((change @ curvature @ change).detach()) / 2
        change = float((functional.cross_entropy(model(x), y) - loss).detach())
        assert abs(ratio / (change / foretold) - 1) < 1e-9
        damping = damping * 0.95**2 if ratio > 0.75 else damping / 0.95**2 if ratio < 0.25 else damping
        assert kfac.value("damping") == pytest.approx(damping, rel=1e-14)
        ratios.append(ratio)
    assert len(ratios) == 3


def test_the_rule():
    rule = LevenbergMarquardt(1.0, every=3, decay=0.9, lowest=0.8, highest=1.3)
    assert rule.adapted(1.0, 0.5) == rule.adapted(1.0, 0.25) == rule.adapted(1.0, 0.75) == 1.0
    assert rule.adapted(1.2, 0.76) == pytest.approx(1.2 * 0.9**3)
    assert rule.adapted(0.9, 0.24) == pytest.approx(0.9 / 0.9**3)
    assert rule.adapted(0.9, float("nan")) == pytest.approx(0.9 / 0.9**3)  # the loss is NaN: smaller steps
    assert rule.adapted(1.0, 2.0) == 0.8 and rule.adapted(1.0, -1.0) == 1.3


def test_a_person_may_move_it_meanwhile_and_it_is_resumed():
    model, _, _ = make()
    kfac = KFAC(model.double(), likelihood="categorical", damping=LevenbergMarquardt(0.2))
    kfac.set(damping=0.7)
    state = kfac.state_dict()
    kfac.close()
    again = KFAC(model, likelihood="categorical", damping=LevenbergMarquardt(0.2))
    again.load_state_dict(state)
    assert again.value("damping") == 0.7


def test_it_says_so_if_nobody_asks_it_to_adapt():
    model, x, y = make()
    kfac = KFAC(model.double(), likelihood="categorical", damping=LevenbergMarquardt(0.2, every=1))
    for _ in range(2):
        functional.cross_entropy(model(x), y).backward()
        assert not kfac.notices
        if kfac.steps:
            with pytest.warns(UserWarning, match=r"kfac\.adapt\(loss, again\)"):
                kfac.step()
        else:
            kfac.step()
    fixed = KFAC(model, likelihood="categorical", damping=0.2)
    assert fixed.adapt(1.0, lambda: pytest.fail("not asked for")) is None


@pytest.mark.parametrize("bad, message", [
    ({"initial": 0.0}, "initial must be positive"), ({"initial": 1.0, "lowest": 2.0}, "lie between"),
    ({"initial": 1.0, "every": 0}, "every must be a whole number of steps from 1"),
    ({"initial": 1.0, "decay": 1.0}, "decay must lie between"),
])  # fmt: skip
def test_bad_values_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        LevenbergMarquardt(**bad)


def test_inverses_cannot_adapt():
    with pytest.raises(ValueError, match="needs method='eigen'"):
        KFAC(nn.Linear(2, 2), likelihood="gaussian", damping=LevenbergMarquardt(0.1), method="inverse")

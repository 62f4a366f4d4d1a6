"""What a person sees of a step, and is told when it goes wrong."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from scilab.kfac import KFAC
from scilab.kfac.report import SPECTRUM_POINTS, thinned
from scilab.kfac.stopwatch import Late, Stopwatch


def walk(steps=1, times=1.0, **options):
    torch.manual_seed(0)
    model, x, y = nn.Sequential(nn.Linear(6, 100), nn.Tanh(), nn.Linear(100, 3)), torch.randn(8, 6), torch.arange(8) % 3
    kfac = KFAC(model, **{"likelihood": "categorical", "damping": 0.1, **options})
    assert kfac.report is None
    for _ in range(steps):
        model.zero_grad()
        (functional.cross_entropy(model(x), y) * times).backward()
        kfac.step()
    return kfac


def test_one_accessor_has_all_that_a_live_view_shows():
    kfac = walk(2, kl_clip=1e-3, lr=0.5)
    report = kfac.report
    assert report.step == 1 and report.damping == 0.1 and 0 < report.scale < 1 and report.product > 0
    assert report.scale == pytest.approx((1e-3 / (0.25 * report.product)) ** 0.5)
    assert [sum(report.held.values())] == kfac.predicted.held and report.received == report.sent == {}
    spectra = kfac.spectra()
    for name, (left, right) in report.spectra.items():
        whole = spectra[name][0].flatten()
        assert (left[0], left[-1]) == (float(whole.min()), float(whole.max()))
        assert len(left) <= SPECTRUM_POINTS and right == sorted(right)
    assert len(report.spectra["2"][0]) == SPECTRUM_POINTS and len(spectra["2"][0][0]) == 101
    # The second step needed neither factors nor decompositions.
    assert set(report.milliseconds) == {"precondition"}
    assert {"capture", "factors", "decompose", "precondition"} == set(kfac.seconds)


def test_spectra_are_thinned_by_rank():
    values = torch.arange(1000.0).flip(0)
    assert thinned(values, 3) == [0.0, 500.0, 999.0] and thinned(values[:2], 3) == [998.0, 999.0]


def test_a_loss_that_is_not_finite_is_told_once_with_what_to_do():
    with pytest.warns(UserWarning, match="step 0: the gradients are not finite, because the loss is NaN.*checkpoint"):
        kfac = walk(3, times=math.nan)
    assert len(kfac.notices) == 1
    assert math.isnan(kfac.report.product)
    # The sampled Fisher does not see the loss, so the averages are as good as ever.
    assert all(factor.isfinite().all() for factor in kfac.curvature.factors("0"))


def test_stages_add_up_and_a_lap_ends_a_step(monkeypatch):
    clock = iter([0.0, 1.0, 4.0, 10.0, 20.0, 22.0])  # outer begins, inner 1 to 4, outer ends at 10; then 20 to 22
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    watch = Stopwatch(torch.device("cpu"))
    with watch("step"):
        with watch("exchange"):
            pass
    assert watch.milliseconds == {} and watch.seconds == {"step": 10.0, "exchange": 3.0}
    watch.lap()
    assert watch.milliseconds == {"step": 10_000.0, "exchange": 3000.0}
    with watch("step"):
        pass
    watch.lap()
    assert watch.milliseconds == {"step": 2000.0} and watch.seconds == {"step": 12.0, "exchange": 3.0}


def test_a_number_that_is_late_waits_for_its_event():
    late, arrived = Late(), [False]

    class Event:
        def query(self):
            return arrived[0]

    late.put(3, torch.tensor(1.5))
    assert late.take() == [(3, 1.5)] and late.take() == []
    late._sent.append((4, torch.tensor(2.5), Event()))
    late.put(5, torch.tensor(3.5))
    assert late.take() == []
    arrived[0] = True
    assert late.take() == [(4, 2.5), (5, 3.5)]


def test_micro_batches_count_on_from_the_first_example_and_draw_what_the_whole_draws():
    torch.manual_seed(0)
    model, x = nn.Linear(4, 3).double(), torch.randn(8, 4, dtype=torch.float64)
    found = []
    for parts in (1, 4):
        with KFAC(model, likelihood="categorical", damping=0.1) as kfac:
            kfac.first_example = 16
            for rows in torch.arange(8).chunk(parts):
                model(x[rows]).sum().backward()
            assert kfac.first_example == 24
            kfac.step()
            found.append(kfac.curvature.factors(""))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-13, atol=1e-15)


def test_a_layer_that_only_some_passes_meet_has_zeros_for_the_others():
    """A is a mean over all loss terms; those that a layer took no part in have a gradient of zero."""

    class Routed(nn.Module):
        def __init__(self):
            super().__init__()
            self.always, self.sometimes = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)

        def forward(self, x):
            x = self.always(x)
            return self.sometimes(x) if x.shape[0] == 2 else x

    torch.manual_seed(0)
    model = Routed().double()
    kfac = KFAC(model, likelihood="gaussian", damping=0.1)
    met, other = torch.randn(2, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    for x in (met, other):
        model(x).square().sum().backward()
    kfac.step()
    rows = model.always(met).detach()
    torch.testing.assert_close(kfac.curvature.factors("sometimes")[0][0], rows.T @ rows / 8, rtol=1e-13, atol=0)
    assert not kfac.notices


def test_bases_that_still_fit_are_kept_from_one_decomposition_to_the_next():
    torch.manual_seed(0)
    model, x, y = nn.Linear(6, 3), torch.randn(64, 6), torch.arange(64) % 3
    kept = []
    for tolerance in (0.5, 1e-9):
        kfac = KFAC(model, likelihood="categorical", factors_every=1, decompose_every=1, basis_tolerance=tolerance)
        bases = []
        for _ in range(2):
            functional.cross_entropy(model(x), y).backward()
            kfac.step()
            bases.append(kfac.curvature.bases[""])
        kept.append(torch.equal(bases[0].right, bases[1].right) and bases[0].right_values is not bases[1].right_values)
        kfac.close()
    assert kept == [True, False]

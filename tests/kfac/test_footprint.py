"""Memory and traffic follow from the layers' sizes, for networks that no test could run; and what fits a budget."""

import pytest
import torch
from big_models import PARAMETERS, resnet50, unet
from torch import nn

from scilab.kfac import Activations, Storage, activations, fit, predict

MIB = 2**20


def sides(model):
    """(a, o, diagonal) of each layer, from its weight alone."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            yield module.weight[0].numel() + (module.bias is not None), len(module.weight), False
        elif isinstance(module, nn.Embedding):
            yield *module.weight.shape, True


@pytest.mark.parametrize("make", PARAMETERS)
def test_large_networks_are_sized_without_being_made(make):
    with torch.device("meta"):
        model = make()
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[make]
    layers = list(sides(model))
    full = sum((0 if diagonal else a * a) + o * o for a, o, diagonal in layers)
    spectra = sum(a + o for a, o, _ in layers)
    packed = sum((a if diagonal else a * (a + 1) // 2) + o * (o + 1) // 2 + 2 for a, o, diagonal in layers)
    parameters = sum(a * o for a, o, _ in layers)
    alone = predict(model)
    assert alone.factors == [4 * packed] and alone.decompositions == [4 * (full + spectra)]
    half = predict(model, storage=Storage(basis_dtype=torch.bfloat16))
    assert half.decompositions == [2 * full + 4 * spectra] and half.factors == alone.factors
    ranks = 8
    for workers in (1, 2, 4, 8):
        for kept in ("owner", "local"):
            found = predict(model, ranks=ranks, gradient_worker_fraction=workers / ranks, storage=Storage(kept))
            # Over all ranks: S_F/2 once or with each, f p S_I held; received (p-1) S_F/2, (f p - 1) S_I, (1 - f) p P.
            assert sum(found.factors) == 4 * packed * (1 if kept == "owner" else ranks)
            assert sum(found.decompositions) == workers * 4 * (full + spectra)
            assert sum(found.received_factors) == (ranks - 1) * 4 * packed
            headers = sum(message - held for (message, _), (_, held) in zip(
                found.messages.values(), found.layers.values(), strict=True
            ))  # fmt: skip
            assert 0 < headers <= 16 * len(layers)
            assert sum(found.received_decompositions) == (workers - 1) * (4 * (full + spectra) + headers)
            assert sum(found.received_gradients) == (ranks - workers) * 4 * parameters
            for way in (found.received_by_layer, found.sent_by_layer):
                totals = [sum(sum(way(rank)[kind].values()) for rank in range(ranks)) for kind in way(0)]
                assert totals == [
                    sum(found.received_factors), sum(found.received_decompositions), sum(found.received_gradients)
                ]  # fmt: skip


def test_resnet_50_takes_what_was_derived_for_it():
    """587 MiB of factors in full, 294 packed; a step of COMM-OPT at 10/100 in full triangles all-reduces 58.7 MiB."""
    with torch.device("meta"):
        found = predict(resnet50(), ranks=8)
    assert round(sum(found.factors) / MIB) == 294
    assert round(found.decompositions[0] / MIB) == 587
    per_rank = [found.received_per_step(rank, 10, 100) for rank in range(8)]
    assert sum(per_rank) / 8 / MIB == pytest.approx((7 / 8) * 58.7 / 2 + (1 - 1 / 8) * 5.87, rel=2e-3)


def test_inverses_and_a_half_precision_basis_are_smaller():
    with torch.device("meta"):
        model = unet()
    layers = list(sides(model))
    full = sum(a * a + o * o for a, o, _ in layers)
    assert predict(model, storage=Storage(method="inverse")).decompositions == [4 * full]
    assert predict(model, storage=Storage(method="inverse", basis_dtype=torch.float16)).decompositions == [2 * full]


def test_what_autograd_keeps_is_counted_by_hand():
    """Of Linear-Tanh-Linear: the input and tanh's output, once; for the sampled Fisher both layers' gradients too."""
    model = nn.Sequential(nn.Linear(10, 20), nn.Tanh(), nn.Linear(20, 5))
    assert activations(model, torch.zeros(10), sampled=False) == Activations(0, 4 * (10 + 20))
    assert activations(model, torch.zeros(10)) == Activations(0, 4 * (10 + 20 + 20 + 5))
    assert all(p.device.type == "cpu" for p in model.parameters()) and not model[0]._forward_hooks
    conv = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))
    kept = 2 * 16 + 48 + 48  # images, the convolution's output, the ReLU's
    found = activations(conv, torch.zeros(2, 4, 4), sampled=False)
    assert found.per_example == 4 * kept and found.fixed == 4 * 2 * 3  # mean and deviation of three channels


@pytest.mark.parametrize("share", [1.0, 1.7, 2.4, 3.3, 7.0])
@pytest.mark.parametrize("batch", [None, 16])
def test_fit_is_the_best_of_all_that_fit(share, batch):
    with torch.device("meta"):
        model = nn.Sequential(*[layer for _ in range(4) for layer in (nn.Linear(300, 300), nn.Tanh())])
    weights, activation = sum(p.nbytes for p in model.parameters()), Activations(1000, 50_000)
    budget = int(weights * (3 + share))
    fitting = []
    for workers in (1, 2, 4):
        held = max(predict(model, ranks=4, gradient_worker_fraction=workers / 4).held)
        sizes = [batch] if batch else [2**n for n in range(8)]
        fitting += [(size, workers / 4) for size in sizes if 3 * weights + held + 1000 + 50_000 * size <= budget]
    arguments = {"ranks": 4, "batch": batch, "most": 128, "activation": activation}
    if not fitting:
        with pytest.raises(ValueError, match="too few: the least"):
            fit(model, budget, **arguments)
    else:
        found = fit(model, budget, **arguments)
        assert (found.batch, found.gradient_worker_fraction) == max(fitting)
        assert found.bytes <= budget and sum(found.parts.values()) == found.bytes


def test_a_network_is_fitted_by_one_example():
    """Fewer gradient workers leave room for a larger batch: KAISA's point."""
    with torch.device("meta"):
        model = nn.Sequential(*[nn.Conv2d(64, 64, 3, padding=1) for _ in range(8)], nn.Flatten(), nn.Linear(4096, 10))
    example = torch.empty(64, 8, 8, device="meta")
    roomy, tight = (fit(model, budget * MIB, example, ranks=8) for budget in (400, 110))
    assert roomy.gradient_worker_fraction > tight.gradient_worker_fraction and roomy.batch >= tight.batch
    given = fit(model, 110 * MIB, example, ranks=8, batch=tight.batch // 4)
    assert given.gradient_worker_fraction >= tight.gradient_worker_fraction

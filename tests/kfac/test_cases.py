"""Situations in which K-FAC implementations have failed, each once: here they work, or say what to do."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from scilab.kfac import KFAC, place
from scilab.kfac import solve as solving

EMPIRICAL = {"likelihood": "categorical", "fisher": "empirical", "reduction": "mean"}


def make(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(64, 5))


def batch(n=6, seed=1):
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.get_default_dtype()
    return torch.randn(n, 1, 4, 4, generator=generator, dtype=dtype), torch.randint(5, (n,), generator=generator)


def one_step(model, forward=None, data=None, times=1.0, **options):
    """Gradients after one step; `forward(model, x)` in place of calling it."""
    x, y = data or batch()
    kfac = KFAC(model, **{"likelihood": "categorical", "damping": 0.1, **options})
    outputs = forward(model, x) if forward else model(x)
    (functional.cross_entropy(outputs, y) * times).backward()
    kfac.step()
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return kfac, grads


def far(one, other):
    assert one.keys() == other.keys()
    one, other = (torch.cat([grads[name].flatten() for name in sorted(grads)]) for grads in (one, other))
    return float((one - other).norm() / other.norm())


class InPlace(nn.Module):
    def __init__(self, how):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.linear, self.how = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(64, 5), how

    def forward(self, x):
        hidden = self.conv(x)
        if self.how == "in place":
            hidden += 0.5
            hidden = hidden.relu_()
        else:
            hidden = (hidden + 0.5).relu()
        return self.linear(hidden.flatten(1))


@pytest.mark.parametrize("fisher", [{}, EMPIRICAL], ids=["sampled", "empirical"])
def test_in_place_operations_on_a_layers_output(fisher, double):
    wanted = one_step(InPlace("apart"), **fisher)[1]
    assert far(one_step(InPlace("in place"), **fisher)[1], wanted) < 1e-13


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("fisher", [{}, EMPIRICAL], ids=["sampled", "empirical"])
def test_activation_checkpointing(fisher, reentrant, double):
    """Non-reentrant: as without it. Reentrant: layers run without gradients, and that is said."""

    class Checkpointed(nn.Module):
        def __init__(self, on):
            super().__init__()
            self.inner, self.on = make(), on

        def forward(self, x):
            hidden = self.inner[0](x)
            if not self.on:
                return self.inner[1:](hidden)
            return checkpoint(self.inner[1:], hidden, use_reentrant=reentrant)

    if not reentrant:
        wanted = one_step(Checkpointed(False), **fisher)[1]
        assert far(one_step(Checkpointed(True), **fisher)[1], wanted) < 1e-13
    elif fisher:
        with pytest.warns(UserWarning, match="inner.3.*took no part"):
            one_step(Checkpointed(True), **fisher)


def test_a_sequence_with_time_first_and_batch_second(double):
    class Sequence(nn.Module):
        def __init__(self, copy):
            super().__init__()
            torch.manual_seed(0)
            self.linear, self.copy = nn.Linear(4, 5), copy

        def forward(self, x):
            x = x.flatten(1).view(-1, 4, 4).transpose(1, 2)
            return self.linear(x.contiguous() if self.copy else x).mean(1)

    assert far(one_step(Sequence(False))[1], one_step(Sequence(True))[1]) < 1e-14


def test_an_input_given_by_name_is_seen(double):
    def forward(model, x):
        return model[3](input=model[2](model[1](model[0](input=x))))

    class Named(nn.Module):
        def __init__(self, named):
            super().__init__()
            self.inner, self.named = make(), named

        def forward(self, x):
            return forward(self.inner, x) if self.named else self.inner(x)

    assert far(one_step(Named(True))[1], one_step(Named(False))[1]) == 0


def test_a_layer_that_is_not_used_is_left_alone_and_named():
    model = make()
    model.add_module("extra", nn.Linear(3, 3))
    model.forward = lambda x: model[3](model[2](model[1](model[0](x))))
    with pytest.warns(UserWarning, match="'extra'.*took no part"):
        kfac, grads = one_step(model)
    assert "extra.weight" not in grads and set(kfac.report.cosines) == {"0", "3"}


def test_what_runs_without_gradients_or_in_evaluation_is_not_seen(double):
    x, _ = batch(seed=5)
    wanted = one_step(make())[1]

    def forward(model, seen):
        with torch.no_grad():
            model(x)
        model.eval()(x)
        model.train()
        model[0](x)  # a part of it, by itself
        return model(seen)

    assert far(one_step(make(), forward)[1], wanted) == 0


def test_a_frozen_bias_is_no_column_and_a_frozen_weight_no_layer(double):
    def frozen(bias):
        model = make()
        if bias:
            model[3].bias.requires_grad_(False)
        else:
            model[3].weight.requires_grad_(False)
        return model

    kfac, _ = one_step(frozen(True))
    assert kfac.shapes["3"].inputs == 64 and kfac.shapes["0"].inputs == 10
    kfac, grads = one_step(frozen(False))
    assert list(kfac.layers) == ["0"]
    plain, (x, y) = frozen(False), batch()
    functional.cross_entropy(plain(x), y).backward()
    assert torch.equal(grads["3.bias"], plain[3].bias.grad)


@pytest.mark.parametrize("fisher", [{}, EMPIRICAL], ids=["sampled", "empirical"])
def test_what_is_not_finite_never_enters_the_averages(fisher, double):
    """A NaN in the input, or a backward pass that overflowed: that batch counts nothing."""
    model, (x, y) = make(), batch()
    kfac = KFAC(
        model, **{"likelihood": "categorical", "damping": 0.1, "factors_every": 1, "decompose_every": 1, **fisher}
    )

    def step(x, scale=1.0):
        model.zero_grad()
        (functional.cross_entropy(model(x), y) * scale).backward()
        kfac.step()

    step(x)
    before = {name: kfac.curvature.factors(name) for name in kfac.layers}
    step(torch.full_like(x, float("nan")))
    if fisher:
        step(x, scale=float("inf"))
    for name, pair in before.items():
        for one, other in zip(kfac.curvature.factors(name), pair, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
    step(x)
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_half_precision_models_have_factors_in_full_precision():
    model = make().bfloat16()
    x, y = batch()
    x = x.bfloat16()
    kfac = KFAC(model, likelihood="categorical", damping=0.1)
    functional.cross_entropy(model(x).float(), y).backward()
    kfac.step()
    left, _ = kfac.curvature.factors("0")
    rows = functional.unfold(x.float(), 3, padding=1).mT.reshape(-1, 9)
    rows = torch.cat([rows, torch.ones(len(rows), 1)], 1)
    assert left.dtype == torch.float32
    torch.testing.assert_close(left[0], rows.T @ rows / 6, rtol=1e-5, atol=1e-5)


def test_autocast_does_not_reach_the_factors():
    def forward(model, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return model(x).float()

    model, (x, _) = make(), batch()
    kfac, _ = one_step(model, forward)
    left, _ = kfac.curvature.factors("0")
    rows = functional.unfold(x, 3, padding=1).mT.reshape(-1, 9)
    assert float((left[0, :9, :9] - rows.T @ rows / 6).norm() / left.norm()) < 1e-6  # bfloat16 keeps 3 digits


def test_loss_scaling_is_undone(double):
    wanted, _ = one_step(make(), **EMPIRICAL)
    got, _ = one_step(make(), times=1024.0, loss_scale=lambda: 1024.0, **EMPIRICAL)
    for name in wanted.layers:
        torch.testing.assert_close(
            got.curvature.factors(name)[1], wanted.curvature.factors(name)[1], rtol=1e-12, atol=0
        )


def test_intervals_and_damping_follow_their_schedules():
    model, (x, y) = make(), batch()
    kfac = KFAC(
        model, likelihood="categorical", damping=lambda step: 0.1 if step < 4 else 0.05, decompose_every=4,
        factors_every=lambda step: 2 if step < 4 else 3,
    )  # fmt: skip
    updates, dampings = [], []
    for step in range(10):
        model.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        if kfac._capture.sums:
            updates.append(step)
        kfac.step()
        dampings.append(kfac.report.damping)
    assert updates == [0, 2, 6, 9]
    assert dampings == [0.1] * 4 + [0.05] * 6


def test_clipping_is_the_formula_and_none_is_none(double):
    x, y = batch()
    free = one_step(make(), kl_clip=None)[1]
    plain = make()
    functional.cross_entropy(plain(x), y).backward()
    product = sum(float((free[name] * p.grad).sum()) for name, p in plain.named_parameters())
    kfac, clipped = one_step(make(), kl_clip=1e-3, lr=lambda step: 0.5)
    scale = (1e-3 / (0.25 * product)) ** 0.5
    assert scale < 1 and abs(kfac.report.scale / scale - 1) < 1e-12 and abs(kfac.report.product / product - 1) < 1e-12
    assert far(clipped, {name: grad * scale for name, grad in free.items()}) < 1e-12
    assert far(one_step(make(), kl_clip=1e9, lr=0.5)[1], free) == 0


def test_cosines_are_those_of_gradient_and_direction(double):
    plain, (x, y) = make(), batch()
    functional.cross_entropy(plain(x), y).backward()
    kfac, grads = one_step(make())
    for name in ("0", "3"):
        v, g = (torch.cat([side[f"{name}.{part}"].flatten() for part in ("weight", "bias")]) for side in (
            grads, {key: p.grad for key, p in plain.named_parameters()})
        )  # fmt: skip
        assert abs(kfac.report.cosines[name] - float(torch.cosine_similarity(v, g, dim=0))) < 1e-12


def test_the_average_is_bias_corrected_and_linear(double):
    model, decay, seen = make(), 0.9, []
    kfac = KFAC(model, likelihood="categorical", damping=0.1, factors_every=1, decompose_every=1, decay=decay)
    for step in range(4):
        x, y = batch(seed=step)
        model.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        kfac.step()
        rows = functional.unfold(x, 3, padding=1).mT.reshape(-1, 9)
        seen.append(rows.T @ rows / 6)
    weights = [decay ** (3 - k) for k in range(4)]
    wanted = sum(w * each for w, each in zip(weights, seen, strict=True)) / sum(weights)
    torch.testing.assert_close(kfac.curvature.factors("0")[0][0, :9, :9], wanted, rtol=1e-12, atol=1e-12)


def test_gradients_are_written_in_place_whatever_their_memory_format(double):
    model, (x, y) = make(), batch()
    kfac = KFAC(model, likelihood="categorical", damping=0.1)
    functional.cross_entropy(model(x), y).backward()
    weight = model[0].weight
    weight.grad = weight.grad.to(memory_format=torch.channels_last)
    held = {name: p.grad for name, p in model.named_parameters()}
    kfac.step()
    assert all(p.grad is held[name] for name, p in model.named_parameters())
    assert far(held, one_step(make())[1]) < 1e-14


@pytest.mark.parametrize("fails", [1, 2, 3])
def test_an_eigh_that_fails_is_tried_in_double_on_the_cpu_then_the_old_basis_stays(fails, monkeypatch):
    real, calls = torch.linalg.eigh, []

    def eigh(matrix):
        calls.append(matrix.dtype)
        if len(calls) <= fails:
            raise torch.linalg.LinAlgError("did not converge")
        return real(matrix)

    matrix = torch.randn(6, 6)
    matrix = (matrix @ matrix.T)[None]
    monkeypatch.setattr(torch.linalg, "eigh", eigh)
    found = solving.eigh(matrix)
    assert calls == [torch.float32, torch.float64, torch.float64][: min(3, fails + 1)]
    if fails == 3:
        assert found is None
    else:
        values, vectors = found
        torch.testing.assert_close(vectors @ torch.diag_embed(values) @ vectors.mT, matrix, rtol=1e-4, atol=1e-4)


def test_vectors_that_are_not_orthonormal_are_not_believed(monkeypatch):
    real = torch.linalg.eigh
    monkeypatch.setattr(
        torch.linalg, "eigh", lambda m: (lambda v, q: (v, q * 1.1 if m.dtype == torch.float32 else q))(*real(m))
    )
    _, vectors = solving.eigh(torch.diag(torch.arange(1.0, 5.0))[None])
    torch.testing.assert_close(vectors[0].mT @ vectors[0], torch.eye(4))


def test_a_failure_everywhere_keeps_the_old_decomposition_and_says_so(monkeypatch):
    model, (x, y) = make(), batch()
    kfac = KFAC(model, likelihood="categorical", damping=0.1, factors_every=1, decompose_every=1)

    def step():
        model.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        kfac.step()

    step()
    before = dict(kfac.curvature.bases)
    monkeypatch.setattr(solving, "eigh", lambda *_: None)
    with pytest.warns(UserWarning, match="layer '0'.*last decomposition stays in use"):
        step()
    assert all(kfac.curvature.bases[name] is basis for name, basis in before.items())
    assert len(kfac.notices) == 2


def test_a_basis_that_still_fits_is_kept_with_new_eigenvalues(double):
    matrix = torch.randn(5, 5)
    matrix = (matrix @ matrix.T)[None]
    values, vectors = solving.eigh(matrix)
    again, same = solving.eigh(2 * matrix, vectors, 1e-6)
    assert same is vectors
    torch.testing.assert_close(again, 2 * values)
    other = torch.randn(5, 5)
    assert solving.eigh((other @ other.T)[None], vectors, 1e-6)[1] is not vectors


def test_bases_stored_in_half_precision_solve_nearly_the_same():
    full = one_step(make())[1]
    kfac, half = one_step(make(), basis_dtype=torch.bfloat16)
    assert kfac.curvature.bases["3"].left.dtype == torch.bfloat16
    assert 1e-5 < far(half, full) < 2e-2


def test_close_leaves_the_model_as_it_was():
    model = make()
    with KFAC(model, likelihood="categorical"):
        assert any(module._forward_hooks for module in model.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_models_that_return_more_than_a_tensor_name_their_outputs(double):
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = make()

        def forward(self, x):
            return {"logits": self.inner(x)}

    def forward(model, x):
        logits = model(x)["logits"]
        kfac.observe(logits)
        return logits

    x, y = batch()
    model = Pair()
    kfac = KFAC(model, likelihood="categorical", damping=0.1)
    functional.cross_entropy(forward(model, x), y).backward()
    kfac.step()
    wanted = {f"inner.{name}": grad for name, grad in one_step(make())[1].items()}
    assert far({name: p.grad for name, p in model.named_parameters()}, wanted) == 0
    forgetful = KFAC(Pair(), likelihood="categorical")
    with pytest.raises(RuntimeError, match=r"no forward pass was observed.*kfac\.observe"):
        forgetful.step()


def test_resumed_it_goes_on_with_the_same_bits(tmp_path):
    def run(stop_at=None, path=tmp_path / "state.pt"):
        model = make()
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        kfac = KFAC(model, likelihood="categorical", damping=0.1, factors_every=2, decompose_every=4)
        for step in range(9):
            if step == stop_at:
                saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "kfac": kfac.state_dict()}
                torch.save(saved, path)
                saved = torch.load(path, weights_only=True)
                model = make(7)
                optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
                kfac = KFAC(model, likelihood="categorical", damping=0.5, factors_every=2, decompose_every=4)
                for part, state in ((model, "model"), (optimizer, "optimizer"), (kfac, "kfac")):
                    part.load_state_dict(saved[state])
                assert kfac.value("damping") == 0.1
            x, y = batch(seed=step)
            optimizer.zero_grad()
            functional.cross_entropy(model(x), y).backward()
            kfac.step()
            optimizer.step()
        return torch.cat([p.flatten() for p in model.parameters()])

    undisturbed = run()
    for stop_at in (1, 3, 4, 7):
        assert torch.equal(run(stop_at), undisturbed)


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: KFAC(nn.Sequential(nn.BatchNorm1d(3)), likelihood="gaussian"), "nothing to precondition"),
        (lambda: KFAC(make(), likelihood="categorical", factors_every=0), "factors_every must be a whole number"),
        (lambda: KFAC(make(), likelihood="categorical", decompose_every=2.5), "decompose_every must be a whole number"),
        (lambda: KFAC(make(), likelihood="categorical", damping=0), "damping must be a positive"),
        (lambda: KFAC(make(), likelihood="categorical", damping=float("nan")), "damping must be a positive"),
        (lambda: KFAC(make(), likelihood="categorical", kl_clip=0.001), "kl_clip .* needs to know lr"),
        (lambda: KFAC(make(), likelihood="poisson"), "likelihood must be one of"),
        (lambda: KFAC(make(), likelihood="categorical", fisher="empirical"), "needs to know whether the loss"),
        (lambda: KFAC(make(), likelihood="categorical", gradient_worker_fraction=0.5), "must be one of 1:"),
        (lambda: KFAC(make(), likelihood="categorical", skip=["9"]), "matches no part"),
        (lambda: KFAC(nn.Embedding(5, 3, sparse=True), likelihood="gaussian"), "an Embedding with sparse=True"),
        (lambda: KFAC(make(), likelihood="categorical").set(speed=1), "no hyper-parameter 'speed'"),
    ],
)  # fmt: skip
def test_bad_values_are_refused_in_words(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_an_interval_of_zero_from_a_schedule_is_refused_when_it_comes():
    kfac = KFAC(make(), likelihood="categorical", factors_every=lambda step: 0)
    with pytest.raises(ValueError, match="factors_every must be a whole number of steps from 1; got 0"):
        kfac.step()


def test_an_embedding_tied_to_a_linear_is_named():
    model = nn.ModuleDict({"words": nn.Embedding(6, 3), "head": nn.Linear(3, 6, bias=False)})
    model["head"].weight = model["words"].weight
    with pytest.raises(ValueError, match="'words' and 'head' share a weight.*skip="):
        KFAC(model, likelihood="categorical")
    assert list(KFAC(model, likelihood="categorical", skip=["head"]).layers) == ["words"]


def test_outputs_that_do_not_say_where_their_classes_are():
    model = nn.Conv2d(1, 3, 1)
    kfac = KFAC(model, likelihood="categorical")
    with pytest.raises(ValueError, match="class_dim=1"):
        model(torch.randn(2, 1, 4, 4))
    kfac.close()
    with KFAC(model, likelihood="categorical", class_dim=1) as kfac:
        assert kfac._capture.likelihood.terms(torch.zeros(2, 3, 4, 4)) == 32


def test_every_whole_number_of_workers_that_divides_the_ranks_is_taken():
    for ranks in range(1, 129):
        for workers in (w for w in range(1, ranks + 1) if ranks % w == 0):
            assert place({"a": 1.0}, ranks, workers / ranks).workers == workers


def test_nothing_is_warned_of_in_an_ordinary_run():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one_step(make())

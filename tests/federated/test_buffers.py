"""Running means and variances, by value: averaged, pooled, or kept by each device."""

import copy

import pytest
import torch
from federated_cases import Net, data, finished, ragged, reference, run, same, uneven, weights
from torch import nn

from scilab.federated import Asynchronous, FedAvg, Federation, Topology
from scilab.federated.streams import stream
from scilab.runs.checkpoint import from_bytes, to_bytes

PARTS = uneven(data()[1], 11, 0)
FIT = FedAvg(2, 4, 0.2)


def _federation(buffers, topology=None, **changes):
    given = {"rounds": 1, "seed": 7, "partition": uneven, "engine": "threads:2", "buffers": buffers, **changes}
    strategy = given.pop("strategy", FIT)
    return Federation(given.pop("model", None) or Net(), data(), topology or Topology.flat(11), strategy, **given)


def _trained(model, state, device, number, own=None):
    """What one device makes of a state, by torch.optim."""
    local = copy.deepcopy(model)
    local.load_state_dict({**state, **(own or {})})
    local.train()
    optimiser = torch.optim.SGD(local.parameters(), lr=FIT.lr)
    order = torch.Generator().manual_seed(stream(7, "shuffle", number, device))
    (x, y), rows = data(), PARTS[device]
    for _ in range(FIT.local_epochs):
        for batch in torch.randperm(len(rows), generator=order).split(FIT.batch_size):
            optimiser.zero_grad()
            nn.functional.cross_entropy(local(x[rows][batch]), y[rows][batch]).backward()
            optimiser.step()
    return local.state_dict()


def _mean(values):
    counts = torch.tensor([len(part) for part in PARTS], dtype=torch.float64)
    return torch.stack([n * value.double() for n, value in zip(counts, values, strict=True)]).sum(0) / counts.sum()


def test_by_default_they_are_averaged_and_of_integers_the_largest_is_taken():
    federation = _federation("mean")
    run(federation)
    same(weights(federation), weights(_ran(Net(), buffers=None)))
    expected = reference(Net(), data(), PARTS, FIT, 1, 7)
    assert torch.allclose(weights(federation)["norm.running_var"], expected["norm.running_var"])
    steps = max(-(-len(part) // 4) for part in PARTS) * 2
    assert int(weights(federation)["norm.num_batches_tracked"]) == steps
    assert federation.settings["buffers"] == "mean"


def _ran(model, buffers):
    federation = Federation(
        model, data(), Topology.flat(11), FIT, rounds=1, seed=7, partition=uneven, engine="threads:2",
        **({} if buffers is None else {"buffers": buffers}),
    )  # fmt: skip
    run(federation)
    return federation


@pytest.mark.parametrize("partials", ["float64", "float32"])
def test_pooled_variances_are_those_of_all_data_together(partials):
    """v = Σ n (vᵢ + (mᵢ - m)²) / N about the pooled mean m; everything else as with the mean."""
    pooled, mean = (_federation(b, ragged(11, 2), partials=partials) for b in ("pooled", "mean"))
    run(pooled), run(mean)
    locals_ = [_trained(Net(), Net().state_dict(), device, 1) for device in range(11)]
    m = _mean([state["norm.running_mean"] for state in locals_])
    v = _mean([state["norm.running_var"] + (state["norm.running_mean"] - m) ** 2 for state in locals_])
    assert torch.allclose(weights(pooled)["norm.running_var"].double(), v, rtol=1e-5)
    assert (weights(pooled)["norm.running_var"] - weights(mean)["norm.running_var"]).min() > 1e-4
    rest = [{n: t for n, t in weights(f).items() if n != "norm.running_var"} for f in (pooled, mean)]
    for name in rest[0] if partials == "float64" else ():
        # the quantum of a mean is finer here: its square has to fit
        assert torch.allclose(rest[0][name].double(), rest[1][name].double(), rtol=1e-6, atol=1e-9), name


def test_pooled_variances_are_the_same_bits_on_every_tree():
    trees = [
        _federation("pooled", topology, rounds=2) for topology in (Topology.flat(11), ragged(11, 1), ragged(11, 4))
    ]
    for tree in trees:
        run(tree)
    same(weights(trees[0]), weights(trees[1]))
    same(weights(trees[0]), weights(trees[2]))


def test_pooling_two_halves_gives_the_variance_of_the_whole():
    """One batch, momentum 1: running statistics are the batch's own, here far from zero and far apart."""
    model = nn.Sequential(nn.BatchNorm1d(6, momentum=1.0, affine=False), nn.Linear(6, 3))
    x, y = data()
    x = x + torch.linspace(0, 400, 96).unsqueeze(1)
    federation = Federation(
        model, (x, y), Topology.flat(2), FedAvg(1, None, 1e-6), rounds=1, buffers="pooled", engine="threads:1",
        partition=lambda labels, devices, seed: [range(48), range(48, 96)],
    )  # fmt: skip
    run(federation)
    within = (x[:48].var(0) + x[48:].var(0)) / 2  # torch's running variance is the unbiased one
    about = (x[:48].mean(0) - x[48:].mean(0)).double() ** 2 / 4
    assert torch.allclose(weights(federation)["0.running_var"].double(), within + about, rtol=1e-5)


@pytest.mark.parametrize("engine", ["threads:2", "processes"])
def test_kept_layers_stay_with_each_device(engine, request):
    """FedBN, algorithm 1: all but the layers with buffers is averaged; those go on where they are."""
    chosen = request.getfixturevalue("processes") if engine == "processes" else engine
    federation = _federation("keep", ragged(11, 3), rounds=3, engine=chosen)
    run(federation)
    state, own, names = Net().state_dict(), {}, [n for n in Net().state_dict() if n.startswith("norm.") or n == "seen"]
    for number in range(1, 4):
        locals_ = [_trained(Net(), state, device, number, own.get(device)) for device in range(11)]
        own = {device: {name: local[name] for name in names} for device, local in enumerate(locals_)}
        for name, tensor in state.items():
            every = [local[name] for local in locals_]
            state[name] = _mean(every).to(tensor.dtype) if tensor.is_floating_point() else torch.stack(every).amax(0)
    for name, tensor in weights(federation).items():  # tied tensors once
        assert torch.allclose(tensor.double(), state[name].double(), atol=1e-5), name
    for device in range(11):
        personal = federation.personal(f"w{device}").state_dict()
        for name in names:
            assert torch.allclose(personal[name].double(), own[device][name].double(), atol=1e-5), (device, name)
        assert torch.equal(personal["last.weight"], weights(federation)["last.weight"])
    assert not torch.equal(own[0]["norm.weight"], own[1]["norm.weight"])
    with pytest.raises(ValueError, match="w99"):
        federation.personal("w99")


def test_what_is_kept_survives_a_resume_and_rounds_without_the_device():
    some = FedAvg(2, 4, 0.2, fraction=0.5)
    whole = _federation("keep", rounds=4, strategy=some)
    states = [to_bytes(whole.state_dict(), verify=True) for record in whole if finished([record])]
    for state in states[:3]:
        resumed = _federation("keep", ragged(11, 1), rounds=4, strategy=some)
        resumed.load_state_dict(from_bytes(state))
        run(resumed)
        same(weights(whole), weights(resumed))
        one, two = ({n: f.personal(f"w{n}").state_dict() for n in range(11)} for f in (whole, resumed))
        for device in range(11):
            same(one[device], two[device])


def test_nothing_that_was_kept_is_left_behind():
    from scilab.planes import Engine

    wide = nn.Sequential(nn.Linear(6, 600), nn.BatchNorm1d(600), nn.Linear(600, 3))
    with Engine.threads(2) as engine:
        federation = _federation("keep", model=wide, engine=engine, rounds=3)
        held = [engine.store.count() for record in federation if finished([record])]
        assert held[0] == held[1] == held[2] and engine.store.count() == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: _federation("median"), "buffers must be 'mean', 'pooled' or 'keep', got 'median'"),
        (lambda: _federation("pooled", model=nn.Linear(6, 3)), "the model has no running_mean and running_var"),
        (lambda: _federation("keep", model=nn.Linear(6, 3)), "the model has no buffers that a device could keep"),
        (lambda: _federation("keep", policies=Asynchronous()), "buffers is 'keep', and a tier does not wait for all"),
    ],
)
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()

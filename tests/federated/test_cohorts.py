"""Devices trained as one batch: the values of one by one, the same bits wherever and beside whomever, or a reason."""

import os
import re
import signal
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from federated_cases import Net, data, finished, given, ragged, run, same, uneven, weights
from torch import nn

import scilab.federated.deployment as deployment
import scilab.federated.federation as module
from scilab.federated import (
    CohortFinished,
    DeviceFailed,
    DeviceFinished,
    DevicesFailed,
    FedAvg,
    Federation,
    FedProx,
    FedSGD,
    Profile,
    Topology,
    resample,
)
from scilab.models import build
from scilab.planes import Engine


def smooth(width=8):
    """Without kinks, so that rounding stays rounding; with a tied weight, a frozen one and a constant buffer."""

    class Smooth(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(6, width), nn.Linear(width, width, bias=False)
            self.third, self.last = nn.Linear(width, width, bias=False), nn.Linear(width, 3)
            self.third.weight = self.second.weight
            self.last.bias.requires_grad_(False)
            self.register_buffer("scale", torch.full((width,), 1.5))

        def forward(self, x):
            x = torch.tanh(self.first(x)) * self.scale
            return self.last(torch.tanh(self.third(torch.tanh(self.second(x)))))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Smooth()


def _federation(topology=None, engine="threads:2", cohort=4, **changes):
    given_ = {"rounds": 2, "seed": 7, "partition": uneven, "test": data(50, seed=9), **changes}
    strategy = given_.pop("strategy", FedAvg(2, 4, 0.2, 0.5))
    model, train = given_.pop("model", None) or smooth(), given_.pop("train", None) or data()
    return Federation(model, train, topology or Topology.flat(11), strategy, engine=engine, cohort=cohort, **given_)


@dataclass(frozen=True)
class Halving(FedAvg):
    """A user's own: gradients of unit length a tensor, halves of changes."""

    def gradient(self, gradient, parameter, start):
        return gradient / (1 + gradient.norm())

    def leave(self, change, random):
        return change / 2


STRATEGIES = [
    FedAvg(1, 4, 0.2), FedAvg(3, 3, 0.2, 0.5), FedAvg(2, None, 0.2), FedSGD(0.2), FedProx(2, 4, 0.2, 0.3, mu=0.5),
    FedAvg(2, 4, 0.2, clip=0.1, noise=0.1), Halving(2, 4, 0.2), FedAvg(2, 4, 0.2, fraction=0.6),
]  # fmt: skip


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: f"{type(s).__name__} {s.batch_size} {s.clip}")
def test_together_they_learn_what_they_learn_one_by_one(strategy):
    """Of 2 to 8 and 36 rows: uneven batches in number and size; the one-by-one path is itself tested by value."""
    together, alone = (_federation(strategy=strategy, cohort=cohort) for cohort in (4, 1))
    assert (together.cohort, together.alone) == (4, None)
    assert (alone.cohort, alone.alone) == (1, "the cohort was set to 1")
    told = [{(r.round, r.device): r for r in run(f) if isinstance(r, DeviceFinished)} for f in (together, alone)]
    for name, tensor in weights(together).items():
        assert torch.allclose(tensor, weights(alone)[name], rtol=1e-4, atol=1e-6), name
    assert told[0].keys() == told[1].keys()
    for device, record in told[0].items():
        assert record.samples == told[1][device].samples
        assert record.loss == pytest.approx(told[1][device].loss, rel=1e-4)


def test_convolutions_too():
    images, labels = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 10
    found = []
    for cohort in (8, 1):
        federation = Federation(
            build("cnn", (1, 8, 8), 10, 1), (images, labels), Topology.flat(9), FedAvg(2, 3, 0.1),
            partition=resample(5), rounds=1, engine="threads:2", cohort=cohort,
        )  # fmt: skip
        run(federation)
        found.append(weights(federation))
        assert federation.cohort == cohort
    assert all(torch.allclose(found[0][name], found[1][name], rtol=1e-4, atol=1e-6) for name in found[0])


@pytest.mark.parametrize("seed", range(3))
def test_every_tree_gives_the_bits_of_the_flat_one(seed, monkeypatch):
    """With some devices not chosen, some not available, and one that fails."""
    away, few = {f"w{i}": Profile(availability=0.7) for i in range(11)}, FedAvg(2, 4, 0.2, fraction=0.8)
    flat = _broken(9, _federation(Topology.flat(11).with_profiles(away), strategy=few, rounds=4))
    tree = _broken(9, _federation(ragged(11, seed).with_profiles(away), strategy=few, rounds=4))
    records = run(flat), run(tree)
    same(weights(flat), weights(tree))
    monkeypatch.setattr(deployment, "TOLD_EACH", 0)  # of many devices siblings leave their sum
    summed = _broken(9, _federation(ragged(11, seed).with_profiles(away), strategy=few, rounds=4))
    records = *records, run(summed)
    same(weights(flat), weights(summed))
    failed = [{(r.round, r.device, r.reason) for r in each if isinstance(r, DeviceFailed)} for each in records]
    reasons = {reason.split(":")[0] for *_, reason in failed[0]}
    assert failed[0] == failed[1] == failed[2] and reasons == {
        "ArithmeticError",
        "it was not available when it was asked",
    }


def _broken(device, federation):
    """Its first row is no number, as found out only once it trains."""
    federation._train[0][_first_row(device)] = float("nan")
    return federation


def _first_row(device):
    return int(uneven(data()[1], 11, 0)[device][0])


@pytest.mark.parametrize("engine", ["threads:1", "threads:4", "processes", "virtual"])
@pytest.mark.parametrize(("task_s", "summed"), [(0.0, False), (1e9, False), (0.0, True), (1e9, True)])
def test_neither_engine_nor_tasks_nor_workers_reach_the_bits(engine, task_s, summed, request, monkeypatch):
    usual = _federation(Topology.tree(11, [3]))
    run(usual)
    monkeypatch.setattr(module, "TASK_S", task_s)
    monkeypatch.setattr(module, "LONG_TASK_S", task_s)
    monkeypatch.setattr(deployment, "TOLD_EACH", 0 if summed else 512)
    chosen = request.getfixturevalue("processes") if engine == "processes" else engine
    other = _federation(Topology.tree(11, [3]), chosen)
    run(other)
    same(weights(usual), weights(other))
    assert usual.state_dict()["history"] == other.state_dict()["history"]


def test_a_resumed_run_has_the_same_bits():
    whole, first, second = (_federation(rounds=3) for _ in range(3))
    run(whole)
    records = iter(first)
    while not finished([next(records)]):
        pass
    second.load_state_dict(first.state_dict())
    first.close()
    run(second)
    same(weights(whole), weights(second))


def test_a_device_that_raises_is_named_and_the_others_bits_stay():
    """Another that diverges in the same lane leaves its cohort the same: what is left agrees to the bit."""
    raising, diverging = _federation(), _broken(9, _federation())
    raising._train[1][_first_row(9)] = 77  # after the trial step of the constructor
    records = run(raising)
    run(diverging)
    failed = [r for r in records if isinstance(r, DeviceFailed)]
    assert [r.device for r in failed] == ["w9", "w9"] and "out of bounds" in failed[0].reason
    same(weights(raising), weights(diverging))


class Mortal(nn.Module):
    """Ends its process while there is a file left to take. Its convolution gives other bits in other company."""

    def __init__(self, folder):
        super().__init__()
        self.folder = str(folder)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            convolution, last = nn.Conv2d(1, 16, 2), nn.Linear(32, 3)
        self.layer = nn.Sequential(nn.Unflatten(1, (1, 2, 3)), convolution, nn.Tanh(), nn.Flatten(), last)

    def forward(self, x):
        for name in os.listdir(self.folder):
            os.unlink(f"{self.folder}/{name}")
            os.kill(os.getpid(), signal.SIGKILL)
        return self.layer(x)


def test_a_cohort_whose_worker_dies_again_and_again_gives_the_same_bits_in_the_end(tmp_path):
    """Its devices are then trained in tasks of their own, each in its own lane, with blank rows in the others."""
    undisturbed = _federation(model=Mortal(tmp_path), cohort=11, rounds=1)
    run(undisturbed)
    with Engine.processes(1) as engine:
        disturbed = _federation(engine=engine, model=Mortal(tmp_path), cohort=11, rounds=1)
        for name in "ab":
            (tmp_path / name).touch()
        records = run(disturbed)
        assert len([r for r in records if isinstance(r, DeviceFinished)]) == 11 and not list(tmp_path.iterdir())
        assert engine.store.count() == 0
    same(weights(undisturbed), weights(disturbed))


class Branching(nn.Linear):
    def forward(self, x):
        return super().forward(x) * (2.0 if bool(x.sum() > 0) else 1.0)


class Mixing(nn.Linear):
    def forward(self, x):
        return super().forward(x - x.mean(0))


@dataclass(frozen=True)
class Judging(FedAvg):
    def gradient(self, gradient, parameter, start):
        return gradient if float(gradient.norm()) < 1 else gradient / 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": Net()}, "the model.s buffers change while it trains: seen, norm.running_mean"),
        ({"model": Net(0.3)}, "the model draws random numbers while it trains, as dropout does"),
        ({"model": Branching(6, 3)}, "torch.func cannot vectorise its training: RuntimeError: "),
        ({"model": Mixing(6, 3)}, "a device trained among others does not get what it gets alone"),
        ({"strategy": Judging()}, "torch.func cannot vectorise its training: RuntimeError: "),
        ({"cohort": None}, "11 devices are too few for cohorts to gain anything"),
        ({"cohort": None, "topology": Topology.flat(64), "partition": resample(2), "model": smooth(300)},
         r"its 373,212 bytes are too many for cohorts"),
    ],
    ids=["buffers", "dropout", "branching", "mixing", "strategy", "few", "large"],
)  # fmt: skip
def test_who_cannot_share_a_cohort_is_told_why_and_runs_one_by_one(changes, reason):
    federation = _federation(**changes)
    assert federation.cohort == 1 and re.match(reason, federation.alone)
    assert federation.settings["cohort"] == 1 and federation.settings["alone"] == federation.alone
    assert len(finished(run(federation))) == 2


def test_by_default_cohorts_follow_from_the_model_and_the_devices():
    sizes = [
        Federation(smooth(), data(), Topology.flat(devices), partition=resample(2)).cohort
        for devices in (31, 32, 100, 5000)
    ]
    assert sizes == [1, 8, 16, 128]
    values = {"devices": 40, "fanouts": "", "rounds": 1, "partition": "resample", "buffers": "mean"}
    assert [Federation.from_settings({**values, "cohort": cohort}).cohort for cohort in (None, 1, 3)] == [8, 1, 3]
    with pytest.raises(ValueError, match="cohort must be a whole number from 1, or None .* got 0"):
        _federation(cohort=0)


@pytest.mark.parametrize("told_each", [512, 0])
def test_each_devices_edge_carries_the_model(told_each, monkeypatch):
    """As one by one: S down and S up for each, also where a cohort has read the version once, or left its sum."""
    monkeypatch.setattr(deployment, "TOLD_EACH", told_each)
    federations = [_federation(ragged(11, 1), model=smooth(60), cohort=cohort) for cohort in (4, 1)]
    records = [finished(run(federation))[-1] for federation in federations]
    assert records[0].bytes_down == records[1].bytes_down
    assert records[0].bytes_up == pytest.approx(records[1].bytes_up, rel=0.05)
    for ours, theirs in zip(*[federation.bytes_by_edge().items() for federation in federations], strict=True):
        assert ours == (theirs[0], pytest.approx(theirs[1], rel=0.05))


@pytest.mark.parametrize("cohort", [1, 32])
def test_many_devices_are_summed_up_in_the_records_and_none_is_lost(cohort):
    topology = Topology.tree(600, [5]).with_profiles({"w8": Profile(availability=0.0), "w9": Profile(availability=0.0)})
    parts = [[i % 96] if i != 300 else [0, 0] for i in range(600)]
    few = FedAvg(1, 4, 0.1)
    federation = _federation(topology, cohort=cohort, partition=given(*parts), rounds=1, strategy=few)
    federation._train[0][299 % 96] = float("nan")
    records = run(federation)
    told, failed = ([r for r in records if isinstance(r, kind)] for kind in (CohortFinished, DevicesFailed))
    assert not [r for r in records if isinstance(r, DeviceFinished | DeviceFailed)]
    diverged = {f"w{i}" for i in range(600) if i % 96 == 299 % 96}
    lost = {name: r.reason.split(":")[0] for r in failed for name in r.devices}
    assert lost == dict.fromkeys(diverged, "ArithmeticError") | dict.fromkeys(("w8", "w9"), lost["w8"])
    (last,) = finished(records)
    assert last.failed == len(lost) == 2 + len(diverged) and sum(r.devices for r in told) == 600 - len(lost)
    assert sum(r.samples for r in told) == 601 - len(lost)
    assert sum(r.loss * r.samples for r in told) / (601 - len(lost)) == pytest.approx(last.train_loss)
    by_parent = {parent: sum(r.devices for r in told if r.parent == parent) for parent in topology.children}
    assert sum(by_parent.values()) == 600 - len(lost) and by_parent["coordinator"] == 0
    assert all(0 < n <= 120 for parent, n in by_parent.items() if parent != "coordinator")


def test_rows_in_common_travel_once(monkeypatch):
    """Devices that share rows get their numbers; what they learn is what they learn from rows of their own."""
    puts = []
    with Engine.threads(2) as engine:
        original = engine.store.put
        monkeypatch.setattr(engine.store, "put", lambda obj, edge=None: puts.append(obj) or original(obj, edge))
        shared = _federation(engine=engine, partition=resample(30))
        run(shared)
    assert sum(isinstance(o, tuple) and isinstance(o[0], torch.Tensor) and len(o[0]) == 96 for o in puts) == 1
    assert not [o for o in puts if isinstance(o, tuple) and len(o) == 4 and isinstance(o[0], torch.Tensor)]
    monkeypatch.setattr("scilab.federated.deployment.SHARED_BYTES", 0)
    apart = _federation(partition=resample(30))
    run(apart)
    same(weights(shared), weights(apart))
    assert np.isfinite(shared.result.loss)

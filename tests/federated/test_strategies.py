"""Strategies by value: each against the few lines its paper gives."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from federated_cases import Net, data, finished, ragged, run, same, uneven, weights
from torch import nn

from scilab.federated import DeviceFinished, FedAdam, FedAvg, Federation, FedProx, FedSGD, RoundStarted, Topology
from scilab.federated.streams import stream
from scilab.federated.training import local_sgd


def _federation(strategy, topology=None, **changes):
    given = {"rounds": 2, "seed": 7, "partition": uneven, "engine": "threads:2", "model": Net(), **changes}
    return Federation(given.pop("model"), data(), topology or Topology.flat(11), strategy, **given)


def _linear():
    model = nn.Linear(6, 3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        nn.init.normal_(model.weight)
        nn.init.zeros_(model.bias)
    return model


def _vector(state):
    return torch.cat([state["weight"].reshape(-1), state["bias"]])


def _after(strategy, rounds=1, **changes):
    federation = _federation(strategy, rounds=rounds, **{"model": _linear(), **changes})
    run(federation)
    return _vector(weights(federation))


START = _vector(_linear().state_dict())


@pytest.mark.parametrize("mu", [0.0, 0.3, 2.0])
def test_fedprox_descends_the_loss_and_its_proximal_term(mu):
    """Against autograd of loss + mu/2 ‖w - w0‖² built from the parameters themselves, five steps of it."""
    x, y = data(24, 4)
    model, other = _linear(), _linear()
    start = [parameter.detach().clone() for parameter in other.parameters()]
    order = torch.Generator().manual_seed(1)
    local_sgd(model, nn.functional.cross_entropy, x, y, FedProx(5, None, 0.2, mu=mu), order, list(model.parameters()))
    for _ in range(5):
        distance = sum(((p - s) ** 2).sum() for p, s in zip(other.parameters(), start, strict=True))
        other.zero_grad()
        (nn.functional.cross_entropy(other(x), y) + mu / 2 * distance).backward()
        with torch.no_grad():
            for parameter in other.parameters():
                parameter -= 0.2 * parameter.grad
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-6)
    if mu:  # and it is not a term that trains happily without being there
        plain = _linear()
        local_sgd(plain, nn.functional.cross_entropy, x, y, FedAvg(5, None, 0.2), order, list(plain.parameters()))
        assert (plain.weight - model.weight).abs().max() > 1e-3


def test_fedsgd_is_fedavg_with_one_step_of_all():
    same({"all": _after(FedSGD(lr=0.3), 2)}, {"all": _after(FedAvg(1, None, 0.3), 2)})
    assert FedSGD(0.3) == FedSGD(lr=0.3)


def test_fedadam_follows_algorithm_2():
    """Reddi et al. 2021, with the devices' mean taken from FedAvg started at the same model each round."""
    strategy = FedAdam(2, 4, 0.2, server_lr=0.05, beta1=0.8, beta2=0.9, tau=0.01)
    x, m, v = START, 0.0, 0.0
    federation = _federation(strategy, rounds=3, model=_linear())
    run(federation)
    for number in range(1, 4):
        plain = _federation(FedAvg(2, 4, 0.2), rounds=number, model=_linear())
        plain.load_state_dict({"round": number - 1, "model": _named(x), "history": []})
        run(plain)
        change = _vector(weights(plain)) - x
        m = 0.8 * m + 0.2 * change
        v = 0.9 * v + 0.1 * change**2
        x = x + 0.05 * m / (v**0.5 + 0.01)
    assert torch.allclose(_vector(weights(federation)), x, atol=1e-6)


def _named(vector):
    return {"weight": vector[:18].view(3, 6).clone(), "bias": vector[18:].clone()}


def test_fedadam_resumes_with_its_moments():
    make = lambda: _federation(FedAdam(server_lr=0.1), rounds=3, model=Net(0.2))  # noqa: E731
    whole, first, second = make(), make(), make()
    run(whole)
    records = iter(first)
    while not finished([next(records)]):
        pass
    state = first.state_dict()
    records.close()
    assert len(state["server"][0]) == 2
    second.load_state_dict(state)
    run(second)
    same(weights(whole), weights(second))


def test_buffers_take_the_mean_whatever_the_server_does():
    adam, plain = _federation(FedAdam(server_lr=5.0), rounds=1), _federation(FedAvg(), rounds=1)
    run(adam), run(plain)
    for name in ("norm.running_mean", "norm.running_var", "norm.num_batches_tracked", "seen"):
        assert torch.equal(weights(adam)[name], weights(plain)[name])
    assert not torch.equal(weights(adam)["last.bias"], weights(plain)["last.bias"])


def test_clipping_limits_each_devices_change():
    """One device: what it changed, unclipped, points the same way; with 1e9 nothing is clipped."""
    one = {"topology": Topology.flat(1), "partition": lambda labels, devices, seed: [np.arange(96)]}
    change = _after(FedAvg(), **one) - START
    assert change.norm() > 0.1
    clipped = _after(FedAvg(clip=0.1), **one) - START
    assert torch.allclose(clipped, 0.1 * change / change.norm(), atol=1e-6)
    assert torch.allclose(_after(FedAvg(clip=1e9), **one), START + change, atol=1e-6)


def test_noise_has_the_deviation_of_noise_times_clip_and_its_own_stream():
    wide = nn.Linear(6, 3000)
    given = {"model": wide, "topology": Topology.flat(2), "rounds": 1, "loss": _silent, "partition": _halves}
    noised = _federation(FedAvg(clip=2.0, noise=0.5), **given)
    run(noised)
    noise = weights(noised)["weight"] - wide.weight.detach()  # nothing is learnt, so all of it is noise
    assert float(noise.std()) == pytest.approx(1.0 / 2**0.5, rel=0.03)  # the mean of two devices
    expected = torch.zeros(21_000)
    for device in range(2):
        expected += torch.randn(21_000, generator=torch.Generator().manual_seed(stream(7, "noise", 1, device))) / 2
    assert torch.allclose(noise.reshape(-1), expected[:18_000], atol=1e-5)


def _silent(outputs, labels):
    return outputs.sum() * 0.0


def _halves(labels, devices, seed):
    return np.split(np.arange(len(labels)), devices)


def test_a_fraction_of_the_devices_takes_part_anew_in_each_round():
    records = run(_federation(FedAvg(fraction=0.3), ragged(11, 2), rounds=6))
    rounds = [sorted(r.device for r in records if isinstance(r, DeviceFinished) and r.round == n) for n in range(1, 7)]
    assert [r.devices for r in records if isinstance(r, RoundStarted)] == [4] * 6  # 3.3, rounded up
    assert all(len(set(devices)) == 4 for devices in rounds) and len({tuple(devices) for devices in rounds}) > 1
    again = run(_federation(FedAvg(fraction=0.3), Topology.flat(11), rounds=6))
    assert rounds == [
        sorted(r.device for r in again if isinstance(r, DeviceFinished) and r.round == n) for n in range(1, 7)
    ]


def test_every_device_is_asked_as_often_as_another():
    asked = np.zeros(40)
    for number in range(2000):
        asked[list(FedAvg(fraction=0.25).select(number, 40, 1))] += 1
    assert np.abs(asked / 500 - 1).max() < 0.2  # a standard deviation is 3.9 %


@pytest.mark.parametrize("strategy", [FedAvg(fraction=0.4), FedProx(mu=0.5), FedAdam(), FedAvg(clip=0.3, noise=0.1)])
def test_strategies_give_the_same_bits_on_every_tree_and_engine(strategy, processes):
    flat, tree = _federation(strategy), _federation(strategy, ragged(11, 3), engine=processes)
    run(flat), run(tree)
    same(weights(flat), weights(tree))


@dataclass(frozen=True)
class OddDevices(FedAvg):
    """A user's own: only devices of odd number, sign descent, halves of changes, and a server that overshoots."""

    def select(self, number, devices, seed):
        return range(1, devices, 2)

    def gradient(self, gradient, parameter, start):
        return gradient.sign()

    def leave(self, change, random):
        return change / 2

    def server(self, model, mean, state):
        (count,) = state or [torch.zeros(1)]
        return model + (2 + count) * (mean - model), [count + 1]


def test_a_strategy_of_ones_own_replaces_four_functions():
    """Every parameter of every device moves by ±lr a step; halved; times 2 + rounds before."""
    federation = _federation(OddDevices(1, None, 0.01), rounds=2, model=_linear())
    records = run(federation)
    assert {r.device for r in records if isinstance(r, DeviceFinished)} == {"w1", "w3", "w5", "w7", "w9"}
    x, y = data()
    parts, vector = uneven(y, 11, 0), START
    for number in range(2):
        model = _linear()
        total = torch.zeros(21)
        for device in range(1, 11, 2):
            rows = list(parts[device])
            torch.nn.utils.vector_to_parameters(vector.clone(), model.parameters())
            model.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            total += len(rows) * -0.005 * torch.cat([p.grad.reshape(-1) for p in model.parameters()]).sign()
        vector = vector + (2 + number) * total / sum(len(parts[device]) for device in range(1, 11, 2))
    assert torch.allclose(_vector(weights(federation)), vector, atol=1e-6)

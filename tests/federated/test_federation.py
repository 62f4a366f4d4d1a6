"""The whole thing against a plain loop, against itself on other trees and engines, and resumed at every boundary."""

import io
import json

import numpy as np
import pytest
import torch
from federated_cases import Net, close, data, finished, given, ragged, reference, run, same, uneven, weights
from torch import nn

import scilab.federated.federation as module
from scilab.federated import DeviceFinished, FedAdam, FedAvg, Federation, FedProx, RoundStarted, Topology, dirichlet
from scilab.models import build
from scilab.planes import Engine


def _federation(topology=None, engine="threads:2", model=None, **changes):
    given = {"rounds": 2, "seed": 7, "partition": uneven, "test": data(50, seed=9), **changes}
    strategy = given.pop("strategy", FedAvg(local_epochs=2, batch_size=4, lr=0.2, momentum=0.5))
    return Federation(model or Net(), data(), topology or Topology.flat(11), strategy, engine=engine, **given)


@pytest.mark.parametrize(
    "strategy",
    [FedAvg(2, 4, 0.2, 0.5), FedAvg(1, 2, 0.3), FedAvg(3, None, 0.1)],
    ids=["momentum", "plain", "full batch"],
)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_it_is_federated_averaging(strategy, dropout):
    federation = _federation(strategy=strategy, rounds=1, model=Net(dropout))
    records = run(federation)
    parts = uneven(data()[1], 11, 0)
    expected = reference(Net(dropout), data(), parts, strategy, 1, 7)
    close(weights(federation), expected)
    assert [record.samples for record in sorted(records[1:12], key=lambda r: int(r.device[1:]))] == [
        len(p) for p in parts
    ]
    assert int(expected["seen"]) == int(weights(federation)["seen"]) == max(map(len, parts)) * strategy.local_epochs


def test_several_rounds_follow_the_plain_loop():
    strategy = FedAvg(1, 8, 0.2)
    federation = _federation(strategy=strategy, rounds=4)
    run(federation)
    expected = reference(Net(), data(), uneven(data()[1], 11, 0), strategy, 4, 7)
    for name, tensor in weights(federation).items():
        assert torch.allclose(tensor.double(), expected[name].double(), atol=1e-5), name


def test_one_full_batch_pass_is_a_step_of_centralised_gradient_descent():
    """McMahan et al. 2017, section 2: FedSGD is the gradient of the whole, whoever holds which row."""
    model, (x, y) = build("mlp", (1, 2, 3), 3, seed=1), data()
    x = x.view(-1, 1, 2, 3)
    federation = Federation(
        model, (x, y), ragged(9, 3), FedAvg(1, None, 0.5), partition=dirichlet(0.5), rounds=3, engine="threads:2"
    )
    run(federation)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(3):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    for name, parameter in model.named_parameters():
        assert torch.allclose(weights(federation)[name], parameter, atol=1e-6), name


def test_records_tell_the_new_models_accuracy():
    """Flight's curves are one round late: its test runs before the new weights are loaded."""
    federation, test = _federation(rounds=3), data(50, seed=9)
    for record in federation:
        if not finished([record]):
            continue
        result = federation.result
        with torch.no_grad():
            outputs = result.model(test[0])
        assert record.accuracy == result.accuracy == float((outputs.argmax(1) == test[1]).double().mean())
        assert record.loss == pytest.approx(float(nn.functional.cross_entropy(outputs, test[1])), rel=1e-6)
        assert result.rounds == record.round
    assert federation.total == 3 == len(federation.state_dict()["history"])


def test_the_order_of_records_and_what_they_count():
    records = run(_federation(rounds=2))
    rounds = [records[:13], records[13:]]
    for number, part in enumerate(rounds, 1):
        assert part[0] == RoundStarted(number, 11)
        assert sorted(r.device for r in part[1:12]) == sorted(f"w{i}" for i in range(11))
        assert all(
            isinstance(r, DeviceFinished) and r.round == number and r.seconds > 0 and r.worker for r in part[1:12]
        )
        total = sum(r.samples * r.loss for r in part[1:12]) / 96
        assert part[12].train_loss == pytest.approx(total) and part[12].failed == 0


@pytest.mark.parametrize("seed", range(4))
def test_every_tree_gives_the_bits_of_the_flat_one(seed):
    flat = _federation()
    run(flat)
    tree = ragged(11, seed)
    assert {len(below) for below in tree.children.values()} >= {1}  # an aggregator of one child is among them
    other = _federation(tree)
    run(other)
    same(weights(flat), weights(other))


@pytest.mark.parametrize("engine", ["threads:1", "threads:4", "processes"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_every_engine_and_number_of_workers_gives_the_same_bits(engine, dropout, request):
    one = _federation(Topology.tree(11, [3]), "threads:2", Net(dropout))
    chosen = request.getfixturevalue("processes") if engine == "processes" else engine
    other = _federation(Topology.tree(11, [3]), chosen, Net(dropout))
    run(one), run(other)
    same(weights(one), weights(other))
    assert one.state_dict()["history"] == other.state_dict()["history"]


def test_dropout_is_in_play():
    with_dropout, without = _federation(model=Net(0.3)), _federation()
    run(with_dropout), run(without)
    assert not torch.equal(weights(with_dropout)["last.weight"], weights(without)["last.weight"])


@pytest.mark.parametrize("task_s", [0.0, 1e9])
def test_how_devices_share_tasks_does_not_matter(task_s, monkeypatch):
    usual = _federation(ragged(11, 2))
    run(usual)
    monkeypatch.setattr(module, "TASK_S", task_s)
    with Engine.threads(1) as engine:
        other = _federation(ragged(11, 2), engine)
        run(other)
    same(weights(usual), weights(other))


def test_the_global_streams_play_no_part_and_are_left_alone():
    torch.manual_seed(1)
    one = _federation(model=Net(0.3))
    run(one)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    two = _federation(model=Net(0.3))
    run(two)
    same(weights(one), weights(two))
    torch.manual_seed(2)
    expected = torch.rand(3)
    torch.manual_seed(2)
    run(_federation(model=Net(0.3)))
    assert torch.equal(torch.rand(3), expected)


def test_a_resumed_run_has_the_same_bits_from_every_boundary():
    undisturbed = _federation(Topology.tree(11, [3]), model=Net(0.3), rounds=4)
    states, records = [], []
    for record in undisturbed:
        if finished([record]):
            file = io.BytesIO()
            torch.save(undisturbed.state_dict(), file)
            states.append(file.getvalue())
            records.append((record.round, record.accuracy, record.loss, record.train_loss))
    assert len(states) == 4
    for boundary, state in enumerate(states):
        resumed = _federation(Topology.tree(11, [3]), model=Net(0.3), rounds=4)
        resumed.load_state_dict(torch.load(io.BytesIO(state), weights_only=True))
        after = [(r.round, r.accuracy, r.loss, r.train_loss) for r in finished(run(resumed))]
        assert after == records[boundary + 1 :]
        same(weights(undisturbed), weights(resumed))
        assert resumed.state_dict()["history"] == undisturbed.state_dict()["history"]


def test_stopped_in_the_middle_of_a_round_it_goes_on_from_the_boundary():
    undisturbed = _federation()
    run(undisturbed)
    stopped, seen = _federation(), 0
    for record in stopped:
        seen += isinstance(record, DeviceFinished)
        if seen == 15:
            stopped.send("stop")
    assert stopped.state_dict()["round"] == 1
    run(stopped)
    same(weights(undisturbed), weights(stopped))


def test_a_state_of_another_model_is_refused():
    federation = _federation()
    other = {name: tensor for name, tensor in weights(federation).items() if name != "last.bias"}
    other |= {"layer.bias": torch.zeros(1), "first.weight": torch.zeros(8, 5)}
    with pytest.raises(ValueError, match=r"another model: they differ in first\.weight, last\.bias, layer\.bias"):
        federation.load_state_dict({"round": 1, "model": other, "history": []})


def test_the_users_model_and_data_are_left_as_they_were():
    model, (x, y) = Net(), data()
    before, inputs = {name: tensor.clone() for name, tensor in model.state_dict().items()}, x.clone()
    run(Federation(model, (x, y), Topology.flat(3), rounds=1, engine="threads:2"))
    same(before, model.state_dict())
    assert torch.equal(x, inputs)


def test_datasets_of_torch_are_taken():
    x, y = data()
    pairs = torch.utils.data.TensorDataset(x, y)
    one, two = (Federation(Net(), d, Topology.flat(3), rounds=1, test=d, engine="threads:2") for d in ((x, y), pairs))
    run(one), run(two)
    same(weights(one), weights(two))


def test_regression_has_a_loss_and_no_accuracy():
    x, _ = data()
    federation = Federation(
        nn.Linear(6, 1), (x, x.sum(1, keepdim=True)), Topology.flat(4), FedAvg(5, 8, 0.1), loss=nn.functional.mse_loss,
        test=(x, x.sum(1, keepdim=True)), rounds=5, engine="threads:2",
    )  # fmt: skip
    last = finished(run(federation))[-1]
    assert last.accuracy is None and last.loss < 1e-3  # a linear map is learnt by a linear map


def test_digits_are_learnt():
    values = {"model": "cnn", "devices": 8, "fanouts": "2", "rounds": 12, "local_epochs": 2, "engine": "threads:2"}
    federation = Federation.from_settings(values)
    assert finished(run(federation))[-1].accuracy > 0.9
    json.dumps(federation.settings, allow_nan=False)
    assert federation.settings["topology"] == Topology.tree(8, [2]).to_dict()
    assert federation.settings["model"]["parameters"] == sum(p.numel() for p in federation.result.model.parameters())
    again = Federation.from_settings(json.loads(json.dumps(federation.settings)))
    run(again)
    same(weights(federation), weights(again))


def test_a_drawn_tree_replaces_devices_and_fanouts():
    tree = ragged(5, 2)
    federation = Federation.from_settings({"topology": tree.to_dict(), "devices": 64, "rounds": 1})
    assert federation.topology == tree and federation.settings["values"]["devices"] == 64
    again = Federation.from_settings(federation.settings)
    assert again.topology == tree


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: _federation(rounds=0), "rounds must be a whole number from 1, got 0"),
        (lambda: run(_federation(engine="fast")), "engine is 'fast'; give 'threads'"),
        (lambda: _federation(partition=given(*[[0]] * 10, [])), "worker 'w10' has no data"),
        (lambda: _federation(partition=given(*[[0]] * 10)), "made 10 parts for 11 workers"),
        (lambda: _federation(partition=given(*[[0]] * 10, [96])), "gave worker 'w10' a row outside 0 to 95"),
        (
            lambda: _federation(topology=Topology.flat(97), partition=dirichlet(1.0)),
            "96 rows cannot be dealt to 97 devices",
        ),
        (lambda: _federation(model=nn.Linear(6, 2)), "do not fit each other: IndexError: Target 2 is out of bounds"),
        (lambda: _federation(model=nn.Linear(5, 3)), r"do not fit each other: .*\(inputs \(96, 6\) torch.float32"),
        (lambda: _federation(loss=nn.functional.mse_loss), "do not fit each other"),
        (
            lambda: Federation(Net(), 5, Topology.flat(2)),
            "train must be a pair of tensors .* or a torch Dataset, got int",
        ),
        (lambda: Federation(Net(), (data()[0], data()[1][:5]), Topology.flat(2)), "96 inputs and 5 labels"),
        (
            lambda: Federation(Net(), (data()[0] / 0, data()[1]), Topology.flat(2)),
            "train holds NaN or infinity in its inputs",
        ),
        (lambda: _federation(strategy="fedavgg"), "no strategy 'fedavgg'; take fedavg, fedsgd, fedprox, fedadam"),
        (lambda: FedAvg(fraction=1.5), "fraction must be above 0 and at most 1, got 1.5; 0.1 asks every tenth device"),
        (lambda: FedAvg(clip=0.0), "clip must be a positive number, or None for no limit, got 0.0"),
        (lambda: FedAvg(noise=1.0), "noise 1.0 is in multiples of clip, and there is no clip"),
        (lambda: FedProx(mu=-1.0), "mu must be a number from 0, got -1.0"),
        (lambda: FedAdam(beta2=1.0), "beta2 must be at least 0 and below 1, got 1.0"),
        (lambda: FedAvg(lr=0.0), "lr must be a positive number, got 0.0"),
        (lambda: FedAvg(local_epochs=0), "local_epochs must be a whole number from 1, got 0"),
        (lambda: FedAvg(batch_size=1.5), "batch_size must be a whole number from 1, got 1.5"),
        (lambda: FedAvg(momentum=1.0), "momentum must be at least 0 and below 1, got 1.0"),
        (lambda: _federation().send("faster"), "understands 'pause', 'resume' and 'stop', got 'faster'"),
        (lambda: Federation.from_settings({"devces": 3}), "no setting devces; it has dataset, model, devices"),
        (
            lambda: Federation.from_settings({"fanouts": "2, x"}),
            "fanouts must be whole numbers such as '4, 8', got '2, x'",
        ),
        (
            lambda: Federation.from_settings({"partition": "even"}),
            "partition must be 'iid', 'dirichlet', 'shards' or 'resample', got 'even'",
        ),
        (lambda: Federation.from_settings({"dataset": "digitz"}), "no data set 'digitz'"),
        (lambda: Federation.from_settings(_federation().settings), "built in code: run the cell"),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_what_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_model_with_nan_is_refused():
    model = Net()
    nn.init.constant_(model.first.weight, float("nan"))
    with pytest.raises(ValueError, match=r"the model's first\.weight is complex or holds NaN"):
        _federation(model=model)

"""Races in one process: the same as plain loops, resumed to the bit, changed while they run."""

import math
import queue
from dataclasses import replace

import pytest
import torch
from race_work import KFAC_OPTIONS, by_hand, classes, loader, network, regression, three
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from scilab.kfac import Race, Racer, Task
from scilab.kfac.data import crop_and_flip
from scilab.kfac.ranks import World
from scilab.kfac.records import Changed, EpochFinished, Held, RacerFailed, RaceStarted
from scilab.kfac.tasks import half_squared_error
from scilab.kfac.training import Training


def weights(model):
    return torch.cat([tensor.flatten() for tensor in model.state_dict().values()])


def finals(race):
    return {name: weights(model) for name, model in race.result.models.items()}


def run(race):
    return [record for record in race if type(record).__name__ != "StepFinished"]


@pytest.mark.parametrize("number", range(3))
def test_every_racer_does_what_a_plain_loop_does(number):
    race = Race(regression(), three(), epochs=3)
    run(race)
    racer = race.racers[number]
    assert torch.equal(finals(race)[racer.name], weights(by_hand(racer, 3)))


def test_a_race_tells_its_epochs_and_what_k_fac_did():
    race = Race(regression(), three(), epochs=2)
    started, *epochs = run(race)
    assert started == RaceStarted(0, 0, 5, 1, ("cpu",))
    assert [type(record) for record in epochs] == [EpochFinished] * 2 and race.total == 2
    last = epochs[-1].racers
    assert [told.racer for told in last] == ["K-FAC + SGD", "SGD", "Adam"]
    for told in last:
        model, (x, y) = race.result.models[told.racer], map(torch.cat, zip(*loader(seed=1), strict=True))
        assert told.loss == pytest.approx(float(half_squared_error(model(x), y).detach()), rel=1e-6)
        assert told.accuracy is None
    kfac, sgd, _ = last
    assert set(kfac.cosines) == set(kfac.spectra) == {"0", "3"} and 0 < kfac.scale <= 1 and kfac.damping == 0.05
    assert set(kfac.ms) == {"forward, backward", "capture", "factors", "decompose", "precondition", "optimizer"}
    assert set(sgd.ms) == {"forward, backward", "optimizer"} and sgd.cosines is None and sgd.ranks == ()
    # A of the first layer: 7 eigenvalues with the bias; the quantiles 0, ½, 1 are its least, its middle, its largest
    a = race.state_dict()["lanes"]["K-FAC + SGD"]["kfac"]["layers"]["0"]["basis"][1]
    quantiles = kfac.spectra["0"][0]
    ordered = a.flatten().sort().values.tolist()
    assert [quantiles[0], quantiles[3], quantiles[-1]] == pytest.approx([ordered[0], ordered[3], ordered[6]], rel=1e-6)


def test_accuracy_is_the_share_of_right_answers():
    race = Race(classes(), [Racer("sgd", 0.5)], epochs=3)
    told = run(race)[-1].racers[0]
    x, y = race.task.test
    assert told.accuracy == float((race.result.models["SGD"](x).argmax(1) == y).double().mean()) > 0.9


def test_company_changes_nothing():
    alone = Race(regression(drop=0.3), [Racer("adam", 0.01)], epochs=2)
    race = Race(regression(drop=0.3), three(), epochs=2)
    run(alone), run(race)
    assert torch.equal(finals(alone)["Adam"], finals(race)["Adam"])


class Shuffled:
    """A loader whose order is torch's to draw; `stops` presses Stop before that batch, once."""

    def __init__(self):
        x, y = map(torch.cat, zip(*loader(), strict=True))
        self.inner, self.race, self.stops, self.count = DataLoader(TensorDataset(x, y), 8, shuffle=True), None, -1, 0

    def __len__(self):
        return len(self.inner)

    def __iter__(self):
        for batch in self.inner:
            if self.count == self.stops:
                self.race.send("stop")
            self.count += 1
            yield batch


def stopping(stops=-1):
    shuffled = Shuffled()
    shuffled.race = Race(regression(drop=0.3, train=shuffled), three(), epochs=3)
    shuffled.stops, shuffled.count = stops, 0
    return shuffled.race


@pytest.fixture(scope="module")
def undisturbed():
    race = stopping()
    run(race)
    return finals(race), race.result.epochs


@pytest.mark.parametrize("step", [0, 1, 4, 5, 7, 10, 14])
def test_stopped_before_any_step_and_resumed_it_ends_with_the_same_bits(step, undisturbed):
    part = stopping(step)
    records = run(part)
    assert records[-1] == Held(step // 5, step % 5)
    rest = stopping()
    rest.load_state_dict(part.state_dict())
    assert run(rest)[0] == RaceStarted(step // 5, step % 5, 5, 1, ("cpu",))
    models, epochs = undisturbed
    assert all(torch.equal(finals(rest)[name], bits) for name, bits in models.items())
    for name, told in rest.result.epochs.items():
        timeless = [[{**each, "seconds": 0} for each in entries] for entries in (told, epochs[name])]
        assert timeless[0] == timeless[1]


def test_it_can_be_paused_and_left():
    race = Race(regression(), three(), epochs=50)
    records = iter(race)
    next(records)
    race.send("pause")
    race.send({"lr": 0.01})
    race.send("resume")
    assert next(each for each in records if isinstance(each, Changed)).racers == ("K-FAC + SGD", "SGD", "Adam")
    with pytest.raises(RuntimeError, match="is running"):
        race.load_state_dict(race.state_dict())
    race.close()
    assert list(records) == []


def test_a_change_holds_from_the_next_step_on_and_is_told():
    race = Race(regression(), three(), epochs=3)
    race.send({"damping": 0.5})
    race.send({"lr": 0.02, "racer": "SGD"})
    records = run(race)
    changed = [record for record in records if isinstance(record, Changed)]
    assert [(c.what, c.racers, c.epoch, c.step) for c in changed] == [
        ({"damping": 0.5}, ("K-FAC + SGD",), 0, 0), ({"lr": 0.02}, ("SGD",), 0, 0)]  # fmt: skip
    assert records[-1].racers[0].damping == 0.5
    assert torch.equal(finals(race)["SGD"], weights(by_hand(Racer("sgd", 0.02), 3)))
    assert torch.equal(finals(race)["Adam"], weights(by_hand(Racer("adam", 0.01), 3)))
    harder = Racer("sgd", 0.05, 0.5, kfac={**KFAC_OPTIONS, "damping": 0.5})
    assert torch.equal(finals(race)["K-FAC + SGD"], weights(by_hand(harder, 3)))


def test_a_racer_whose_loss_is_no_number_is_out_and_the_others_go_on():
    wild = Racer("sgd", 1e20, name="wild")
    race = Race(regression(), [wild, Racer("sgd", 0.05)], epochs=3)
    records = run(race)
    (failed,) = [record for record in records if isinstance(record, RacerFailed)]
    assert failed.racer == "wild" and failed.epoch == 0 and failed.step <= 4
    assert failed.reason.startswith("its loss became ") and failed.reason.endswith("try a smaller learning rate")
    assert [told.racer for told in records[-1].racers] == ["SGD"]
    assert torch.equal(finals(race)["SGD"], weights(by_hand(Racer("sgd", 0.05), 3)))
    again = Race(regression(), [wild, Racer("sgd", 0.05)], epochs=4)
    again.load_state_dict(race.state_dict())
    assert [told.racer for told in run(again)[-1].racers] == ["SGD"], "out is out"
    with pytest.raises(RuntimeError, match="no racer is left at epoch 0, step .*wild: its loss became"):
        run(Race(regression(), [wild], epochs=3))


def test_nan_data_puts_a_racer_with_k_fac_out_with_what_to_try():
    x, y = zip(*loader(), strict=True)
    spoilt = list(zip(x, [*y[:-1], y[-1] * math.nan], strict=True))
    sentence = "K-FAC .* became nan: try a smaller learning rate, or a larger damping"
    with pytest.warns(UserWarning, match="not finite"), pytest.raises(RuntimeError, match=sentence):
        run(Race(regression(train=spoilt), three()[:1], epochs=1))


@pytest.mark.parametrize(("command", "said"), [
    ("go", "understands 'pause', 'resume', 'stop' and a dict"),
    ({"momentum": 1}, "what can change while a race runs is lr, damping, factors_every, decompose_every; got momentum"),
    ({"lr": 0.1, "racer": "Muon"}, "no racer 'Muon'; there are K-FAC"),
    ({"factors_every": 0}, "factors_every must be a whole number of steps from 1; got 0"),
    ({"damping": 0}, "damping must be a number above 0; got 0"),
    ({"lr": math.nan}, "lr must be a number above 0; got nan"),
])  # fmt: skip
def test_what_it_does_not_understand_is_refused_at_once(command, said):
    with pytest.raises(ValueError, match=said):
        Race(regression(), three()).send(command)


def images():
    return Task("i", nn.Sequential(nn.Flatten(), nn.ReLU()), half_squared_error, loader(), loader(), "gaussian")


@pytest.mark.parametrize(("make", "said"), [
    (lambda: Race("nothing"), "no task 'nothing'; there are digits_autoencoder"),
    (lambda: Race(images(), [Racer("sgd", kfac={})]), "nothing to precondition"),
    (lambda: Race(regression(), [Racer(kfac={"factors_every": 0})]), "factors_every must be a whole number of steps"),
    (lambda: Race(regression(), [Racer(kfac={"gradient_worker_fraction": 0.3})], ranks=2), "one of 1/2, 1"),
    (lambda: Race(regression(), devices="cuda", ranks=3), "3 ranks on CUDA, but torch sees no CUDA devices: take dev"),
    (lambda: Race(regression(), [Racer(), Racer()]), "two racers are called 'SGD'"),
    (lambda: Race(regression(), epochs=0), "epochs must be a whole number from 1, got 0"),
    (lambda: Race(regression(), schedule="step"), "one of constant, cosine"),
    (lambda: Racer("newton"), "one of sgd, adam, adamw, muon or a function"),
    (lambda: Racer(lr=0), "lr must be above 0"),
    (lambda: Racer(kfac={"lr": 0.1}), "lr is not for a racer to say"),
    (lambda: Race(regression(train=5)), "a pair of tensors .* or a loader with a length, got int"),
    (lambda: Race(Task("t", network(), half_squared_error, (torch.ones(4, 5), torch.ones(4, 3)), None)),
     "do not fit each other: RuntimeError.*inputs \\(4, 5\\)"),
    (lambda: Task("t", network(), half_squared_error, None, None, "poisson"), "one of categorical, gaussian"),
])  # fmt: skip
def test_mistakes_have_a_sentence(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_a_state_of_another_race_is_refused():
    race = Race(regression(), three(), epochs=1)
    run(race)
    with pytest.raises(ValueError, match="a race of K-FAC .*; here race SGD"):
        Race(regression(), [Racer()]).load_state_dict(race.state_dict())
    with pytest.raises(ValueError, match="another model"):
        Race(classes(), three()).load_state_dict(race.state_dict())


def test_rates_warm_up_and_fall_by_half_a_cosine():
    race = Race(regression(), [Racer("sgd", 0.1)], epochs=4, schedule="cosine", warmup=1)
    training = Training(race._plan, World(torch.device("cpu")), queue.SimpleQueue(), None)
    factors = [training._factor(step) for step in range(20)]
    assert factors[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factors[5:] == pytest.approx([(1 + math.cos(math.pi * step / 20)) / 2 for step in range(5, 20)])


def test_weight_decay_is_decoupled():
    plain, decayed = Racer("sgd", 0.1, 0.0), Racer("sgd", 0.1, 0.0, weight_decay=0.5, name="decayed")
    x, y = loader()[0]
    race = Race(regression(train=[(x, y)]), [plain, decayed], epochs=1)
    run(race)
    before = weights(network())
    assert torch.allclose(finals(race)["decayed"] - finals(race)["SGD"], -0.1 * 0.5 * before, atol=1e-7)


def test_crops_and_flips_are_windows_of_the_padded_image():
    pictures = torch.arange(2 * 3 * 6 * 5, dtype=torch.float32).view(2, 3, 6, 5) + 1
    made = crop_and_flip(pictures, torch.Generator().manual_seed(3))
    padded = torch.nn.functional.pad(pictures, (4, 4, 4, 4))
    for picture, room in zip(made, padded, strict=True):
        windows = [room[:, up : up + 6, left : left + 5] for up in range(9) for left in range(9)]
        assert sum(torch.equal(picture, w) or torch.equal(picture, w.flip(-1)) for w in windows) == 1
    assert torch.equal(made, crop_and_flip(pictures, torch.Generator().manual_seed(3)))


@pytest.mark.parametrize("how", ["to its end", "left"])
def test_a_task_may_have_its_own_number_of_threads(how):
    seen = []

    class Looks(list):
        def __iter__(self):
            seen.append(torch.get_num_threads())
            return super().__iter__()

    task = replace(regression(train=Looks(loader())), threads=1)
    torch.set_num_threads(2)
    race = Race(task, [Racer()], epochs=1)
    seen.clear()
    records = iter(race)
    next(records), next(records)
    if how == "left":
        race.close()
    else:
        list(records)
    assert seen == [1] and torch.get_num_threads() == 2

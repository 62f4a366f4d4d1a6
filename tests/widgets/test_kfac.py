"""The panel of a race, driven without a page; the pages are the matter of tests/browser."""

import contextlib
import os
import re
import signal
import time
from itertools import pairwise

import psutil
import pytest
import torch

from scilab.kfac import Race, Racer
from scilab.kfac.presets import PRESETS, layer_shapes, preset
from scilab.kfac.tasks import TASKS
from scilab.kfac.tradeoff import tradeoff
from scilab.runs import Run
from scilab.widgets import JournalWidget, KFACWidget, kfac_picture, recorded
from scilab.widgets.kfac import TASKS as OFFERED


@pytest.fixture(scope="module")
def told():
    """The records and settings of the shipped race: 60 epochs, four racers, two changes."""
    import tempfile

    from scilab.runs import Journal

    with tempfile.TemporaryDirectory() as folder:
        run = recorded("kfac", Journal(f"{folder}/journal.db"))
        yield run.records(), run.settings


def wait_epochs(panel, least, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while panel.run.progress["done"] < least:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_race_is_launched_changed_stopped_and_resumed_from_the_panel():
    panel = KFACWidget()
    panel.set(epochs=100_000)
    panel.launch()
    wait_epochs(panel, 2)
    assert panel.act("command", command={"damping": 0.25})["ok"]
    assert panel.act("command", command={"lr": 0.02, "racer": "SGD"})["ok"]
    answer = panel.act("command", command={"decompose_every": 0})
    assert not answer["ok"] and "decompose_every must be a whole number of steps from 1; got 0" in answer["message"]
    wait_epochs(panel, panel.run.progress["done"] + 2)
    panel.act("stop")
    assert panel.wait(60) == "stopped"
    picture = panel.picture
    assert picture["live"] == {"racers": {"K-FAC + SGD": 0.5, "SGD": 0.02, "Adam": 0.01},
                               "kfac": {"damping": 0.25, "factors_every": 1, "decompose_every": 5}}
    for chart in picture["charts"].values():
        assert [text for _, text in chart["marks"]] == ["damping 0.25", "lr 0.02"]
        assert list(chart["series"]) == ["K-FAC + SGD", "SGD", "Adam"]
    heat = picture["heat"]["K-FAC + SGD"]
    assert heat["layers"] == list(layer_shapes("digits_autoencoder")) and heat["columns"][-1]["epoch"] >= 4
    assert picture["ranks"][0]["held"] == picture["ranks"][0]["held_predicted"] > 0
    other = KFACWidget()
    assert other.act("open", id=panel.run.id)["ok"]
    assert {**other.picture, "version": 0} == {**picture, "version": 0}
    done = other.run.progress["done"]
    assert other.act("resume")["ok"]
    wait_epochs(other, done + 2)
    other.act("stop")
    assert other.wait(60) == "stopped"
    epochs = [record["epoch"] for record in other.run.records() if record["kind"] == "EpochFinished"]
    assert epochs == list(range(1, len(epochs) + 1))
    assert other.picture["charts"]["loss_epoch"]["marks"][0][1] == "damping 0.25"


def test_the_picture_is_the_same_however_the_records_come(told):
    records, settings = told
    whole = kfac_picture.draw(records, kfac_picture.begin(settings))
    parts = kfac_picture.begin(settings)
    for record in records:
        parts = kfac_picture.draw([record], parts)
    assert parts == whole
    last = records[-1]["racers"]
    assert [name for name, _ in whole["live"]["racers"].items()] == [racer["racer"] for racer in last]
    for racer in last:
        epoch, seconds = (whole["charts"][f"loss_{by}"]["series"][racer["racer"]]["points"][-1]
                          for by in ("epoch", "time"))
        assert epoch == [60, racer["loss"]] and seconds == [racer["seconds"], racer["loss"]]
        assert whole["stages"][racer["racer"]] == racer["ms"]
    assert [text for _, text in whole["charts"]["loss_time"]["marks"]] == ["damping 0.1", "lr 0.02"]
    assert "accuracy_epoch" not in whole["charts"]


def test_the_history_of_a_long_race_stays_bounded(told):
    records, settings = told
    epoch = next(record for record in records if record["kind"] == "EpochFinished")
    picture = kfac_picture.begin(settings)
    for number in range(1, 1001):
        picture = kfac_picture.draw([{**epoch, "epoch": number}], picture)
        columns = picture["heat"]["K-FAC + SGD"]["columns"]
        assert len(columns) <= kfac_picture.COLUMNS + 1 and columns[-1]["epoch"] == number
    gaps = {b["epoch"] - a["epoch"] for a, b in pairwise(columns[:-1])}
    assert len(gaps) == 1, "evenly spaced but for the newest"


def test_choosing_work_fills_in_what_suits_it():
    panel = KFACWidget()
    assert set(OFFERED) == set(TASKS) == set(PRESETS)
    panel.set(task="unet")
    suits = preset("unet")
    assert {name: panel.values[name] for name in ("lr_kfac", "damping", "epochs", "decompose_every")} == {
        name: suits[name] for name in ("lr_kfac", "damping", "epochs", "decompose_every")}
    panel.set(task="digits_cnn", damping=7)
    assert panel.values["damping"] == 7, "what is typed with it counts"
    panel.set(task="digits_cnn", epochs=3)
    assert panel.values["damping"] == 7
    assert "accuracy_time" in panel.picture["charts"]
    assert KFACWidget().values == {name: DEFAULT for name, DEFAULT in preset("digits_autoencoder").items()
                                   if name in KFACWidget().values}


@pytest.mark.parametrize(("typed", "field", "said"), [
    ({"ranks": 2, "fraction": 0.3}, "fraction", "with 2 ranks it must be one of 1/2, 1"),
    ({"factors_every": 0}, "factors_every", "A whole number from 1"),
    ({"decompose_every": 0}, "decompose_every", "A whole number from 1"),
    ({"damping": 0}, "damping", "A number from"),
    ({"kfac": False, "sgd": False, "adam": False}, "kfac", "Nobody races"),
    ({"ranks": 8, "batch_size": 4}, "ranks", "At most 4: each rank needs a row of every batch."),
    ({"task": "imagenet"}, "path", "Give ImageNet's folder"),
    ({"task": "resnet8", "path": "/nowhere"}, "path", "There is nothing at “/nowhere”"),
])  # fmt: skip
def test_mistakes_stand_beside_their_field(typed, field, said):
    panel = KFACWidget()
    errors = panel.set(**typed)
    assert said in errors[field]
    assert not panel.head["buttons"]["launch"]["on"]


def test_more_ranks_than_gpus_stand_beside_ranks(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    panel = KFACWidget()
    assert panel.set(devices="cuda", ranks=2) == {
        "ranks": "2 ranks on CUDA, but torch sees 1 CUDA device: take at most 1 rank, or devices='cpu'"}
    monkeypatch.undo()
    assert "torch sees no GPU here." in KFACWidget().set(devices="cuda")["devices"]


def test_the_slider_has_what_the_prediction_says():
    panel = KFACWidget()
    panel.set(ranks=4, fraction=0.5, factors_every=2, decompose_every=10)
    shown = panel.picture["tradeoff"]
    assert (shown["ranks"], shown["fraction"]) == (4, 0.5)
    assert shown["offers"]["4"] == tradeoff(layer_shapes("digits_autoencoder"), 4, 2, 10)
    held, received = ([offer[key] for offer in shown["offers"]["4"]] for key in ("held", "received"))
    assert held == sorted(held) and received == sorted(received, reverse=True), "one is traded for the other"
    race = Race.from_settings(panel.values)
    assert race.settings["tradeoff"] == shown
    panel.set(kfac=False)
    assert panel.picture["tradeoff"] == {}


def test_the_code_does_what_the_panel_does():
    panel = KFACWidget()
    panel.set(epochs=2, muon=True, damping=0.07)
    names = {}
    exec(panel.code, names)
    panel.launch()
    assert panel.wait(60) == "finished"
    assert names["run"].status == "finished"
    mine, shown = names["race"].result.epochs, panel.run.result.epochs
    assert list(mine) == ["K-FAC + SGD", "SGD", "Adam", "Muon"]
    assert {name: [e["loss"] for e in epochs] for name, epochs in mine.items()} == {
        name: [e["loss"] for e in epochs] for name, epochs in shown.items()}


def test_a_racer_that_is_out_is_named():
    panel = KFACWidget()
    panel.set(epochs=2, lr_sgd=100, kfac=False)
    panel.launch()
    assert panel.wait(60) == "finished"
    (message,) = panel.picture["messages"]
    sentence = r"SGD is out at epoch \d, step \d: its loss became (inf|nan): try a smaller learning rate\."
    assert re.fullmatch(sentence, message)
    assert next(tile["value"] for tile in panel.picture["tiles"] if tile["label"] == "SGD") == "out"


def test_a_rank_that_dies_is_named_in_the_panel():
    panel = KFACWidget()
    panel.set(ranks=2, fraction=0.5, epochs=100_000)
    panel.launch()
    wait_epochs(panel, 1, 90)
    ranks = []
    for process in psutil.Process(os.getpid()).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # also one that has ended and was not asked for its status
            if "scilab.kfac.rank" in process.cmdline():
                ranks.append(process)
    assert len(ranks) == 2
    ranks[1].send_signal(signal.SIGKILL)
    assert panel.wait(60) == "failed"
    assert "RankFailed: rank 1 of 2 failed: it was ended by signal 9 (SIGKILL)" in panel.problem["message"]
    assert psutil.wait_procs(ranks, timeout=10)[1] == []
    assert len(panel.picture["ranks"]) == 2 and panel.head["buttons"]["resume"]["on"]


def test_a_race_built_in_code_is_shown_and_opens_from_the_journal():
    race = Race("digits_autoencoder", [Racer("adam", 0.01)], epochs=2)
    panel = KFACWidget(race)
    assert panel.form["fields"] == [] and panel.picture["tradeoff"] == {}
    panel.launch()
    assert panel.wait(60) == "finished"
    journal = JournalWidget()
    assert journal.browser.act("open", id=panel.run.id)["ok"]
    assert isinstance(journal.shown, KFACWidget)
    assert journal.shown.picture["charts"] == panel.picture["charts"]


def test_what_is_sent_stays_small(pages):
    run = Run(Race("digits_autoencoder", epochs=40))
    panel = KFACWidget(run.start())
    page = pages[panel.comm.comm_id]
    assert panel.wait(60) == "finished"
    sizes = [len(str(data["state"])) for data in page.messages[1:]]  # the first carries the page's own code
    assert max(sizes) < 60_000
    assert page.state["picture"] == panel.picture

import json
import time

import torch

from scilab.federated import Federation, Topology
from scilab.models import build
from scilab.runs import Run
from scilab.widgets import FederationWidget
from scilab.widgets.federation_fields import FIELDS, as_settings
from scilab.widgets.fields import judge

SMALL = {"devices": 8, "fanouts": "2", "rounds": 3, "local_epochs": 1}


def states(picture):
    return ["".join(tier["now"]) for tier in picture["tree"]["tiers"]]


def test_a_federation_trains_from_the_panel_and_its_code_gives_the_same_model():
    panel = FederationWidget()
    assert panel.picture["tree"]["tiers"][1]["label"] == "8 aggregators"  # what would be launched shows already
    assert panel.set(**SMALL) == {}
    assert panel.picture["tree"]["tiers"][1]["label"] == "2 aggregators"
    run = panel.launch()
    assert panel.wait(120) == "finished"
    assert panel.head["progress"]["text"].startswith("3 of 3 rounds")
    assert states(panel.picture) == ["d", "dd", "dddddddd"]
    accuracy = panel.picture["charts"]["accuracy"]["series"]["test data"]["points"]
    assert [x for x, _ in accuracy] == [1, 2, 3]
    assert accuracy[-1][1] == run.result.accuracy
    made = {}
    exec(panel.code, made)
    for mine, other in zip(run.result.model.parameters(), made["run"].result.model.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_stopped_federation_is_resumed_from_the_journal_by_another_panel():
    panel = FederationWidget()
    panel.set(devices=64, rounds=2000, local_epochs=1, seed=7)
    panel.launch(name="stopped early")
    deadline = time.monotonic() + 60
    while not panel.head["progress"]["fraction"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    panel.act("stop")
    assert panel.wait(60) == "stopped"
    other = FederationWidget()
    assert other.act("open", id=panel.run.id)["ok"]
    assert {**other.picture, "version": 0} == {**panel.picture, "version": 0}
    assert other.values == panel.values
    done = other.run.progress["done"]
    assert other.act("resume")["ok"]
    while other.run.progress["done"] <= done:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert other.problem == {}
    other.act("stop")
    assert other.wait(60) == "stopped"
    rounds = [record["round"] for record in other.run.records() if record["kind"] == "RoundFinished"]
    assert rounds == list(range(1, len(rounds) + 1))


def test_mistakes_have_their_sentence_beside_the_field():
    panel = FederationWidget()
    assert panel.set(fanouts="8 and 8")["fanouts"].startswith("Whole numbers such as 8 or 4, 4")
    assert "72 aggregators for 64 workers" in panel.set(fanouts="8, 9")["fanouts"]
    assert panel.set(fanouts="", devices=2048) == {"devices": "At most 1,437: each device needs a sample of its own."}
    assert panel.set(devices=64, dataset="own") == {"folder": "Give the folder of your images."}
    assert "nothing at “/nowhere”" in panel.set(folder="/nowhere")["folder"]
    assert panel.set(dataset="digits", partition="iid") == {}
    assert panel.form["disabled"] == {"noise": "Needs a clip."}
    assert {"folder", "alpha", "branching", "mu"} <= set(panel.form["hidden"])
    assert panel.set(fraction=1.5) == {"fraction": "A number from 0.0001 to 1; given 1.5."}
    assert panel.set(fraction=1, partition="shards", per_device=30) == {
        "per_device": "At most 22 for each of 64 devices of 1,437 rows."}
    assert panel.set(partition="iid", strategy="fedmagic") == {
        "strategy": "One of fedavg, fedsgd, fedprox, fedadam; given fedmagic."}


def test_the_estimate_grows_with_the_work_and_says_when_memory_lacks(monkeypatch):
    panel = FederationWidget()
    text = panel.form["estimate"]["text"]
    assert text.startswith("Estimated: about ")
    assert "2,960 tasks" in text  # 40 rounds of 64 devices, 8 aggregators, the coordinator and a test
    fewer = panel.estimate(panel.values)
    panel.set(rounds=80)
    assert panel.estimate(panel.values).seconds > 1.5 * fewer.seconds
    monkeypatch.setattr("scilab.widgets.panel.free_memory", lambda: 1e6)
    panel.set(rounds=81)
    assert panel.form["estimate"]["fits"] is False
    assert "More than this machine has free (1 MB)" in panel.form["estimate"]["text"]


def test_values_and_settings_are_two_forms_of_one_thing():
    panel = FederationWidget()
    panel.set(**SMALL, engine="processes", workers=3, partition="iid")
    given = as_settings(panel.values)
    assert given["engine"] == "processes:3"
    assert "folder" not in given
    settings = json.loads(json.dumps(Federation.from_settings(given).settings))
    assert judge(FIELDS, panel.values_of(settings)).values == panel.values
    drawn = panel.values_of({"values": {**given, "topology": Topology.flat(2).to_dict()}})
    assert drawn["shape"] == "drawn"
    assert drawn["topology"].topology == Topology.flat(2)
    assert panel.values_of({"values": {**given, "engine": "slurm"}}) is None


def test_a_federation_built_in_code_is_shown_launched_and_not_taken_for_the_fields():
    generator = torch.Generator().manual_seed(0)
    train = torch.randn(256, 1, 8, 8, generator=generator), torch.randint(0, 10, (256,), generator=generator)
    federation = Federation(build("mlp", (1, 8, 8), 10), train, Topology.tree(128, [4]), rounds=2)
    panel = FederationWidget(federation)
    assert panel.form["fields"] == []
    assert ["rounds", "2"] in panel.form["settings"]
    assert panel.picture["tree"]["tiers"][2]["now"] == [{"w": 32}] * 4
    panel.launch()
    assert panel.wait(120) == "finished"
    assert panel.picture["tree"]["tiers"][2]["now"] == [{"d": 32}] * 4
    assert (panel.picture["tiles"][1]["label"], panel.picture["tiles"][1]["value"]) == ("Accuracy", "–")


def test_messages_stay_small_at_2048_devices(pages):
    rows = torch.zeros(4096, 1, 8, 8), torch.arange(4096) % 10
    run = Run(Federation(build("mlp", (1, 8, 8), 10), rows, Topology.tree(2048, [16]), rounds=2))
    panel = FederationWidget(run.start())
    page = pages[panel.comm.comm_id]
    assert panel.wait(200) == "finished"
    sizes = [len(json.dumps(data["state"])) for data in page.messages[1:]]  # the first carries the page's own code
    assert max(sizes) < 40_000
    assert page.state["picture"] == panel.picture
    assert sum(panel.picture["tree"]["tiers"][2]["now"][i]["d"] for i in range(16)) == 2048

import json
import random
import time

import pytest
import torch
from federation_story import start, story

from scilab.federated import Federation, Topology
from scilab.models import build
from scilab.runs import Run
from scilab.widgets import FederationWidget
from scilab.widgets.federation import as_settings
from scilab.widgets.federation_picture import begin, draw

SMALL = {"devices": 8, "fanouts": "2", "rounds": 3, "local_epochs": 1}


def states(picture):
    return [tier["now"] for tier in picture["tree"]["tiers"]]


def test_the_tree_tells_who_is_where_in_the_round():
    topology = Topology.tree(4, [2])
    records = story(topology, 1, seed=3)
    assert states(start(topology)) == ["w", "ww", "wwww"]
    assert states(draw(records[:1], start(topology))) == ["w", "ww", "tttt"]
    answered = [record["device"] for record in records[1:5]]
    for count in range(1, 5):
        inside = set(answered[:count])
        devices = "".join("d" if worker in inside else "t" for worker in topology.workers)
        above = "".join("g" if set(topology.children[node]) <= inside else "w" for node in ("a0", "a1"))
        assert states(draw(records[:1 + count], start(topology))) == ["g" if count == 4 else "w", above, devices]
    done = draw(records, start(topology))
    assert states(done) == ["d", "dd", "dddd"]
    assert [tier["label"] for tier in done["tree"]["tiers"]] == ["coordinator", "2 aggregators", "4 devices"]
    assert done["tree"]["tiers"][2]["parents"] == [0, 0, 1, 1]
    assert done["tree"]["round"] == 1


def test_curves_numbers_bytes_and_failures():
    topology = Topology.tree(4, [2])
    drawn = draw(story(topology, 3, fails={1}), start(topology))
    assert drawn["charts"]["accuracy"]["series"]["test data"]["points"] == [[1, 0.1], [2, 0.2], [3, 0.3]]
    assert drawn["charts"]["loss"]["series"]["test data"]["points"] == [[1, 1], [2, 0.5], [3, 1 / 3]]
    assert drawn["charts"]["loss"]["series"]["devices' own data"]["points"] == [[1, 0.5], [2, 0.25], [3, 0.5 / 3]]
    assert drawn["traffic"] == [["coordinator ↔ 2 aggregators", 30, 60], ["2 aggregators ↔ 4 devices", 30, 60]]
    assert drawn["messages"] == ["Round 2, w1 failed: out of memory"]
    assert {tile["label"]: tile["value"] for tile in drawn["tiles"]} == {
        "Round": "3", "Accuracy": "0.3", "Test loss": "0.333", "Devices in": "4 of 4", "Failures": "1",
        "Round took": "0.5 s", "Moved": "180 B"}
    upto = next(i for i, record in enumerate(story(topology, 3, fails={1})) if record["kind"] == "DeviceFailed")
    assert "f" in states(draw(story(topology, 3, fails={1})[:upto + 1], start(topology)))[2]


def test_what_is_not_known_is_a_dash():
    drawn = start(Topology.flat(3))
    assert {tile["value"] for tile in drawn["tiles"]} == {"–"}
    begun = draw([{"kind": "RoundStarted", "round": 1, "devices": 3}], drawn)
    assert [tile["value"] for tile in begun["tiles"]] == ["1", "–", "–", "0 of 3", "0", "–", "–"]
    untested = story(Topology.flat(3), 1)
    untested[-1] |= {"accuracy": None, "loss": None}
    assert draw(untested, drawn)["tiles"][1]["value"] == "–"


@pytest.mark.parametrize("topology", [Topology.flat(5), Topology.tree(300, [3, 5]), Topology.tree(2048, [16]),
                                      Topology.tree(2000, [100])], ids=repr)
def test_drawing_in_parts_is_drawing_at_once(topology):
    records, cut = story(topology, 3, fails={0, 4}), random.Random(1)
    whole, parts, at = draw(records, start(topology)), start(topology), 0
    while at < len(records):
        step = cut.randint(1, len(records) // 6 + 1)
        before = json.dumps(parts, default=str)
        drawn = draw(records[at:at + step], parts)
        assert json.dumps(parts, default=str) == before  # the old picture is left as it was
        parts, at = drawn, at + step
    assert parts == whole


@pytest.mark.parametrize(("topology", "shape"), [
    (Topology.tree(64, [8]), [1, 8, 64]),  # node by node
    (Topology.tree(65, [8]), [1, 8, 8]),  # a group for each aggregator
    (Topology.tree(2048, [16]), [1, 16, 16]),
    (Topology.tree(2048, [4, 64]), [1, 4, 4, 1]),  # groups cannot hang below groups
    (Topology.flat(2048), [1, 1]),
], ids=str)  # fmt: skip
def test_large_tiers_are_counted_and_no_device_is_lost(topology, shape):
    records = story(topology, 2, fails={0, 1, 2})
    drawn = draw(records[: len(records) - 1 - len(topology.workers) // 3], start(topology))
    assert [len(tier["now"]) for tier in drawn["tree"]["tiers"]] == shape
    counted = {}
    for part in drawn["tree"]["tiers"][-1]["now"]:
        for state, n in ({part: 1} if isinstance(part, str) else part).items():
            counted[state] = counted.get(state, 0) + n
    assert sum(counted.values()) == len(topology.workers)
    assert counted["t"] == len(topology.workers) // 3
    public = {key: value for key, value in drawn.items() if not key.startswith("_")}
    assert len(json.dumps(public)) < 10_000


def test_a_tree_of_many_depths_is_drawn():
    nodes = [["c", None, "coordinator"], ["w0", "c", "worker"], ["a", "c", "aggregator"], ["w1", "a", "worker"]]
    drawn = begin(nodes)
    assert [tier["label"] for tier in drawn["tree"]["tiers"]] == ["coordinator", "1 device, 1 aggregator", "1 device"]
    assert drawn["tree"]["tiers"][2] == {"label": "1 device", "labels": ["w1"], "parents": [1], "now": "w"}


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
    assert panel.picture["tree"]["tiers"] == []
    assert panel.set(fanouts="", devices=2048) == {"devices": "At most 1,437: each device needs a sample of its own."}
    assert panel.set(devices=64, dataset="own") == {"folder": "Give the folder of your images."}
    assert "nothing at “/nowhere”" in panel.set(folder="/nowhere")["folder"]
    assert panel.set(dataset="digits", partition="iid") == {}
    assert panel.form["disabled"] == {"folder": "For own images only.", "alpha": "For uneven shares only."}


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
    back = panel.values_of(settings)
    assert {name: back[name] for name in panel.values if name != "folder"} == {
        name: value for name, value in panel.values.items() if name != "folder"}
    drawn = {"values": {**given, "topology": Topology.flat(2).to_dict()}}
    assert panel.values_of(drawn) is None  # fields cannot say a drawn tree


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

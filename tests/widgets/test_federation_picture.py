"""A federation's records as a picture."""

import json
import random
from dataclasses import asdict

import pytest
from federation_story import start, story

from scilab.datasets import digits
from scilab.federated import Federation, Topology
from scilab.models import build
from scilab.widgets import gantt
from scilab.widgets.federation_picture import begin, draw, unfolded


def states(picture):
    return ["".join(tier["now"]) for tier in picture["tree"]["tiers"]]


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
    traffic = drawn["bars"]["traffic"]
    assert traffic["names"] == ["to 2 aggregators", "to 4 devices"]
    assert traffic["series"] == {"down": [30, 30], "up": [60, 60]}
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
    (Topology.tree(2048, [4, 64]), [1, 4, 4, 4]),
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
    assert len(json.dumps(public)) < 12_000


def test_a_tree_of_many_depths_is_drawn():
    nodes = [["c", None, "coordinator"], ["w0", "c", "worker"], ["a", "c", "aggregator"], ["w1", "a", "worker"]]
    tiers = begin({"topology": {"nodes": nodes}})["tree"]["tiers"]
    assert [tier["label"] for tier in tiers] == ["coordinator", "1 device, 1 aggregator", "1 device"]
    assert tiers[2] == {"label": "1 device", "parents": [1], "names": ["w1"], "counts": [1], "kinds": "w",
                        "members": {}, "now": ["w"], "bytes": [[0, 0]]}


def test_a_group_is_unfolded_into_its_nodes_and_folded_again():
    topology = Topology.tree(200, [4])
    drawn = draw(story(topology, 1)[:120], start(topology))
    opened = unfolded(drawn, {"w50"})
    tier = opened["tree"]["tiers"][2]
    assert tier["members"] == {"1": topology.children["a1"]}
    assert tier["now"][1] == "".join(drawn["_now"][worker] for worker in topology.children["a1"])
    assert tier["now"][0] == drawn["tree"]["tiers"][2]["now"][0]
    assert unfolded(opened, ()) == drawn


def test_only_a_fraction_is_asked():
    topology = Topology.tree(8, [2])
    told = [{"kind": "RoundStarted", "round": 1, "devices": 2},
            {"kind": "DeviceFinished", "round": 1, "device": "w5", "seconds": 1, "began": 0, "samples": 2, "loss": 1.0}]
    assert states(draw(told, start(topology))) == ["w", "ww", "wwwwwdww"]


@pytest.mark.parametrize("partials", ["float64", "float32"])
def test_bytes_on_edges_are_those_that_the_federation_counts(partials):
    data = digits()
    topology = Topology((("c", None, "coordinator"), ("w0", "c", "worker"), ("a", "c", "aggregator"),
                         ("b", "a", "aggregator"), ("w1", "a", "worker"), ("w2", "b", "worker"), ("w3", "b", "worker")))
    federation = Federation(build("mlp", data.shape, 10, seed=0), data.train, topology, rounds=2, partials=partials)
    records = [{"kind": type(record).__name__, **asdict(record)} for record in federation]
    moved = draw(records, begin(federation.settings))["_moved"]
    counted = {node: both for (_, node), both in federation.bytes_by_edge().items()}
    assert moved.keys() == counted.keys()
    for node, both in counted.items():
        assert moved[node] == pytest.approx(both, rel=0.02), node  # the data plane adds some hundred bytes an object
    for depth in (1, 2, 3):
        here = [moved[node] for node, at in topology.depth.items() if at == depth]
        told = [record["bytes_by_tier"][depth - 1] for record in records if record["kind"] == "RoundFinished"]
        assert [sum(way) for way in zip(*here, strict=True)] == [sum(way) for way in zip(*told, strict=True)]


def test_who_worked_when():
    topology = Topology.flat(50)
    drawn = draw(story(topology, 5), start(topology, engine="virtual"))["gantt"]
    assert drawn["rows"] == [f"w{i}" for i in range(0, 50, 3)]
    assert drawn["of"] == 50
    assert drawn["unit"] == "simulated s"
    assert sorted(drawn["bars"]) == sorted([row, round(number - 1 + 3 * row / 1000, 6), 0.1, number]
                                           for number in (3, 4, 5) for row in range(17))
    assert drawn["busy"] == [pytest.approx(0.3 / 2.148, abs=1e-4)] * 17


def test_a_federation_of_many_tells_by_parent_and_every_device_is_counted():
    topology = Topology.tree(600, [3])
    told = [{"kind": "RoundStarted", "round": 1, "devices": 600}]
    told += [{"kind": "CohortFinished", "round": 1, "parent": "a0", "devices": 100, "samples": 9, "loss": 1.0,
              "seconds": 0.5, "worker": "t", "began": began} for began in (1.0, 1.25)]
    told += [{"kind": "DevicesFailed", "round": 1, "devices": ["w597", "w599"], "reason": "no power"},
             {"kind": "AggregatorFailed", "round": 1, "aggregator": "a1", "parent": "coordinator", "reason": "gone"}]
    drawn = draw(told, start(topology))
    tier = drawn["tree"]["tiers"][2]
    assert tier["now"] == [{"d": 200}, {"t": 200}, {"t": 198, "f": 2}]
    assert drawn["tree"]["tiers"][1]["now"] == ["g", "f", "w"]
    assert drawn["messages"] == ["Round 1, 2 devices from w597 on failed: no power",
                                 "Round 1, a1 failed, coordinator took its children: gone"]
    assert drawn["gantt"]["rows"] == ["a0", "a1", "a2"]
    assert gantt.with_round(drawn["gantt"], 1, False)["busy"] == [1.0, None, None]  # half of it at once
    assert drawn["tiles"][3]["value"] == "202 of 600"


def test_a_device_that_flows_is_at_work_for_its_share_of_the_time_that_is_known():
    chart = gantt.begin({"w0": "c", "w1": "c", "w2": "c"}, "s")
    for device, began, seconds in (("w0", 0, 1), ("w1", 2, 1), ("w1", 4, 2)):
        work = {"device": device, "began": began, "seconds": seconds, "round": 1}
        chart = gantt.with_work(chart, work, {})
    assert gantt.with_round(chart, 1, False)["busy"] == [pytest.approx(1 / 6, abs=1e-4), 0.5, None]
    assert gantt.with_round(chart, 1, True)["busy"] == [1.0, 0.75, None]


def test_staleness_is_counted_and_simulated_time_says_so():
    topology = Topology.flat(3)
    told = story(topology, 2)
    for record, stale in zip([r for r in told if r["kind"] == "RoundFinished"], [[[0, 2], [1, 1]], [[1, 2], [20, 1]]],
                             strict=True):  # fmt: skip
        record |= {"staleness": stale, "idle": 0.25}
    drawn = draw(told, start(topology, engine="virtual"))
    bars = drawn["bars"]["staleness"]
    assert dict(zip(bars["names"], bars["series"]["updates"], strict=True)) == {
        "0": 2, "1": 3, "2": 0, "3": 0, "4–7": 0, "8–15": 0, "16–31": 1}
    tiles = {tile["label"]: tile["value"] for tile in drawn["tiles"]}
    assert tiles["Round took (simulated)"] == "0.5 s"
    assert tiles["All rounds (simulated)"] == "1.0 s"
    assert tiles["Idle"] == "25 %"
    assert drawn["charts"]["over_time"]["x"]["unit"] == "simulated s"
    assert drawn["charts"]["over_time"]["series"]["test data"]["points"] == [[0.5, 0.1], [1.0, 0.2]]
    assert "staleness" not in draw(story(topology, 2), start(topology))["bars"]

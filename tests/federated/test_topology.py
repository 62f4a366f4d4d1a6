"""Trees: their makers, their forms, and the message for every way they can be wrong."""

import json
import pickle

import networkx
import numpy as np
import pytest
from federated_cases import ragged

from scilab.federated import Federation, Profile, Topology, stragglers


def _edges(topology):
    return sum(parent is not None for _, parent, _ in topology.nodes)


def test_flat_hangs_every_worker_below_the_coordinator():
    topology = Topology.flat(3)
    assert topology.nodes == (
        ("coordinator", None, "coordinator"),
        ("w0", "coordinator", "worker"),
        ("w1", "coordinator", "worker"),
        ("w2", "coordinator", "worker"),
    )


def test_tree_spreads_workers_evenly_below_the_last_tier():
    topology = Topology.tree(7, [2, 2])
    assert topology.children["coordinator"] == ["a0", "a1"]
    assert topology.children["a0"] == ["a2", "a3"] and topology.children["a1"] == ["a4", "a5"]
    assert [topology.children[f"a{i}"] for i in range(2, 6)] == [["w0", "w1"], ["w2", "w3"], ["w4", "w5"], ["w6"]]


def test_a_last_tier_as_wide_as_the_workers_is_the_workers():
    topology = Topology.tree(2048, [16, 128])
    assert topology == Topology.tree(2048, [16])
    assert {len(topology.children[f"a{i}"]) for i in range(16)} == {128}


@pytest.mark.parametrize(("branching", "height", "edges"), [(2, 8, 510), (2, 11, 4094), (4, 5, 1364), (1, 3, 1)])
def test_balanced_has_as_many_edges_as_the_formula(branching, height, edges):
    topology = Topology.balanced(branching, height)
    assert _edges(topology) == edges and len(topology.workers) == branching**height
    if branching > 1:  # (b^(h+1) - b) / (b - 1)
        assert edges == (branching ** (height + 1) - branching) // (branching - 1)


def test_every_form_gives_the_same_tree_back():
    topology = ragged(9, seed=1)
    assert Topology.from_dict(json.loads(json.dumps(topology.to_dict()))) == topology
    graph = networkx.DiGraph()
    graph.add_nodes_from(node for node, _, _ in topology.nodes)
    graph.add_edges_from((parent, node) for node, parent, _ in topology.nodes if parent)
    assert Topology.from_networkx(graph) == topology


def test_profiles_survive_every_form():
    slow, far = Profile(speed=10.0, availability=0.5), Profile(bandwidth_bps=1e6, latency_s=0.25)
    plain = Topology.tree(4, [2])
    topology = plain.with_profiles({"w1": slow, "a0": far, "w2": Profile()})
    assert topology.profile("w1") == slow and topology.profile("w2") == topology.profile("w3") == Profile()
    assert topology != plain and topology.with_profiles({"w1": Profile(), "a0": Profile()}) == plain
    values = json.loads(json.dumps(topology.to_dict()))
    assert values["profiles"] == {
        "a0": {"bandwidth_bps": 1e6, "latency_s": 0.25},
        "w1": {"speed": 10.0, "availability": 0.5},
    }
    assert Topology.from_dict(values) == topology and "profiles" not in plain.to_dict()
    graph = networkx.DiGraph()
    for node, parent, kind in topology.nodes:
        graph.add_node(node, kind=kind, colour="red", **values["profiles"].get(node, {}))
        if parent:
            graph.add_edge(parent, node)
    assert Topology.from_networkx(graph) == topology
    assert Topology.from_yaml("0: {children: [1]}\n1: {speed: 3, latency_s: 1}\n").profile("1") == Profile(
        3, latency_s=1
    )
    assert hash(topology) == hash(Topology.from_dict(values))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Profile(speed=0), "speed must be a positive number, got 0"),
        (lambda: Profile(availability=1.5), "availability must be between 0 and 1, got 1.5"),
        (lambda: Profile(bandwidth_bps=float("inf")), "bandwidth_bps must be a positive number, got inf"),
        (lambda: Profile(latency_s=-1), "latency_s must be a number of seconds from 0, got -1"),
        (lambda: Topology.flat(2).with_profiles({"w7": Profile(2)}), "a profile for node 'w7', which is not there"),
        (lambda: Topology.flat(2).with_profiles({"w1": 3.0}), "profile of node 'w1' must be a Profile, got 3.0"),
        (
            lambda: Topology.tree(2, [1]).with_profiles({"a0": Profile(2)}),
            "'a0' has speed, which only workers",
        ),
        (
            lambda: Topology.flat(1).with_profiles({"coordinator": Profile(latency_s=1)}),
            "neither trains nor has a link",
        ),
    ],
)
def test_impossible_profiles_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_flights_yaml_is_read(tmp_path):
    text = "0: {kind: leader, children: [1, 2]}\n1: {kind: aggr, children: [3]}\n2: {kind: worker}\n3: {kind: worker}\n"
    topology = Topology.from_yaml(text)
    assert topology.nodes == (
        ("0", None, "coordinator"),
        ("1", "0", "aggregator"),
        ("2", "0", "worker"),
        ("3", "1", "worker"),
    )
    (tmp_path / "tree.yaml").write_text(text)
    assert Topology.from_yaml(tmp_path / "tree.yaml") == topology


def test_depth_lists_parents_first_and_siblings_together():
    topology = ragged(12, seed=5)
    seen = list(topology.depth)
    assert sorted(seen) == sorted(node for node, _, _ in topology.nodes)
    for node, parent, _ in topology.nodes:
        if parent is not None:
            assert seen.index(parent) < seen.index(node) and topology.depth[node] == topology.depth[parent] + 1


def _nodes(*nodes):
    return {"nodes": [["c", None, "coordinator"], *nodes]}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nodes": [["w", None, "worker"]]}, "one coordinator, got 0"),
        (_nodes(["d", None, "coordinator"]), r"one coordinator, got 2: \['c', 'd'\]"),
        (_nodes(["w", "c", "worker"], ["w", "c", "worker"]), "node 'w' is there twice"),
        (_nodes(["w", "x", "worker"]), "worker 'w' hangs below 'x', which is not there"),
        (_nodes(["w", None, "worker"]), "worker 'w' has parent None; the coordinator alone has none"),
        (_nodes(["w", "c", "leaf"]), "node 'w' is a 'leaf'; kinds are coordinator, aggregator, worker"),
        (_nodes(["w", "c", "worker"], ["v", "w", "worker"]), "worker 'w' has 'v' below it; workers are leaves"),
        (_nodes(["w", "c", "worker"], ["a", "c", "aggregator"]), "aggregator 'a' has no worker below it"),
        (_nodes(), "coordinator 'c' has no worker below it"),
        (_nodes(["", "c", "worker"]), "id must be a text that is not empty"),
        (
            _nodes(["w", "c", "worker"], ["a", "b", "aggregator"], ["b", "a", "aggregator"], ["v", "a", "worker"]),
            "node 'a' does not reach the coordinator: its parents form a cycle",
        ),
        ({0: {"children": [1, 2]}, 1: {"children": [2]}, 2: {}}, "node '2' is a child of '0' and of '1'"),
    ],
)
def test_impossible_trees_are_refused_by_name(values, message):
    with pytest.raises(ValueError, match=message):
        Topology.from_dict(values)


def test_two_parents_in_a_graph_are_refused():
    with pytest.raises(ValueError, match="node '3' has two parents, '1' and '2'"):
        Topology.from_networkx(networkx.DiGraph([(0, 1), (0, 2), (1, 3), (2, 3)]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Topology.flat(0), "whole numbers from 1, got 0"),
        (lambda: Topology.tree(4, [2.5]), r"got 4 and \[2.5\]"),
        (lambda: Topology.tree(4, [2, 8]), "make 16 aggregators for 4 workers"),
        (lambda: Topology.balanced(0, 2), "branching and height must be at least 1"),
        (lambda: Topology.from_yaml("- 1\n- 2\n"), "expected a mapping"),
    ],
)
def test_impossible_numbers_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_stragglers_are_a_share_of_the_devices_drawn_by_the_seed():
    tree = Topology.tree(40, [4]).with_profiles({"w3": Profile(speed=50.0, availability=0.5)})
    slow = stragglers(tree, 0.25, 10, seed=1)
    speeds = {worker: tree.profile(worker).speed / slow.profile(worker).speed for worker in tree.workers}
    assert sorted(speeds.values()) == [1] * 30 + [10] * 10
    assert all(slow.profile(worker).availability == tree.profile(worker).availability for worker in tree.workers)
    assert stragglers(tree, 0.25, 10, seed=1) == slow
    assert stragglers(tree, 0.25, 10, seed=2) != slow
    assert stragglers(tree, 0, 10) == tree
    federation = Federation.from_settings({"slow": 0.25, "devices": 8})
    assert federation.topology == stragglers(Topology.tree(8, [4]), 0.25, 10)
    for share, slowdown in ((1.5, 10), (-0.1, 10), (0.5, 0.5), (0.5, float("nan"))):
        with pytest.raises(ValueError, match="share must be from 0 to 1 and slowdown at least 1"):
            stragglers(tree, share, slowdown)


def test_a_child_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="node 'c' has a child 'x', which is not there"):
        Topology.from_dict({"c": {"children": ["w", "x"]}, "w": {}})


@pytest.mark.parametrize("made", [Topology.flat(7), Topology.tree(40, [3, 4]), Topology.balanced(2, 4), ragged(13, 6)])
def test_arrays_and_ids_tell_of_the_same_tree(made):
    given = Topology(made.nodes)
    assert given == made and hash(given) == hash(made) and pickle.loads(pickle.dumps(made)) == made
    for topology in (made, given):
        for place, (node, parent, kind) in enumerate(topology.nodes):
            assert topology.index(node) == place and topology.ids[place] == node
            assert topology.above[place] == (-1 if parent is None else topology.index(parent))
            assert [topology.ids[below] for below in topology.below(place)] == topology.children.get(node, [])
            assert topology.level[place] == topology.depth[node]
            assert (kind == "worker") == (place in topology.leaves)
        assert [topology.ids[place] for place in topology.near] == list(topology.depth)
        assert [sorted(places) for places in topology.levels] == [
            [p for p, level in enumerate(topology.level) if level == depth] for depth in range(topology.height + 1)
        ]
        for missing in ("w99", "a99", "w01", "x", "", "coordinators"):
            with pytest.raises(KeyError):
                topology.index(missing)
        with pytest.raises(ValueError, match="read-only"):
            topology.above[1] = 0


def test_a_million_devices_are_some_megabytes():
    topology = Topology.tree(1_000_000, [10, 10, 10, 10])
    held = [value for value in vars(topology).values() if isinstance(value, np.ndarray)]
    assert len(topology.leaves) == 1_000_000 and topology.height == 5
    assert "nodes" not in vars(topology) and sum(array.nbytes for array in held) < 20e6
    assert topology.ids[topology.leaves[-1]] == "w999999" and topology.index("a11109") == 11_110

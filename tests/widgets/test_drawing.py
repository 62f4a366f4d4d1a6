"""Drawing a tree: the draft by itself, and in the panel by acts alone."""

import random
import re

import pytest
import torch
import yaml

from scilab.datasets import digits
from scilab.federated import Profile, Topology, dirichlet
from scilab.federated.streams import stream
from scilab.widgets import FederationWidget
from scilab.widgets.drawing import Draft, ragged
from scilab.widgets.federation_fields import as_settings
from scilab.widgets.policy import as_code, plain, typed, with_policy
from scilab.widgets.shares import shares

TREE = Draft.of(Topology.tree(4, [2]))  # coordinator; a0: w0 w1; a1: w2 w3


@pytest.mark.parametrize(("act", "why"), [
    (lambda: TREE.move(["a0"], "a0"), "'a0' cannot hang below itself"),
    (lambda: TREE.add("a0", "aggregator").move(["a0"], "a2"), "'a0' cannot hang below 'a2', which is below it"),
    (lambda: TREE.move(["w0"], "w1"), "Nothing can hang below 'w1'"),
    (lambda: TREE.move(["coordinator"], "a0"), "'coordinator' is the coordinator; it cannot be moved."),
    (lambda: TREE.remove(["coordinator"]), "'coordinator' is the coordinator; it cannot be removed."),
    (lambda: TREE.move(["w9"], "a0"), "There is no node 'w9' in the tree."),
    (lambda: TREE.rename("w0", "a1"), "There is a node 'a1' already"),
    (lambda: TREE.rename("w0", " "), "'w0' needs a name"),
    (lambda: TREE.add("a0", "worker", 100_000), "A drawn tree has 100,000 nodes at most"),
    (lambda: TREE.remove(["w2", "w3"]).topology, "aggregator 'a1' has no worker below it"),
    (lambda: TREE.remove(["a0", "a1"]).topology, "coordinator 'coordinator' has no worker below it"),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_what_cannot_be_done_is_refused_with_the_node_named(act, why):
    with pytest.raises(ValueError, match=re.escape(why)):
        act()


def test_a_subtree_moves_and_its_devices_keep_their_numbers_and_profiles():
    draft = TREE.profiled(["w3"], speed=5.0).move(["a1"], "a0")
    assert draft.topology.depth["w3"] == 3
    assert draft.topology.workers == ("w0", "w1", "w2", "w3")
    renamed = draft.rename("a1", "lab").rename("w3", "phone")
    assert renamed.topology.parent["phone"] == "lab"
    assert renamed.topology.profile("phone") == Profile(speed=5.0)
    assert renamed.remove(["lab"]).topology.workers == ("w0", "w1")


def test_random_acts_leave_a_tree_or_a_sentence():
    random_ = random.Random(0)
    draft = TREE
    for _ in range(300):
        nodes = [node for node, _, _ in draft.nodes]
        act = random_.choice(["add", "move", "remove", "rename"])
        try:
            if act == "add":
                kind = random_.choice(["worker", "aggregator"])
                draft = draft.add(random_.choice(nodes), kind, random_.randint(1, 3))
            elif act == "rename":
                draft = draft.rename(random_.choice(nodes), f"n{random_.randint(0, 99)}")
            elif act == "remove" and len(nodes) > 12:
                draft = draft.remove([random_.choice(nodes)])
            else:
                draft = draft.move([random_.choice(nodes)], random_.choice(nodes))
        except ValueError as error:
            assert "'" in str(error)
        assert draft.below([draft.nodes[0][0]]) == {node for node, _, _ in draft.nodes}  # all hang on the coordinator
        assert all(draft.kinds[parent] != "worker" for _, parent, _ in draft.nodes if parent is not None)


@pytest.mark.parametrize("workers", [1, 2, 3, 7, 64, 2048])
def test_a_ragged_tree_has_its_devices_at_different_depths(workers):
    tree = ragged(workers)
    assert len(tree.workers) == workers
    depths = {tree.depth[worker] for worker in tree.workers}
    assert depths >= ({1, 2, 3} if workers >= 64 else {1})


def test_the_panel_draws_undoes_and_launches(tmp_path):
    panel = FederationWidget()
    panel.set(devices=6, fanouts="2", rounds=2, local_epochs=1)
    panel.act("draw", act="move", node="w0", to="a1")
    panel.act("draw", act="add", near="coordinator", kind="aggregator")
    assert panel.errors == {"topology": "aggregator 'a2' has no worker below it; give it one or remove it"}
    assert panel.picture["editing"]["wrong"] == panel.errors["topology"]
    assert panel.picture["tree"]["tiers"][1]["names"] == ["a0", "a1", "a2"]  # drawn all the same
    assert not panel.head["buttons"]["launch"]["on"]
    panel.act("draw", act="undo")
    assert panel.errors == {}
    panel.act("draw", act="undo")
    assert panel.values["shape"] == "tree"
    assert panel.act("draw", act="undo")["message"] == "There is nothing to undo."
    panel.act("draw", act="redo")
    panel.act("select", node="w0")
    panel.act("side", values={"name": "my phone", "speed": "20"})
    drawn = panel.draft.topology
    assert drawn.parent["my phone"] == "a1"
    run = panel.launch()
    assert panel.wait(60) == "finished"
    assert Topology.from_dict(run.settings["topology"]) == drawn
    assert panel.act("draw", act="remove", node="a0")["message"] == "This is the tree of the run shown."
    made = {}
    exec(panel.code, made)
    for mine, other in zip(run.result.model.parameters(), made["run"].result.model.parameters(), strict=True):
        assert torch.equal(mine, other)
    other = FederationWidget()
    other.act("open", id=run.id)
    assert other.draft.topology == drawn
    assert {name: value for name, value in other.values.items() if value != panel.values[name]} == {}


def test_a_large_drawn_tree_is_in_the_script_as_the_file_that_the_panel_saves(pages):
    panel = FederationWidget()
    panel.set(shape="ragged", devices=64)
    assert 'Topology.from_yaml("tree.yaml")' in panel.code
    panel.act("download", what="tree")
    (content, buffers), = pages[panel.comm.comm_id].files
    assert content["name"] == "tree.yaml"
    assert Topology.from_yaml(bytes(buffers[0]).decode()) == ragged(64)
    assert len(yaml.safe_load(bytes(buffers[0]))["nodes"]) == len(ragged(64).nodes)


def test_a_group_and_a_tier_are_changed_at_once():
    panel = FederationWidget()
    panel.set(devices=200, fanouts="4")
    panel.act("select", node="w50", all=True)
    assert panel.picture["side"]["title"] == "50 devices"
    panel.act("side", values={"latency": "20"})
    slow = [worker for worker in panel.draft.topology.workers if panel.draft.topology.profile(worker).latency_s]
    assert slow == panel.draft.children["a1"]
    panel.act("select", tier=2)
    typed_ = panel.picture["side"]["form"]["typed"]
    assert (typed_["latency"], typed_["speed"]) == (None, 1000)  # differs; is the same for all
    assert panel.picture["side"]["form"]["errors"] == {}
    panel.act("draw", act="move", node="w50", all=True, to="a0")
    assert len(panel.draft.children["a0"]) == 100
    assert panel.errors == {"topology": "aggregator 'a1' has no worker below it; give it one or remove it"}


@pytest.mark.parametrize(("text", "why"), [
    ("a: [b", "This is not YAML: "), ("- a\n- b", "expected a mapping of node ids or one with 'nodes', got list"),
    ("a: 3", "This YAML holds no tree"), ("", "expected a mapping"), ("nodes: 5", "This YAML holds no tree"),
    ("a: {children: [b]}\nb: {speed: -1}", "speed must be a positive number"),
])  # fmt: skip
def test_a_file_that_holds_no_tree_is_refused_with_a_sentence(tmp_path, text, why):
    file = tmp_path / "tree.yaml"
    file.write_text(text)
    panel = FederationWidget()
    for answer in (panel.act("open_tree", path=str(file)), panel.act("open_tree", data=text.encode())):
        assert not answer["ok"]
        assert answer["message"].startswith(why)
        assert panel.picture["editing"]["wrong"] == answer["message"]
    assert panel.set(shape="file", tree_file=str(file))["tree_file"].startswith(why)
    assert panel.act("open_tree", path="/nowhere.yaml")["message"].startswith("[Errno 2]")


def test_what_was_typed_is_taken_back_with_the_change():
    panel = FederationWidget()
    panel.act("select", node="w1")
    panel.act("side", values={"speed": "7"})
    panel.act("draw", act="undo")
    assert panel.picture["side"]["form"]["typed"]["speed"] == 1000


def test_templates_make_the_trees_they_say(tmp_path):
    panel = FederationWidget()
    trees = {"flat": Topology.flat(27), "tree": Topology.tree(27, [3]), "ragged": ragged(27)}
    panel.set(devices=27, fanouts="3", branching=3, height=3)
    for shape, tree in trees.items():
        panel.set(shape=shape)
        assert panel.draft.topology == tree
    panel.set(shape="balanced")
    assert panel.draft.topology == Topology.balanced(3, 3)
    file = tmp_path / "tree.yaml"
    file.write_text("c: {children: [x, y]}\nx: {speed: 3}\ny: {}\n")
    assert panel.set(shape="file", tree_file=str(file)) == {}
    assert panel.draft.topology.profile("x").speed == 3
    file.write_text("c: {children: [x, y]}\nx: {children: [c]}\ny: {}\n")
    panel.set(tree_file=" " + str(file))
    assert panel.errors == {"tree_file": "there must be one coordinator, got 0: []"}
    assert panel.set(shape="balanced", branching=1000, height=9) == {
        "height": "1000 to the power of 9 is more than 100,000 devices."}
    panel.set(shape="tree")
    panel.set(shape="drawn")
    assert panel.draft.topology == trees["tree"]


def test_policies_go_with_their_tiers_and_a_quorum_that_can_never_be_met_is_refused():
    panel = FederationWidget()
    panel.set(devices=4, fanouts="2", rounds=2, local_epochs=1, engine="virtual")
    panel.act("select", tier=1)
    panel.act("side", values={"policy": "deadline", "seconds": 3, "quorum": 1})
    assert panel.picture["policies"] == ["synchronous", "deadline, 3 s"]
    assert panel.errors == {}
    panel.act("select", node="w3")
    panel.act("side", values={"availability": 0})
    assert panel.errors["policies"].startswith("a quorum of 1.0 can never be met at 'a1'")
    assert panel.picture["editing"]["wrong"] == panel.errors["policies"]
    assert not panel.head["buttons"]["launch"]["on"]
    panel.act("draw", act="undo")
    assert panel.errors == {}
    panel.act("select", tier=0)
    panel.act("side", values={"policy": "buffered", "size": 2})
    assert panel.set(fraction=0.5)["fraction"].startswith("Only 1 where a tier is buffered")
    panel.set(fraction=1, slow_percent=25)
    run = panel.launch()
    assert panel.wait(60) == "finished"
    assert [policy["name"] for policy in run.settings["policies"]] == ["buffered", "deadline"]
    made = {}
    exec(panel.code, made)
    for mine, other in zip(run.result.model.parameters(), made["run"].result.model.parameters(), strict=True):
        assert torch.equal(mine, other)
    other = FederationWidget()
    other.act("open", id=run.id)
    assert other.values["policies"] == panel.values["policies"]
    assert other.values["slow_percent"] == 25
    panel.act("new")
    panel.set(shape="flat")
    assert panel.picture["policies"] == ["buffered, 2"]  # the lower tier is not there


@pytest.mark.parametrize("policy", [
    {"name": "synchronous"}, {"name": "deadline", "seconds": 2.5, "quorum": 0.5, "late": "drop",
                              "staleness": {"name": "constant"}},
    {"name": "buffered", "size": 4, "max_staleness": 3, "staleness": {"name": "hinge", "a": 2.0, "b": 1.0}},
    {"name": "asynchronous", "mix": 0.5, "max_staleness": None, "staleness": {"name": "polynomial", "a": 1.0}},
], ids=lambda policy: policy["name"])  # fmt: skip
def test_a_policy_is_typed_plain_and_code(policy):
    import scilab.federated as federated
    from scilab.federated.policies import as_policy
    from scilab.widgets.fields import judge
    from scilab.widgets.policy import FIELDS

    form = judge(FIELDS, typed(policy))
    assert form.errors == {}
    assert plain(form.values) == policy
    assert eval(as_code(policy), vars(federated)) == as_policy(policy)


def test_the_code_says_what_the_fields_say():
    panel = FederationWidget()
    panel.set(devices=16, fanouts="4", rounds=1, local_epochs=1, strategy="fedprox", mu=0.3, clip=2, noise=0.1)
    panel.set(cohort=4, fraction=0.5, partition="shards", per_device=3)
    built, made = panel.build(panel.values), {}
    exec(panel.code.replace("Run(federation).start()", "None").replace("run.wait()", ""), made)
    said = made["federation"].settings
    assert {name: value for name, value in built.settings.items() if said[name] != value}.keys() == {"values"}
    panel.set(model="resnet8", buffers="pooled", strategy="fedavg", clip="")
    assert "buffers='pooled', cohort=4, test=data.test" in panel.code
    assert as_settings(panel.values)["buffers"] == "pooled"
    panel.set(model="mlp")
    assert as_settings(panel.values)["buffers"] == "mean"  # it has no batch normalisation


def test_policies_of_lower_tiers_bring_those_above():
    deadline = {"name": "deadline", "seconds": 1}
    assert with_policy((), 2, deadline) == ({"name": "synchronous"}, {"name": "synchronous"}, deadline)
    assert with_policy((deadline,), 0, {"name": "synchronous"}) == ()


def test_the_shares_shown_are_those_that_are_dealt():
    labels = digits().train[1]
    parts = dirichlet(0.3)(labels.numpy(), 100, stream(7, "partition"))
    shown = shares("digits", dirichlet(0.3), 100, 7)
    assert shown["each"] == 2
    assert [sum(row) for row in shown["rows"]] == torch.bincount(labels).tolist()
    pair = torch.bincount(torch.cat([labels[part] for part in parts[10:12]]), minlength=10)
    assert [row[5] for row in shown["rows"]] == pair.tolist()
    assert (shown["least"], shown["most"]) == (min(map(len, parts)), max(map(len, parts)))
    assert "once it is loaded" in shares("cifar10", dirichlet(0.3), 100, 7)["note"]


def test_what_a_launch_refuses_stands_beside_its_field(monkeypatch):
    panel = FederationWidget()
    why = "the model, the loss and the data do not fit each other: IndexError"
    def refuse(_):
        raise ValueError(why)
    monkeypatch.setattr("scilab.federated.Federation.from_settings", refuse)
    assert not panel.act("launch")["ok"]
    assert panel.errors == {"model": why}
    assert panel.set(model="cnn") == {}

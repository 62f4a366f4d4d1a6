"""A tree drawn by mouse and by keys in a real browser, wired to a panel."""

import time

import pytest

from scilab.federated import Topology
from scilab.widgets import FederationWidget

REDRAW = """(keys) => {  // one redraw of the whole picture, as an update from the kernel makes it; milliseconds
  const picture = JSON.parse(JSON.stringify(model.state.picture));
  picture.tree.round = (picture.tree.round || 0) + 1; // what is the same is not drawn again
  const began = performance.now();
  model.set("picture", picture);
  document.body.getBoundingClientRect();
  return performance.now() - began;
}"""
WATCH = """() => {  // the longest time the page did not answer, in milliseconds
  window.gaps = []; let last = performance.now();
  const step = (now) => { gaps.push(now - last); last = now; window.watching = requestAnimationFrame(step); };
  window.watching = requestAnimationFrame(step);
}"""


def node(tab, name):
    """The drawn node of this name."""
    return tab.page.locator(f'.scilab-tree [data-at][aria-label^="{name}:"]')


def middle(box):
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(tab, name, target, steps=8):
    """By mouse, as a person does."""
    for each in (target, name):
        node(tab, each).scroll_into_view_if_needed()
    mark = "circle, rect, path"
    tab.page.mouse.move(*middle(node(tab, name).locator(mark).first.bounding_box()))
    tab.page.mouse.down()
    tab.page.mouse.move(*middle(node(tab, target).locator(mark).first.bounding_box()), steps=steps)
    tab.page.mouse.up()
    return tab.settle()


def click(tab, name):
    node(tab, name).locator("circle, rect, path").first.click()
    return tab.settle()


def parents(tab):
    return tab.panel.draft.parents


def why(tab):
    return tab.text(".scilab-tree-why")


def test_a_tree_of_three_tiers_is_drawn_by_mouse(shown):
    tab = shown(FederationWidget())
    tab.page.get_by_label("Shape").select_option("flat")
    tab.type("Devices", "4")
    click(tab, "coordinator")
    tab.press("Add aggregator")
    assert why(tab) == "aggregator 'a0' has no worker below it; give it one or remove it"
    assert tab.page.get_by_role("button", name="Launch").is_disabled()
    assert tab.page.get_by_role("button", name="Launch").get_attribute("title") == "To be put right first: Tree."
    tab.press("Add aggregator")  # below the new one, which is selected now
    assert parents(tab)["a1"] == "a0"
    drag(tab, "w0", "a0")
    drag(tab, "w1", "a1")
    assert why(tab) == ""
    assert parents(tab) == {"coordinator": None, "w0": "a0", "w1": "a1", "w2": "coordinator", "w3": "coordinator",
                            "a0": "coordinator", "a1": "a0"}
    click(tab, "a0")
    tab.page.get_by_label("How many to add").fill("3")
    tab.press("Add device")
    assert tab.panel.draft.topology.depth["w6"] == 2
    assert tab.panel.draft.topology.depth["w1"] == 3


def test_a_subtree_goes_along_and_what_cannot_be_is_refused_by_name(shown):
    panel = FederationWidget()
    panel.set(shape="tree", devices=8, fanouts="2, 2")
    tab = shown(panel)
    before = parents(tab)
    drag(tab, "a0", "a2")
    assert why(tab) == "'a0' cannot hang below 'a2', which is below it: that would be a cycle."
    drag(tab, "a0", "w7")
    assert why(tab) == "Nothing can hang below 'w7': it is a device, and devices are leaves."
    assert parents(tab) == before
    drag(tab, "a2", "a1")
    assert why(tab) == ""
    assert parents(tab) == {**before, "a2": "a1"}
    assert panel.draft.topology.depth["w0"] == 3
    assert set(panel.draft.below(["a2"])) == {"a2", "w0", "w1"}
    tab.press("Undo")
    assert parents(tab) == before
    tab.press("Redo")
    assert parents(tab)["a2"] == "a1"


def test_a_drag_that_is_let_go_on_nothing_changes_nothing(shown):
    tab = shown(FederationWidget())
    node(tab, "a0").scroll_into_view_if_needed()
    x, y = middle(node(tab, "a0").locator("circle").bounding_box())
    tab.page.mouse.move(x, y)
    tab.page.mouse.down()
    tab.page.mouse.move(x + 9, y - 22, steps=4)
    assert tab.page.locator(".scilab-ghost").count() == 1
    assert tab.page.locator(".scilab-carried").count() == 9  # it and its eight devices
    tab.page.mouse.up()
    tab.settle()
    assert tab.page.locator(".scilab-ghost").count() == 0
    assert tab.panel.values["shape"] == "tree"


def test_the_same_by_keys(shown):
    panel = FederationWidget()
    panel.set(devices=4, fanouts="2")
    tab = shown(panel)
    keys = tab.page.keyboard

    def press(*names):
        for name in names:
            keys.press(name)
            tab.settle()

    node(tab, "coordinator").focus()
    press("ArrowDown", "ArrowDown")
    assert tab.page.evaluate("() => document.activeElement.ariaLabel").startswith("w0:")
    press("m", "ArrowUp", "ArrowRight", "Enter")  # w0 below a1
    assert parents(tab)["w0"] == "a1"
    press("Shift+A")
    assert parents(tab)["a2"] == "a1"
    press("Control+z")
    assert "a2" not in parents(tab)
    node(tab, "w3").focus()
    press("Delete")
    assert "w3" not in parents(tab)
    press("Control+z")
    assert "w3" in parents(tab)
    node(tab, "a0").focus()
    press("Enter")
    assert tab.text(".scilab-side strong") == "a0"


def test_profiles_names_and_policies_stand_in_the_side_panel(shown):
    panel = FederationWidget()
    panel.set(devices=4, fanouts="2", engine="virtual")
    tab = shown(panel)
    click(tab, "w1")
    tab.type("Speed", "50")
    tab.type("Bandwidth", "8")
    tab.type("Availability", "1.5")
    side = tab.page.locator(".scilab-side")
    assert side.locator(".scilab-wrong .scilab-why").inner_text() == "A number from 0 to 1; given 1.5."
    assert panel.draft.profiles["w1"].to_dict() == {"speed": 50, "bandwidth_bps": 8e6}
    tab.type("Name", "A hospital with a very long name indeed")
    assert panel.draft.topology.profile("A hospital with a very long name indeed").speed == 50
    tab.page.locator('.scilab-tree [data-at="0"]').click()
    tab.settle()
    side.get_by_label("Policy").select_option("deadline")
    tab.page.wait_for_timeout(150)
    tab.settle()
    side.get_by_label("Quorum").fill("1")
    tab.page.wait_for_timeout(150)
    tab.settle()
    assert panel.values["policies"][0]["quorum"] == 1
    assert tab.page.locator(".scilab-tree", has_text="deadline, 60 s").count() == 1
    tab.page.locator('.scilab-tree [data-at="2"]').click()
    tab.settle()
    tab.type("Speed", "200")  # of the whole tier
    assert {panel.draft.profiles[worker].speed for worker in panel.draft.topology.workers} == {200}


def test_a_tree_comes_and_goes_as_yaml(shown, tmp_path):
    tab = shown(FederationWidget())
    file = tmp_path / "tree.yaml"
    file.write_text("top:\n  children: [left, right]\nleft:\n  children: [d1, d2]\nright:\n  children: [d3]\n"
                    "d1: {speed: 10}\nd2:\nd3:\n".replace("d2:\nd3:", "d2: {}\nd3: {}"))
    tab.page.locator(".scilab-tools input[type=file]").set_input_files(file)
    tab.settle(until=lambda: tab.panel.values["shape"] == "drawn")
    assert tab.panel.draft.topology == Topology.from_yaml(file)
    file.write_text("a: {children: [b]}\nb: {children: [c]}\nc: {children: [b]}\n")
    tab.page.locator(".scilab-tools input[type=file]").set_input_files(file)
    tab.settle(until=lambda: tab.panel.picture["editing"]["wrong"])
    assert why(tab) == "node 'b' is a child of 'a' and of 'c'"
    file.write_text("x: {kind: coordinator, children: [w]}\nw: {}\n"
                    "b: {kind: aggregator, children: [c]}\nc: {kind: aggregator, children: [b]}\n")
    tab.page.locator(".scilab-tools input[type=file]").set_input_files(file)
    tab.settle(until=lambda: "cycle" in tab.panel.picture["editing"]["wrong"])
    assert why(tab) == "node 'b' does not reach the coordinator: its parents form a cycle"
    assert tab.panel.draft.topology.root == "top"  # a refused tree changes nothing


def test_2048_workers_are_drawn_dragged_and_unfolded_without_waiting(shown, capsys):
    panel = FederationWidget()
    panel.set(shape="tree", devices=2048, fanouts="16, 4", partition="resample")
    tab = shown(panel)
    folded = [tab.page.evaluate(REDRAW) for _ in range(9)]
    assert tab.page.locator(".scilab-tree [data-at]").count() == 4 + 1 + 16 + 64 + 64
    tab.page.evaluate(WATCH)
    began = time.monotonic()
    drag(tab, "a16", "a15", steps=30)  # with its 32 devices
    dragged = time.monotonic() - began
    gaps = tab.page.evaluate("() => { cancelAnimationFrame(watching); return gaps; }")
    assert parents(tab)["a16"] == "a15"
    assert len(panel.draft.topology.workers) == 2048
    first = panel.draft.children["a17"][0]
    acted = time.monotonic()
    assert panel.act("draw", act="move", node="a18", to="a14")["ok"]
    acted = time.monotonic() - acted
    panel.act("unfold", node=first)
    tab.settle()
    assert tab.page.locator(".scilab-tree [data-at]").count() == 4 + 1 + 16 + 64 + 64 + 32
    panel.set(shape="flat", devices=2048)
    panel.act("unfold", node="w0")
    tab.settle()
    assert tab.page.locator(".scilab-tree [data-at]").count() == 2 + 1 + 1 + 1024
    open_ms = [tab.page.evaluate(REDRAW) for _ in range(9)]
    with capsys.disabled():
        print(f"\n2,048 workers: a redraw {sorted(folded)[4]:.0f} ms, with 1,024 of them unfolded "
              f"{sorted(open_ms)[4]:.0f} ms; a drag of a subtree {dragged:.2f} s of 30 mouse moves, longest frame "
              f"{max(gaps):.0f} ms; a move answered in {1e3 * acted:.0f} ms")
    assert sorted(open_ms)[4] < 2000
    assert sorted(folded)[4] < 1000
    assert dragged < 20


def test_a_run_fixes_the_tree_and_what_it_does_is_on_it(shown):
    topology = Topology.tree(6, [2])
    panel = FederationWidget()
    panel.set(shape="tree", devices=6, fanouts="2", rounds=3, local_epochs=1)
    tab = shown(panel)
    tab.press("Launch", until=lambda: panel.head["status"] == "finished")
    assert tab.page.get_by_role("button", name="Add device").is_hidden()
    click(tab, "a0")
    facts = tab.text(".scilab-facts")
    assert "Kind aggregator" in facts
    assert "State done" in facts
    assert "kB" in facts.split("Down its link")[1]
    label = node(tab, "a0").get_attribute("aria-label")
    assert "Its link: " in label
    drag(tab, "w0", "a1")
    assert parents(tab) == {n: p for n, p, _ in topology.nodes}
    tab.press("Edit the tree")
    drag(tab, "w0", "a1")
    assert parents(tab)["w0"] == "a1"
    assert panel.head["status"] == "ready"


def test_figures_model_history_and_tree_are_saved(shown, tmp_path):
    import torch

    panel = FederationWidget()
    panel.set(shape="flat", devices=4, rounds=3, local_epochs=1)
    tab = shown(panel)
    tab.press("Launch", until=lambda: panel.head["status"] == "finished")

    def saved(button):
        with tab.page.expect_download() as download:
            button.click()
            tab.settle()
        return download.value.suggested_filename, download.value.path().read_bytes()

    save = tab.page.get_by_role("group", name="Save")
    name, svg = saved(tab.page.get_by_role("button", name="Save as SVG").first)
    assert name == "tree-in-round-3.svg"
    assert svg.startswith(b"<svg xmlns")
    assert b"Tree in round 3" in svg
    assert b"var(--" not in svg
    loss = tab.page.locator(".scilab-chart", has_text="Loss").first
    name, png = saved(loss.get_by_role("button", name="Save as PNG"))
    assert name == "loss.png"
    assert png.startswith(b"\x89PNG")

    name, model = saved(save.get_by_role("button", name="Model"))
    (tmp_path / name).write_bytes(model)
    state = torch.load(tmp_path / name, weights_only=True)
    assert all(torch.equal(state[key], value) for key, value in panel.run.result.model.state_dict().items())
    name, history = saved(save.get_by_role("button", name="History"))
    lines = history.decode().splitlines()
    assert lines[0].startswith("round,accuracy,loss,seconds,")
    assert float(lines[3].split(",")[1]) == panel.run.result.accuracy
    assert len(lines) == 4


@pytest.mark.parametrize("width", [900, 1280])
def test_nothing_is_cut_off_with_long_names_and_many_tiers(shown, width):
    panel = FederationWidget()
    panel.set(shape="ragged", devices=40)
    panel.act("select", node="a2")
    panel.act("side", values={"name": "An aggregator of the northern hospitals and their laboratories"})
    tab = shown(panel, width=width)
    outside = tab.page.evaluate("""() => {
      const edge = document.querySelector(".scilab-panel").getBoundingClientRect();
      const out = (box) => box.width > 0 && (box.right > edge.right + 1 || box.left < edge.left - 1);
      return [...document.querySelectorAll(".scilab-panel *")].filter((each) => out(each.getBoundingClientRect()))
        .map((each) => each.outerHTML.slice(0, 90));
    }""")
    assert outside == []

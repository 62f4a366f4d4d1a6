"""The page modules in a real browser, wired to a panel; what JupyterLab adds is tested in tests/browser."""

import re

import pytest
from counter_panel import Counter, CounterPanel
from federation_story import story

from scilab.federated import Topology
from scilab.runs import Run
from scilab.widgets import FederationWidget, Panel

OUTSIDE = """() => {
  const edge = document.querySelector(".scilab-panel").getBoundingClientRect();
  const out = (box) => box.width > 0 && (box.right > edge.right + 1 || box.left < edge.left - 1);
  const all = [...document.querySelectorAll(".scilab-panel *")];
  return all.filter((each) => out(each.getBoundingClientRect())).map((each) => each.outerHTML.slice(0, 90));
}"""
SHAPE = """(it) => it.tagName + (it.getAttribute("d") || "").replace(/[^A-Z]/g, "")
  + (it.getAttribute("fill") === it.getAttribute("stroke"))"""


def test_a_person_sets_launches_and_sees(shown):
    tab = shown(CounterPanel())
    assert tab.text(".scilab-title .scilab-status") == "ready"
    assert tab.text(".scilab-progress-text") == "– of – steps"
    tab.type("Steps", "4")
    assert tab.panel.values["steps"] == 4
    assert "4 tasks" in tab.text(".scilab-estimate")
    tab.press("Launch", until=lambda: tab.panel.head["status"] == "finished")
    assert tab.text(".scilab-title .scilab-status") == "finished"
    assert tab.text(".scilab-tile-value") == "4"
    assert tab.page.locator(".scilab-chart svg").get_attribute("aria-label") == (
        "Squares: square (cm²) by step. Latest: square 16.")
    assert tab.page.evaluate("() => model.state.picture") == tab.panel.picture
    tab.page.locator("summary", has_text="Code that does the same").click()
    assert tab.text(".scilab-code code") == tab.panel.code


def test_a_mistake_stands_beside_its_field_and_launch_says_why_not(shown):
    tab = shown(CounterPanel())
    tab.type("Steps", "0")
    field = tab.page.locator(".scilab-wrong")
    assert field.locator(".scilab-why").inner_text() == "A whole number from 1 to 100,000; given 0."
    steps = tab.page.get_by_label("Steps")
    assert steps.get_attribute("aria-invalid") == "true"
    assert steps.get_attribute("aria-describedby") == field.locator(".scilab-why").get_attribute("id")
    assert steps.input_value() == "0"  # what was typed is not taken away
    launch = tab.page.get_by_role("button", name="Launch")
    assert launch.is_disabled()
    assert launch.get_attribute("title") == "To be put right first: Steps."
    assert tab.page.get_by_label("Fails at").is_disabled()
    assert tab.page.locator("option[value=infrared]").evaluate("it => it.disabled && it.title") == (
        "This machine cannot show it.")
    tab.page.get_by_label("Trouble wanted").check()
    tab.page.wait_for_timeout(150)
    tab.settle()
    assert tab.page.get_by_label("Fails at").is_enabled()


def test_an_act_is_answered_before_the_kernel_is(shown):
    tab = shown(CounterPanel())
    tab.type("Steps", "100000")
    tab.type("Time per step", "0.01")
    tab.press("Launch", until=lambda: tab.panel.head["status"] == "running")
    acts = {"Pause": ("pausing", "paused"), "Resume": ("running", "running"), "Stop": ("stopping", "stopped")}
    for button, (word, end) in acts.items():
        tab.page.get_by_role("button", name=button).first.click()
        assert tab.text(".scilab-title .scilab-status") in (word, f"{word}…")  # nothing has gone to the kernel yet
        tab.settle(until=lambda end=end: tab.panel.head["status"] == end)
    assert tab.panel.wait(20) == "stopped"


def test_a_refused_act_takes_its_word_back(shown):
    tab = shown(CounterPanel())
    tab.panel.build = lambda values: 1 / 0
    tab.press("Launch")
    assert tab.text(".scilab-title .scilab-status") == "ready"
    assert tab.text(".scilab-problem-line span") == "ZeroDivisionError: division by zero"
    tab.page.locator(".scilab-problem summary").click()
    assert "1 / 0" in tab.text(".scilab-problem pre")
    tab.press("Dismiss")
    assert not tab.page.locator(".scilab-problem").is_visible()


def test_keys_stay_in_the_panel_and_every_control_has_a_name(shown):
    tab = shown(FederationWidget())
    tab.page.evaluate("() => { window.keys = 0; document.onkeydown = () => { keys += 1; }; }")
    tab.page.get_by_role("button", name="Launch").focus()
    tab.page.keyboard.press("d")
    tab.page.get_by_label("Devices").first.focus()
    tab.page.keyboard.type("12")
    assert tab.page.evaluate("() => keys") == 0
    assert tab.page.locator(".scilab-panel").get_attribute("data-lm-suppress-shortcuts") == "true"
    nameless = tab.page.locator(".scilab-panel").evaluate(
        """it => [...it.querySelectorAll('input, select, button')].filter(each =>
           !(each.labels?.length || each.ariaLabel || each.textContent)).map(each => each.outerHTML)""")
    assert nameless == []
    hints = tab.page.locator(".scilab-field").evaluate_all("fields => fields.map(field => field.title.length)")
    assert len(hints) == len([field for field in FederationWidget.fields if field.control])
    assert min(hints) > 10


def test_a_page_that_missed_a_change_asks_for_the_whole(shown):
    tab = shown(CounterPanel())
    tab.page.evaluate("() => { model.state.picture = { version: 0, tiles: [], charts: {} }; }")
    tab.panel.launch()
    tab.panel.wait(60)
    tab.settle()
    assert tab.page.evaluate("() => model.state.picture") == tab.panel.picture


def test_the_journal_is_worked_by_hand(shown, tmp_path):
    panel = CounterPanel()
    for name, steps in (("one", 2), ("two", 3)):
        panel.set(steps=steps)
        panel.launch(name=name)
        panel.wait(60)
    tab = shown(panel)
    tab.page.locator("summary", has_text="Runs (2").click()
    assert tab.page.get_by_role("button", name="Rename").is_disabled()
    tab.page.get_by_label("Choose one").check()
    tab.press("Rename")
    tab.page.get_by_label("Name of “one”").fill("first")
    tab.press("Save")
    assert {row["name"] for row in panel.runs["rows"]} == {"first", "two"}
    tab.page.get_by_label("Choose two").check()
    tab.press("Compare")
    assert tab.text(".scilab-compared strong") == "first and two"
    assert tab.page.locator(".scilab-body table tr", has_text="Steps").count() == 2  # as a result and as a setting
    assert tab.page.locator(".scilab-chart-canvas path[stroke-dasharray='7 3']").count() == 1
    tab.press("Close comparison")
    tab.page.get_by_label("Choose two").uncheck()
    tab.press("Delete")
    assert len(panel.runs["rows"]) == 2  # asked first
    assert tab.page.get_by_role("button", name="Keep").evaluate("it => it === document.activeElement")
    tab.page.locator(".scilab-asking").get_by_role("button", name="Delete").click()
    tab.settle()
    assert [row["name"] for row in panel.runs["rows"]] == ["two"]

    file = tmp_path / "two.scilab-run"
    panel.act("export", id=panel.runs["rows"][0]["id"], path=str(file))
    panel.act("delete", id=panel.runs["rows"][0]["id"])
    tab.settle()
    assert "No run is in the journal yet." in tab.text(".scilab-table-box")
    tab.page.locator(".scilab-runs input[type=file]").set_input_files(file)
    tab.settle(until=lambda: panel.runs["rows"])
    assert panel.runs["rows"][0]["name"] == "two"


def test_a_download_is_put_together_of_its_parts(shown):
    panel = CounterPanel()
    id = panel.launch().id
    panel.wait(60)
    tab = shown(panel)
    tab.page.locator("summary", has_text="Runs (1").click()
    tab.page.get_by_role("checkbox", name="Choose").check()
    tab.page.get_by_role("button", name="Export").click()
    with tab.page.expect_download() as download:
        tab.page.evaluate("""(id) => [0, 1, 2].forEach((part) => model.fire("msg:custom",
          { type: "file", id, part, parts: 3, name: "a.scilab-run" },
          [new Uint8Array([10 * part, 10 * part + 1])]))""", id)
    assert download.value.suggested_filename == "a.scilab-run"
    assert download.value.path().read_bytes() == bytes([0, 1, 10, 11, 20, 21])


def test_a_long_name_and_hostile_text_stay_text(shown):
    name = "<img src=x onerror=alert(1)> " + "very long " * 30
    run = Run(Counter(2), name=name).start().wait(60)
    tab = shown(CounterPanel(run), width=620)
    assert tab.page.locator("img").count() == 0
    assert tab.text(".scilab-run-name") == name.strip()
    assert tab.page.evaluate(OUTSIDE) == []


class Pictured(FederationWidget):
    """A federation panel whose picture is given."""

    topology, records = Topology.flat(1), ()

    def plan(self, values):
        return {"topology": self.topology.to_dict()}

    def begin(self, settings):
        return self.draw(self.records, super().begin(settings))


@pytest.mark.parametrize("width", [380, 740, 1100])
@pytest.mark.parametrize(("topology", "marks", "bars"), [
    (Topology.tree(64, [8]), 1 + 8 + 64, 0),
    (Topology.tree(2048, [16]), 1 + 16, 16),
    (Topology.tree(2048, [4, 64]), 1 + 4, 8),
], ids=repr)  # fmt: skip
def test_a_tree_is_drawn_within_the_panel_at_any_width(shown, width, topology, marks, bars, monkeypatch):
    monkeypatch.setattr(Pictured, "topology", topology)
    monkeypatch.setattr(Pictured, "records", story(topology, 2, fails={0, 5})[:-1])
    tab = shown(Pictured(), width=width)
    tree = tab.page.locator(".scilab-tree")
    assert tree.locator("g > .scilab-bar").count() == bars
    assert tree.locator("g:not(:has(.scilab-bar, .scilab-hit))").count() == marks
    assert f"{len(topology.workers):,} devices: " in tree.get_attribute("aria-label")
    assert "2 failed" in tree.get_attribute("aria-label")
    assert tab.page.evaluate(OUTSIDE) == []
    assert tab.page.locator(".scilab-messages li").count() == 2


def test_states_differ_in_shape_and_not_in_colour_alone(shown, monkeypatch):
    topology = Topology.tree(6, [2])
    monkeypatch.setattr(Pictured, "topology", topology)
    monkeypatch.setattr(Pictured, "records", [*story(topology, 2, fails={0})[-8:-4]])
    tab = shown(Pictured())
    shapes = {}
    for mark in tab.page.locator(".scilab-tree g:not(:has(.scilab-hit))").all():
        word = re.split(r"[ ,.]", mark.get_attribute("aria-label").split(": ")[1])[0]
        drawn = mark.locator("circle, rect, path").first
        shapes.setdefault(word, set()).add(drawn.evaluate(SHAPE))
    assert {"waiting", "awaited", "done"} <= set(shapes)
    assert all(len(each) == 1 for each in shapes.values())
    assert len({next(iter(each)) for each in shapes.values()}) == len(shapes)


def test_a_view_that_is_removed_stops_listening(shown):
    tab = shown(CounterPanel())
    before = tab.page.evaluate("() => listening()")
    tab.page.evaluate("() => leave()")
    assert tab.page.evaluate("() => listening()") == 1  # the model's own, that applies changes
    assert before > 5


def test_a_panel_without_fields_shows_its_run_over_the_whole_width(shown):
    class Bare(Panel):
        kind = "counter"

    tab = shown(Bare())
    assert not tab.page.locator(".scilab-form").is_visible()

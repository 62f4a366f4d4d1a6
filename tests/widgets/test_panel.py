import gc
import threading
import time
import weakref

import pytest
from counter_panel import Counted, Counter, CounterPanel

from scilab.runs import Journal, Run
from scilab.widgets import Panel


def until(condition, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def on(panel):
    """The buttons that can be pressed."""
    return [name for name, button in panel.head["buttons"].items() if button["on"]]


def click(panel, action, id=1, **args):
    """What the page sends. Exceptions in such a handler are swallowed by ipywidgets: effects are asserted."""
    panel._handle_custom_msg({"action": action, "args": args, "id": id}, [])


def test_an_empty_panel_says_so():
    panel = CounterPanel()
    assert panel.head["status"] == "ready"
    assert panel.head["progress"] == {"fraction": None, "text": "– of – steps"}
    assert panel.head["sentence"] == "Launch starts a run with the settings shown here."
    assert on(panel) == ["launch"]
    assert panel.head["buttons"]["stop"]["why"] == "Nothing is running."
    assert panel.runs["rows"] == []
    assert panel.problem == {}
    assert panel.picture["tiles"][0]["value"] == "–"
    assert panel.form["estimate"]["text"].startswith("Estimated: under 0.1 s, 1 MB of memory, 5 tasks. Fits this")
    assert repr(panel) == "Counting: ready. Run this cell to see its panel."


def test_a_launch_is_drawn_kept_and_finished():
    panel = CounterPanel()
    assert panel.set(steps="7") == {}
    run = panel.launch(name="seven")
    assert panel.wait(60) == "finished"
    assert panel.picture["charts"]["squares"]["series"]["square"]["points"] == [[n, n * n] for n in range(1, 8)]
    assert panel.picture["tiles"][0]["value"] == "7"
    assert "_sum" not in panel.picture
    assert panel.head["progress"]["fraction"] == 1.0
    assert panel.head["progress"]["text"].startswith("7 of 7 steps · took ")
    assert on(panel) == ["launch"]
    row = panel.runs["rows"][0]
    assert (row["id"], row["name"], row["status"], row["done"]) == (run.id, "seven", "finished", "7 of 7 steps")
    assert Journal().run(run.id).settings["values"] == panel.values
    exec(panel.code, {"Counter": Counter, "print": (printed := []).append})
    assert [record.square for record in printed] == [1, 4, 9, 16, 25, 36, 49]


def test_a_click_goes_the_same_way_and_is_answered(pages):
    panel = CounterPanel()
    page = pages[panel.comm.comm_id]
    click(panel, "set", 1, values={"steps": "3"})
    click(panel, "launch", 2)
    until(lambda: panel.head["status"] == "finished")
    until(lambda: len(page.answers) == 2)
    assert page.answers[0] == {"type": "answer", "id": 1, "ok": True, "message": ""}
    assert page.answers[1]["ok"] is True
    assert panel.runs["rows"][0]["done"] == "3 of 3 steps"
    assert page.state["head"] == panel.head


def test_a_handler_only_queues(monkeypatch):
    panel, entered, leave = CounterPanel(), threading.Event(), threading.Event()

    def build(values):
        entered.set()
        assert leave.wait(20)
        return Counter(1)

    panel.build = build
    click(panel, "launch")
    assert entered.wait(20)
    until(lambda: panel.head["status"] == "starting")  # said while the worker still builds
    assert panel.run is None
    leave.set()
    until(lambda: panel.head["status"] == "finished")


def test_pause_resume_stop():
    panel = CounterPanel()
    panel.set(steps=100_000, seconds=0.005)
    panel.launch()
    until(lambda: panel.head["progress"]["fraction"])
    assert on(panel) == ["pause", "stop"]
    assert panel.head["buttons"]["launch"]["why"] == "Stop the run that is going on first."
    assert panel.form["locked"] == "Settings are fixed while the run goes on."
    assert panel.act("pause")["ok"]
    assert panel.head["status"] in ("pausing", "paused")
    until(lambda: panel.head["status"] == "paused")
    assert on(panel) == ["resume", "stop"]
    steps = panel.run.count
    assert panel.act("resume")["ok"]
    until(lambda: panel.run.count > steps)
    assert panel.act("stop")["ok"]
    assert panel.wait(20) == "stopped"
    assert on(panel) == ["launch", "resume"]
    points = panel.picture["charts"]["squares"]["series"]["square"]["points"]
    assert points[-1] == [panel.run.count, panel.run.count**2]


def test_what_cannot_be_done_says_why_and_does_nothing():
    panel = CounterPanel()
    for action, why in (("pause", "Nothing is running."), ("stop", "Nothing is running."),
                        ("resume", "There is nothing to resume."), ("fly", "This panel has no action 'fly'.")):
        assert panel.act(action) == {"ok": False, "message": why}
        assert panel.problem == {"message": why, "details": ""}
    assert panel.act("set", values={"stairs": 3})["message"].startswith("There is no field 'stairs'; there are steps,")
    panel.set(steps="0", colour="infrared")
    assert panel.form["errors"] == {"steps": "A whole number from 1 to 100,000; given 0.",
                                    "colour": "This machine cannot show it."}
    assert panel.form["typed"]["steps"] == "0"
    assert panel.head["buttons"]["launch"] == {"on": False, "why": "To be put right first: Steps, Colour."}
    with pytest.raises(RuntimeError, match="To be put right first: Steps"):
        panel.launch()
    errors = panel.set(steps=10_000, seconds=1, colour="blue")
    assert errors == {"seconds": "More than an hour in all; take fewer steps."}
    assert Journal().runs() == []
    assert panel.set(seconds=0) == {}
    assert panel.act("dismiss")["ok"]
    assert panel.problem == {}


def test_a_programming_error_is_shown_with_its_details():
    panel = CounterPanel()
    panel.build = lambda values: 1 / 0
    click(panel, "launch")
    until(lambda: panel.problem)
    assert panel.problem["message"] == "ZeroDivisionError: division by zero"
    assert "1 / 0" in panel.problem["details"]
    assert panel.head["status"] == "ready"
    assert on(panel) == ["launch"]


def test_a_run_that_fails_shows_its_traceback_until_dismissed():
    panel = CounterPanel()
    panel.set(trouble=True, fails_at=3)
    panel.launch()
    assert panel.wait(60) == "failed"
    assert panel.problem["message"] == "RuntimeError: the counter broke at step 3"
    assert "Traceback" in panel.problem["details"]
    assert panel.head["progress"]["text"].startswith("2 of 5 steps")
    assert on(panel) == ["launch", "resume"]
    panel.act("dismiss")
    assert panel.problem == {}


def test_a_mistake_in_draw_is_said_once_and_the_run_can_still_be_stopped():
    panel = CounterPanel()
    panel.draw = lambda records, picture: records[10**9]
    panel.set(steps=100_000, seconds=0.01)
    panel.launch()
    until(lambda: panel.problem)
    assert panel.problem["message"] == "The run cannot be drawn: list index out of range"
    assert panel.act("stop")["ok"]
    assert panel.wait(20) == "stopped"
    assert panel.problem["message"] == "The run cannot be drawn: list index out of range"


def test_a_flood_of_records_reaches_the_page_whole_at_ten_a_second(pages):
    panel = CounterPanel()
    page = pages[panel.comm.comm_id]
    panel.set(steps=10_000)
    before, began = len(page.messages), time.monotonic()
    panel.launch()
    assert panel.wait(120) == "finished"
    updates, elapsed = len(page.messages) - before, time.monotonic() - began
    assert updates <= 10 * elapsed + 4
    assert page.state["head"]["status"] == "finished"
    assert page.state["picture"] == panel.picture
    assert panel.picture["charts"]["squares"]["series"]["square"]["points"][-1] == [10_000, 10_000**2]


def test_what_the_page_holds_is_what_the_panel_holds(pages):
    panel = CounterPanel()
    page = pages[panel.comm.comm_id]
    panel.set(steps=300, seconds=0.002)
    panel.launch()
    panel.wait(60)
    whole = [data["state"] for data in page.messages if "picture" in data.get("state", {})]
    assert len(whole) == 2  # the empty one it was made with, and the first; then changes only
    for trait in ("head", "form", "runs", "problem", "code", "comparison"):
        assert page.state[trait] == getattr(panel, trait)
    assert page.state["picture"] == panel.picture
    loaded_again = panel.get_state()
    assert loaded_again["picture"] == panel.picture
    assert panel.act("refresh")["ok"]
    assert page.messages[-1]["state"]["picture"] == panel.picture


def test_a_persons_act_is_written_down_and_marked():
    panel = CounterPanel()
    panel.set(steps=100_000, seconds=0.005)
    panel.launch()
    until(lambda: panel.head["progress"]["fraction"])
    assert panel.act("command", command={"ban": 3})["ok"]
    until(lambda: panel.picture["charts"]["squares"]["marks"])
    assert [record["command"] for record in panel.run.records() if record["kind"] == "Command"] == [{"ban": 3}]
    panel.act("stop")
    panel.wait(20)
    assert panel.run.capability.heard == [{"ban": 3}]
    assert panel.act("command", command={"ban": 4})["message"] == "Nothing is running that could be told."


def test_a_run_made_in_code_is_shown_and_steered():
    run = Run(Counter(100_000, 0.005), name="mine").start()
    panel = CounterPanel(run)
    assert panel.head["name"] == "mine"
    assert panel.form["fields"] == []
    assert panel.form["settings"] == [["steps", "100000"], ["seconds", "0.005"]]
    until(lambda: panel.head["progress"]["fraction"])
    assert panel.act("stop")["ok"]
    assert panel.wait(20) == "stopped"
    assert panel.head["buttons"]["launch"]["why"].startswith("These settings were made by code.")
    assert "only code can build it again" in panel.act("resume")["message"]
    panel.act("new")
    assert panel.head["status"] == "ready"
    assert on(panel) == ["launch"]


def test_a_capability_made_in_code_is_launched_once():
    panel = CounterPanel(Counter(4))
    assert panel.form["settings"] == [["steps", "4"], ["seconds", "0.0"]]
    assert on(panel) == ["launch"]
    panel.launch()
    assert panel.wait(60) == "finished"
    assert panel.picture["tiles"][0]["value"] == "4"
    assert not panel.act("launch")["ok"]


def test_what_is_of_another_kind_is_refused_where_the_cell_stands():
    class Other(Counter):
        kind = "other"

    with pytest.raises(ValueError, match="CounterPanel shows and launches runs of kind 'counter'; given: other"):
        CounterPanel(Other(1))
    with pytest.raises(ValueError, match="given: int"):
        CounterPanel(7)


def test_a_plain_generator_can_be_launched():
    def count():
        for step in (1, 2):
            yield Counted(step, step**2)

    panel = Panel(count())
    assert on(panel) == ["launch"]
    run = panel.launch()
    assert panel.wait(60) == "finished"
    assert [record["square"] for record in run.records()] == [1, 4]


def test_two_runs_of_a_kind_are_not_started_beside_each_other():
    first, second = CounterPanel(), CounterPanel()
    first.set(steps=100_000, seconds=0.005)
    first.launch(name="long")
    second.act("refresh")
    assert second.head["buttons"]["launch"] == {
        "on": False, "why": "“long” is going on in this kernel; open it under Runs."}
    assert second.head["notice"]["text"].startswith("“long” is going on (")
    (show,) = second.head["notice"]["buttons"]
    assert second.act(show["action"], **show["args"])["ok"]
    assert second.act("stop")["ok"]  # the other panel's run, steered from here
    assert second.wait(20) == "stopped"
    until(lambda: first.head["status"] == "stopped")


def test_a_journal_that_cannot_be_opened_is_said_not_raised(tmp_path):
    (tmp_path / "text.db").write_text("these are not the runs you are looking for" * 100)
    panel = CounterPanel(journal=tmp_path / "text.db")
    assert "is not a journal" in panel.problem["message"]
    assert panel.head["buttons"]["launch"] == {"on": False, "why": panel.problem["message"]}
    assert not panel.act("launch")["ok"]


def test_a_closed_panel_leaves_nothing_behind_and_its_run_goes_on():
    before = {thread for thread in threading.enumerate() if thread.name.startswith("scilab-")}
    panel = CounterPanel()
    panel.set(steps=100_000, seconds=0.005)
    run = panel.launch()
    panel.close()
    panel.close()
    with pytest.raises(RuntimeError, match="This panel was closed"):
        panel.act("stop")
    assert {thread for thread in threading.enumerate() if thread.name.startswith("scilab-")} <= before
    assert run.status in ("starting", "running")
    gone = weakref.ref(panel)
    del panel
    gc.collect()
    assert gone() is None
    run.stop()


def test_drawing_in_parts_is_drawing_at_once():
    panel = CounterPanel()
    panel.set(steps=1000)
    run = panel.launch()
    panel.wait(60)
    records, drawn = run.records(), panel.begin(run.settings)
    for start in range(0, 1000, 37):
        drawn = panel.draw(records[start:start + 37], drawn)
    assert drawn == panel.draw(records, panel.begin(run.settings))


def test_a_panel_that_only_shows_runs():
    class Bare(Panel):
        kind = "counter"

    run = Run(Counter(3)).start().wait(60)
    panel = Bare(run)
    assert panel.head["status"] == "finished"
    assert panel.form["settings"] == [["steps", "3"], ["seconds", "0.0"]]
    assert Bare().act("launch") == {"ok": False, "message": "This panel only shows runs."}

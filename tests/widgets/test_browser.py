import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from counter_panel import Counter, CounterPanel

from scilab.runs import Journal, Run

KILLED = """
import os, signal, time
from counter_panel import CounterPanel
panel = CounterPanel()
panel.set(steps=40, seconds=0.05, word="kept")
panel.launch(name="cut off")
while panel.run.count < 20:
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""


def until(condition, timeout_s=20.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def finished(panel, name, **values):
    panel.set(**values)
    run = panel.launch(name=name)
    assert panel.wait(60) == "finished"
    return run.id


def test_a_killed_kernels_run_is_offered_opened_as_it_was_and_resumed():
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    with subprocess.Popen([sys.executable, "-c", KILLED], env=os.environ | {"PYTHONPATH": path}) as other:
        watcher = CounterPanel()
        until(lambda: Journal().runs() and Journal().runs()[0].count > 3, 100)
        (elsewhere,) = Journal().runs()
        assert watcher.act("open", id=elsewhere.id)["ok"]
        seen = watcher.picture["tiles"][0]["value"]
        assert watcher.head["buttons"]["stop"] == {
            "on": False, "why": "This run belongs to another kernel; it can be steered only there."}
        until(lambda: watcher.picture["tiles"][0]["value"] != seen)  # it is followed all the same
        assert other.wait(120) == -signal.SIGKILL
    until(lambda: watcher.head["status"] == "interrupted")
    watcher.close()
    panel = CounterPanel()
    (stored,) = Journal().runs()
    assert stored.status == "interrupted"
    assert panel.head["status"] == "ready"
    assert panel.head["notice"]["text"] == f"“cut off” was interrupted at {stored.count} of 40 steps."
    resume, show = panel.head["notice"]["buttons"]
    assert (resume["label"], show["label"]) == ("Resume", "Show")
    assert panel.runs["rows"][0]["resumable"] is True

    assert panel.act(show["action"], **show["args"])["ok"]
    assert panel.head["status"] == "interrupted"
    assert panel.head["sentence"].startswith("Interrupted: its kernel ended before it did.")
    points = panel.picture["charts"]["squares"]["series"]["square"]["points"]
    assert points == [[n, n * n] for n in range(1, stored.count + 1)]
    assert panel.values["word"] == "kept"

    assert panel.act("resume")["ok"]
    assert panel.wait(60) == "finished"
    assert panel.run.id == stored.id
    assert panel.problem == {}
    resumed, steps = panel.picture, [record["step"] for record in panel.run.records()]
    assert steps == list(range(1, 41))
    finished(panel, "whole", seconds=0)
    assert {**panel.picture, "version": 0} == {**resumed, "version": 0}


def test_what_is_left_unfinished_is_offered_and_old_news_is_not():
    panel = CounterPanel()
    panel.set(trouble=True, fails_at=3)
    panel.launch(name="broken")
    assert panel.wait(60) == "failed"
    again = CounterPanel()
    assert again.head["notice"]["text"] == "“broken” failed at 2 of 5 steps."
    assert [offer["label"] for offer in again.head["notice"]["buttons"]] == ["Resume", "Show"]
    finished(panel, "whole", trouble=False)
    assert CounterPanel().head["notice"] == {}


def test_an_old_run_opens_as_it_was_with_its_settings():
    panel = CounterPanel()
    first = finished(panel, "first", steps=3, word="one")
    then = panel.picture
    finished(panel, "second", steps=9, word="two")
    assert panel.act("open", id=first)["ok"]
    assert panel.head["name"] == "first"
    assert panel.values["word"] == "one"
    assert {**panel.picture, "version": 0} == {**then, "version": 0}
    assert panel.runs["shown"] == first
    assert [row["name"] for row in panel.runs["rows"]] == ["second", "first"]


def test_two_runs_side_by_side():
    panel = CounterPanel()
    ids = [finished(panel, "short", steps=3), finished(panel, "long", steps=5, word="more")]
    assert panel.act("compare", ids=ids)["ok"]
    both = panel.comparison
    assert both["names"] == ["short", "long"]
    assert both["settings"] == [["Steps", "3", "5"], ["A word", "", "more"]]
    assert both["numbers"] == [["Steps", "3", "5"]]
    series = both["charts"]["squares"]["series"]
    assert series["short"]["points"] == [[1, 1], [2, 4], [3, 9]]
    assert series["long"]["points"][-1] == [5, 25]
    assert panel.act("compare", ids=ids[:1])["message"] == "Two runs are compared; 1 are chosen."
    assert panel.act("uncompare")["ok"]
    assert panel.comparison == {}


def test_runs_of_one_name_are_told_apart():
    panel = CounterPanel()
    ids = [finished(panel, "same"), finished(panel, "same")]
    panel.act("compare", ids=ids)
    assert panel.comparison["names"] == [f"same ({ids[0]})", f"same ({ids[1]})"]
    assert panel.comparison["settings"] == []


def test_rename_note_delete():
    panel = CounterPanel()
    id = finished(panel, "typo")
    assert panel.act("rename", id=id, name="  right ")["ok"]
    assert panel.head["name"] == "right"
    assert panel.act("note", id=id, text="worth a look")["ok"]
    assert (panel.runs["rows"][0]["name"], panel.runs["rows"][0]["notes"]) == ("right", "worth a look")
    assert panel.act("rename", id=id, name=" ")["message"] == "A run needs a name."
    assert panel.act("delete", id=id)["ok"]
    assert panel.runs["rows"] == []
    assert panel.head["status"] == "ready"
    assert Journal().runs() == []
    assert "no run" in panel.act("open", id=id)["message"]


def test_a_run_that_goes_on_is_not_deleted():
    panel = CounterPanel()
    panel.set(steps=100_000, seconds=0.01)
    run = panel.launch(name="busy")
    assert panel.act("delete", id=run.id)["message"] == "“busy” is going on; stop it before deleting it."
    panel.act("stop")
    panel.wait(20)
    assert panel.act("delete", id=run.id)["ok"]


def test_a_run_goes_out_in_parts_and_comes_in_elsewhere(pages, tmp_path, monkeypatch):
    monkeypatch.setattr("scilab.widgets.files.PART_BYTES", 4096)
    panel = CounterPanel()
    page = pages[panel.comm.comm_id]
    id = finished(panel, "to go / out", steps=200)
    answer = panel.act("export", id=id)
    data = b"".join(bytes(buffers[0]) for _, buffers in page.files)
    assert len(page.files) > 2
    assert [message["part"] for message, _ in page.files] == list(range(page.files[0][0]["parts"]))
    assert answer == {"ok": True, "message": "", "bytes": len(data)}
    assert page.files[0][0]["name"] == "to-go---out.scilab-run"

    other = CounterPanel(journal=tmp_path / "other.db")
    parts = [data[i:i + 5000] for i in range(0, len(data), 5000)]
    for i, part in enumerate(parts):
        assert other.runs["rows"] == []
        args = {"part": i, "parts": len(parts)}
        other._handle_custom_msg({"action": "import", "id": i, "args": args}, [memoryview(part)])
        other.act("refresh")  # the worker has done what was queued before
    (row,) = other.runs["rows"]
    assert row["name"] == "to go / out"
    assert other.act("open", id=row["id"])["ok"]
    assert {**other.picture, "version": 0} == {**panel.picture, "version": 0}

    file = tmp_path / "run.scilab-run"
    assert panel.act("export", id=id, path=str(file)) == {"ok": True, "message": "", "path": str(file)}
    assert file.read_bytes()[:15] == b"SQLite format 3"


def test_a_file_that_is_no_run_is_refused():
    panel = CounterPanel()
    answer = panel.act("import", data=b"not a run at all")
    assert not answer["ok"]
    assert panel.problem["message"] == answer["message"]
    assert panel.problem["details"] == ""  # a sentence, no traceback
    assert panel.runs["rows"] == []


def test_a_recorded_run_says_so_and_is_only_shown(tmp_path):
    panel = CounterPanel()
    id = finished(panel, "elsewhere")
    Journal().export(id, tmp_path / "run.scilab-run")
    journal = Journal(tmp_path / "other.db")
    run = journal.import_(tmp_path / "run.scilab-run", recorded=True)
    shown = CounterPanel(run)
    assert shown.head["recorded"] is True
    assert shown.head["sentence"] == "Recorded: shown as it happened elsewhere, not computed here."
    assert shown.head["buttons"]["resume"]["why"] == "A recorded run is only shown; it cannot be resumed."
    assert shown.runs["rows"][0]["recorded"] is True
    assert shown.head["buttons"]["launch"]["on"]  # the same settings, computed here


class Other(Counter):
    kind = "other"


def test_runs_of_another_kind_are_listed_but_open_elsewhere():
    run = Run(Other(2)).start().wait(60)
    panel = CounterPanel()
    assert panel.runs["rows"][0]["why"] == "A run of kind “other”; it opens in that kind's panel."
    assert panel.act("open", id=run.id)["message"] == panel.runs["rows"][0]["why"]
    assert not panel.act("compare", ids=[run.id, run.id])["ok"]


def test_settings_that_differ_are_named_on_resume(monkeypatch):
    panel = CounterPanel()
    panel.set(steps=6, trouble=True, fails_at=3)
    panel.launch()
    assert panel.wait(60) == "failed"
    monkeypatch.setattr(Counter, "kind", "counter")
    panel.build = lambda values: Counter(9)
    assert panel.act("resume")["ok"]
    assert panel.problem["message"] == "Resumed with other settings: steps was 6, is now 9."
    assert panel.wait(60) == "finished"
    assert [record["step"] for record in panel.run.records()] == list(range(1, 10))


@pytest.mark.parametrize("count", [150])
def test_a_long_journal_is_cut_to_the_newest(count):
    for i in range(count):
        Run(Plain(), name=f"run {i}").start().wait(20)
    panel = CounterPanel()
    assert panel.runs["count"] == count
    assert [row["name"] for row in panel.runs["rows"]] == [f"run {i}" for i in range(count - 1, count - 101, -1)]


class Plain:
    """No state, so nothing that would load torch."""

    kind, settings, total = "counter", {}, 0

    def __iter__(self):
        return iter(())

"""The journal by itself: it opens each run in the panel of its kind."""

import pytest
from counter_panel import CounterPanel

from scilab.runs import Journal
from scilab.widgets import FederationWidget, JournalWidget, recorded


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path / "runs.db")
    recorded("federation", made)
    panel = CounterPanel(journal=made)
    panel.launch(name="counted")
    panel.wait(60)
    return made


def test_all_runs_are_listed_and_those_without_a_panel_say_why(journal):
    rows = {row["name"]: row for row in JournalWidget(journal).browser.runs["rows"]}
    assert set(rows) == {"counted", "Digits on a tree of 32, the slow not waited for"}
    assert rows["Digits on a tree of 32, the slow not waited for"]["why"] == ""
    assert rows["Digits on a tree of 32, the slow not waited for"]["done"] == "18 of 18 steps"
    assert "counter" in rows["counted"]["why"] or "kind" in rows["counted"]["why"]


def test_a_run_opens_below_as_it_was(journal):
    widget = JournalWidget(journal)
    id = next(run.id for run in journal.runs() if run.kind == "federation")
    assert widget.browser.act("open", id=id)["ok"]
    assert widget.children == (widget.browser, widget.shown)
    assert isinstance(widget.shown, FederationWidget)
    assert widget.shown.picture["tiles"] == FederationWidget(journal.run(id)).picture["tiles"]
    first = widget.shown
    assert widget.browser.act("open", id=id)["ok"]
    assert first.comm is None  # its place was taken


def test_what_cannot_be_done_is_said(journal):
    widget = JournalWidget(journal)
    ids = {run.kind: run.id for run in journal.runs()}
    other = next(id for kind, id in ids.items() if kind != "federation")
    assert "no panel for runs of kind" in widget.browser.act("open", id=other)["message"]
    assert "of one kind" in widget.browser.act("compare", ids=list(ids.values()))["message"]
    answer = widget.browser.act("resume", id=ids["federation"])
    assert not answer["ok"] and "recorded" in answer["message"]
    assert widget.browser.problem["message"] == answer["message"]


def test_names_and_notes_are_kept(journal):
    widget = JournalWidget(journal)
    id = journal.runs()[0].id
    assert widget.browser.act("rename", id=id, name="better")["ok"]
    assert widget.browser.act("note", id=id, text="why")["ok"]
    assert (journal.run(id).name, journal.run(id).notes) == ("better", "why")
    assert repr(widget) == "Journal of 2 runs. Run this cell to see it."

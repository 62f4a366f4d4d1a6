"""The literature room without a page: label, train along, see errors, extract, agree, exchange."""

import csv
import io
import time

import pytest

from scilab.literature import Corpus, LabelStore, LabelStoreError, Recogniser, Task, sample_tasks
from scilab.widgets import (
    ExchangeWidget,
    ExtractionWidget,
    JournalWidget,
    LiteratureWidget,
    TrainingWidget,
    extraction_picture,
    training_picture,
)
from scilab.widgets.extraction import structure

GOLD = {task.text: [(s.start, s.end, s.label) for s in task.spans] for task in sample_tasks()}


def until(condition, timeout_s=120.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def label(room, count):
    for _ in range(count):
        room.label.answer("accept", GOLD[room.label.current["text"]], seconds=3.0)


@pytest.fixture
def room(tmp_path):
    made = LiteratureWidget(tmp_path / "drugs.db", Corpus.sample())
    yield made
    made.close()
    made.store.close()


def test_from_labels_to_molecules(room, tmp_path):
    assert len(room.store.tasks()) == len(sample_tasks())
    (button,) = room.label.tools()
    room._looked()
    assert not button["on"] and "no positive label to train from" in room.training.errors["project"]
    assert not room.label.act("train")["ok"]
    label(room, 45)
    room.training.set(epochs=10, negatives=10)
    assert room.label.act("train")["ok"]
    label(room, 3)  # one goes on meanwhile
    assert room.training.wait(200) == "finished"
    until(lambda: room.label._recogniser is not None and room.training.picture["errors"] != [])

    assert Recogniser.load(room.model_path).digest == room.training.recogniser().digest
    assert "The model suggests: F1" in room.label.desk["model"]
    curve = room.training.picture["curve"]["series"]["all texts"]["points"]
    read = sum(len(answer.task.text.split()) for answer in room.store.answered()[:45])
    assert curve == [[read, room.training._drawn["_best"]["f1"]]]
    error = room.training.picture["errors"][0]
    assert {each["text"] for each in error["missed"]} <= {error["text"][s:e] for s, e, _ in GOLD[error["text"]]}
    assert room.training.act("look_again", hash=error["hash"])["ok"]
    assert room.label.current["text"] == error["text"] and room.selected_index == 0

    room.extraction.launch()
    assert room.extraction.wait(120) == "finished"
    room.extraction.act("order", order="mentions")
    shown = room.extraction.picture["table"]
    first = shown["rows"][0]
    assert room.extraction.act("molecule", key=first["key"])["ok"]
    sentences = room.extraction.picture["table"]["sentences"]
    assert len(sentences) == min(first["mentions"], 40)
    assert all(each["before"] + each["name"] + each["after"] in " ".join(GOLD) for each in sentences)
    (data,) = [list(csv.DictReader(io.StringIO(file.decode()))) for file in [room_csv(room)]]
    assert len(data) == shown["count"] and data[0]["papers"] >= data[-1]["papers"]
    assert room.extraction.act("order", order="colour")["message"].startswith("The table is sorted by")
    for part, drawn, records in ((room.training, training_picture, room.training.run.records()),
                                 (room.extraction, extraction_picture, room.extraction.run.records())):  # fmt: skip
        one = drawn.begin(part.run.settings)
        for record in records:
            one = drawn.draw([record], one)
        assert one == drawn.draw(records, drawn.begin(part.run.settings)), "the same however the records come"
    opened = JournalWidget(room.training.journal)
    opened.browser.act("open", id=room.training.run.id)
    assert isinstance(opened.shown, TrainingWidget)
    opened.browser.act("open", id=room.extraction.run.id)
    assert isinstance(opened.shown, ExtractionWidget)
    assert opened.shown.picture["table"]["count"] == shown["count"]


def room_csv(room):
    from scilab.widgets.extraction import table_csv

    return table_csv(room.extraction.table.molecules())


def test_a_model_is_trained_while_labelling_goes_on_and_its_random_arm_after_it(room):
    room.training.set(epochs=2, negatives=0)
    room.label.set(train_along=True, train_every=25)
    label(room, 40)
    until(lambda: [run.status for run in room.training.journal.runs()] == ["finished"] * 2)
    newest, first = room.training.journal.runs()
    assert [first.settings["values"]["texts"], newest.settings["values"]["texts"]] == ["all", "random"]
    assert len(room.store.answered()) == 40
    until(lambda: room.label._recogniser is not None)


def test_a_second_process_is_told_who_has_the_project(room):
    import subprocess
    import sys

    code = f"from scilab.literature import LabelStore\nLabelStore({str(room.store.path)!r})"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert told.returncode == 1 and "is in use by" in told.stderr and "one process at a time may write" in told.stderr
    with pytest.raises(LabelStoreError, match="was closed"):
        closed = LabelStore(room.store.path)
        closed.close()
        closed.tasks()




def test_agreement_and_what_the_exchange_says(tmp_path):
    with LabelStore(tmp_path / "labels.db") as store:
        texts = [task.text for task in sample_tasks() if task.spans][:6]
        for n, text in enumerate(texts):
            task = Task(text)
            spans = sample_spans(text)
            store.answer(task, "ann", spans, "accept", f"random a{n}")
            store.answer(task, "bob", spans[:-1] if n == 0 else spans, "accept", f"random b{n}")
        widget = ExchangeWidget(store)
        ((pair, of, count, f1, kappa),) = [row for row in widget.state["pairs"] if row[1] == "all labels"]
        total = sum(len(sample_spans(text)) for text in texts)
        assert (pair, of, count) == ("ann and bob", "all labels", "6")
        assert float(f1) == pytest.approx(2 * (total - 1) / (2 * total - 1), abs=0.006)
        assert 0.5 < float(kappa) < 1
        assert widget.state["standings"] == []
        assert widget.set(adjudicator="ann") == {}
        ((who, kind, count, f1, precision, recall),) = widget.state["standings"]
        assert (who, kind, count, precision) == ("bob", "person", "6", "1")
        assert float(recall) == pytest.approx((total - 1) / total, abs=0.006)
        told = widget.act("push")
        assert not told["ok"] and told["message"].startswith("“Server” is empty")
        widget.set(url="http://127.0.0.1:9", name="drugs", user="me", password="hunter2")
        told = widget.act("push")
        assert not told["ok"] and "127.0.0.1:9" in told["message"]
        assert "hunter2" not in str(widget.state)
        widget.close()


def sample_spans(text):
    return next(task.spans for task in sample_tasks() if task.text == text)


def test_mistakes_stand_beside_their_fields(tmp_path):
    training = TrainingWidget()
    assert training.set(project="nothing.db")["project"].startswith("There is no project at “nothing.db”.")
    extraction = ExtractionWidget()
    assert extraction.errors == {"model": "Give a trained model: train one, then save it."}
    (tmp_path / "bad.model").write_bytes(b"no model")
    assert "no saved recogniser" in extraction.set(model=str(tmp_path / "bad.model"))["model"]
    (tmp_path / "cord").mkdir()
    assert "metadata.csv" in extraction.set(source="cord19", path=str(tmp_path / "cord"))["path"]


def test_structures_take_the_colour_of_the_text():
    svg = structure("CC(=O)Oc1ccccc1C(=O)O")
    assert svg.startswith("<svg") and "currentColor" in svg and "#000000" not in svg and "#FFFFFF" not in svg
    assert structure("no molecule") == ""

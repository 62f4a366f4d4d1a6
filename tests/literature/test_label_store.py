import gc
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from scilab.literature import LabelStore, LabelStoreError, Span, Task, prodigy_file
from scilab.storage import liveness

ASPIRIN = Task("Take 💊 aspirin daily", meta={"paper": "p1", "index": 3})
DRUG = Span(7, 14, "DRUG")
# A kernel that labels: it says each answer once it is kept, and the last before which it was killed may be kept unsaid.
KERNEL = """
import sys
from scilab.literature.label_store import LabelStore
from scilab.literature.spans import Span
store = LabelStore(sys.argv[1])
print("open", flush=True)
input()
for number, task in enumerate(store.unanswered("ann")):
    store.answer(task, "ann", [Span(0, 4, "DRUG")], "accept", f"act {number}", 1.5)
    print(number, flush=True)
"""


@pytest.fixture
def store(tmp_path):
    with LabelStore(tmp_path / "labels.db") as store:
        yield store


def test_a_task_is_its_text_and_its_suggested_spans(store):
    suggested = Task(ASPIRIN.text, (DRUG,))
    assert store.add_tasks([ASPIRIN, ASPIRIN, suggested, Task(ASPIRIN.text, meta={"paper": "copy"})]) == 2
    assert store.add_tasks(iter([suggested])) == 0
    assert store.tasks() == [ASPIRIN, suggested]
    assert store.tasks()[0].meta == {"paper": "p1", "index": 3}


def test_an_answer_is_kept_with_all_that_was_said(store):
    store.add_tasks([Task("first"), ASPIRIN])
    before = time.time()
    assert store.answer(ASPIRIN, "ann", [DRUG], "accept", "act 1", 2.5)
    (answer,) = store.answered()
    assert (answer.task, answer.annotator, answer.spans, answer.answer) == (ASPIRIN, "ann", (DRUG,), "accept")
    assert (answer.seconds, answer.answer_id, answer.labels, answer.undone) == (2.5, "act 1", ("DRUG",), None)
    assert before <= answer.at <= time.time()
    assert store.unanswered("ann") == [Task("first")] and store.unanswered("ben") == [Task("first"), ASPIRIN]


def test_the_same_act_twice_is_one_answer_also_after_it_was_undone(store):
    assert store.answer(ASPIRIN, "ann", [DRUG], "accept", "act 1")
    assert not store.answer(ASPIRIN, "ann", [DRUG], "accept", "act 1")
    store.undo("ann")
    assert not store.answer(ASPIRIN, "ann", [DRUG], "accept", "act 1")
    assert store.answered() == [] and len(store.history("ann")) == 1
    assert store.answer(ASPIRIN, "ann", [DRUG], "accept") and store.answer(ASPIRIN, "ann", [], "accept")


def test_undo_goes_back_to_the_beginning_one_by_one_for_each_annotator(tmp_path):
    path = tmp_path / "labels.db"
    with LabelStore(path) as store:
        for number in range(4):
            store.answer(Task(f"text {number}"), "ann", [], "accept")
            store.answer(Task(f"text {number}"), "ben", [], "ignore")
        assert store.undo("ann").task.text == "text 3"
    with LabelStore(path) as store:  # after a restart too
        assert [store.undo("ann").task.text for _ in range(3)] == ["text 2", "text 1", "text 0"]
        assert store.undo("ann") is None and store.undo("nobody") is None
        assert [answer.annotator for answer in store.answered()] == ["ben"] * 4 and store.annotators() == ["ben"]
        assert all(answer.undone for answer in store.history("ann"))


def test_a_later_answer_stands_in_place_of_an_earlier_and_undo_brings_that_back(store):
    store.answer(ASPIRIN, "ann", [], "accept")
    store.answer(ASPIRIN, "ann", [DRUG], "accept")
    assert [answer.spans for answer in store.answered("ann")] == [(DRUG,)]
    undone = store.undo("ann")
    assert undone.spans == (DRUG,) and [answer.spans for answer in store.answered("ann")] == [()]
    assert [bool(answer.undone) for answer in store.history("ann")] == [False, True]


def test_an_undo_that_arrives_twice_takes_back_one_answer(store):
    store.answer(Task("one"), "ann", [], "accept", "act 1")
    store.answer(Task("two"), "ann", [], "accept", "act 2")
    assert store.undo("ann", "act 2").task.text == "two"
    assert store.undo("ann", "act 2") is None
    assert store.undo("ben", "act 1") is None  # not ben's to take back
    assert [answer.task.text for answer in store.answered()] == ["one"]


@pytest.mark.parametrize(
    "spans, answer, who, told",
    [
        ([Span(7, 99, "DRUG")], "accept", "ann", "span 7-99 'DRUG' lies outside its text of 20 characters"),
        ([Span(7, 14, "DRGU")], "accept", "ann", "span 7-14 'DRGU' has a label that this project does not"),
        ([], "yes", "ann", "an answer is one of accept, reject, ignore"),
        ([], "accept", " ", "give the annotator's name"),
    ],
)
def test_a_wrong_answer_is_refused_and_nothing_is_written(store, spans, answer, who, told):
    with pytest.raises(ValueError, match=told):
        store.answer(ASPIRIN, who, spans, answer)
    assert store.tasks() == [] and store.answered() == []


def test_another_set_of_labels_is_told_and_can_be_made(tmp_path):
    path = tmp_path / "labels.db"
    with LabelStore(path, ["DRUG", "DOSE"]) as store:
        store.answer(ASPIRIN, "ann", [DRUG], "accept")
    with pytest.raises(ValueError, match=r"labels\.db has the labels DRUG, DOSE, not DRUG, GENE\. Open it without"):
        LabelStore(path, ["DRUG", "GENE"])
    with LabelStore(path) as store:  # the refused one let go of it
        assert store.labels == ("DRUG", "DOSE")
        store.labels = ["DRUG", "GENE"]
        with pytest.raises(ValueError, match="the label 'DRUG' cannot be removed: 1 answers use it"):
            store.labels = ["GENE"]
        assert store.labels == ("DRUG", "GENE")
        store.answer(Task("new"), "ann", [], "accept")
        # The first answer was given when nobody looked for genes: a trainer must not take them for absent.
        assert [answer.labels for answer in store.answered()] == [("DRUG", "DOSE"), ("DRUG", "GENE")]
    for wrong in ("DRUG", [], ["A", "A"], [""]):
        with pytest.raises(ValueError, match="labels are"):
            LabelStore(tmp_path / "other.db", wrong)


def test_guidelines_are_kept(tmp_path):
    with LabelStore(tmp_path / "labels.db") as store:
        assert store.guidelines == ""
        store.guidelines = "Mark drugs, not classes.\n"
    with LabelStore(tmp_path / "labels.db") as store:
        assert store.guidelines == "Mark drugs, not classes.\n"


def test_answers_come_back_from_a_prodigy_file_once(store, tmp_path):
    file = tmp_path / "out.jsonl"
    store.answer(ASPIRIN, "ann", [DRUG], "accept", "act 1")
    store.answer(ASPIRIN, "ben", [], "reject", "act 2")
    store.answer(Task("none"), "ann", [], "ignore", "act 3")
    assert store.export_prodigy(file) == 3 and store.export_prodigy(tmp_path / "ben.jsonl", "ben") == 1
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(row["_annotator_id"], row["answer"]) for row in rows] == [
        ("ann", "accept"), ("ben", "reject"), ("ann", "ignore"),
    ]  # fmt: skip
    assert rows[0]["spans"] == [{"start": 7, "end": 14, "label": "DRUG", "text": "aspirin"}]
    with LabelStore(tmp_path / "other.db") as other:
        assert other.import_prodigy(file) == (2, 3)
        assert other.import_prodigy(file) == (0, 0)
        assert other.answered() == [*store.answered()]
    assert store.import_prodigy(file) == (0, 0)  # its own
    assert store.import_prodigy(file, "carl") == (0, 3) and len(store.answered("carl")) == 2  # two of one task


def test_a_file_of_prodigys_own_is_read_with_its_sessions(store, tmp_path):
    span = {"start": 7, "end": 14, "label": "DRUG", "token_start": 2, "token_end": 2}
    rows = [
        {"text": ASPIRIN.text, "spans": [span], "answer": "accept", "_session_id": "set-ann", "_view_id": "ner_manual"},
        {"text": ASPIRIN.text, "spans": [span], "answer": "reject", "_session_id": "set-ben", "_view_id": "ner"},
        {"text": ASPIRIN.text, "answer": "ignore"},
        {"text": "unread", "spans": [{"start": 0, "end": 6, "label": "DRUG"}]},
    ]
    file = tmp_path / "prodigy.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert store.import_prodigy(file) == (3, 3)
    manual, teach, ignored = store.answered()
    assert (manual.annotator, manual.task.spans, manual.spans) == ("set-ann", (), (DRUG,))
    assert (teach.annotator, teach.task.spans, teach.task.binary) == ("set-ben", (DRUG,), True)
    assert (ignored.annotator, ignored.answer) == ("imported", "ignore")
    assert store.unanswered("ann")[-1].spans == (Span(0, 6, "DRUG"),)
    assert store.import_prodigy(file, "carl") == (0, 3) and "carl" in store.annotators()


def test_a_file_with_one_wrong_line_adds_nothing(store, tmp_path):
    file = tmp_path / "prodigy.jsonl"
    prodigy_file.write(file, [Task("good", answer="accept")])
    for line, told in (
        ("{no json}\n", r"prodigy\.jsonl, line 2: no JSON"),
        ('{"text": "x", "spans": [{"start": 0, "end": 1, "label": "GENE"}]}\n', "line 2: span 0-1 'GENE' has a label"),
    ):
        with open(file, "a") as end:
            end.write(line)
        with pytest.raises(ValueError, match=told):
            store.import_prodigy(file)
        assert store.tasks() == [] and store.answered() == []
        prodigy_file.write(file, [Task("good", answer="accept")])
    with pytest.raises(ValueError, match=r"gone\.jsonl cannot be read \(No such file"):
        store.import_prodigy(tmp_path / "gone.jsonl")


def test_a_second_kernel_is_told_and_a_killed_one_loses_no_answer_and_frees_the_project(tmp_path):
    path = tmp_path / "labels.db"
    with LabelStore(path) as store:
        store.add_tasks(Task(f"text {number}") for number in range(3000))
    kernel = subprocess.Popen(
        [sys.executable, "-c", KERNEL, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert kernel.stdout.readline() == "open\n"
        with pytest.raises(LabelStoreError, match=rf"labels\.db is in use by process {kernel.pid} on .*Close it there"):
            LabelStore(path)
        kernel.stdin.write("\n")
        kernel.stdin.flush()
        said = [int(kernel.stdout.readline()) for _ in range(200)]
    finally:
        os.kill(kernel.pid, signal.SIGKILL)
        said += map(int, kernel.communicate()[0].split())
    assert len(said) < 3000, "it was done before it was killed"
    with LabelStore(path) as store:
        kept = [answer.answer_id for answer in store.answered("ann")]
        # All that was said to be kept; the one in hand may have been written and not said.
        assert kept[: len(said)] == [f"act {number}" for number in said] and len(kept) - len(said) in (0, 1)
        assert {answer.spans for answer in store.answered()} == {(Span(0, 4, "DRUG"),)}
        assert len(store.unanswered("ann")) == 3000 - len(kept)


def test_stores_of_one_process_share_the_project_until_the_last_is_closed(tmp_path):
    path = tmp_path / "labels.db"
    first, second = LabelStore(path), LabelStore(path)
    first.answer(ASPIRIN, "ann", [DRUG], "accept")
    first.close()
    first.close()
    assert len(second.answered()) == 1 and second.answer(Task("b"), "ann", [], "accept")
    with pytest.raises(LabelStoreError, match=r"was closed\. Open it again with LabelStore"):
        first.answered()
    (row,) = sqlite3.connect(path).execute("SELECT pid FROM holding").fetchall()
    assert row == (os.getpid(),)
    second.close()
    assert sqlite3.connect(path).execute("SELECT pid FROM holding").fetchall() == []


def test_a_holder_elsewhere_is_judged_by_its_heartbeat_and_a_late_one_may_not_write(tmp_path):
    path = tmp_path / "labels.db"
    store = LabelStore(path)
    elsewhere = sqlite3.connect(path, isolation_level=None)

    def taken(age_s):
        elsewhere.execute(
            "REPLACE INTO holding VALUES (1, 'node7/boot/1', 42, 0, ?, 'theirs')", (time.time() - age_s,)
        )

    taken(0)
    with pytest.raises(LabelStoreError, match=r"was taken over by process 42 on node7 .*nothing was written"):
        store.answer(ASPIRIN, "ann", [], "accept")
    assert store.answered() == []
    store.close()  # which leaves the other's claim alone
    with pytest.raises(LabelStoreError, match="is in use by process 42 on node7"):
        LabelStore(path)
    taken(2 * liveness.STALE_S)
    with LabelStore(path) as store:
        assert store.answer(ASPIRIN, "ann", [], "accept")


def test_the_heartbeat_goes_on_while_a_person_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(liveness, "HEARTBEAT_S", 0.02)
    with LabelStore(tmp_path / "labels.db"):
        look = sqlite3.connect(tmp_path / "labels.db")
        beat = lambda: look.execute("SELECT heartbeat FROM holding").fetchone()[0]  # noqa: E731
        first, deadline = beat(), time.monotonic() + 20
        while beat() <= first:
            assert time.monotonic() < deadline, "no heartbeat"
            time.sleep(0.01)


def test_a_store_that_was_forgotten_lets_go_of_the_project(tmp_path, monkeypatch):
    monkeypatch.setattr(liveness, "HEARTBEAT_S", 0.02)
    path = tmp_path / "labels.db"
    LabelStore(path).answer(ASPIRIN, "ann", [], "accept")
    gc.collect()
    look, deadline = sqlite3.connect(path), time.monotonic() + 20
    while look.execute("SELECT * FROM holding").fetchall():
        assert time.monotonic() < deadline, "it is still held"
        time.sleep(0.01)


def test_threads_answer_at_the_same_time(store):
    def label(name):
        for number in range(20):
            store.answer(Task(f"text {number}"), name, [], "accept")

    threads = [threading.Thread(target=label, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.answered()) == 80 and len(store.tasks()) == 20


def test_another_programs_file_is_left_alone(tmp_path):
    sqlite3.connect(tmp_path / "photos.db").execute("CREATE TABLE photos (x)")
    with pytest.raises(LabelStoreError, match=r"photos\.db is a database of some other program, not a label"):
        LabelStore(tmp_path / "photos.db")
    (tmp_path / "notes.txt").write_text("x" * 2000)
    with pytest.raises(LabelStoreError, match=r"notes\.txt is not a labelling project, nor any SQLite file"):
        LabelStore(tmp_path / "notes.txt")
    with pytest.raises(LabelStoreError, match=r"is a folder\. Give the path of a file in it, such as .*labels\.db"):
        LabelStore(tmp_path)


def test_what_is_committed_survives_the_machine(store):
    assert store._database.read("PRAGMA synchronous") == [(2,)]  # FULL: an fsync at each commit
    assert store._database.read("PRAGMA journal_mode") == [("wal",)]

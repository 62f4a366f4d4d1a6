"""Labels to a real doccano 1.8.4 and back: none lost, none moved, and troubles said in words."""

import os
import resource
import signal
import socket

import psutil
import pytest
from doccano_server import USERS

from scilab.literature import LabelStore, Span, Task, doccano_client, prodigy_file
from scilab.literature.doccano import Doccano
from scilab.literature.doccano_client import DoccanoError, client_module

pytestmark = pytest.mark.timeout(1800)  # the first test of all makes the server's environment, over the network

WITH_MARKS = "Cafe\u0301 and re\u0301mdesivir \U0001f468\u200d\U0001f469\u200d\U0001f467 then aspirin"


def at(text, word, label="DRUG"):
    start = text.index(word)
    return Span(start, start + len(word), label)


def utf16(text, place):
    return len(text[:place].encode("utf-16-le")) // 2


def texts():
    emoji = "\U0001f642\U0001f642 remdesivir, then \U0001d4d0 chloroquine"
    lines = 'first\r\nremdesivir\u2028next\u2029and\u0085ibuprofen\n\tend \\ " quoted'
    right_to_left = "ناول remdesivir اليوم"
    same = "the same text with aspirin"
    marked = (at(WITH_MARKS, "re\u0301mdesivir"), at(WITH_MARKS, "aspirin", "OTHER"))
    return [
        Task(emoji, (at(emoji, "remdesivir"), at(emoji, "chloroquine")), {"paper": "p1", "score": 0.12345678901234566}),
        Task(WITH_MARKS, marked, {"n": 2**60}, "accept"),
        Task(lines, (at(lines, "remdesivir"), at(lines, "ibuprofen")), {"nested": {"a": [1, None, "é"]}}, "reject"),
        Task(right_to_left, (at(right_to_left, "remdesivir"),), {}, "ignore", {"_session_id": "s"}),
        Task(same, (at(same, "aspirin"),)),
        Task(same, ()),
        Task("  spaces around, no drug ", ()),
        Task("12345", (Span(0, 5, "DRUG"),)),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def ada(doccano):
    return Doccano(doccano.url, "ada", USERS["ada"])


@pytest.fixture(scope="module")
def labelled(doccano, ada):
    """A project that Ada filled and Grace labelled, as the page does it: in UTF-16 units, then confirmed."""
    report = ada.push(texts(), "shared", labels=("DRUG", "OTHER"))
    admin = client_module("client").DoccanoClient(doccano.url)
    admin.login("ada", USERS["ada"])
    admin.add_member(report.project_id, "grace", "annotator")
    grace = client_module("client").DoccanoClient(doccano.url)
    grace.login("grace", USERS["grace"])
    for example in list(grace.list_examples(report.project_id)):
        if "chloroquine" in example.text:
            span = at(example.text, "chloroquine")
            grace.create_span(
                report.project_id, example.id, utf16(example.text, span.start), utf16(example.text, span.end), "OTHER"
            )
            grace.update_example_state(report.project_id, example.id)
        if example.text == "12345":
            grace.create_span(report.project_id, example.id, 0, 70, "DRUG")
        if example.text == WITH_MARKS:
            inside = utf16(example.text, example.text.index("\U0001f468")) + 1
            grace.create_span(report.project_id, example.id, inside, inside + 4, "DRUG")
    return report


def test_a_jsonl_file_comes_back_to_the_byte(ada, labelled, tmp_path):
    assert (labelled.texts, labelled.spans, labelled.problems) == (8, 9, ())
    there, back = tmp_path / "there.jsonl", tmp_path / "back.jsonl"
    prodigy_file.write(there, texts())
    pulled = ada.pull("shared")["ada"]
    prodigy_file.write(back, pulled)
    assert back.read_bytes() == there.read_bytes()
    assert pulled == texts() and [task.extra for task in pulled] == [task.extra for task in texts()]


def test_doccano_shows_the_spans_in_the_units_of_a_browser(ada, doccano, labelled):
    client = client_module("client").DoccanoClient(doccano.url)
    client.login("ada", USERS["ada"])
    first = next(iter(client.list_examples(labelled.project_id)))
    spans = sorted((span.start_offset, span.end_offset) for span in client.list_spans(labelled.project_id, first.id))
    shown = [first.text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le") for start, end in spans]
    assert shown == ["remdesivir", "chloroquine"]
    assert [label.text for label in client.list_label_types(labelled.project_id, "span")] == ["DRUG", "OTHER"]


def test_each_user_has_a_file_and_a_bad_span_is_listed(ada, labelled):
    pulled = ada.pull("shared")
    assert sorted(pulled) == ["ada", "grace"]
    hers = pulled["grace"]
    assert [task.text for task in hers] == [task.text for task in texts()]
    assert hers[0].spans == (at(hers[0].text, "chloroquine", "OTHER"),)
    assert [task.answer for task in hers] == ["accept"] + 7 * [None]
    assert not any(task.spans for task in hers[1:])
    assert sorted(problem.where for problem in ada.problems) == sorted(["'12345'", repr(WITH_MARKS)])
    assert all("grace" in problem.reason for problem in ada.problems)


def test_a_second_push_sends_nothing_and_lists_what_others_changed(ada, labelled):
    again = ada.push(texts(), "shared")
    assert (again.texts, again.already_there, again.problems) == (8, 8, ())
    other = [Task(texts()[0].text, (at(texts()[0].text, "remdesivir", "OTHER"),))]
    differing = ada.push(other, "shared")
    assert (differing.texts, differing.already_there, len(differing.problems)) == (0, 1, 1)
    assert ada.pull("shared")["ada"] == texts()


def test_overlaps_go_only_where_they_are_allowed(ada):
    text = "lopinavir/ritonavir was given"
    spans = (Span(0, 19, "DRUG"), Span(0, 9, "DRUG"), Span(10, 19, "DRUG"))
    with pytest.raises(ValueError, match=r"nothing was sent.*'lopinavir/ritonavir was given': 0-9 'DRUG' and 0-19"):
        ada.push([Task("fine", ()), Task(text, spans)], "flat")
    assert "flat" not in ada.projects()
    ada.push([Task("fine", ())], "flat")
    with pytest.raises(ValueError, match="overlap"):
        ada.push([Task(text, spans)], "flat", allow_overlapping=True)  # it is the project that decides
    assert len(ada.pull("flat")["ada"]) == 1
    assert ada.push([Task(text, spans)], "layers", allow_overlapping=True).spans == 3
    assert ada.pull("layers")["ada"] == [Task(text, spans)]


def test_graphemes_where_the_project_counts_them(ada, doccano):
    task = Task(WITH_MARKS, (at(WITH_MARKS, "re\u0301mdesivir"), at(WITH_MARKS, "aspirin")))
    report = ada.push([task], "graphemes", grapheme_mode=True)
    client = client_module("client").DoccanoClient(doccano.url)
    client.login("ada", USERS["ada"])
    example = next(iter(client.list_examples(report.project_id)))
    spans = sorted((span.start_offset, span.end_offset) for span in client.list_spans(report.project_id, example.id))
    # C a f é _ a n d _ r é m d e s i v i r _ (family) _ t h e n _ a s p i r i n
    assert spans == [(9, 19), (27, 34)]
    assert ada.pull("graphemes")["ada"] == [task]
    within = Task(WITH_MARKS, (Span(0, 4, "DRUG"),))  # "Cafe" without its accent
    with pytest.raises(ValueError, match="nothing was sent.*cannot be told in graphemes"):
        ada.push([within], "graphemes again", grapheme_mode=True)
    assert "graphemes again" not in ada.projects()


def test_a_store_goes_as_a_project_and_its_answers_come_back(ada, tmp_path):
    with LabelStore(tmp_path / "labels.db", labels=("DRUG",)) as store:
        store.add_tasks([Task("ibuprofen twice"), Task("nothing here")])
        first, second = store.tasks()
        store.answer(first, "eve", [at(first.text, "ibuprofen")], "accept")
        store.answer(second, "eve", [], "ignore")
        ada.push(store, "store", annotator="eve")
    answers = [(task.text, task.spans, task.answer) for task in ada.pull("store")["ada"]]
    assert answers == [(first.text, (at(first.text, "ibuprofen"),), "accept"), (second.text, (), "ignore")]


def test_what_doccano_would_refuse_or_bend_is_refused_first(ada):
    with pytest.raises(ValueError, match=r"text 2 is empty.*text 3, 'a\\x00b', holds a NUL"):
        ada.push([Task("fine"), Task(""), Task("a\0b")], "refused")
    with pytest.raises(ValueError, match="labels have 1 to 100 characters"):
        ada.push([Task("fine", (Span(0, 4, " DRUG"),))], "refused")
    assert "refused" not in ada.projects()
    with pytest.raises(ValueError, match=r"no project 'refused' for ada; it has: .*'shared'"):
        ada.pull("refused")


def test_a_wrong_password(doccano):
    with pytest.raises(DoccanoError, match=r"refused to log in as 'ada'.*check the user's name and password"):
        Doccano(doccano.url, "ada", "wrong")


def test_a_dead_server_and_one_that_never_answers(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(DoccanoError, match="does not answer"):
            Doccano(url, "ada", "any")
        free.listen()
        monkeypatch.setattr(doccano_client, "ANSWER_S", 0.2)
        with pytest.raises(DoccanoError, match="does not answer"):
            Doccano(url, "ada", "any")
    with pytest.raises(ValueError, match="begins with http"):
        Doccano("127.0.0.1", "ada", "any")


def test_a_full_disk_loses_nothing(doccano):
    """No file of the server can grow: for the process that takes files, and for the one that reads them."""
    ada = Doccano(doccano.url, "ada", USERS["ada"])
    ada.push(texts()[:2], "full disk")
    for process in (doccano.web, doccano.reader):
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for each in family:
            resource.prlimit(each.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        ada.wait_s = 3
        with pytest.raises(DoccanoError, match="disk|has not done its work"):
            ada.push(texts(), "full disk")
        for each in family:
            resource.prlimit(each.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    ada.wait_s = 60
    assert ada.pull("full disk")["ada"][:2] == texts()[:2]
    assert ada.push(texts(), "full disk").texts == 8
    assert ada.pull("full disk")["ada"] == texts()


def test_a_reader_that_stands_still_is_said_and_the_same_push_completes_it(doccano):
    ada = Doccano(doccano.url, "ada", USERS["ada"], wait_s=1.0)
    os.kill(doccano.reader.pid, signal.SIGSTOP)
    try:
        with pytest.raises(DoccanoError, match="Is its second process, `doccano task`, running"):
            ada.push(texts(), "late")
    finally:
        os.kill(doccano.reader.pid, signal.SIGCONT)
    ada.wait_s = 60
    ada.push(texts(), "late")
    assert ada.pull("late")["ada"] == texts()

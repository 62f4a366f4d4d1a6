"""LabelWidget without a page: what it offers, keeps, takes back, imports and exports."""

import json
from unicodedata import combining

import pytest
import spacy
from ipywidgets import Widget

from scilab.literature import Found, LabelStore, Span, Task, sample_tasks
from scilab.literature.tokenizer import chemical_tokenizer
from scilab.widgets import LabelWidget
from scilab.widgets.choosing import AHEAD, KEPT
from scilab.widgets.tokens import tokens


class Knows:
    """A model that finds one name wherever it stands, with a fixed score."""

    def __init__(self, name, score=0.5):
        self.name, self.score = name, score

    def find(self, texts, scores=False):
        for text in texts:
            at = text.find(self.name)
            yield () if at < 0 else (Found(at, at + len(self.name), "DRUG", self.score),)

    def candidates(self, texts, at_least):
        return self.find(texts)


@pytest.fixture
def store(tmp_path):
    with LabelStore(tmp_path / "labels.db") as made:
        yield made


@pytest.fixture(autouse=True)
def closed(store):
    """No widget outlives the store it reads."""
    yield
    Widget.close_all()


def add(store, count):
    store.add_tasks([Task(f"Text {n} tells of aspirin.") for n in range(count)])


def test_tokens_are_those_the_model_reads():
    nlp = spacy.blank("en")
    nlp.tokenizer = chemical_tokenizer(nlp)
    odd = "IC50 0.5 µM, 10,000 (β-lactam) 5mg a_b .5 1.a 😀 x\r\n\u2028y"
    for text in [odd, *(task.text for task in sample_tasks())]:
        read = [(t.idx, t.idx + len(t)) for t in nlp(text) if not t.is_space]
        if not any(map(combining, text)):
            assert tokens(text) == read or "\ufe0f" in text
        assert {at for token in tokens(text) for at in token} <= {at for token in read for at in token}
    assert tokens("cafe\u0301s, طُبِّق") == [(0, 6), (6, 7), (8, 14)]  # a letter and its marks are one


def test_an_answer_is_on_disk_when_it_is_confirmed(store):
    add(store, 3)
    widget = LabelWidget(store, "ann")
    shown = widget.current["text"]
    at = shown.index("aspirin")
    assert widget.answer("accept", [(at, at + 7, "DRUG")], seconds=4.0)["text"] != shown
    (kept,) = store.answered("ann")
    assert (kept.task.text, kept.answer, kept.seconds) == (shown, "accept", 4.0)
    assert kept.spans == (Span(at, at + 7, "DRUG"),)
    assert widget.desk["progress"] == {"fraction": 1 / 3, "text": "1 of 3 texts · 1 spans"}
    widget.answer("reject")
    assert widget.answer("ignore") is None
    assert widget.desk["empty"].startswith("All 3 texts are answered.")
    with pytest.raises(ValueError, match="All 3 texts are answered"):
        widget.answer("accept")


def test_the_same_message_twice_is_one_answer_also_after_it_was_taken_back(store):
    add(store, 2)
    widget = LabelWidget(store)
    message = {"key": widget.current["key"], "spans": [], "answer": "accept", "answer_id": "one"}
    assert widget.act("answer", **message)["ok"]
    assert widget.act("answer", **message)["ok"]
    assert len(store.answered("me")) == 1
    assert widget.act("undo")["item"]["text"] == widget.current["text"]
    assert widget.act("answer", **message)["ok"]
    assert store.answered("me") == []
    assert len(widget._offered) == 2


def test_undo_reaches_back_into_earlier_sessions(store):
    add(store, 30)
    first = LabelWidget(store)
    texts = []
    for _ in range(25):
        texts.append(first.current["text"])
        at = texts[-1].index("aspirin")
        first.answer("accept", [(at, at + 7, "DRUG")])
    first.close()
    again = LabelWidget(store)
    for text in reversed(texts):
        item = again.act("undo")["item"]
        at = text.index("aspirin")
        assert (item["text"], item["spans"]) == (text, [[at, at + 7, "DRUG", None]])
    told = again.act("undo")
    assert (told["ok"], told["message"]) == (False, "There is no answer of yours to take back.")


def test_two_annotators_answer_the_same_texts_in_the_same_order(store):
    add(store, 40)
    widget = LabelWidget(store, "ann")
    of_ann = [item["text"] for item in widget.items["list"]]
    assert len(of_ann) == AHEAD and of_ann != [task.text for task in store.tasks()][:AHEAD]
    widget.answer("accept")
    widget.set(annotator="bob")
    assert [item["text"] for item in widget.items["list"]] == of_ann
    assert widget.desk["progress"]["text"].startswith("0 of 40 texts")
    widget.answer("reject")
    assert {answer.annotator: answer.answer for answer in store.answered()} == {"ann": "accept", "bob": "reject"}
    assert widget.set(annotator="  ") == {"annotator": "Give a name: answers are kept by who gave them."}


def test_mistakes_are_said_and_nothing_is_kept(store):
    add(store, 2)
    widget = LabelWidget(store)
    key = widget.current["key"]
    told = widget.act("answer", key=key, spans=[[0, 999, "DRUG"]], answer="accept", answer_id="1")
    assert not told["ok"] and "span 0-999 'DRUG' lies outside its text" in told["message"]
    told = widget.act("answer", key=key, spans=[[0, 4, "GENE"]], answer="accept", answer_id="2")
    assert not told["ok"] and "'GENE' is none of the labels DRUG" in told["message"]
    assert widget.desk["problem"]["message"] == told["message"]
    assert store.answered() == [] and widget.current["key"] == key
    assert widget.act("dismiss")["ok"] and widget.desk["problem"] == {}
    assert widget.set(labels="")["labels"] == "Give at least one label, such as DRUG."


def test_a_label_in_use_stays_and_the_reason_stands_beside_the_field(store):
    add(store, 2)
    widget = LabelWidget(store)
    widget.set(labels="DRUG, DOSE")
    assert store.labels == ("DRUG", "DOSE") and widget.desk["labels"] == ["DRUG", "DOSE"]
    widget.answer("accept", [(0, 4, "DOSE")])
    assert "'DOSE' cannot be removed: 1 answers use it" in widget.set(labels="DRUG")["labels"]
    assert store.labels == ("DRUG", "DOSE")
    assert "DOSE" in widget.desk["form"]["errors"]["labels"]


def test_a_model_suggests_and_what_comes_next_follows_from_it(store):
    add(store, 60)
    store.add_tasks([Task("Here favipiravir stands."), Task("Nothing to find, at all, in this paragraph.")])
    widget = LabelWidget(store)
    assert "random order" in widget.desk["form"]["disabled"]["policy"]
    shown = widget.current["key"]
    widget.use(Knows("aspirin", 0.93), "A model.")
    widget._chooser.submit(lambda: None).result()
    widget._flush()
    assert widget.current["key"] == shown, "the text that is being read stays"
    assert widget.desk["model"] == "A model." and "policy" not in widget.desk["form"]["disabled"]
    chosen = widget.items["list"][KEPT:]
    assert all(item["why"] for item in chosen)
    item = next(each for each in chosen if "aspirin" in each["text"])
    at = item["text"].index("aspirin")
    assert item["spans"] == [[at, at + 7, "DRUG", 0.93]]
    widget.set(suggestions=False)
    widget._chooser.submit(lambda: None).result()
    widget._flush()
    assert all(item["spans"] == [] for item in widget.items["list"][KEPT:])


def test_answers_go_out_and_come_in_as_prodigys_jsonl(store, pages, tmp_path):
    text = "😀 aspirin and\u2028ibuprofen"
    store.add_tasks([Task(text)])
    widget = LabelWidget(store)
    widget.answer("accept", [(2, 9, "DRUG"), (14, 23, "DRUG")])
    widget.act("download")
    ((message, (data,)),) = pages[widget.comm.comm_id].files
    (row,) = map(json.loads, bytes(data).decode("ascii").splitlines())
    assert message["name"] == "labels.jsonl" and row["text"] == text and row["answer"] == "accept"
    assert [(s["start"], s["end"], s["text"]) for s in row["spans"]] == [(2, 9, "aspirin"), (14, 23, "ibuprofen")]
    with LabelStore(tmp_path / "other.db") as other:
        second = LabelWidget(other)
        assert second.desk["empty"].startswith("This project has no texts yet.")
        second._handle_custom_msg({"action": "import", "id": 1, "args": {"part": 0, "parts": 1}}, [memoryview(data)])
        second.act("dismiss")  # the worker has done what was queued before
        assert [(a.task.text, a.spans) for a in other.answered("me")] == [(text, store.answered("me")[0].spans)]
        broken = tmp_path / "broken.jsonl"
        broken.write_text('{"text": "one"}\nno json\n')
        told = second.act("import", path=str(broken))
        assert not told["ok"] and "line 2: no JSON" in told["message"]
        assert len(other.tasks()) == 1


def test_texts_to_look_at_again_come_first(store):
    add(store, 5)
    widget = LabelWidget(store)
    first = widget.current
    widget.answer("accept")
    task = store.answered("me")[0].task
    assert widget.act("review", hashes=[task.task_hash])["ok"]
    assert widget.current["text"] == first["text"] and widget.current["why"] == "To be looked at again."
    widget.answer("reject")
    assert [answer.answer for answer in store.answered("me")] == ["reject"]
    assert not widget.act("review", hashes=[12])["ok"]

"""Training as a capability: the same bits in any circumstances, stopping at once, and what it learns from answers."""

import itertools
import random
import threading
import time
from collections import Counter

import numpy as np
import pytest
from model_cases import labelled

from scilab.literature import LabelStore, Recogniser, Span, Task, Training
from scilab.literature.augmentation import augmented, exchanged, stretch
from scilab.literature.lessons import Lesson, lessons, to_doc, without_doubt
from scilab.literature.network import blank_network
from scilab.runs import Journal, Run


def training(**more):
    return Training(
        labelled(40), epochs=3, networks=2, negatives=("Nothing of the kind was found in April .",), **more
    )


@pytest.fixture(scope="module")
def undisturbed():
    made = training()
    return made, list(made)


def test_it_learns_and_says_so(undisturbed):
    made, (start, *epochs) = undisturbed
    assert start.texts + start.dev_texts == 40
    assert start.unheld == 0
    assert [record.epoch for record in epochs] == [1, 2, 3]
    result = made.result
    best = max(epochs, key=lambda record: record.f1)
    assert result.epoch == best.epoch == epochs[-1].best
    assert result.dev.f1 == best.f1
    assert (result.dev.precision.value, result.dev.recall.value) == (best.precision, best.recall)
    assert best.f1 > 0.6


def test_random_numbers_drawn_meanwhile_change_nothing(undisturbed):
    made, told = undisturbed
    again = training()
    records = []
    for record in again:
        records.append(record)
        np.random.seed(7)  # noqa: NPY002
        random.seed(7)
    assert again.result.recogniser.digest == made.result.recogniser.digest
    assert [record.loss for record in records[1:]] == [record.loss for record in told[1:]]


def test_resumed_after_each_epoch_it_gives_the_same_bits(undisturbed):
    made, told = undisturbed
    first = training()
    for record in first:
        if getattr(record, "epoch", 0) == 2:
            break
    kept = first.state_dict()
    first.close()
    second = training()
    second.load_state_dict(kept)
    rest = list(second)
    assert [record.epoch for record in rest] == [3]
    assert rest[0].loss == told[-1].loss
    assert second.result.recogniser.digest == made.result.recogniser.digest


def test_a_run_keeps_it_and_takes_it_up_again(undisturbed, tmp_path):
    made, _ = undisturbed
    journal = Journal(tmp_path / "journal.db")
    run = Run(training(), journal=journal).start()
    deadline = time.monotonic() + 120
    while run.done < 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    run.stop()
    assert run.status in ("stopped", "finished")
    again = run
    if run.status == "stopped":
        again = Run.resume(run.id, training(), journal).start().wait()
        assert again.differences == []
    assert again.result.recogniser.digest == made.result.recogniser.digest


def test_stop_and_pause_are_obeyed_within_an_epoch():
    made = Training(labelled(200), epochs=1, networks=2, negatives=())
    records = iter(made)
    next(records)
    made.send("pause")
    threading.Timer(0.2, made.send, ["stop"]).start()
    assert list(records) == []  # no epoch was finished: it stopped in the middle of one
    assert made.result is None
    assert made.state_dict()["epoch"] == 0
    with pytest.raises(ValueError, match="understands 'pause', 'resume' and 'stop', got 'go'"):
        made.send("go")


def test_a_state_of_other_labels_is_refused(undisturbed):
    made, _ = undisturbed
    other = Training(labelled(40, seed=1), epochs=3, negatives=())
    with pytest.raises(ValueError, match="other labels"):
        other.load_state_dict(made.state_dict())


def test_without_a_positive_label_it_says_what_to_do():
    empty = [task for task in labelled(40) if not task.spans]
    with pytest.raises(ValueError, match="no positive label to train from.*mark some and accept them"):
        Training(empty, labels=("DRUG",))
    rejected = [Task(task.text, task.spans, {}, "reject") for task in labelled(20)]
    with pytest.raises(ValueError, match="no positive label"):
        Training(rejected)


@pytest.mark.parametrize("number", [0, True, 1.5])
def test_networks_are_counted_from_one(number):
    with pytest.raises(ValueError, match=f"networks must be a whole number from 1, got {number}"):
        Training(labelled(20), networks=number)


def test_the_dev_texts_are_frozen_by_paper():
    tasks = [Task(task.text, task.spans, {"paper": f"p{n // 4}"}, "accept") for n, task in enumerate(labelled(80))]
    few, many = Training(tasks[:60], negatives=()), Training(tasks, negatives=())
    dev = {task.text for task in many._dev}
    assert {task.text for task in few._dev} == dev & {task.text for task in tasks[:60]}
    papers = {task.meta["paper"] for task in many._dev}
    assert all(task.text in dev for task in tasks if task.meta["paper"] in papers)
    assert any(not task.spans for task in many._dev)


def test_without_spans_to_judge_by_the_last_epoch_is_kept():
    tasks = labelled(16)
    for dev in ([], [task for task in labelled(40, seed=3) if not task.spans][:2]):
        made = Training(tasks, dev=dev, epochs=2, networks=1, negatives=())
        told = list(made)
        assert [record.best for record in told[1:]] == [1, 2]
        assert made.result.epoch == 2
        assert (made.result.dev is None) == (not dev)


def test_a_store_is_learned_from(tmp_path):
    with LabelStore(tmp_path / "labels.db", labels=["DRUG"]) as store:
        tasks = labelled(30)
        store.add_tasks(Task(task.text) for task in tasks)
        for number, task in enumerate(tasks):
            store.answer(Task(task.text), "ada", task.spans, "accept", str(number))
        made = Training(store, epochs=1, networks=1)
    assert made.labels == ("DRUG",)
    assert made.settings["examples"]["texts"] + made.settings["examples"]["dev"] == 30


def test_what_nobody_said_is_missing_and_never_outside():
    nlp = blank_network(["DRUG"])
    text = "Zinc and remdesivir or remdesivirs were given ."
    rejected = lessons([Task(text, (Span(0, 4, "DRUG"),), {}, "reject")], ["DRUG"])[0]
    doc, lost = to_doc(nlp, rejected)
    assert lost == 0
    assert [token.ent_iob_ for token in doc] == [""] * len(doc)
    assert [span.text for span in doc.spans["incorrect_spans"]] == ["Zinc"]
    # "remdesivi" is no token: its word is unknown, all others are outside.
    doc, lost = to_doc(nlp, Lesson(text, (Span(9, 18, "DRUG"),)))
    assert lost == 1
    assert [token.text for token in doc if token.ent_iob_ == ""] == ["remdesivir"]
    assert [token.ent_iob_ for token in doc if token.text == "and"] == ["O"]


def test_unmarked_names_become_missing_and_rarely_marked_words_do_not():
    nlp = blank_network(["DRUG"])
    marked = [Task(f"We gave ribavirin to {n} patients .", (Span(8, 17, "DRUG"),)) for n in range(4)]
    unmarked = Task("Then Ribavirin was stopped and blood was drawn .")
    blood = [Task(f"Day {n}: blood was drawn again .", (Span(7, 12, "DRUG"),) if n == 1 else ()) for n in range(1, 9)]
    clean, count = without_doubt(lessons([*marked, unmarked, *blood], ["DRUG"]), nlp)
    assert count == 1
    assert clean[4].missing == ((5, 14),)
    assert all(not each.missing for each in clean if each is not clean[4])


def test_exchanged_names_stand_where_the_spans_say():


    rng, pool = random.Random(0), {"DRUG": ["gefitinib", "3′-azido-thymidine", "aspirin"]}
    lesson = Lesson("Favipiravir, or ribavirin, and then ribavirin again", (Span(0, 11, "DRUG"), Span(16, 25, "DRUG")),
                    missing=((36, 45),))  # fmt: skip
    seen = set()
    for _ in range(50):
        made = exchanged(lesson, pool, rng)
        first, second = (made.text[span.start : span.end] for span in made.spans)
        assert made.text == f"{first}, or {second}, and then ribavirin again"
        assert [made.text[a:b] for a, b in made.missing] == ["ribavirin"]
        assert first[0].isupper() or not first[0].isalpha()
        seen |= {first.lower(), second}
    assert {"gefitinib", "3′-azido-thymidine", "aspirin"} <= seen


def test_stretches_hold_no_name_and_keep_what_is_missing():


    rng = random.Random(0)
    text = "After a week of rest and care ribavirin was given to all of the other ten patients with zinc at home"
    lesson = Lesson(text, (Span(30, 39, "DRUG"),), missing=((88, 92),))
    for _ in range(50):
        made = stretch(lesson, rng)
        assert made.text in text
        assert "ribavirin" not in made.text
        assert not made.spans
        assert [made.text[a:b] for a, b in made.missing] == ["zinc"] * ("zinc" in made.text)
    short = Lesson("With ribavirin alone", (Span(5, 14, "DRUG"),))
    assert stretch(short, rng) is None
    made = augmented([lesson], rng, exchange=1.0, stretches=1.0, empty=["No name ."])
    assert sorted(len(each.spans) for each in made) == [0, 0, 1, 1]


def test_saved_and_loaded_it_finds_the_same(undisturbed, tmp_path):
    recogniser = undisturbed[0].result.recogniser
    odd = ["", "  ", "💊 e\u0301 remdesivir\r\n\u2028 ribavirin", "x" * 3000]
    texts = [task.text for task in labelled(40, seed=9)] + odd
    loaded = Recogniser.load(recogniser.save(tmp_path / "model"))
    assert loaded.digest == recogniser.digest
    assert loaded.labels == ("DRUG",)
    found = list(recogniser.find(texts, scores=True))
    assert list(loaded.find(texts, scores=True)) == found
    assert [[(each.start, each.end) for each in spans] for spans in recogniser.find(texts)] == [
        [(each.start, each.end) for each in spans] for spans in found
    ]
    assert all(0 <= each.score <= 1 for spans in found for each in spans)
    assert sum(map(len, found)) > 20
    for text, spans in zip(texts, found, strict=True):
        assert all(text[each.start : each.end].strip() for each in spans)
    with pytest.raises(ValueError, match="no saved recogniser"):
        Recogniser.from_bytes(b"something else")


def test_more_than_two_thirds_of_the_networks_decide(undisturbed):
    first, second = undisturbed[0].result.recogniser.networks
    other = Training(labelled(40), epochs=3, networks=1, seed=5, negatives=())
    list(other)
    networks = [first, second, other.result.recogniser.nlp]
    texts = [task.text for task in labelled(150, seed=11)]
    assert len({Recogniser(nlp).digest for nlp in networks}) == 3
    alone = [list(Recogniser(nlp).find(texts)) for nlp in networks]
    for together, needed in (([0], 1), ([0, 1], 2), ([0, 1, 2], 3), ([0, 1, 2, 0], 3)):
        odd = 0
        for number, found in enumerate(Recogniser([networks[n] for n in together]).find(texts)):
            votes = Counter((each.start, each.end, each.label) for n in together for each in alone[n][number])
            assert [(each.start, each.end, each.label) for each in found] == sorted(
                place for place, count in votes.items() if count >= needed
            )
            odd += sum(count < len(together) for count in votes.values())
        assert odd > 5 or needed == 1  # else they would all have been of one mind


def test_the_candidates_hold_what_is_found_with_the_same_scores(undisturbed):
    recogniser = undisturbed[0].result.recogniser
    texts = [task.text for task in labelled(40, seed=12)]
    for found, likely in zip(recogniser.find(texts, scores=True), recogniser.candidates(texts, 0.0), strict=True):
        assert {*found} <= {*likely}


def test_one_recogniser_serves_several_threads(undisturbed):
    recogniser = undisturbed[0].result.recogniser
    texts = [task.text for task in labelled(60, seed=5)]
    alone = list(recogniser.find(texts, scores=False))
    places = [[(each.start, each.end) for each in spans] for spans in alone]
    seen = []

    def read():
        seen.append([[(each.start, each.end) for each in spans] for spans in recogniser.find(texts)])

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [places] * 4


def test_the_vocabulary_does_not_grow_with_what_is_read(undisturbed):
    recogniser = undisturbed[0].result.recogniser
    list(recogniser.find(["Warm up ."]))
    before = [len(nlp.vocab.strings) for nlp in recogniser.networks]
    numbers = itertools.count()
    for _ in range(5):
        list(recogniser.find(f"Word{next(numbers)}abc and other{next(numbers)}xyz were new ." for _ in range(50)))
    assert [len(nlp.vocab.strings) for nlp in recogniser.networks] == before

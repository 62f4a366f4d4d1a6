import math
import random
from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from scilab.literature import (
    Answer,
    LabelStore,
    SimulatedAnnotator,
    Span,
    Task,
    agreements,
    difference,
    disagreements,
    sample_tasks,
    standings,
)
from scilab.literature.agreement import cohen_kappa, words

LABELS = ("DRUG", "DOSE")


def said(who, text, *spans, answer="accept", binary=False, undone=None):
    task = Task(text, extra={"_view_id": "ner"} if binary else {})
    return Answer(task, who, spans, answer, 0.0, None, "", LABELS, undone)


def test_kappa_by_hand():
    # 33 of 39 agree; by chance (24·26 + 15·13) / 39² would: (33/39 − 7/13) / (1 − 7/13) = 2/3
    assert cohen_kappa(Counter({(1, 1): 22, (1, 0): 2, (0, 1): 4, (0, 0): 11})) == pytest.approx(2 / 3)
    assert math.isnan(cohen_kappa(Counter({(0, 0): 9}))) and cohen_kappa(Counter({(0, 1): 1, (1, 0): 1})) == -1.0


def test_agreement_of_two_by_hand():
    text = "Give aspirin 5 mg or ibuprofen now"  # 7 words
    a = said("ann", text, Span(5, 12, "DRUG"), Span(13, 17, "DOSE"), Span(21, 30, "DRUG"))
    b = said("ben", text, Span(5, 12, "DRUG"), Span(13, 14, "DOSE"), Span(31, 34, "DRUG"))
    every, drug, dose = agreements([b, a])
    assert (every.first, every.second, every.label, every.texts) == ("ann", "ben", None, 1)
    assert every.f1 == pytest.approx(2 / 6) and drug.f1 == pytest.approx(2 / 4) and dose.f1 == 0.0
    assert (drug.label, dose.label) == LABELS
    # ann: O DRUG DOSE DOSE O DRUG O, ben: O DRUG DOSE O O O DRUG
    assert every.kappa == pytest.approx(cohen_kappa_score([*"OADDOAO"], [*"OADOOOA"]))
    assert drug.kappa == pytest.approx(cohen_kappa_score([*"OAOOOAO"], [*"OAOOOOA"]))
    assert dose.kappa == pytest.approx(cohen_kappa_score([*"OODDOOO"], [*"OODOOOO"]))


def test_only_whole_standing_answers_count_and_the_newest():
    text, other = "Take aspirin", "No drug"
    found = agreements(
        [
            said("ann", text), said("ann", text, Span(5, 12, "DRUG")), said("ben", text, Span(5, 12, "DRUG")),
            said("ann", other, answer="ignore"), said("ben", other), said("carl", "unshared"),
            said("ann", "yes", answer="reject"), said("ben", "yes"), said("ann", "b", binary=True), said("ben", "b"),
            said("ann", "u", undone=1.0), said("ben", "u"),
        ]
    )  # fmt: skip
    assert [(each.first, each.second, each.texts, each.f1) for each in found if each.label is None] == [
        ("ann", "ben", 1, 1.0)
    ]


def test_agreement_of_simulated_annotators_by_another_way():
    tasks = sample_tasks()
    ann, ben = SimulatedAnnotator(1), SimulatedAnnotator(2, misses=0.3)
    every, drug = agreements(
        Answer(task, who.name, who.mark(task), "accept", 0.0, None, "", ("DRUG",))
        for who in (ann, ben)
        for task in tasks
    )
    tags = {
        who: [any(s.start < end and start < s.end for s in who.mark(t)) for t in tasks for start, end in words(t.text)]
        for who in (ann, ben)
    }
    assert every.kappa == pytest.approx(cohen_kappa_score(tags[ann], tags[ben])) == pytest.approx(drug.kappa)
    marked = [{(t.text, s) for t in tasks for s in who.mark(t)} for who in (ann, ben)]
    assert every.f1 == pytest.approx(2 * len(marked[0] & marked[1]) / (len(marked[0]) + len(marked[1])))
    assert every.texts == len(tasks) == 104


def test_people_and_models_are_scored_against_one_adjudicated_set():
    gold = [
        Task("Take aspirin and ibuprofen", (Span(5, 12, "DRUG"), Span(17, 26, "DRUG"))),
        Task("Nothing in this text"),
        Task("Give lopinavir", (Span(5, 14, "DRUG"),)),
    ]
    answers = [
        said("ann", gold[0].text, Span(5, 12, "DRUG"), Span(17, 26, "DRUG")),
        said("ann", gold[1].text, Span(0, 7, "DRUG")),
        said("simulated 1", gold[2].text),
        said("ann", "not adjudicated", Span(0, 3, "DRUG")),
    ]
    found = standings(gold, answers, {"lists aspirin": lambda texts: [
        [Span(5, 12, "DRUG")] if "aspirin" in text else [] for text in texts
    ]})  # fmt: skip
    ann, model, simulated = found
    assert [(each.name, each.kind, len(each.texts)) for each in found] == [
        ("ann", "person", 2), ("lists aspirin", "model", 3), ("simulated 1", "simulated", 1),
    ]  # fmt: skip
    assert (ann.scores.precision.value, ann.scores.recall.value) == (2 / 3, 1.0) and ann.scores.f1 == pytest.approx(0.8)
    assert ann.scores.false_per_1000_words == 250.0  # one span in a text of four words
    assert (model.scores.precision.value, model.scores.recall.value) == (1.0, 1 / 3) and simulated.scores.f1 == 0.0
    gap = difference(ann, model)  # on the two texts that ann answered
    assert (gap.first, gap.second, gap.texts) == ("ann", "lists aspirin", 2)
    assert gap.value == pytest.approx(0.8 - 2 / 3) and gap.low <= gap.value <= gap.high
    with pytest.raises(ValueError, match="ann and simulated 1 have answered no text in common"):
        difference(ann, simulated)


def test_the_interval_of_a_difference_is_that_of_resampled_texts():
    tasks = list(sample_tasks())
    find = {number: SimulatedAnnotator(number, misses=0.1 * number).mark for number in (1, 3)}
    models = {f"m{n}": (lambda texts, n=n: [find[n](task) for task in tasks]) for n in find}
    first, second = standings(tasks, [], models)
    gap = difference(first, second, resamples=40, seed=7)
    drawn = np.random.default_rng(7).integers(len(tasks), size=(40, len(tasks)))

    def f1(number, places):
        pairs = [(set(find[number](tasks[place])), set(tasks[place].spans)) for place in places]
        return 2 * sum(len(a & b) for a, b in pairs) / sum(len(a) + len(b) for a, b in pairs)

    gaps = [f1(1, places) - f1(3, places) for places in drawn]
    assert (gap.low, gap.high) == pytest.approx((np.quantile(gaps, 0.025), np.quantile(gaps, 0.975)))
    assert gap.value == pytest.approx(f1(1, range(len(tasks))) - f1(3, range(len(tasks)))) and gap.low > 0
    assert difference(first, first).low == difference(first, first).high == 0.0


def test_an_adjudicator_sees_what_was_marked_differently(tmp_path):
    with LabelStore(tmp_path / "labels.db") as store:
        for who, spans in (("ann", [Span(5, 12, "DRUG")]), ("ben", []), ("carl", [Span(5, 12, "DRUG")])):
            store.answer(Task("Take aspirin"), who, spans, "accept")
            store.answer(Task("No drug"), who, [], "accept")
        assert disagreements(store.answered()) == [
            ("Take aspirin", {"ann": (Span(5, 12, "DRUG"),), "ben": (), "carl": (Span(5, 12, "DRUG"),)})
        ]


def test_a_simulated_annotator_slips_as_often_as_it_is_told():
    draw = random.Random(0)
    tasks = []
    for _ in range(400):
        text = " ".join("".join(draw.choices("abcdefgh", k=6)) for _ in range(12))
        tasks.append(Task(text, (Span(7, 20, "DRUG"),)))  # words two and three of twelve
    perfect = SimulatedAnnotator(1, 0, 0, 0)
    assert [task.spans for task in perfect.mark_all(tasks)] == [task.spans for task in tasks]
    marked = [SimulatedAnnotator(1, misses=0.2, cuts=0.25, invents=0.05).mark(task) for task in tasks]
    there = [[span for span in spans if span.start < 20 and span.end > 7] for spans in marked]
    missed = sum(not spans for spans in there)
    cut = sum(spans[0] in (Span(7, 13, "DRUG"), Span(14, 20, "DRUG")) for spans in there if spans)
    invented = sum(map(len, marked)) - sum(map(len, there))
    # binomial: four standard deviations
    for count, of, chance in ((missed, 400, 0.2), (cut, 400 - missed, 0.25), (invented, 4000, 0.05)):
        assert abs(count - of * chance) < 4 * math.sqrt(of * chance * (1 - chance))
    accepted = SimulatedAnnotator(2, seed=5).mark_all(tasks)
    assert accepted == SimulatedAnnotator(2, seed=5).mark_all(tasks) != SimulatedAnnotator(2, seed=6).mark_all(tasks)
    assert {(task.answer, task.extra["_annotator_id"]) for task in accepted} == {("accept", "simulated 2")}
    with pytest.raises(ValueError, match="misses is a chance from 0 to 1, got 2"):
        SimulatedAnnotator(1, misses=2)

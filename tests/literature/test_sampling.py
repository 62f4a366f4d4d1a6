"""What to label next: the arms, the filters and the reasons, with a model whose scores are given."""

import pytest
from model_cases import labelled

from scilab.literature import CurvePoint, Found, Task, area, compared, next_texts, simulate
from scilab.literature.sampling import suits


class Oracle:
    """Stands in for a recogniser: each word of capital letters is a candidate with the score behind its colon."""

    def candidates(self, texts, at_least):
        for text in texts:
            found, place = [], 0
            for word in text.split(" "):
                name, _, score = word.partition(":")
                if name.isupper() and score and float(score) >= at_least:
                    found.append(Found(place, place + len(name), "DRUG", float(score)))
                place += len(word) + 1
            yield tuple(found)


POOL = [
    Task("this says of UNSURE:0.5 what may be"),
    Task("this says of UNSURE:0.5 what may be so"),
    Task("this says of CERTAIN:0.99 what is so"),
    Task("no candidate is in here at all"),
    Task("| 1 | 2.5 | ± 3 | OTHER:0.5 | 7.1 | 8.2 | 9.9 | 10.4 | 11.3 | 12.2 | 13.0"),
    Task("OTHER:0.5 " + "word " * 400),
    *(Task(f"plain text of no interest, number {number} of many") for number in range(40)),
]


def test_without_a_model_all_are_drawn_at_random_and_the_seed_says_which():
    told = next_texts(None, POOL, [], 10, seed=1)
    assert {each.arm for each in told} == {"random"}
    assert len({each.task.text for each in told}) == 10
    assert "no model yet" in told[0].why
    assert told == next_texts(None, POOL, [], 10, seed=1)
    assert told != next_texts(None, POOL, [], 10, seed=2)


@pytest.mark.parametrize("policy", ["new names", "uncertain"])
def test_a_name_is_asked_for_once_and_junk_never(policy):
    for seed in range(20):
        told = next_texts(Oracle(), POOL, [], 6, policy=policy, random_share=0.2, seed=seed)
        chosen = [each for each in told if each.arm == "policy"]
        assert len(told) == 6
        assert len([each for each in told if each.arm == "random"]) >= 1  # the control arm is always drawn
        texts = [each.task.text for each in chosen]
        assert sum("UNSURE" in text for text in texts) <= 1
        assert not any("OTHER" in text for text in texts)
        if len(texts) > 1:
            assert "UNSURE" in texts[0]
        assert all("(score 0." in each.why and "“" in each.why for each in chosen)


def test_the_shorter_of_two_equal_texts_and_the_newer_of_two_names_are_worth_more():
    pool = [Task("of FIRST:0.5 there is a word or two"), Task("of SECOND:0.5 there is a word or two"),
            *(Task(f"filler text that has {n} words") for n in range(30))]  # fmt: skip
    told = next_texts(Oracle(), pool, labelled_once("FIRST"), 4, random_share=0.25, seed=3)
    scores = {each.task.text.split(" ")[1][:5]: each for each in told if each.arm == "policy"}
    if {"FIRST", "SECON"} <= set(scores):
        assert scores["SECON"].score > scores["FIRST"].score
        assert "labelled 1 times before" in scores["FIRST"].why
    assert "a new name" in scores["SECON"].why


def labelled_once(name):
    from scilab.literature import Span

    return [Task(f"old {name}", (Span(4, 4 + len(name), "DRUG"),))]


def test_labelled_texts_are_not_shown_again_and_a_small_pool_is_shown_whole():
    told = next_texts(Oracle(), POOL[:4], [POOL[0]], 10, seed=0)
    assert sorted(each.task.text for each in told) == sorted(task.text for task in POOL[1:4])


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="no policy 'best'; choose one of new names, uncertain, random"):
        next_texts(None, POOL, [], 3, policy="best")
    with pytest.raises(ValueError, match="random_share"):
        next_texts(None, POOL, [], 3, random_share=0)
    with pytest.raises(ValueError, match="whole number from 1"):
        next_texts(None, POOL, [], 0)


def test_what_can_be_read():
    assert suits("Patients were given the drug for ten days.")
    assert not suits("Too few words")
    assert not suits("1.2 3.4 5.6 7.8 (9.0) 1.1 2.2 3.3 [4.4] a")
    assert not suits("word " * 301)


def point(words, f1):
    return CurvePoint("p", 0, 0, words, 0, f1, f1, f1)


def test_the_area_is_the_trapezoid_and_differences_are_taken_where_both_curves_are():
    curve = [point(100, 0.0), point(200, 0.5), point(400, 0.7)]
    assert area(curve, 100, 400) == pytest.approx((100 * 0.25 + 200 * 0.6) / 300)
    assert area(curve, 150, 200) == pytest.approx(0.375)
    other = [point(150, 0.3), point(500, 0.3)]
    assert compared([curve], [other]) == [pytest.approx((50 * 0.375 + 200 * 0.6) / 250 - 0.3)]
    with pytest.raises(ValueError, match="says nothing of 50 to 200"):
        area(curve, 50, 200)


def test_a_simulation_reads_equal_words_and_starts_alike():
    pool, test = labelled(120, seed=1), labelled(30, seed=2)
    curves = {
        policy: list(simulate(pool, test, policy, seed=4, start_words=150, words_a_round=100, rounds=1, epochs=1))
        for policy in ("new names", "random")
    }
    first, second = curves["new names"], curves["random"]
    assert (first[0].texts, first[0].words, first[0].f1) == (second[0].texts, second[0].words, second[0].f1)
    for curve in curves.values():
        assert [150 <= curve[0].words < 170, 100 <= curve[1].words - curve[0].words < 120] == [True, True]
    with pytest.raises(ValueError, match="the pool has"):
        next(simulate(pool[:3], test, "random"))

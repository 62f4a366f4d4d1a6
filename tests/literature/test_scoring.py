"""Scores against sums done by hand and against published intervals."""

import math

import numpy as np
import pytest

from scilab.literature import Share, Span, Task, score
from scilab.literature.calibration import Calibration, reliability

A, B, C = Span(0, 5, "DRUG"), Span(6, 9, "DRUG"), Span(10, 14, "DRUG")
TASKS = [Task("aaaaa bbb cccc", (A, B)), Task("aaaaa bbb cccc", (C,)), Task("one two three four", ())]


def test_counts_by_hand():
    found = [(A, C), (C,), (Span(0, 3, "DRUG"),)]
    scores = score(lambda texts: found, TASKS, known={"aaaaa"})
    assert (scores.right, scores.found, scores.true) == ((1, 1, 0), (2, 1, 1), (2, 1, 0))
    assert scores.precision.value == 2 / 4
    assert scores.recall.value == 2 / 3
    assert scores.f1 == pytest.approx(2 * (1 / 2) * (2 / 3) / (1 / 2 + 2 / 3))
    assert scores.unseen == Share(1, 2)  # "bbb" was missed, "cccc" found
    assert scores.false_per_1000_words == 1000 / 4


def test_a_span_of_another_label_or_border_is_wrong():
    found = [(Span(0, 5, "GENE"), Span(6, 10, "DRUG")), (), ()]
    scores = score(lambda texts: found, TASKS)
    assert scores.precision == Share(0, 2)
    assert scores.f1 == 0


def test_the_wilson_interval_is_the_published_one():
    low, high = Share(81, 263).interval  # Newcombe (1998), table I, method 3
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    low, high = Share(0, 20).interval
    assert (low, round(high, 4)) == (0.0, 0.1611)
    assert Share(0, 0).interval == (0.0, 1.0)
    assert math.isnan(Share(0, 0).value)


def test_the_bootstrap_interval_of_equal_texts_is_a_point_and_of_mixed_ones_covers_the_value():
    same = score(lambda texts: [(A, B)] * 3, [TASKS[0]] * 3)
    assert same.f1_interval == (1.0, 1.0)
    tasks = [TASKS[0]] * 50 + [TASKS[1]] * 50
    mixed = score(lambda texts: [(A, B)] * 100, tasks)
    low, high = mixed.f1_interval
    # right = 2k, found = 200, true = k·2 + (100 - k): with k binomial(100, ½), the middle 95 % are k from 40 to 60.
    bounds = [4 * k / (200 + 100 + k) for k in (40, 60)]
    assert low == pytest.approx(bounds[0], abs=0.03)
    assert high == pytest.approx(bounds[1], abs=0.03)


def test_calibration_recovers_a_known_distortion():
    rng = np.random.default_rng(0)
    true = rng.random(20_000)
    right = rng.random(20_000) < true
    raw = true**3  # too modest by far
    mapping = Calibration.fit(raw, right)
    for probability in (0.2, 0.5, 0.9):
        assert mapping(probability**3) == pytest.approx(probability, abs=0.04)
    assert Calibration.from_list(mapping.to_list())(0.3) == mapping(0.3)
    assert 0 < mapping(0.0) < mapping(1.0) < 1
    table = reliability(raw, right, np.arange(20_000))
    assert sum(each.spans for each in table) == 20_000
    assert all(abs(each.score - each.right) < 0.04 for each in table)


def test_too_few_spans_leave_scores_as_they_are():
    assert Calibration.fit([0.1, 0.9], [False, True])(0.37) == 0.37

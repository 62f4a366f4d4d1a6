"""The parts of a campaign against plain mathematics: acquisitions, ranking, when to train, surrogates, cache."""

from types import SimpleNamespace

import numpy as np
import pytest
from hill import SPACE, features, height
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from scilab.steering import (
    Acquisition,
    Ensemble,
    Forest,
    ResultCache,
    expected_improvement,
    greedy,
    on_drift,
    random,
    thompson,
    ucb,
)
from scilab.steering.commands import checked
from scilab.steering.ranking import Ranking, by_score
from scilab.steering.result_cache import identity, result_key
from scilab.steering.task_server import unfolded

MEAN, STD = np.array([0.0, 1.0, 2.0, 0.5]), np.array([1.0, 0.0, 0.5, 2.0])


def rng(seed=0):
    return np.random.default_rng(seed)


def test_expected_improvement_is_the_integral_it_stands_for():
    best, margin = 0.8, 0.1
    scores = expected_improvement(margin)(MEAN, STD, best, rng())
    for mean, std, score in zip(MEAN, STD, scores, strict=True):
        if std == 0:
            assert score == pytest.approx(max(0.0, mean - best - margin))
        else:
            integral, _ = quad(
                lambda y, mean=mean, std=std: (y - best - margin) * norm.pdf(y, mean, std),
                best + margin, mean + 12 * std,
            )  # fmt: skip
            assert score == pytest.approx(integral, abs=1e-7)


def test_the_other_acquisitions():
    assert greedy()(MEAN, STD, 0.0, rng()).tolist() == MEAN.tolist()
    assert ucb(2.0)(MEAN, STD, 0.0, rng()).tolist() == (MEAN + 2 * STD).tolist()
    assert random()(MEAN, STD, 0.0, rng(3)).tolist() == rng(3).random(4).tolist()
    draws = np.stack([thompson()(MEAN, STD, 0.0, rng(seed)) for seed in range(4000)])
    assert np.abs(draws.mean(0) - MEAN).max() < 0.1
    assert np.abs(draws.std(0) - STD).max() < 0.1
    with pytest.raises(ValueError, match="there is no acquisition 'best'; there are random, greedy, ucb"):
        Acquisition("best")
    with pytest.raises(ValueError, match="finite number, 0 or more"):
        ucb(float("nan"))


@given(st.lists(st.sampled_from(["take", "pin", "unpin", "ban", "unban", "add", "order"]), max_size=60), st.integers(0))
def test_the_ranking_is_a_sorted_list_with_pins_in_front(acts, seed):
    """Against a list that is sorted again every time."""
    draw = np.random.default_rng(seed)
    order = draw.permutation(12).tolist()
    ranking, status, pins = Ranking(np.array(order)), ["open"] * 12, []
    for act in acts:
        index = int(draw.integers(len(status)))
        if act == "add":
            assert ranking.add() == len(status)
            status.append("open")
        elif act == "order":
            order = by_score(np.round(draw.random(len(status)), 1)).tolist()
            ranking.reorder(np.array(order))
        elif act == "take":
            expected = ranking.first(1)
            if expected:
                ranking.take(expected[0])
                status[expected[0]] = "taken"
        else:
            allowed = {
                "pin": status[index] == "open", "unpin": index in pins and status[index] == "open",
                "ban": status[index] != "taken", "unban": status[index] == "banned",
            }[act]  # fmt: skip
            try:
                getattr(ranking, act)(index)
                assert allowed
            except ValueError:
                assert not allowed
                continue
            if act == "pin" and index not in pins:
                pins.append(index)
            if act == "unpin":
                pins.remove(index)
            status[index] = {"ban": "banned", "unban": "open"}.get(act, status[index])
        pins = [each for each in pins if status[each] == "open"]
        rest = [each for each in [*order, *range(len(order), len(status))] if each not in pins]
        queue = [each for each in [*pins, *rest] if status[each] == "open"]
        assert ranking.first(99) == queue
        assert ranking.first(3) == queue[:3]
        assert ranking.open == len(queue)


def test_equal_scores_keep_their_order():
    assert by_score(np.array([1.0, 2.0, 1.0, 2.0])).tolist() == [1, 3, 0, 2]


def test_drift_is_surprise_beyond_what_the_model_expects():
    surprised = on_drift(factor=2.0, window=4)
    assert not surprised.due(SimpleNamespace(surprises=[9.0, 9.0, 9.0]))
    assert not surprised.due(SimpleNamespace(surprises=[9.0, 1.9, -1.9, 1.9, -1.9]))
    assert surprised.due(SimpleNamespace(surprises=[0.0, 2.1, -2.1, 2.1, -2.1]))


@pytest.mark.parametrize(
    "surrogate", [Forest(trees=50, features=features), Ensemble(members=4, hidden=32, epochs=120, features=features)],
    ids=["forest", "ensemble"],
)
def test_a_surrogate_learns_and_the_same_seed_gives_the_same_model(surrogate):
    draw = np.random.default_rng(0)
    known = draw.choice(len(SPACE), 60, replace=False)
    x = features(SPACE)
    y = np.array([height(text) for text in SPACE])
    mean, std = surrogate.fit(x[known], y[known], 5).predict(x)
    assert np.corrcoef(mean, y)[0, 1] > 0.97
    assert (std > 0).any() and (std >= 0).all()
    again = surrogate.fit(x[known], y[known], 5).predict(x)
    assert mean.tolist() == again[0].tolist() and std.tolist() == again[1].tolist()
    other = surrogate.fit(x[known], y[known], 6).predict(x)
    assert mean.tolist() != other[0].tolist()


def test_a_forest_is_what_its_trees_say():
    x, y = features(SPACE), np.array([height(text) for text in SPACE])
    fitted = Forest(trees=7, features=features).fit(x, y, 0)
    each = np.array([tree.predict(x.astype(np.float32)) for tree in fitted.trees.estimators_])
    mean, std = fitted.predict(x)
    assert len(each) == 7
    np.testing.assert_allclose(mean, fitted.trees.predict(x.astype(np.float32)), rtol=1e-12)
    np.testing.assert_allclose(std, np.sqrt(((each - mean) ** 2).mean(0)), rtol=1e-9, atol=1e-15)


def test_results_are_found_by_content(tmp_path):
    cache = ResultCache(tmp_path / "results.db")
    cache.put(result_key(identity(height), "0.5"), {"value": 1.0})
    cache.close()
    cache = ResultCache(tmp_path / "results.db")
    assert cache.get(result_key(identity(height), "0.5")) == {"value": 1.0}
    assert cache.get(result_key(identity(height), "0.6")) is None
    functions = {}
    for body in ("return 1.0", "return 2.0", "return float(c)"):
        exec(f"def f(c): {body}", functions)
        assert cache.get(result_key(identity(functions["f"]), "0.5")) is None
    cache.close()


@pytest.mark.parametrize(
    ("returned", "expected"),
    [(1, (1.0, None, {})), (np.float32(0.5), (0.5, None, {})),
     ({"value": 2.0, "flag": "odd", "steps": 3}, (2.0, "odd", {"steps": 3}))],
)  # fmt: skip
def test_what_a_simulator_may_return(returned, expected):
    assert unfolded(returned) == expected


@pytest.mark.parametrize("returned", [None, "1.0", True, float("inf"), {"values": 1}, {"value": float("nan")}, [1.0]])
def test_what_is_no_value(returned):
    with pytest.raises(ValueError, match="the simulator returned"):
        unfolded(returned)


@pytest.mark.parametrize(
    ("command", "says"),
    [({}, "one entry"), ({"pin": 3}, "wants a candidate"), ({"fly": "C"}, "knows no command 'fly'"),
     ({"slots": {"source": "simulate", "to": "simulate", "n": 1}}, "move between"), ({"threshold": None}, "finite"),
     ({"slots": {"source": "simulate", "to": "learn", "n": 0}}, "whole number from 1"), ({"budget": 1.5}, "whole"),
     ({"acquisition": {"name": "magic"}}, "no acquisition 'magic'"), ({"drain": False}, "wants True")],
)  # fmt: skip
def test_commands_without_sense_are_refused_with_reasons(command, says):
    with pytest.raises(ValueError, match=says):
        checked(command)

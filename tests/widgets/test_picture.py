import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from panel_page import changed

from scilab.widgets.delta import difference
from scilab.widgets.picture import POINTS, bars, chart, overlaid, with_mark, with_point

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=4), max_leaves=12)


@given(plain, plain)
def test_a_change_makes_the_new_of_the_old(old, new):
    change = difference(old, new)
    assert (change is None) == (old == new)
    assert (old if change is None else changed(old, json.loads(json.dumps(change)))) == new


def test_a_growing_list_costs_what_was_added():
    old = {"charts": {"loss": {"points": [[i, i] for i in range(300)]}}, "still": list(range(1000))}
    new = {"charts": {"loss": {"points": [[i, i] for i in range(301)]}}, "still": list(range(1000))}
    assert difference(old, new) == {
        "keys": {"charts": {"keys": {"loss": {"keys": {"points": {"append": [[300, 300]]}}, "gone": []}}, "gone": []}},
        "gone": []}


def points(count, **kept):
    drawn = chart("Loss", "round", "loss")
    for i in range(count):
        drawn = with_point(drawn, "test", i, i * i)
    return drawn["series"]["test"]["points"]


def test_few_points_are_all_there():
    assert points(POINTS) == [[i, i * i] for i in range(POINTS)]


@pytest.mark.parametrize("count", [POINTS + 1, POINTS + 2, 1000, 1601, 12_345])
def test_many_points_thin_evenly_and_keep_first_and_newest(count):
    xs = [x for x, _ in points(count)]
    assert len(xs) <= POINTS + 1
    assert xs[0] == 0
    assert xs[-1] == count - 1
    stride = xs[1]
    assert xs[:-1] == list(range(0, stride * (len(xs) - 1), stride))
    assert stride & (stride - 1) == 0  # a power of two
    assert xs[-1] - xs[-2] <= stride


def test_points_are_added_to_a_copy():
    empty = chart("Loss", "round", "loss", y_unit="nats")
    one = with_point(empty, "test", 1, None)
    assert empty["series"] == {}
    assert one["series"]["test"]["points"] == [[1, None]]
    assert empty["y"] == {"label": "loss", "unit": "nats"}
    assert with_mark(one, 1, "paused")["marks"] == [[1, "paused"]]
    assert one["marks"] == []


def test_two_runs_in_one_chart_carry_their_names():
    single = with_point(chart("A", "x", "y"), "test", 1, 2)
    double = with_point(with_point(chart("L", "x", "y"), "test", 1, 2), "train", 1, 3)
    both = overlaid({"first": {"charts": {"a": single, "l": double}}, "second": {"charts": {"a": single, "l": double}}})
    assert list(both["charts"]["a"]["series"]) == ["first", "second"]
    assert list(both["charts"]["l"]["series"]) == ["first: test", "first: train", "second: test", "second: train"]
    assert [series["run"] for series in both["charts"]["l"]["series"].values()] == [0, 0, 1, 1]
    assert both["charts"]["a"]["series"]["second"]["points"] == [[1, 2]]


def test_different_units_stay_apart():
    runs = {run: {"charts": {"t": with_point(chart("T", "time", "y", unit), "test", 1, 2)}}
            for run, unit in (("real", "s"), ("virtual", "simulated s"))}
    both = overlaid(runs)["charts"]
    assert [(one["x"]["unit"], list(one["series"])) for one in both.values()] == [
        ("s", ["real"]), ("simulated s", ["virtual"])]


def test_bars_of_two_runs_share_their_rows():
    one = {"bars": {"b": bars("B", ["0", "1"], {"n": [3, 4]})}}
    two = {"bars": {"b": bars("B", ["1", "2"], {"n": [5, 6]})}}
    both = overlaid({"first": one, "second": two})["bars"]["b"]
    assert both["names"] == ["0", "1", "2"]
    assert both["series"] == {"first": [3, 4, None], "second": [None, 5, 6]}

"""Where the time went: on logs made by hand, every second of them known, and on real ones, where sums must be right."""

from itertools import pairwise

import pytest
from hill import campaign, slow

from scilab.steering import Batch
from scilab.steering.records import Evaluated, LearningTask, Paused, Steered
from scilab.steering.timing import colmena, tasks
from scilab.steering.utilisation import critical_path, utilisation


def simulated(index, times, worker, then=(), **given):
    names = ("submitted", "sent", "started", "ended", "received", "heard")
    return {"kind": "Evaluated", "index": index, "candidate": "abcd"[index], "fidelity": "full", "cached": False,
            "worker": worker, "then": then, "serialized": None, **given,
            **dict(zip(names, times, strict=True))}  # fmt: skip


def learning(what, times, worker):
    names = ("submitted", "sent", "started", "ended", "received", "heard")
    return {"what": what, "worker": worker, **dict(zip(names, times, strict=True))}


def decided(*indices):
    return [{"what": "simulate", "index": index, "fidelity": "full"} for index in indices]


START = {"kind": "CampaignStarted", "workers": 2, "slots": {"simulate": 2, "learn": 1}, "then": decided(0, 1)}
LOG = [
    START,
    simulated(1, (0, 1, 2.5, 4, 4.25, 4.5), "w1", decided(2)),
    simulated(0, (0, 1, 2, 6, 6.5, 7), "w0", [{"what": "train", "version": 1}]),
    simulated(2, (4.75, 5, 5.5, 10, 10.25, 10.5), "w1"),
    {"kind": "Paused", "started": 10.5, "ended": 11.5},
    {"kind": "Learned", "version": 1, "then": decided(3),
     "tasks": [learning("train", (7.25, 7.5, 8, 12, 12.5, 13), "w0"),
               learning("infer", (13, 13, 13.5, 14, 14.5, 15), "w0")]},
    simulated(3, (15.25, 15.5, 16, 20, 20.5, 21), "w1"),
]  # fmt: skip


def rows(bars):
    return [(bar.what, bar.label, bar.started, bar.ended) for bar in bars]


def test_every_second_of_a_log_made_by_hand():
    found = utilisation(LOG)
    assert found.busy == {"simulate": 14.0, "train": 4.0, "infer": 0.5} and found.share == 18.5 / 42
    first, second = map(rows, found.lanes)
    assert first == [
        ("the engine was starting", "", 0, 2), ("simulate", "a", 2, 6), ("a result was on its way back", "", 6, 6.5),
        ("the campaign was deciding", "", 6.5, 7.25), ("a task waited at the engine", "", 7.25, 7.5),
        ("a task was on its way", "", 7.5, 8), ("train", "model 1", 8, 12),
        ("a result was on its way back", "", 12, 12.5),
        ("the campaign was deciding", "", 12.5, 13), ("a task was on its way", "", 13, 13.5),
        ("infer", "model 1", 13.5, 14), ("waited for other simulations", "", 14, 15.25),
        ("nothing was left to start", "", 15.25, 21),
    ]  # fmt: skip
    assert second == [
        ("the engine was starting", "", 0, 2), ("a task was on its way", "", 2, 2.5), ("simulate", "b", 2.5, 4),
        ("a result was on its way back", "", 4, 4.25), ("the campaign was deciding", "", 4.25, 4.75),
        ("a task waited at the engine", "", 4.75, 5), ("a task was on its way", "", 5, 5.5), ("simulate", "c", 5.5, 10),
        ("waited for the model", "", 10, 10.5), ("paused by people", "", 10.5, 11.5),
        ("waited for the model", "", 11.5, 14), ("a result was on its way back", "", 14, 14.5),
        ("the campaign was deciding", "", 14.5, 15.25), ("a task waited at the engine", "", 15.25, 15.5),
        ("a task was on its way", "", 15.5, 16), ("simulate", "d", 16, 20), ("nothing was left to start", "", 20, 21),
    ]  # fmt: skip
    assert found.idle["waited for the model"] == 3.0 and sum(found.idle.values()) == 42 - 18.5


def test_the_critical_path_of_that_log():
    path = rows(critical_path(LOG))
    assert [row for row in path if row[0] in ("simulate", "train", "infer")] == [
        ("simulate", "a", 2, 6), ("train", "model 1", 8, 12), ("infer", "model 1", 13.5, 14),
        ("simulate", "d", 16, 20)]  # fmt: skip
    assert path[0][2] == 0 and path[-1][3] == 21
    assert all(one[3] == other[2] for one, other in pairwise(path))
    # One worker, two tasks at once: the second hangs on the first, not on its own wait at the engine.
    log = [{**START, "workers": 1}, simulated(0, (0, 0, 0, 3, 3, 3), "w"), simulated(1, (0, 3.125, 3.25, 5, 5, 5), "w")]
    assert rows(critical_path(log)) == [
        ("simulate", "a", 0, 3), ("a task was on its way", "", 3, 3.25), ("simulate", "b", 3.25, 5)]  # fmt: skip


def test_slots_taken_away_are_a_reason():
    log = [
        START,
        simulated(0, (0, 0, 0, 4, 4, 4), "w0"),
        {"kind": "Steered", "at": 1, "slots": {"simulate": 1, "learn": 0}, "then": []},
        simulated(1, (0, 0, 0, 2, 2, 2), "w1", decided(2)),
        {"kind": "Steered", "at": 5, "slots": {"simulate": 2, "learn": 0}, "then": decided(3)},
        simulated(2, (4, 4, 4, 8, 8, 8), "w0"),
        simulated(3, (5, 5, 5, 7, 7, 7), "w1"),
    ]
    found = utilisation(log)
    assert rows(found.lanes[0]) == [
        ("simulate", "b", 0, 2), ("fewer slots to simulate than workers", "", 2, 5), ("simulate", "d", 5, 7),
        ("nothing was left to start", "", 7, 8)]  # fmt: skip
    assert found.share == (4 + 2 + 4 + 2) / 16


def test_what_ran_before_a_resume_is_not_held_against_it():
    again = {**START, "kind": "Resumed", "then": []}
    log = [START, simulated(0, (0, 0, 0, 4, 4, 4), "w0"), again, simulated(1, (100, 100, 100, 102, 102, 102), "w1")]
    found = utilisation(log)
    assert found.busy == {"simulate": 6.0} and found.idle == {"nothing was left to start": 6.0}
    assert found.share == 0.5 and rows(critical_path(log)) == [("simulate", "b", 100, 102)]
    assert utilisation([START]).share is None and critical_path([START]) == ()


def test_times_under_colmena_s_names():
    told = colmena(simulated(0, (1, 2, 3, 5, 6, 7), "w", serialized=[0.1, 0.2, 0.3, 0.4]))
    assert told["timestamp"] == {
        "created": 1, "input_received": 1, "start_task_submission": 2, "compute_started": 3, "compute_ended": 5,
        "task_received": 6, "result_sent": 6, "result_received": 7}  # fmt: skip
    assert told["time"] == {"running": 2, "serialize_inputs": 0.1, "deserialize_inputs": 0.2, "serialize_results": 0.3,
                            "deserialize_results": 0.4}  # fmt: skip


@pytest.mark.parametrize("engine", ["threads", "processes"])
def test_of_a_real_campaign_nothing_is_missing(engine, request):
    where = request.getfixturevalue(engine)
    one = campaign(slow, policy=Batch(10), engine=where)
    records = []
    for record in one:
        records.append(record)
        if len(records) == 7:
            one.send("pause")
            one.send("resume")
    found = utilisation(records)
    done = [record for record in records if isinstance(record, Evaluated)]
    learned = [task for record in records for task in getattr(record, "tasks", ()) if isinstance(task, LearningTask)]
    for each in (*done, *learned):
        assert each.submitted <= each.sent <= each.started <= each.ended <= each.received <= each.heard
    assert all((record.serialized is None) == (engine == "threads") for record in done)
    for lane in found.lanes:
        assert all(one.ended == other.started for one, other in pairwise(lane))
        assert (lane[0].started, lane[-1].ended) == (min(r.submitted for r in done), max(r.heard for r in done))
    assert len(found.lanes) == 2 and found.busy["simulate"] == pytest.approx(sum(r.ended - r.started for r in done))
    assert found.idle["waited for the model"] > 0 and len(tasks(records)) == len(done) + len(learned)
    path = critical_path(records)
    assert path[-1].ended - path[0].started == pytest.approx(sum(bar.ended - bar.started for bar in path))
    assert {"train", "infer", "simulate"} <= {bar.what for bar in path}
    (paused,) = [record for record in records if isinstance(record, Paused)]
    assert paused.started <= paused.ended and not any(isinstance(record, Steered) for record in records)

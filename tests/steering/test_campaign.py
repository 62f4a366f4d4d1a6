"""Whole campaigns on real engines: what they find, how people steer them, and that the log is all there is to know."""

import contextlib
import itertools
import json
import threading

import numpy as np
import pytest
from hill import SPACE, campaign, deadly, features, height, moody, sleepy, slow

from scilab.planes import Engine, EngineError, Sites, Store
from scilab.runs import Journal, Run
from scilab.steering import (
    Batch,
    CampaignError,
    Forest,
    Interleaved,
    MultiFidelity,
    ResultCache,
    greedy,
    never,
    random,
    ucb,
)  # fmt: skip
from scilab.steering.log import plain
from scilab.steering.records import (
    CampaignFinished,
    CampaignStarted,
    Evaluated,
    Failed,
    Learned,
    Refused,
    Resumed,
    Steered,
)  # fmt: skip


def kinds(records, kind):
    return [record for record in records if isinstance(record, kind)]


def as_json(records):
    return json.loads(json.dumps([plain(record) for record in records]))


def virtual(workers=2, train_s=3.0, inner=None):
    """A simulation takes 1 virtual second to 2, by its candidate; learning takes `train_s` and no time."""

    def seconds(tag):
        what, number, *_ = tag
        if what == "train":
            return train_s
        return 0.0 if what == "infer" else 1.0 + number % 7 / 7

    return Engine.virtual(seconds, workers, inner)


def test_a_campaign_finds_the_best_and_its_log_replays(threads):
    records = list(campaign(policy=Batch(5), threshold=-0.0005, engine=threads))
    done = kinds(records, Evaluated)
    assert len(done) == 40 and len({record.candidate for record in done}) == 40
    assert all(record.value == height(record.candidate) for record in done)
    assert records[-1].best_candidate == "0.7" and records[-1].best == height("0.7")
    hits = [text for text in SPACE if height(text) > -0.0005]
    assert records[-1].hits == sum(record.hit for record in done) == sum(r.candidate in hits for r in done)
    assert records[-1].hits == len(hits) == 9  # forty at random find two
    assert len(kinds(records, Learned)) == 6
    assert campaign(policy=Batch(5), threshold=-0.0005).replay(as_json(records)) == 46


def test_another_log_does_not_replay(threads):
    logged = as_json(campaign(policy=Batch(10), engine=threads))
    with pytest.raises(CampaignError, match="Learned: decided anew, it differs"):
        campaign(policy=Batch(10), surrogate=Forest(trees=11, share=0.33, features=features)).replay(logged)
    with pytest.raises(CampaignError, match="event 0"):
        campaign(policy=Batch(10), seed=2).replay(logged)
    with pytest.raises(ValueError, match="another space"):
        campaign(space=SPACE[1:]).replay(logged)


def test_what_was_said_of_a_candidate_is_the_model_s_own_prediction(threads):
    one = campaign(policy=Batch(10), engine=threads)
    records = list(one)
    first = kinds(records, Learned)[0]
    known = kinds(records, Evaluated)[:10]
    # No model of the campaign's: the forest, asked directly.
    known.sort(key=lambda each: each.index)
    x = features([each.candidate for each in known])
    model = Forest(trees=10, share=0.33, features=features).fit(x, np.array([each.value for each in known]), first.seed)
    later = [each for each in kinds(records, Evaluated) if each.model == 1]
    mean, _ = model.predict(features([each.candidate for each in later]))
    assert len(later) == 10 and first.samples == 10
    assert [each.predicted for each in later] == [float(np.float32(value)) for value in mean]
    scores = {text: m + s for text, m, s in zip(SPACE, *model.predict(features(SPACE)), strict=True)}
    open_ones = [text for text in SPACE if text not in {each.candidate for each in known}]
    chosen = {each.candidate for each in later}
    assert min(scores[text] for text in chosen) >= max(scores[t] for t in open_ones if t not in chosen) - 1e-6


@pytest.mark.parametrize("policy", [None, Batch(8), Interleaved()], ids=repr)
def test_in_virtual_time_a_campaign_is_the_same_every_time(policy):
    found = []
    for _ in range(2):
        with virtual() as engine:
            found.append(as_json(campaign(policy=policy, engine=engine)))
    timeless = [[{**r, "train_s": 0, "infer_s": 0} for r in records] for records in found]
    assert timeless[0] == timeless[1]
    assert campaign(policy=policy).replay(found[0]) > 40


def busy_while_learning(policy):
    with virtual() as engine:
        records = list(campaign(policy=policy, engine=engine))
    lessons = [(each.started, each.ended) for each in kinds(records, Learned)]
    return [sum(low < r.started < high or low < r.ended < high for low, high in lessons)
            for r in kinds(records, Evaluated)], records  # fmt: skip


def test_streaming_simulates_while_it_learns_and_the_others_do_not():
    for policy, overlaps in ((None, True), (Batch(10), False), (Interleaved(), False)):
        during, records = busy_while_learning(policy)
        assert len(kinds(records, Learned)) >= 2
        assert (sum(during) > 0) is overlaps, policy


def cheap(candidate):
    return height(candidate) - 1.0 + 0.001 * (SPACE.index(candidate) % 3)


def test_several_fidelities(threads):
    one = campaign({"cheap": cheap, "full": height}, policy=MultiFidelity(ratio=4), budget=12, initial=4, retrain=4,
                   threshold=-0.0005, engine=threads)  # fmt: skip
    records = list(one)
    screened = [r for r in kinds(records, Evaluated) if r.fidelity == "cheap"]
    full = [r for r in kinds(records, Evaluated) if r.fidelity == "full"]
    assert len(full) == 12 and len(screened) == 48
    assert {r.candidate for r in full} <= {r.candidate for r in screened}
    assert sum(r.advances for r in records if isinstance(r, Evaluated)) == 12
    assert not any(r.hit for r in screened)
    assert one.replay(as_json(records)) == len(full) + len(screened) + len(kinds(records, Learned))
    # The first to be computed in full is the best of the four screened by then.
    at = next(i for i, r in enumerate(records) if any(d.what == "simulate" and d.fidelity == "full" for d in r.then))
    (first,) = [d.candidate for d in records[at].then if d.fidelity == "full"]
    so_far = [r for r in records[: at + 1] if isinstance(r, Evaluated)]
    assert len(so_far) == 4 and first == max(so_far, key=lambda r: r.value).candidate


def test_failures_and_rearrangements_are_data_and_no_model_learns_from_them(threads):
    one = campaign(moody, policy=Batch(20), budget=80, initial=1, retrain=1, threshold=1.0, engine=threads)
    records = list(one)
    by_kind = {0: "raised", 1: "not a number"}
    failed, done = kinds(records, Failed), kinds(records, Evaluated)
    assert len(failed) + len(done) == 80 and all(record.advances for record in (*failed, *done))
    for record in failed:
        assert record.reason == by_kind[record.index % 7]
    assert {record.flag for record in done if record.index % 7 == 2} == {"rearranged"}
    assert all(record.details == {"steps": record.index} for record in done if record.flag)
    assert records[-1].hits == 0 and records[-1].best <= 0  # although "rearranged" ones gave 10
    usable = [record for record in done if record.flag is None]
    assert kinds(records, Learned)[-1].samples < len(usable)
    ended = records[: records.index(kinds(records, Learned)[0])]
    assert kinds(records, Learned)[0].samples == sum(isinstance(r, Evaluated) and r.flag is None for r in ended)
    assert len(one.result.table) == 80 and one.replay(as_json(records)) == 80 + len(kinds(records, Learned))


def test_inputs_that_kill_workers_are_quarantined_and_never_tried_again(processes, tmp_path):
    cache = ResultCache(tmp_path / "results.db")
    space = ["0.1", "0.2", "0.3"]
    given = {"retrain": never(untrained=True), "engine": processes, "cache": cache}
    records = list(campaign(deadly, space=space, **given))
    lost = kinds(records, Failed)
    assert [(r.candidate, r.reason, r.quarantined) for r in lost] == [("0.1", "lost", True)]
    assert {r.candidate: r.value for r in kinds(records, Evaluated)} == {t: height(t) for t in ("0.2", "0.3")}
    again = list(campaign(deadly, space=space, **given))
    assert [(r.candidate, r.quarantined, r.cached) for r in kinds(again, Failed)] == [("0.1", True, True)]
    assert all(r.cached for r in kinds(again, Evaluated)) and again[-1].simulations == 3
    cache.close()


def test_a_simulation_that_hangs_runs_late(processes):
    given = {"space": ["0.1", "0.2"], "timeout_s": 6.0, "retrain": never(untrained=True)}  # a cold worker imports first
    records = list(campaign(sleepy, engine=processes, **given))
    (late,) = kinds(records, Failed)
    assert (late.candidate, late.reason) == ("0.1", "timeout") and records[-1].best == height("0.2")


def run_with(one, at, *commands):
    """All records; the commands are given after the `at`-th result."""
    records = []
    for record in one:
        records.append(record)
        if len(kinds(records, Evaluated)) == at and isinstance(record, Evaluated):
            for command in commands:
                one.send(command)
    return records


def test_people_pin_ban_inject_and_the_log_has_it(threads):
    one = campaign(slow, policy=Batch(10), engine=threads, acquisition=greedy())
    records = run_with(one, 12, {"ban": "0.7"}, {"pin": "0.005"}, {"inject": "0.6999"}, {"pin": "nowhere"},
                       {"ban": "0.6999"}, {"unban": "0.6999"}, {"inject": "0.7001"})  # fmt: skip
    assert [r.command for r in kinds(records, Steered)] == [
        {"ban": "0.7"}, {"pin": "0.005"}, {"inject": "0.6999"}, {"ban": "0.6999"}, {"unban": "0.6999"},
        {"inject": "0.7001"}]  # fmt: skip
    (refused,) = kinds(records, Refused)
    assert refused.command == {"pin": "nowhere"} and "not among the candidates" in refused.reason
    done = [r.candidate for r in kinds(records, Evaluated)]
    assert "0.7" not in done and "0.005" in done and "0.7001" in done
    why = {d.candidate: d.why for r in records if hasattr(r, "then") for d in r.then if d.what == "simulate"}
    assert why["0.005"] == why["0.7001"] == "pinned"
    assert one.replay(as_json(records)) == 40 + len(kinds(records, Learned))


def test_people_change_the_acquisition_the_threshold_the_slots_and_the_budget(threads):
    one = campaign(slow, threshold=0.0, slots={"simulate": 2, "learn": 1}, engine=threads)
    records = run_with(one, 20, {"acquisition": {"name": "expected improvement", "weight": 0.0}}, {"threshold": -0.01},
                       {"slots": {"source": "simulate", "to": "learn", "n": 1}}, {"budget": 30},
                       {"slots": {"source": "simulate", "to": "learn", "n": 1}}, {"budget": 3})  # fmt: skip
    assert len(kinds(records, Steered)) == 4
    assert ["must keep 1" in r.reason or "started already" in r.reason for r in kinds(records, Refused)] == [True, True]
    done = kinds(records, Evaluated)
    assert len(done) == 30
    assert records[-1].hits == sum(height(r.candidate) > -0.01 for r in done)
    # With one slot left, no two simulations overlap any more.
    tail = sorted((r.started, r.ended) for r in done[-6:])
    assert all(low[1] <= high[0] for low, high in itertools.pairwise(tail))
    assert {d.why for r in records if hasattr(r, "then") for d in r.then} >= {"start", "ucb", "expected improvement"}
    assert one.replay(as_json(records)) > 30


def test_cancel_and_drain(threads):
    one = campaign(slow, engine=threads)
    records = []
    for record in one:
        records.append(record)
        if len(kinds(records, Evaluated)) == 5 and isinstance(record, Evaluated):
            one.send({"cancel": record.then[0].candidate})
            one.send({"drain": True})
    (failed,) = kinds(records, Failed)
    assert failed.reason == "cancelled" and isinstance(records[-1], CampaignFinished)
    assert one.replay(as_json(records)) == records[-1].simulations + len(kinds(records, Learned))


def test_stop_is_at_once_and_a_log_goes_on(threads):
    one = campaign(slow, engine=threads, threshold=-0.001)
    records = []
    for record in one:
        records.append(record)
        if len(kinds(records, Evaluated)) == 23:
            one.send("stop")
    assert len(kinds(records, Evaluated)) == 23 and threads.store.count() == 0
    other = campaign(slow, engine=threads, threshold=-0.001)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    rest = list(other)
    assert isinstance(rest[0], Resumed) and rest[0].outcomes == 23 and rest[0].reproduced is True
    done = [r.candidate for r in kinds(records + rest, Evaluated)]
    assert len(done) == len(set(done)) == 40
    # The seam does not show: stop and resume are no events, and the whole log replays.
    assert campaign(threshold=-0.001).replay(as_json(records + rest)) == 40 + len(kinds(records + rest, Learned))
    assert other.result.table == tuple((r.candidate, "full", r.value, None) for r in kinds(records + rest, Evaluated))


@pytest.mark.parametrize("at", [1, 2, 11, 12, 25, 41])
def test_resumed_in_virtual_time_at_any_record_it_is_the_same_search(at):
    """The batch policy decides on sets, so that its outcome does not depend on what was under way at the break."""

    def once(one):
        return {r.candidate: r.value for r in kinds(list(one), Evaluated)}

    with virtual() as engine:
        whole = once(campaign(policy=Batch(10), engine=engine))
    with virtual() as engine:
        one, seen = campaign(policy=Batch(10), engine=engine), []
        for record in one:
            seen.append(record)
            if len(seen) == at:
                break
        one.close()
        rest = campaign(policy=Batch(10), engine=engine)
        rest.load_records(as_json(seen))
        assert {r.candidate: r.value for r in kinds(seen, Evaluated)} | once(rest) == whole


def test_a_run_keeps_every_record_and_resumes_from_them(threads, tmp_path):
    with contextlib.closing(Journal(tmp_path / "journal.db")) as journal:
        run = Run(campaign(slow, engine=threads), journal=journal).start()
        enough = threading.Event()
        run.subscribe(lambda run: enough.set() if run.done >= 15 else None)
        assert enough.wait(20)
        run.command({"pin": "0.995"})
        run.stop()
        assert run.status == "stopped" and 15 <= run.done < 40
        before = run.records()
        again = Run.resume(run.id, campaign(slow, engine=threads), journal=journal).start().wait(30)
        assert again.status == "finished" and again.done == 40 and again.differences == []
        records = again.records()
        assert records[: len(before)] == before  # nothing superseded
        done = [r["candidate"] for r in records if r["kind"] == "Evaluated"]
        assert len(done) == len(set(done)) == 40
        assert "0.995" in done  # asked for just before the stop, done after it
        assert campaign().replay(records) == 40 + sum(r["kind"] == "Learned" for r in records)


def test_sites_learn_elsewhere_and_nothing_is_left_on_the_data_plane():
    with Store.local() as store, Engine.threads(2, store=store) as here, Engine.threads(1, store=store) as there:
        with Sites({"here": here, "there": there}) as sites:
            given = {"sites": {"simulate": "here", "learn": "there"}, "policy": Batch(10)}
            records = list(campaign(engine=sites, **given))
        assert len(kinds(records, Evaluated)) == 40 and len(kinds(records, Learned)) == 3
        assert store.count() == 0


def test_processes_and_threads_decide_alike(processes, threads):
    """Within a batch results arrive in any order, which must not matter to the model."""
    found = [
        [(r.ranking, r.top) for r in kinds(list(campaign(policy=Batch(10), engine=engine)), Learned)]
        for engine in (processes, threads)
    ]
    assert found[0] == found[1] and len(found[0]) == 3
    assert processes.store.count() == threads.store.count() == 0


def test_the_unguided_arm_never_learns(threads):
    records = list(campaign(retrain=never(untrained=True), acquisition=random(), engine=threads))
    assert not kinds(records, Learned) and len(kinds(records, Evaluated)) == 40
    other = list(campaign(retrain=never(untrained=True), acquisition=random(), engine=threads, seed=2))
    assert {r.candidate for r in kinds(records, Evaluated)} != {r.candidate for r in kinds(other, Evaluated)}


class Broken:
    """A policy that raises."""

    def decide(self, state, event):
        if isinstance(event, CampaignStarted):
            return state.next(2)
        raise ZeroDivisionError("a mistake of mine")


class Twice:
    def decide(self, state, event):
        return state.next(1) * 2


class Empty:
    features = staticmethod(features)

    def fit(self, features, values, seed):
        raise LookupError("no model today")


@pytest.mark.parametrize(
    ("given", "says"),
    [({"policy": Broken()}, "the policy failed: ZeroDivisionError: a mistake of mine"),
     ({"policy": Twice()}, "the policy asked twice for"),
     ({"surrogate": Empty()}, "training of model 1 failed: LookupError: no model today")],
)  # fmt: skip
def test_a_policy_or_surrogate_that_raises_ends_the_campaign_with_its_message(given, says, threads):
    with pytest.raises(CampaignError, match=says):
        list(campaign(slow, engine=threads, **given))
    assert threads.store.count() == 0


@pytest.mark.parametrize(
    ("given", "says"),
    [({"space": []}, "the space is empty"), ({"space": ["C", 3]}, "texts such as SMILES, got 3"),
     ({"slots": {"simulate": 0, "learn": 1}}, "simulate has no slots"),
     ({"slots": {"simulate": 2, "learn": 0}}, "learn has no slots"), ({"slots": {"simulate": 1}}, "slots are given"),
     ({"budget": 0}, "budget must be a whole number from 1"), ({"policy": MultiFidelity()}, "needs two simulators"),
     ({"sites": {"learn": "there"}}, "the engine has none"), ({"timeout_s": 0}, "above 0"),
     ({"simulator": 3}, "must be a function")],
)  # fmt: skip
def test_what_cannot_be_a_campaign_is_refused(given, says):
    with pytest.raises(ValueError, match=says):
        campaign(**given)


def test_an_engine_that_cannot_start_says_why(monkeypatch, tmp_path):
    def no_start(self):
        raise OSError("no port is free")

    monkeypatch.setattr("scilab.planes.pool.ThreadPool.start", no_start)
    with pytest.raises(EngineError, match=r"threads\(2\) cannot start: no port is free"):
        list(campaign(engine="threads:2"))
    with contextlib.closing(Journal(tmp_path / "journal.db")) as journal:
        run = Run(campaign(engine="threads:2"), journal=journal).start().wait(30)
        assert run.status == "failed" and "cannot start: no port is free" in run.error
    with pytest.raises(ValueError, match="give 'threads', 'processes'"):
        list(campaign(engine="quantum"))


def test_sends_before_the_start_count_and_nonsense_is_refused_at_once(threads):
    one = campaign(engine=threads, acquisition=ucb(1.0))
    with pytest.raises(ValueError, match="understands 'pause', 'resume', 'stop'"):
        one.send("faster")
    one.send({"pin": "0.015"})
    records = list(one)
    assert kinds(records, Steered)[0].command == {"pin": "0.015"}
    assert "0.015" in {r.candidate for r in kinds(records, Evaluated)}


def test_the_same_text_is_one_candidate():
    one = campaign(space=["0.1", "0.2", "0.1"])
    records = list(one)
    assert records[0].space == 2 and records[0].duplicates == 1 and records[-1].simulations == 2
    assert records[-1].reason == "no candidate is left"

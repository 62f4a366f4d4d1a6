"""Devices and aggregators that fail, stops at any moment: nothing hangs, is left behind or counts twice."""

import contextlib
import os
import queue
import signal
import threading

import pytest
import torch
from federated_cases import (
    DEADLY,
    DIVERGING,
    POISON,
    Gated,
    Net,
    close,
    data,
    finished,
    gate,
    given,
    ragged,
    reference,
    run,
    same,
    weights,
)

import scilab.federated.round as module
from scilab.federated import (
    AggregatorFailed,
    DeviceFailed,
    DeviceFinished,
    FedAvg,
    Federation,
    RoundError,
    RoundStarted,
    Topology,
)
from scilab.planes import Engine

PARTS = [range(8 * device, 8 * device + 8) for device in range(12)]


def _federation(engine, train, topology=None, parts=PARTS, **changes):
    topology = topology or Topology.tree(len(parts), [3])
    strategy = FedAvg(2, 4, 0.2)
    return Federation(
        Net(width=40),  # its updates are too large to travel inside their keys
        train,
        topology,
        strategy,
        test=data(40, 9),
        partition=given(*parts),
        engine=engine,
        **{"rounds": 2, **changes},
    )


def _marked(rows, marker):
    x, y = data()
    x[rows] = marker
    return x, y


@pytest.mark.parametrize(
    ("marker", "reason"), [(POISON, "RuntimeError: poisoned row"), (DIVERGING, "ArithmeticError: training diverged")]
)
def test_a_failed_device_is_named_and_the_rest_weigh_by_their_own(marker, reason):
    with Engine.threads(2) as engine:
        failing = _federation(engine, _marked([47, 95], marker))  # rows of devices 5 and 11
        records = run(failing)
        failures = [record for record in records if isinstance(record, DeviceFailed)]
        assert sorted((f.round, f.device) for f in failures) == [(1, "w11"), (1, "w5"), (2, "w11"), (2, "w5")]
        assert all(failure.reason.startswith(reason) for failure in failures)
        assert [record.failed for record in finished(records)] == [2, 2]
        assert engine.store.count() == 0
        kept = [device for device in range(12) if device not in (5, 11)]
        expected = reference(Net(width=40), data(), PARTS, FedAvg(2, 4, 0.2), 1, 0, kept=kept)
        close(_after_one_round(engine, _marked([47, 95], marker)), expected)


def _after_one_round(engine, train):
    federation = _federation(engine, train, rounds=1)
    run(federation)
    return weights(federation)


def test_a_device_that_kills_its_worker_takes_no_other_device_along():
    with Engine.processes(2) as engine:
        killing = _federation(engine, _marked([95], DEADLY), rounds=1)
        records = run(killing)
        (failure,) = [record for record in records if isinstance(record, DeviceFailed)]
        assert failure.device == "w11" and "worker" in failure.reason
        assert sorted(r.device for r in records if isinstance(r, DeviceFinished)) == sorted(f"w{i}" for i in range(11))
        assert engine.store.count() == 0
    with Engine.threads(2) as engine:
        same(weights(killing), _after_one_round(engine, _marked([95], POISON)))


def test_rounds_leave_nothing_behind_for_the_next():
    with Engine.threads(2) as engine:
        federation = _federation(engine, _marked(list(range(32, 64)), POISON), rounds=3)
        held = [engine.store.count() for record in federation if finished([record])]
        assert len(set(held)) == 1 and held[0] <= 12 + 3  # rows, and the bare model, the test rows, the new version


def test_an_aggregator_whose_children_all_failed_gives_nothing():
    with Engine.threads(2) as engine:
        records = run(_federation(engine, _marked(list(range(32, 64)), POISON), rounds=1))  # all below the second
        assert finished(records)[0].failed == 4 and engine.store.count() == 0


def test_a_round_without_any_update_ends_with_the_reason():
    federation = _federation("threads:2", data())
    federation._train[0].fill_(POISON)  # after the trial step of the constructor
    with pytest.raises(
        RoundError, match=r"round 1: none of 12 devices gave an update; w\d+: RuntimeError: poisoned row"
    ):
        run(federation)


def test_a_round_for_which_no_device_is_chosen_does_not_wait_for_one():
    class Nobody(FedAvg):
        def select(self, number, devices, seed):
            return []

    federation = Federation(Net(), data(), Topology.flat(3), Nobody(), engine="threads:1")
    with pytest.raises(RoundError, match="round 1: the strategy chose none of 3 devices; choose one or more"):
        run(federation)


@pytest.mark.parametrize("name", ["aggregate", "finish"])
@pytest.mark.parametrize("after", [False, True], ids=["before its sum", "after its sum"])
def test_a_failed_aggregator_is_run_again_and_counts_each_child_once(name, after, monkeypatch):
    with Engine.threads(2) as engine:
        undisturbed = _federation(engine, data(), ragged(12, 1))
        run(undisturbed)
        original, failed = getattr(module, name), []

        def failing(version, *args):
            if len(failed) < 2:
                failed.append(args)
                if after:
                    original(version, *args)
                raise MemoryError("no room")
            return original(version, *args)

        monkeypatch.setattr(module, name, failing)
        disturbed = _federation(engine, data(), ragged(12, 1))
        run(disturbed)
        assert len(failed) == 2
        same(weights(undisturbed), weights(disturbed))
        assert engine.store.count() == 0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("finish", "round 1: the coordinator's aggregation failed after 3 attempts: MemoryError: no room"),
        ("evaluate", "round 1: the evaluation failed after 3 attempts: MemoryError: no room"),
    ],
)
def test_a_coordinator_that_always_fails_ends_the_run_with_the_reason(name, message, monkeypatch):
    def failing(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(module, name, failing)
    with Engine.threads(2) as engine:
        with pytest.raises(RoundError, match=message):
            run(_federation(engine, data()))
        assert engine.store.count() == 0


def test_worker_processes_killed_at_a_rounds_boundaries_leave_the_same_model():
    """Devices train, aggregators sum, the coordinator divides and tests: whoever dies meanwhile, the bits stay."""
    wide = torch.nn.Sequential(torch.nn.Linear(6, 60), torch.nn.Tanh(), torch.nn.Linear(60, 3))

    def make(engine):
        given_ = {"partition": given(*PARTS[:6]), "rounds": 2, "test": data(40, 9), "cohort": 3}
        return Federation(wide, data(), Topology.tree(6, [2]), FedAvg(2, 4, 0.2), engine=engine, **given_)

    undisturbed = make("threads:2")
    records, killed = run(undisturbed), 0
    with Engine.processes(2) as engine:
        disturbed = make(engine)
        for count, _ in enumerate(disturbed):
            # a round's begin, middle, end; not so close together that one task would lose its worker twice
            if count in (0, 7, 12):
                for place in [*engine.pool.doing()][:1]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(place.rpartition("~")[2]), signal.SIGKILL)
                        killed += 1
        assert engine.store.count() == 0
    assert killed >= 2 and count + 1 == len(records) == 16
    same(weights(undisturbed), weights(disturbed))


@pytest.mark.parametrize("partials", ["float64", "float32"])
@pytest.mark.parametrize("broken", [("a0",), ("a1", "a2"), None], ids=["one", "two", "all"])
def test_the_children_of_an_aggregator_that_always_fails_are_its_parents(broken, partials, monkeypatch):
    """Each counted once and with its own weight: the bits are those of the undisturbed run."""
    topology = ragged(12, 1)
    broken = broken or tuple(n for n, _, kind in topology.nodes if kind == "aggregator")
    with Engine.threads(2) as engine:
        undisturbed = _federation(engine, data(), topology, partials=partials)
        run(undisturbed)
        original, nodes = module.aggregate, {}
        submitted = module.Round._aggregate

        def noting(self, places):
            submitted(self, places)
            for place in places:  # an aggregator is known by what its children have left
                nodes[self.arrived[place][0][0].name] = topology.ids[place]

        def failing(skeleton, version, capacity, jobs, means=False):
            if any(nodes[children[0][0].name] in broken for children, *_ in jobs):
                raise MemoryError("no room")
            return original(skeleton, version, capacity, jobs, means)

        monkeypatch.setattr(module.Round, "_aggregate", noting)
        monkeypatch.setattr(module, "aggregate", failing)
        disturbed = _federation(engine, data(), topology, partials=partials)
        records = run(disturbed)
        told = [record for record in records if isinstance(record, AggregatorFailed)]
        assert sorted((r.round, r.aggregator) for r in told) == sorted((n, a) for n in (1, 2) for a in broken)
        assert all(r.parent == topology.parent[r.aggregator] for r in told)
        assert all(r.reason == "3 attempts: MemoryError: no room" for r in told)
        assert [record.failed for record in finished(records)] == [0, 0] and engine.store.count() == 0
    if partials == "float64":
        same(weights(undisturbed), weights(disturbed))
    for name, tensor in weights(disturbed).items():
        assert torch.allclose(tensor, weights(undisturbed)[name], atol=1e-6), name


@pytest.mark.parametrize("fails", [False, True], ids=["works", "fails"])
@pytest.mark.parametrize("topology", [Topology.flat(12), Topology.tree(12, [2])], ids=["flat", "tree"])
def test_updates_are_summed_up_as_they_come(topology, fails, monkeypatch):
    """At the coordinator, too, few wait for the last; what is summed early or late, or not, gives the same bits."""
    with Engine.threads(1) as engine:
        usual = _federation(engine, data(), topology)
        run(usual)
        monkeypatch.setattr(module, "FOLD_BYTES", 1)
        monkeypatch.setattr(module, "FOLD_MODELS", 2)
        folds, original, waiting = [], module.Round._fold, []

        def noting(self, node):
            original(self, node)
            waiting.append(len(self.arrived.get(node, ())))

        def aggregate(skeleton, version, capacity, jobs, means=False):
            folds.extend(job for job in jobs if job[3] is None)
            if fails and jobs[0][3] is None:
                raise MemoryError("no room")
            return given_aggregate(skeleton, version, capacity, jobs, means)

        given_aggregate = module.aggregate
        monkeypatch.setattr(module.Round, "_fold", noting)
        monkeypatch.setattr(module, "aggregate", aggregate)
        folding = _federation(engine, data(), topology)
        run(folding)
        assert len(folds) >= 4 and engine.store.count() == 0
        assert fails or max(waiting) <= 3  # two updates of its children, and a sum
    same(weights(usual), weights(folding))


@pytest.fixture
def gated():
    """A federation whose devices wait at a gate, driven by a thread of its own; records come through a queue."""
    gate.clear()
    federation = Federation(Gated(), data(), Topology.flat(4), rounds=2, engine="threads:2", test=data(20, 1))
    Gated.minding = True
    records = queue.Queue()

    def drive():
        for record in federation:
            records.put(record)
        records.put(None)

    thread = threading.Thread(target=drive, daemon=True)
    yield federation, records, thread
    Gated.minding = False
    gate.set()
    thread.join(30)


def test_a_stop_does_not_wait_for_running_tasks(gated):
    federation, records, thread = gated
    thread.start()
    assert records.get(timeout=20) == RoundStarted(1, 4)
    federation.send("stop")
    assert records.get(timeout=20) is None  # the gate is closed all the while
    assert federation.state_dict()["round"] == 0 and federation.result.accuracy is None


def test_a_close_from_another_thread_stops_it_too(gated):
    federation, records, thread = gated
    thread.start()
    records.get(timeout=20)
    federation.close()
    assert records.get(timeout=20) is None
    federation.close()


def test_a_pause_holds_and_a_resume_goes_on(gated):
    federation, records, thread = gated
    gate.set()
    federation.send("pause")
    thread.start()
    assert records.get(timeout=20) == RoundStarted(1, 4)
    with pytest.raises(queue.Empty):
        records.get(timeout=0.7)
    federation.send("resume")
    rest = list(iter(lambda: records.get(timeout=20), None))
    assert [record.round for record in finished(rest)] == [1, 2]


def test_a_stop_before_the_start_counts():
    federation = _federation("threads:2", data())
    federation.send("stop")
    assert run(federation) == []
    assert finished(run(federation))  # and only once


@pytest.fixture
def threads():
    with Engine.threads(2) as engine:
        yield engine


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_nothing_is_left_on_the_data_plane(kind, request):
    engine = request.getfixturevalue(kind)
    wide = torch.nn.Sequential(torch.nn.Linear(6, 600), torch.nn.ReLU(), torch.nn.Linear(600, 3))  # not inline
    for records in (1, 2, 5, 13, 14, 20, 10_000):
        federation = Federation(wide, data(), Topology.tree(12, [3]), rounds=2, engine=engine, test=data(20, 1))
        for count, _ in enumerate(federation, 1):
            if count == records:
                break
        else:
            assert count == 2 * 14
        federation.close()
        assert engine.store.count() == 0


def test_a_running_federation_is_not_started_twice():
    federation = _federation("threads:2", data())
    records = iter(federation)
    next(records)
    with pytest.raises(RuntimeError, match="is running; stop it before iterating again"):
        iter(federation)
    with pytest.raises(RuntimeError, match="is running; stop it before loading a state"):
        federation.load_state_dict(federation.state_dict())
    federation.close()
    assert list(records) == []


def test_a_loop_left_by_break_ends_the_run_and_the_next_goes_on():
    with Engine.threads(2) as engine:
        undisturbed, left = _federation(engine, data()), _federation(engine, data())
        run(undisturbed)
        for record in left:
            if finished([record]):
                break
        del record
        assert engine.store.count() == 0
        assert [record.round for record in finished(run(left))] == [2]
        same(weights(undisturbed), weights(left))


def test_closed_before_its_first_record_it_can_run():
    federation = _federation("threads:2", data())
    records = iter(federation)
    federation.close()
    assert list(records) == []
    assert len(finished(run(federation))) == 2


def test_an_engine_that_is_none_does_not_leave_it_running():
    federation = _federation("fast", data())
    for _ in range(2):
        with pytest.raises(ValueError, match="engine is 'fast'"):
            run(federation)


def test_a_model_that_cannot_be_sent_leaves_nothing_open():
    with Engine.threads(2) as engine:
        federation = _federation(engine, data())
        federation._skeleton.model.lock = threading.Lock()
        with pytest.raises(TypeError, match="Skeleton cannot be sent between processes"):
            run(federation)
        assert engine.store.count() == 0 and not engine._sessions

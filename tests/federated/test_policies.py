"""Policies per tier against references of a few lines: an own heap of events, an own loop over torch.optim."""

import heapq
import threading
import time

import pytest
import torch
from federated_cases import Net, data, finished, given, run, same, weights
from torch import nn

from scilab.federated import (
    AggregatorFailed,
    Asynchronous,
    Buffered,
    Deadline,
    DeviceFailed,
    DeviceFinished,
    FedAdam,
    FedAvg,
    Federation,
    Notice,
    Profile,
    RoundError,
    Synchronous,
    Topology,
    constant,
    hinge,
    polynomial,
    simulated,
)
from scilab.federated.streams import stream
from scilab.federated.wires import on_grid
from scilab.planes import Engine
from scilab.planes.pool import ThreadPool
from scilab.runs.checkpoint import from_bytes, to_bytes

SPEEDS = [16.0, 32.0, 64.0, 8.0, 128.0, 4.0]
APART = [16.0, 31.0, 67.0, 9.0, 113.0, 5.0]  # no two devices are done at the same time
PARTS = [range(16 * device, 16 * device + 16) for device in range(6)]
FIT = FedAvg(local_epochs=2, batch_size=6, lr=0.1)


def tree(fanouts=(), speeds=SPEEDS, **profile):
    topology = Topology.tree(len(speeds), fanouts)
    return topology.with_profiles(
        {worker: Profile(speed=speed, **profile) for worker, speed in zip(topology.workers, speeds, strict=True)}
    )


def federation(policies, topology=None, rounds=3, engine="virtual", strategy=FIT, **changes):
    return Federation(
        Net(), data(), topology or tree(), strategy, test=data(40, 9), partition=given(*PARTS), rounds=rounds,
        engine=engine, seed=5, policies=policies, **changes,
    )  # fmt: skip


def local(state, device, count):
    """What a device makes of a model when it is asked for the `count`-th time."""
    model = Net()
    model.load_state_dict(state)
    x, y = (part[list(PARTS[device])] for part in data())
    order = torch.Generator().manual_seed(stream(5, "shuffle", count, device))
    optimiser = torch.optim.SGD(model.parameters(), lr=FIT.lr)
    for _ in range(FIT.local_epochs):
        for batch in torch.randperm(len(x), generator=order).split(FIT.batch_size):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimiser.step()
    return model.state_dict()


def combine(state, others, rule):
    """Each tensor by `rule(tensor, others' tensors)`; integers by their maximum."""
    fresh = {}
    for name, tensor in state.items():
        every = [other[name] for other in others]
        if tensor.is_floating_point():
            fresh[name] = rule(tensor.double(), [one.double() for one in every]).to(tensor.dtype)
        else:
            fresh[name] = torch.stack([tensor, *every]).amax(0)
    return fresh


def events(updates, act):
    """Devices train without a pause, 2 passes over 16 samples at their speeds; `act(device, count, version sent)` says
    which version an arrival is answered with. Stops after so many updates.
    """
    heap = [(on_grid(32 / speed), device, device, 1, 0) for device, speed in enumerate(APART)]
    heapq.heapify(heap)
    order = len(heap)
    for _ in range(updates):
        now, _, device, count, sent = heapq.heappop(heap)
        answer = act(device, count, sent)
        heapq.heappush(heap, (now + on_grid(32 / APART[device]), order := order + 1, device, count + 1, answer))
    return now


def near(expected, got):
    assert got.keys() <= expected.keys()  # tied tensors are there once
    for name in got:
        assert torch.allclose(expected[name].double(), got[name].double(), rtol=1e-5, atol=1e-6), name


STALENESS = [constant(), polynomial(0.5), hinge(2.0, 1)]


@pytest.mark.parametrize("staleness", STALENESS, ids=lambda one: type(one).__name__)
def test_fedasync_mixes_by_staleness(staleness):
    versions = [Net().state_dict()]

    def act(device, count, sent):
        age = len(versions) - 1 - sent
        trained = local(versions[sent], device, count)
        mix = 0.7 * staleness(age)
        versions.append(combine(versions[-1], [trained], lambda w, others: (1 - mix) * w + mix * others[0]))
        return len(versions) - 1

    end = events(18, act)
    asynchronous = federation(Asynchronous(0.7, staleness), tree(speeds=APART))
    records = run(asynchronous)
    near(versions[-1], weights(asynchronous))
    assert sum(record.seconds for record in finished(records)) == end
    assert max(age for record in finished(records) for age, _ in record.staleness) > 5


@pytest.mark.parametrize("staleness", STALENESS, ids=lambda one: type(one).__name__)
def test_fedbuff_adds_what_changed_since_the_version_that_was_sent(staleness):
    versions, buffer, ages = [Net().state_dict()], [], []

    def act(device, count, sent):
        trained, age = local(versions[sent], device, count), len(versions) - 1 - sent
        ages.append(age)
        buffer.append((versions[sent], trained, staleness(age)))
        if len(buffer) == 3:
            every = [state for old, new, _ in buffer for state in (old, new)]
            scales = [scale for *_, scale in buffer]

            def rule(w, others):
                changes = zip(others[1::2], others[::2], scales, strict=True)
                return w + sum(scale * (new - old) for new, old, scale in changes) / 3

            versions.append(combine(versions[-1], every, rule))
            buffer.clear()
        return len(versions) - 1

    events(18, act)
    buffered = federation(Buffered(3, staleness), tree(speeds=APART))
    records = run(buffered)
    near(versions[-1], weights(buffered))
    told = [record.staleness for record in records if isinstance(record, DeviceFinished)]
    assert told == ages
    counted = {}
    for record in finished(records):
        for age, count in record.staleness:
            counted[age] = counted.get(age, 0) + count
    assert counted == {age: ages.count(age) for age in set(ages)}


def test_a_deadline_carries_what_is_late_into_the_next_sum():
    """Devices need 2, 1, 0.5, 4, 0.25 and 8 s; at 3 s four have answered; the fifth comes in the second round."""
    start = Net().state_dict()
    scale = 2**-0.5  # of one version, by the square root

    def mean(w, others):
        return sum(others) / len(others)

    first = combine(start, [local(start, device, 1) for device in (0, 1, 2, 4)], mean)
    fresh = [local(first, device, 2) for device in (0, 1, 2, 4)]
    late = local(start, 3, 1)  # asked once, at 0 s: arrives at 4 s, one second into the second round

    def rule(w, others):
        changes = [new - w for new in others[:4]] + [scale * (others[4] - others[5])]
        return w + sum(changes) / 5

    second = combine(first, [*fresh, late, start], rule)
    carried = federation(Deadline(3.0, 4), rounds=2)
    records = run(carried)
    near(second, weights(carried))
    assert [record.seconds for record in finished(records)] == [3.0, 3.0]
    assert [record.staleness for record in finished(records)] == [((0, 4),), ((0, 4), (1, 1))]

    dropped = federation(Deadline(3.0, 4, late="drop"), rounds=2)
    records = run(dropped)
    near(combine(first, fresh, mean), weights(dropped))
    failures = [(r.round, r.device, r.reason) for r in records if isinstance(r, DeviceFailed)]
    assert failures == [(2, "w3", "what it sent came after the deadline and was dropped")]


def test_a_quorum_is_waited_for_past_the_deadline():
    waited = federation(Deadline(1.5, 5), rounds=1)
    (record,) = finished(run(waited))
    assert record.seconds == 4.0  # the fifth of six; the sixth needs 8
    assert record.staleness == ((0, 5),)


def test_with_a_far_deadline_all_is_as_if_synchronous():
    one, two = federation(Deadline(1e6, 1.0)), federation(None)
    records = run(one), run(two)
    near(weights(two), weights(one))
    for ours, theirs in zip(*map(finished, records), strict=True):
        assert (ours.seconds, ours.idle, ours.bytes_by_tier) == (theirs.seconds, theirs.idle, theirs.bytes_by_tier)


def test_a_buffered_tree_over_synchronous_aggregators():
    """Two aggregators of three devices each need 2 and 8 s a sum; two sums make a version."""
    versions, buffer = [Net().state_dict()], []
    heap, order = [(2.0, 0, (0, 1, 2), 1, 0), (8.0, 1, (3, 4, 5), 1, 0)], 1
    for _ in range(6):
        now, _, devices, count, sent = heapq.heappop(heap)
        trained = [local(versions[sent], device, count) for device in devices]
        change = combine(versions[sent], trained, lambda w, others: sum(others) / 3)
        buffer.append((versions[sent], change, (1 + len(versions) - 1 - sent) ** -0.5))
        if len(buffer) == 2:
            every, scales = [s for old, new, _ in buffer for s in (old, new)], [scale for *_, scale in buffer]
            versions.append(
                combine(
                    versions[-1],
                    every,
                    lambda w, o, scales=scales: (
                        w + sum(s * (n - b) for n, b, s in zip(o[1::2], o[::2], scales, strict=True)) / 2
                    ),
                )
            )
            buffer.clear()
        heapq.heappush(
            heap, (now + (2.0, 8.0)[devices[0] // 3], order := order + 1, devices, count + 1, len(versions) - 1)
        )
    mixed = federation([Buffered(2), Synchronous()], tree([2]))
    run(mixed)
    near(versions[-1], weights(mixed))


def test_aggregators_that_pass_all_on_answer_with_what_they_know():
    """FedAsync through two aggregators: a device does not wait until the answer to its own update is back."""
    versions, known = [Net().state_dict()], [0, 0]

    def act(device, count, sent):
        at, mix = device // 3, 0.6 * (1 + len(versions) - 1 - known[device // 3]) ** -0.5
        trained, scale, answer = local(versions[sent], device, count), (1 + known[at] - sent) ** -0.5, known[at]
        assert scale <= 1  # of a single update, which the division by its own weight takes out again
        versions.append(combine(versions[-1], [trained], lambda w, others: (1 - mix) * w + mix * others[0]))
        known[at] = len(versions) - 1
        return answer

    events(18, act)
    deep = federation(Asynchronous(), tree([2], APART))
    run(deep)
    near(versions[-1], weights(deep))


MIXES = {
    "asynchronous": (Asynchronous(), [2]),
    "buffered": (Buffered(4), [2]),
    "buffered over synchronous": ([Buffered(2), Synchronous()], [2]),
    "synchronous over asynchronous": ([Synchronous(), Asynchronous()], [2]),
    "deadline over buffered": ([Deadline(1.0, 1), Buffered(2)], [2]),
    "buffered over deadline": ([Buffered(2), Deadline(0.6, 0.3)], [2]),
    "deadline": (Deadline(0.7, 0.5), []),
    "three tiers": ([Asynchronous(), Buffered(2), Deadline(2.0, 1)], [2, 2]),
}


def mixed(name, engine="virtual", **changes):
    policies, fanouts = MIXES[name]
    topology = tree(fanouts, availability=0.8, bandwidth_bps=1e6, latency_s=0.01)
    return federation(policies, topology, 4, engine, **{"strategy": FedAdam(2, 6, 0.1), **changes})


def plain(records):
    """Without what is real time in simulated runs, too."""
    return [vars(record) for record in records]


@pytest.mark.parametrize("name", MIXES)
def test_simulated_runs_repeat_and_resume_to_the_bit(name):
    whole = mixed(name)
    records, states = [], []
    for record in whole:
        records.append(record)
        if type(record).__name__ == "RoundFinished":
            states.append(whole.state_dict())
    again = mixed(name)
    assert plain(run(again)) == plain(records)
    same(weights(whole), weights(again))
    for done, state in enumerate(states[:-1], 1):
        rest = mixed(name)
        rest.load_state_dict(from_bytes(bytes(to_bytes(state, verify=False))))  # as the journal keeps it
        ends = [i for i, record in enumerate(records) if type(record).__name__ == "RoundFinished"]
        assert plain(run(rest)) == plain(records[ends[done - 1] + 1 :])
        same(weights(whole), weights(rest))


@pytest.mark.parametrize("name", ["asynchronous", "buffered", "buffered over synchronous"])
def test_a_finished_federation_can_be_trained_further(name):
    """As if it had been meant to run so long from the beginning."""
    policies, fanouts = MIXES[name]
    whole, short, longer = (federation(policies, tree(fanouts, APART), rounds) for rounds in (4, 2, 4))
    expected = run(whole)
    run(short)
    longer.load_state_dict(short.state_dict())
    records = run(longer)
    ends = [i for i, record in enumerate(expected) if type(record).__name__ == "RoundFinished"]
    assert plain(records) == plain(expected[ends[1] + 1 :])
    same(weights(whole), weights(longer))


def test_a_state_of_another_tree_or_other_policies_gives_its_model_and_its_rounds():
    deep, flat, other = (
        federation([Buffered(2), Synchronous()], tree([2]), 2),
        federation(Buffered(3), tree(), 3),
        federation([Synchronous(), Buffered(2)], tree([2]), 3),
    )
    run(deep)
    for next_one in (flat, other):
        next_one.load_state_dict(deep.state_dict())
        assert [record.round for record in finished(run(next_one))] == [3]


def test_a_federation_goes_on_under_other_policies():
    """From where the other stopped: its model, the rounds that are left, streams that were not used."""
    first, then, back = federation(None, rounds=2), federation(Buffered(3), rounds=4), federation(None, rounds=5)
    run(first)
    then.load_state_dict(first.state_dict())
    assert [record.round for record in finished(run(then))] == [3, 4]
    whole = federation(Buffered(3), rounds=2)
    run(whole)
    assert not torch.equal(weights(whole)["first.weight"], weights(then)["first.weight"])
    back.load_state_dict(then.state_dict())
    assert [record.round for record in finished(run(back))] == [5]


@pytest.mark.parametrize("name", ["asynchronous", "buffered over deadline"])
def test_what_computes_does_not_matter_in_simulated_time(name, processes):
    alone = mixed(name)
    records = run(alone)
    for inner in (Engine.threads(3), processes):
        with simulated(inner) as engine:
            other = mixed(name, engine)
            told = run(other)
        same(weights(alone), weights(other))
        bare = [{**vars(record), "worker": None} for record in told]
        assert bare == [{**vars(record), "worker": None} for record in records]
        if inner is not processes:
            inner.close()


@pytest.mark.parametrize("name", MIXES)
def test_in_real_time_all_rounds_come_to_an_end_and_nothing_is_left(name, processes):
    for engine in (Engine.threads(2), processes):
        before = engine.store.count()
        real = mixed(name, engine)
        records = run(real)
        assert [record.round for record in finished(records)] == [1, 2, 3, 4]
        assert engine.store.count() == before
        updates = sum(count for record in finished(records) for _, count in record.staleness)
        assert updates == sum(isinstance(record, DeviceFinished) for record in records)
        if not real.policies[0].waits:
            assert updates >= 24  # as many as devices in each round
        for tensor in weights(real).values():
            assert torch.isfinite(tensor.double()).all()
        if engine is not processes:
            engine.close()


def test_a_real_deadline_does_not_wait_for_a_slow_device(tmp_path):
    over = tmp_path / "over"

    class Slow(Net):
        def forward(self, x):
            while (x == -555.0).any() and not over.exists():
                time.sleep(0.05)
            return super().forward(x)

    x, y = data()
    with Engine.threads(6) as engine:
        tree = Topology.flat(6)
        run(Federation(Net(), (x, y), tree, FIT, partition=given(*PARTS), rounds=1, engine=engine))  # it is up now
        slow = Federation(
            Slow(), (x, y), tree, FIT, partition=given(*PARTS), rounds=2, engine=engine, seed=5,
            policies=Deadline(3.0, 0.5, late="drop"),
        )  # fmt: skip
        slow._train[0][0] = -555.0  # a row of the first device, in a batch of each pass; no trial step meets it
        first, second = finished(run(slow))
        over.touch()
    assert first.staleness == ((0, 5),) and second.staleness == ((0, 5),)


def test_a_real_deadline_counts_from_the_engines_first_answer(monkeypatch):
    start = ThreadPool.start

    def late(self):
        time.sleep(3.0)
        start(self)

    monkeypatch.setattr(ThreadPool, "start", late)
    (only,) = finished(run(Federation(
        Net(), data(), Topology.flat(6), FIT, partition=given(*PARTS), rounds=1, engine="threads:1",
        policies=Deadline(2.5, 1, late="drop"),
    )))  # fmt: skip
    assert only.staleness == ((0, 6),)


def test_who_keeps_failing_is_asked_no_more_where_nobody_waits():
    x, y = data()
    x[list(PARTS[2])] = -777.0
    failing = Federation(
        Net(), (x, y), tree([2]), FIT, partition=given(*PARTS), rounds=4, engine="virtual", seed=5,
        policies=Asynchronous(),
    )  # fmt: skip
    records = run(failing)
    assert [r.device for r in records if isinstance(r, DeviceFailed)] == ["w2"] * 3
    (notice,) = [r.text for r in records if isinstance(r, Notice)]
    assert notice == "w2 gave nothing 3 times in a row and is asked no more: RuntimeError: poisoned row"
    x[12::16] = -777.0  # a row of each device
    for policies in (Asynchronous(), [Synchronous(), Buffered(2)], [Buffered(1), Synchronous()], [Deadline(1.0, 1)]):
        hopeless = Federation(
            Net(), (x, y), tree([2]), FIT, partition=given(*PARTS), rounds=2, engine="virtual", policies=policies
        )
        with pytest.raises(RoundError, match="round 1: at coordinator, .*poisoned row"):
            run(hopeless)


@pytest.mark.parametrize("policies", [Buffered(2), [Synchronous(), Deadline(60.0, 0.5)]], ids=["buffered", "deadline"])
def test_a_device_that_kills_its_worker_costs_only_itself(policies, processes):
    x, y = data()
    x[44] = -888.0
    before = processes.store.count()
    deadly = Federation(
        Net(), (x, y), Topology.tree(6, [2]), FIT, partition=given(*PARTS), rounds=2, engine=processes, seed=5,
        policies=policies,
    )  # fmt: skip
    records = run(deadly)
    failures = [(r.round, r.device) for r in records if isinstance(r, DeviceFailed)]
    # where nobody waits for it, the others may be done before its two attempts are
    assert failures == [(1, "w2"), (2, "w2")] or (deadly.policies[0] == Buffered(2) and set(failures) <= {(2, "w2")})
    assert "w2" not in {r.device for r in records if isinstance(r, DeviceFinished)}
    assert [record.round for record in finished(records)] == [1, 2]
    assert processes.store.count() == before


def test_an_aggregator_that_keeps_failing_hands_its_childrens_updates_to_its_parent(monkeypatch):
    """Each counts once, with its own weight: all is as if its sum had come."""
    import scilab.federated.traffic as module

    mine, collect = [], module.collect

    def failing(sources, total, like, address):
        mine.append(sum(len(weights) for *_, weights in sources))
        if len(mine) % 4 != 0:  # of two aggregators, the first fails three times, the second works
            raise MemoryError("no room")
        return collect(sources, total, like, address)

    monkeypatch.setattr(module, "collect", failing)
    policies = [Deadline(100.0, 1.0), Synchronous()]
    broken, whole = (federation(policies, tree([2]), rounds=1, engine="threads:1") for _ in range(2))
    records = run(broken)
    (failed,) = [record for record in records if isinstance(record, AggregatorFailed)]
    assert failed.reason == "3 attempts: MemoryError: no room"
    assert mine == [3, 3, 3, 3]
    monkeypatch.undo()
    run(whole)
    near(weights(whole), weights(broken))


def test_a_quorum_that_fails_ends_the_round_and_says_who_failed():
    x, y = data()
    x[list(PARTS[2])] = x[list(PARTS[3])] = -777.0
    short = Federation(
        Net(), (x, y), tree(), FIT, partition=given(*PARTS), rounds=2, engine="virtual", policies=Deadline(10.0, 5)
    )
    quorum = "round 1: at coordinator, a quorum of 5 cannot be met: 3 of 6 answered, 5 are needed; w2: RuntimeError"
    with pytest.raises(RoundError, match=quorum):
        run(short)


def test_simultaneous_updates_are_told_and_weighed_by_the_versions_before_them(monkeypatch):
    import scilab.federated.traffic as module

    mixes, advance = [], module.advance

    def spy(skeleton, version, steps, *rest):
        mixes.extend(mix for mix, _, _ in steps)
        return advance(skeleton, version, steps, *rest)

    monkeypatch.setattr(module, "advance", spy)
    equal = federation(Asynchronous(0.6, polynomial(1.0)), tree(speeds=[16.0] * 6), rounds=1)
    records = run(equal)
    assert [record.staleness for record in records if isinstance(record, DeviceFinished)] == list(range(6))
    assert mixes[:6] == [0.6 / (1 + age) for age in range(6)]
    strict = federation(Asynchronous(max_staleness=0), tree(speeds=[16.0] * 6), rounds=1)
    told = [r for r in run(strict) if isinstance(r, DeviceFailed)]
    assert len(told) >= 5 and all("more than 0, and was dropped" in r.reason for r in told)


def test_who_is_absent_now_and_then_stays_in():
    """An aggregator whose devices did not answer three times in a row has not failed."""
    for seed in range(4):
        shy = Federation(
            Net(), data(), tree([3], availability=0.3), FIT, partition=given(*PARTS), rounds=10, engine="virtual",
            seed=seed, policies=[Buffered(2), Synchronous()],
        )  # fmt: skip
        assert not [r for r in run(shy) if isinstance(r, Notice) and "no more" in r.text]


def test_with_late_updates_dropped_a_chosen_device_that_was_busy_is_asked_then():
    for seed in range(6):
        half = Federation(
            Net(), data(), tree(), FedAvg(1, 6, 0.1, fraction=0.5), partition=given(*PARTS), rounds=5, engine="virtual",
            seed=seed, policies=Deadline(0.5, 0.3, late="drop"),
        )  # fmt: skip
        assert len(finished(run(half))) == 5


def test_a_pause_does_not_use_up_a_deadline():
    class Slow(Net):
        def forward(self, x):
            if self.training and len(x) < 6:  # the last batch of each pass
                time.sleep(0.06)
            return super().forward(x)

    slow = Federation(
        Slow(), data(), Topology.flat(6), FIT, partition=given(*PARTS), rounds=1, engine="threads:1", seed=5,
        policies=Deadline(5.0, 0.1, late="drop"),
    )  # fmt: skip
    timers = [threading.Timer(after, slow.send, (what,)) for after, what in ((0.3, "pause"), (5.5, "resume"))]
    for timer in timers:
        timer.start()
    (record,) = finished(run(slow))
    assert record.staleness == ((0, 6),) and record.seconds > 5


def test_updates_that_are_too_old_are_dropped_and_named():
    strict = federation(Asynchronous(max_staleness=4))
    records = run(strict)
    assert max(age for record in finished(records) for age, _ in record.staleness) > 4
    dropped = [r for r in records if isinstance(r, DeviceFailed)]
    assert dropped and all("versions old, more than 4, and was dropped" in r.reason for r in dropped)
    old = [r.device for r in records if isinstance(r, DeviceFinished) and r.staleness > 4]
    assert [r.device for r in dropped] == old
    assert sum(record.failed for record in finished(records)) == len(dropped)


def test_nobody_idles_where_nobody_waits():
    asynchronous, synchronous = (finished(run(federation(policy))) for policy in (Buffered(3), None))
    assert [record.idle for record in asynchronous] == [0.0, 0.0, 0.0]
    assert all(record.idle > 0.5 for record in synchronous)


def test_one_payload_goes_over_each_edge_for_each_message():
    """Flat and asynchronous: every update comes up once, every device is answered once."""
    from scilab.federated.layout import pack, tensors_of
    from scilab.planes.serial import dumps

    payload = len(dumps(pack(tensors_of(Net()).values())))
    flat = federation(Asynchronous(), rounds=2)
    records = finished(run(flat))
    updates = sum(count for record in records for _, count in record.staleness)
    assert updates >= 12
    assert sum(record.bytes_down for record in records) == updates * payload
    up = sum(record.bytes_up for record in records)
    assert up == pytest.approx(updates * payload, rel=0.02)
    assert sum(both[1] for both in flat.bytes_by_edge().values()) == up


@pytest.mark.parametrize(
    ("policies", "text"),
    [
        ("eager", "there is no policy 'eager'; take synchronous, deadline, buffered, asynchronous"),
        ([{"name": "buffered", "size": 0}], "size must be a whole number from 1, got 0"),
        ([{"name": "buffered", "length": 2}], "policy 'buffered' takes size, staleness, max_staleness"),
        ([Synchronous()] * 3, "there are 3 policies and 2 tiers of nodes with children; give 2"),
        ([Deadline(1.0, 4)], "a quorum of 4 can never be met at 'coordinator': it needs 4 answers and has 2 children"),
        (
            [Synchronous(), Deadline(1.0, 1.0)],
            "a quorum of 1.0 can never be met at 'a0': it needs 3 answers and has 3 children, of which 1 are never",
        ),
        (
            [{"name": "asynchronous", "staleness": "old"}],
            "there is no staleness 'old'; take constant, polynomial, hinge",
        ),
        (7, "policies must be one policy or a sequence of them from the top, got 7"),
    ],
)
def test_policies_that_cannot_be_are_refused_with_words(policies, text):
    topology = tree([2]).with_profiles({"w1": Profile(availability=0.0)})
    with pytest.raises(ValueError) as error:
        federation(policies, topology)
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Deadline(0), "seconds must be a positive number, got 0"),
        (
            lambda: Deadline(1, 1.5),
            "quorum must be a share above 0 and at most 1.0, or a number of children from 1, got 1",
        ),
        (lambda: Deadline(1, 0), "quorum must be"),
        (lambda: Deadline(1, late="never"), "late must be 'carry' (into the next sum) or 'drop', got 'never'"),
        (lambda: Asynchronous(0), "mix must be above 0 and at most 1, got 0"),
        (lambda: Buffered(2, max_staleness=-1), "max_staleness must be a whole number from 0, got -1"),
        (lambda: polynomial(-1), "a must be a number from 0, got -1"),
        (
            lambda: federation("buffered", strategy=FedAvg(fraction=0.5)),
            "the strategy chooses devices (fraction is 0.5)",
        ),
    ],
)
def test_numbers_that_make_no_sense_are_refused(make, text):
    with pytest.raises(ValueError) as error:
        make()
    assert text in str(error.value)


def test_the_published_weights_of_staleness():
    assert [constant()(age) for age in (0, 9)] == [1.0, 1.0]
    assert [polynomial(0.5)(age) for age in (0, 3, 8)] == [1.0, 0.5, 1 / 3]
    assert [hinge(10, 4)(age) for age in (0, 4, 5, 14)] == [1.0, 1.0, 1 / 11, 1 / 101]


def test_settings_say_the_policies_and_make_them_again():
    policies = [Deadline(2.0, 3, "drop"), Buffered(4, hinge(2.0, 1.0))]
    first = federation(policies, tree([3]))
    described = first.settings["policies"]
    assert described[1] == {
        "name": "buffered", "size": 4, "staleness": {"name": "hinge", "a": 2.0, "b": 1.0}, "max_staleness": None
    }  # fmt: skip
    assert list(federation(described, tree([3])).policies) == policies
    built = Federation.from_settings({"policies": described, "devices": 8, "fanouts": [4], "rounds": 1})
    assert list(built.policies) == policies


def test_a_fraction_of_the_devices_under_a_deadline():
    some = federation([Deadline(100.0, 1.0)], tree([3]), strategy=FedAvg(2, 6, 0.1, fraction=0.5))
    records = run(some)
    for number in (1, 2, 3):
        names = sorted(r.device for r in records if isinstance(r, DeviceFinished) and r.round == number)
        assert names == [f"w{device}" for device in some.strategy.select(number, 6, 5)]

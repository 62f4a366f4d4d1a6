"""A campaign in which everything goes wrong that can, on worker processes that are killed meanwhile."""

import os
import random
import signal
import threading
import time
from collections import Counter

import psutil
from hill import features

from scilab.planes import Engine
from scilab.steering import Campaign, Forest
from scilab.steering.log import plain
from scilab.steering.records import Evaluated, Failed, Refused


class Poison(Exception):
    """Cannot be unpickled: its ``__init__`` wants two arguments and pickle gives it one."""

    def __init__(self, first, second):
        super().__init__(first)
        self.second = second


class Rotten:
    """Pickles well in the worker and raises when read in the kernel."""

    def __reduce__(self):
        return exec, ("raise ZeroDivisionError('while being read')",)


def weather(candidate):
    """By its number, what becomes of a candidate; see `allowed`."""
    index = round(float(candidate) * 1e6)
    if index % 2500 == 501:
        os.kill(os.getpid(), signal.SIGKILL)
    if index % 50 == 7:
        raise Poison("one", "two")
    if index % 200 == 11:
        return Rotten()
    if index % 500 == 13:
        time.sleep(30)
    if index % 100 == 17:
        return float("nan")
    return -((float(candidate) - 0.7) ** 2)


def allowed(index):
    """The ends that a candidate may have. A kill from outside may strike any of them twice, and on a busy machine even
    the import in a new worker may run late.
    """
    if index % 2500 == 501:
        return {"lost"}
    if index % 500 == 13:
        return {"timeout", "lost"}
    for every, at, reason in ((50, 7, "raised"), (200, 11, "unsendable"), (100, 17, "not a number")):
        if index % every == at:
            return {reason, "lost", "timeout"}
    return {"value", "lost", "timeout"}


def stormed(tasks, kills, seed=0):
    """Run it; returns figures. Raises AssertionError if a task is lost, ends twice or otherwise than it may, or if
    anything is left on the data plane or of the workers.
    """
    draw, ends, killed, over = random.Random(seed), Counter(), [], threading.Event()
    space = [f"{index / 1e6:.6f}" for index in range(tasks)]
    with Engine.processes(2, gpus=0) as engine:
        one = Campaign(
            space, weather, budget=tasks, initial=200, retrain=max(100, tasks // 10), timeout_s=2.0, seed=seed,
            slots={"simulate": 8, "learn": 1}, engine=engine.wait_ready(),
            surrogate=Forest(trees=4, min_leaf=8, features=features),
        )  # fmt: skip
        processes = set()

        def killer():
            while len(killed) < kills and not over.wait(draw.uniform(0.2, 0.8)):
                pids = [int(place.rpartition("~")[2]) for place in engine.pool.doing()]
                processes.update(pids)
                if alive := [pid for pid in pids if psutil.pid_exists(pid)]:
                    killed.append(draw.choice(alive))
                    os.kill(killed[-1], signal.SIGKILL)

        threading.Thread(target=killer, daemon=True).start()
        asked, records, began = set(), [], time.perf_counter()
        for record in one:
            records.append(record)
            if isinstance(record, Evaluated | Failed):
                reason = "value" if isinstance(record, Evaluated) else record.reason
                ends[record.index] += 1
                index = round(float(record.candidate) * 1e6)
                assert reason in allowed(index) or (reason == "cancelled" and record.candidate in asked), record
                if reason == "value":
                    assert record.value == -((float(record.candidate) - 0.7) ** 2)
                if record.then and len(ends) % 100 == 50 and record.then[0].what == "simulate":
                    asked.add(record.then[0].candidate)
                    one.send({"cancel": record.then[0].candidate})
        took = time.perf_counter() - began
        over.set()
        assert len(ends) == tasks and set(ends.values()) == {1}, "a task was lost or ended twice"
        assert one.result.simulations == records[-1].simulations == tasks
        assert engine.store.count() == 0 and engine.store.unreachable == 0
        processes |= {int(place.rpartition("~")[2]) for place in engine.pool.doing()}
    deadline = time.monotonic() + 10
    while (left := [pid for pid in processes if psutil.pid_exists(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left, f"worker processes are left: {left}"
    decisions = one.replay(map(plain, records))
    reasons = Counter(record.reason for record in records if isinstance(record, Failed))
    return {
        "tasks": tasks, "lost": 0, "twice": 0, "left_on_the_data_plane": 0, "workers_killed_from_outside": len(killed),
        "ends": {"value": tasks - sum(reasons.values()), **reasons}, "cancels_asked": len(asked),
        "cancels_too_late": sum(isinstance(record, Refused) for record in records), "decisions_replayed": decisions,
        "tasks_per_s": tasks / took,
    }  # fmt: skip

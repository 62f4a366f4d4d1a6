"""A campaign whose kernel is killed again and again, at random points, and taken up by the next."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from hill import campaign, features, height

from scilab.runs import Journal, Run
from scilab.steering import Forest

SLOTS, CANDIDATES = 3, 4000
SPACE = [str(number / CANDIDATES) for number in range(CANDIDATES + 1)]


class Noted:
    """`height`, and the beginning and end of every simulation is written down, each by one write."""

    __name__ = "noted"

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, candidate):
        for what in ("begun", "ended"):
            with open(f"{self.folder}/{what}", "a") as file:
                file.write(f"{candidate}\n")
            if what == "begun":
                time.sleep(0.002)
        return height(candidate)


def made(folder, budget):
    return campaign(
        Noted(folder), SPACE, budget=budget, retrain=40, initial=20, slots={"simulate": SLOTS, "learn": 1},
        surrogate=Forest(trees=4, min_leaf=4, features=features), engine="threads:2", threshold=-0.0001,
    )  # fmt: skip


def kernel(folder, budget, id):
    """Start, or take up, the run; a byte for every time that something has been kept."""
    journal = Journal(f"{folder}/journal.db")
    one = made(folder, budget)
    run = Run(one, journal=journal) if id is None else Run.resume(id, one, journal=journal)
    run.subscribe(lambda run: os.write(1, b"."))
    run.start().wait()


def nursery():
    """Make kernels, each a fork of this process, which has imported once what all of them need and has no threads."""
    import sklearn.ensemble  # noqa: F401
    from parsl import DataFlowKernel, ThreadPoolExecutor  # noqa: F401

    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            kernel(*json.loads(line))
            os._exit(0)
        os.write(1, f"{pid}\n".encode())
        os.waitpid(pid, 0)
        os.write(1, b"x")


def fuzzed(folder, kills, budget, seed=0):
    """Kill it so often, let it finish, and look at what is left; returns figures. Raises AssertionError if anything
    that was kept is lost, done again, or decided otherwise.
    """
    draw, folder, id, before, killed, usual_s = random.Random(seed), Path(folder), None, [], 0, 0.5
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "import fuzz; fuzz.nursery()"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with contextlib.closing(Journal(folder / "journal.db")) as journal, \
            subprocess.Popen(command, env=environment, bufsize=0, **pipes) as source:  # fmt: skip
        while True:
            source.stdin.write(json.dumps([str(folder), budget, id]).encode() + b"\n")
            pid, began, said = int(source.stdout.readline()), time.monotonic(), b""
            if killed < kills:
                wanted = draw.choice((0, 1, 2, 5, 10, 20))
                while wanted and said != b"x" and (said := source.stdout.read(1)):
                    wanted -= 1
                    usual_s = min(usual_s, time.monotonic() - began)
                time.sleep(draw.uniform(0, 0.01 if said else usual_s))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                killed += 1
            while said != b"x":
                said = source.stdout.read(1)
            stored = journal.runs()
            if not stored:  # killed before it had entered the journal
                continue
            (stored,) = stored
            id, records = stored.id, stored.records()
            assert records[: len(before)] == before, "a record that was kept is gone or has changed"
            before = records
            if stored.status == "finished":
                break
            assert stored.status == "interrupted", stored.status
        source.stdin.close()
    done = [record["candidate"] for record in records if record["kind"] == "Evaluated"]
    assert len(done) == len(set(done)) == budget
    begun = Counter((folder / "begun").read_text().split())
    assert set(done) == set(begun)
    repeated = sum(begun.values()) - budget
    resumed = [record for record in records if record["kind"] == "Resumed"]
    assert repeated <= SLOTS * killed, "more was repeated than can have been under way"
    assert all(record["reproduced"] is not False for record in resumed), "a model was not the one of the log"
    decisions = made(folder, budget).replay(json.loads(json.dumps(records)))
    return {
        "kills": killed, "resumes": len(resumed), "simulations": budget, "lost": 0, "repeated": repeated,
        "repeated_a_kill": repeated / max(1, killed), "under_way_at_most": SLOTS, "decisions_replayed": decisions,
        "models": sum(record["kind"] == "Learned" for record in records),
    }  # fmt: skip

"""What steering costs a task: the same closed loop through the plain engine, through a journalled Campaign, and
through Colmena (https://github.com/exalearn/colmena), by turns.

    python -m venv /elsewhere && /elsewhere/bin/pip install colmena
    python tests/benchmarks/steering_vs_colmena.py --colmena /elsewhere/bin/python [--tasks 2000] [--quick]

No-op tasks, always four in flight on two workers, each side in a fresh interpreter. CPU is that of all processes of the
side, start and end left out. Colmena's loop is its own: a Thinker with @task_submitter and @result_processor. A second
loop holds each worker for 10 ms: utilisation. The campaign is stopped in the middle, too: seconds from the call until
its run has ended. The last line is one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORKERS, IN_FLIGHT, WARM = 2, 4, 200
HOLD_S = 0.010
SIDES = ("plain", "campaign", "colmena")


def noop(text: str) -> float:
    return 1.0


def hold(text: str) -> float:
    """Whole in itself: Colmena's workers do not have this module's globals."""
    import time

    time.sleep(0.010)
    return 1.0


def cpu_s() -> float:
    """CPU seconds so far of this process and of all below it, those that left its tree (told by a mark) too."""
    import psutil

    total = 0.0
    below = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    for process in psutil.process_iter():
        try:
            if process.pid in below or process.environ().get("STEERING_MEASURED") == os.environ["STEERING_MEASURED"]:
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        except psutil.Error:
            continue
    return total


def plain(kind: str, tasks: int, function) -> dict:
    from scilab.planes import Engine

    with getattr(Engine, kind)(WORKERS) as engine, engine.session() as session:
        marks = []
        for number in range(IN_FLIGHT):
            session.submit(function, str(number))
        for done in range(WARM + tasks):
            if done == WARM:
                marks.append((cpu_s(), time.perf_counter()))
            if session.next(60).value != 1.0:
                raise RuntimeError("a task came back wrong")
            if done + IN_FLIGHT < WARM + tasks:
                session.submit(function, str(done))
        return figures(marks[0], tasks)


def campaign(kind: str, tasks: int, function) -> dict:
    """A Run with a Journal, as in a notebook; then another, that is stopped."""
    from scilab.planes import Engine
    from scilab.runs import Journal, Run
    from scilab.steering import Campaign, never, random

    def made(engine):
        space = [str(number) for number in range(WARM + tasks)]
        return Campaign(space, function, budget=len(space), retrain=never(untrained=True), acquisition=random(),
                        slots={"simulate": IN_FLIGHT, "learn": 1}, engine=engine)  # fmt: skip

    with tempfile.TemporaryDirectory() as folder, getattr(Engine, kind)(WORKERS) as engine:
        journal, marks = Journal(Path(folder) / "journal.db"), []
        run = Run(made(engine), journal=journal)
        # Records come by several, so it may be a few more than WARM.
        run.subscribe(
            lambda run: marks.append((cpu_s(), time.perf_counter(), run.done))
            if run.done >= WARM and not marks else None
        )  # fmt: skip
        run.start().wait()
        if run.status != "finished" or run.done != WARM + tasks:
            raise RuntimeError(f"the run has {run.status} after {run.done} tasks: {run.error}")
        found = figures(marks[0], tasks + WARM - marks[0][2])
        stops = []
        for _ in range(5):
            run = Run(made(engine), journal=journal).start()
            while run.done < min(100, tasks):
                time.sleep(0.001)
            began = time.perf_counter()
            run.stop()
            stops.append(time.perf_counter() - began)
        journal.close()
        return {**found, "stop_s": statistics.median(stops)}


def colmena(kind: str, tasks: int, function) -> dict:
    import threading

    from colmena.queue import PipeQueues
    from colmena.task_server import ParslTaskServer
    from colmena.thinker import BaseThinker, ResourceCounter, result_processor, task_submitter
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor
    from parsl.providers import LocalProvider

    os.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
    if kind == "threads":
        executor = ThreadPoolExecutor(label="local", max_threads=WORKERS)
    else:
        executor = HighThroughputExecutor(
            label="local", address="127.0.0.1", max_workers_per_node=WORKERS, cores_per_worker=1e-6,
            provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
        )  # fmt: skip
    folder = tempfile.TemporaryDirectory()
    config = Config(executors=[executor], run_dir=folder.name, strategy="none", strategy_period=0.1,
                    initialize_logging=False, usage_tracking=0)  # fmt: skip
    queues = PipeQueues(serialization_method="pickle", keep_inputs=False)
    server = ParslTaskServer([function], queues, config)
    server.start()
    marks, ended = [], threading.Event()

    class Thinker(BaseThinker):
        def __init__(self):
            super().__init__(queues, ResourceCounter(IN_FLIGHT))
            self.sent = self.received = 0

        @task_submitter()
        def submit(self):
            self.queues.send_inputs(str(self.sent), method=function.__name__)
            self.sent += 1
            if self.sent >= WARM + tasks:
                self.done.set()

        @result_processor()
        def receive(self, result):
            if not result.success:
                raise RuntimeError(str(result.failure_info))
            self.rec.release()
            self.received += 1
            if self.received == WARM:
                marks.append((cpu_s(), time.perf_counter()))
            if self.received == WARM + tasks:
                marks.append((cpu_s(), time.perf_counter()))
                ended.set()

    thinker = Thinker()
    thinker.start()
    if not ended.wait(300):
        raise RuntimeError("Colmena's loop did not end")
    # Tasks that came back before they were listed as active stay so, and the agents would wait for ever.
    time.sleep(0.05)
    queues._active_tasks.clear()
    thinker.join()
    found = figures(marks[0], tasks, last=marks[1])
    queues.send_kill_signal()
    server.join()
    return found


def figures(mark: tuple, tasks: int, last: tuple | None = None) -> dict:
    cpu, clock = last or (cpu_s(), time.perf_counter())
    return {"cpu_ms": 1e3 * (cpu - mark[0]) / tasks, "tasks_per_s": tasks / (clock - mark[1])}


def one(side: str, kind: str, what: str, tasks: int, python: str) -> dict:
    command = [python if side == "colmena" else sys.executable, __file__, "--side", side, kind, what, str(tasks)]
    mark = {"STEERING_MEASURED": f"{os.getpid()}-{time.time()}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env={**os.environ, **mark}, capture_output=True, text=True, timeout=400)
    if done.returncode:
        raise RuntimeError(f"{side} on {kind} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--colmena", metavar="PYTHON", help="an interpreter that has Colmena (and psutil)")
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one repeat of 300 tasks: shows that it runs")
    parser.add_argument("--side", nargs=4, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.side:
        side, kind, what, tasks = chosen.side
        print(json.dumps(globals()[side](kind, int(tasks), globals()[what])))
        return
    if not chosen.colmena:
        parser.error("--colmena PYTHON is needed: an environment of its own with Colmena installed")
    sys.path.insert(0, str(Path(__file__).parent))
    from metering import machine

    tasks, repeats = (300, 1) if chosen.quick else (chosen.tasks, chosen.repeats)
    summary = {"tasks": tasks, "repeats": repeats, "in_flight": IN_FLIGHT, "workers": WORKERS}
    for kind in ("threads", "processes"):
        found = {}
        for side in SIDES:
            found[side] = {"noop": [], "hold": []}
        for _ in range(repeats):
            for side in SIDES:
                for what in ("noop", "hold"):
                    row = one(side, kind, what, tasks if what == "noop" else tasks // 4, chosen.colmena)
                    found[side][what].append(row)
                    print(kind, side, what, json.dumps(row), flush=True)
        for side in SIDES:
            median = {
                name: statistics.median(row[name] for row in found[side]["noop"])
                for name in found[side]["noop"][0]
            }
            summary[f"{kind}_{side}"] = {
                "cpu_ms_per_task": round(median["cpu_ms"], 4),
                "tasks_per_s": round(median["tasks_per_s"], 1),
                "utilisation_10_ms": round(
                    statistics.median(row["tasks_per_s"] for row in found[side]["hold"]) * HOLD_S / WORKERS, 4
                ),
                **({"stop_s": round(median["stop_s"], 4)} if side == "campaign" else {}),
            }
        ours, base, theirs = (summary[f"{kind}_{side}"] for side in ("campaign", "plain", "colmena"))
        summary[f"{kind}_added_cpu_ms"] = round(ours["cpu_ms_per_task"] - base["cpu_ms_per_task"], 4)
        summary[f"{kind}_tasks_per_s_over_colmena"] = round(ours["tasks_per_s"] / theirs["tasks_per_s"], 2)
        summary[f"{kind}_tasks_per_s_of_plain"] = round(ours["tasks_per_s"] / base["tasks_per_s"], 3)
    summary["load"] = round(os.getloadavg()[0], 1)
    summary["machine"] = machine("parsl")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()

"""What the engines cost beyond Parsl itself: the same no-op tasks, through Parsl alone and through Engine, by turns.

    python tests/benchmarks/engine_overhead.py [--tasks 3000] [--repeats 3] [--quick]

Each repeat starts one engine, keeps four tasks in flight until all are done, closes it, and does the same with
Parsl alone (same executor, same settings). CPU is that of all processes, kernel and workers. The first result is
timed in fresh interpreters, imports included. Control-plane bytes are what passes Parsl's own sockets for one task
that uses a model by key. The last line printed is one JSON object.
"""

import argparse
import contextlib
import json
import os
import pickle
import platform
import queue
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IN_FLIGHT = 4
WORKERS = 2
MODELS = {"10KB": 2_560, "45MB": 11_250_000}
SIDES = ("parsl", "engine")
MARK = "ENGINE_OVERHEAD_MEASURED"


class PlainParsl:
    """Parsl as its manual has it; ``settings`` are those of our engines unless ``defaults`` are asked for."""

    def __init__(self, kind: str, defaults: bool = False) -> None:
        import parsl
        from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor
        from parsl.providers import LocalProvider

        here = str(Path(sys.executable).parent)
        if here not in os.environ["PATH"].split(os.pathsep):
            os.environ["PATH"] = here + os.pathsep + os.environ["PATH"]
        self.folder = tempfile.TemporaryDirectory(prefix="parsl-")
        tuned = {} if defaults else {"prefetch_capacity": WORKERS, "heartbeat_period": 1, "heartbeat_threshold": 30}
        if kind == "threads":
            executor = ThreadPoolExecutor(label="plain", max_threads=WORKERS)
        else:
            executor = HighThroughputExecutor(
                label="plain", address="127.0.0.1", max_workers_per_node=WORKERS, cores_per_worker=1e-6,
                provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1), **tuned,
            )  # fmt: skip
        period = {} if defaults else {"strategy_period": 0.1}
        self.kernel = parsl.DataFlowKernel(
            parsl.Config(
                executors=[executor], strategy="none", run_dir=self.folder.name, usage_tracking=0,
                initialize_logging=False, exit_mode="skip", **period,
            )
        )  # fmt: skip
        self.executor = executor
        self.done: queue.SimpleQueue = queue.SimpleQueue()
        self.app = parsl.python_app

    def loop(self, function, *args):
        """A function that submits one task; made once, as a user's decorator is."""
        app = self.app(function, data_flow_kernel=self.kernel)
        return lambda: app(*args).add_done_callback(self.done.put)

    def next(self):
        return self.done.get(timeout=120).result()

    def close(self) -> None:
        self.kernel.cleanup()
        self.folder.cleanup()


class Ours:
    """An Engine and one session of it."""

    def __init__(self, kind: str) -> None:
        from scilab.planes import Engine

        self.engine = getattr(Engine, kind)(WORKERS).start()
        self.session = self.engine.session()

    @property
    def executor(self):
        return self.engine.pool.executor

    def loop(self, function, *args):
        return lambda: self.session.submit(function, *args)

    def next(self):
        completion = self.session.next(120)
        if not completion.ok:
            raise RuntimeError(str(completion.failure))
        return completion.value

    def close(self) -> None:
        self.engine.close()


def make(side: str, kind: str):
    return PlainParsl(kind) if side == "parsl" else Ours(kind)


def cpu_s() -> float:
    """CPU seconds so far of this process and all it started, those that have ended and been waited for among them.

    Told by descent, or by a mark in their environment: Parsl's local provider detaches its blocks, and a process
    that renames itself (the interchange) may lose the mark.
    """
    import psutil

    total = 0.0
    own = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid in own or process.environ().get(MARK) == os.environ[MARK]:
                times = process.cpu_times()
                total += times.user + times.system
                total += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return total


def closed_loop(plane, tasks: int) -> dict:
    """No-op tasks, always four in flight: CPU, rate and median round trip; then some alone."""
    from operator import neg

    submit = plane.loop(neg, 1)

    def run(count: int, in_flight: int) -> list[float]:
        began, trips = [], []
        for _ in range(min(in_flight, count)):
            began.append(time.perf_counter())
            submit()
        for left in range(count - 1, -1, -1):
            if plane.next() != -1:
                raise RuntimeError("a task came back wrong")
            # In order of arrival, which for equal tasks is in order of sending to within a few.
            trips.append(time.perf_counter() - began.pop(0))
            if left >= in_flight:
                began.append(time.perf_counter())
                submit()
        return trips

    run(200, IN_FLIGHT)
    cpu, clock = cpu_s(), time.perf_counter()
    trips = run(tasks, IN_FLIGHT)
    seconds, cpu = time.perf_counter() - clock, cpu_s() - cpu
    alone = run(200, 1)
    return {
        "cpu_ms_per_task": 1e3 * cpu / tasks,
        "tasks_per_s": tasks / seconds,
        "round_trip_ms_p50_4_in_flight": 1e3 * statistics.median(trips),
        "round_trip_ms_p50_alone": 1e3 * statistics.median(alone),
    }


def side_by_side(kind: str, tasks: int, repeats: int) -> dict:
    """Each side in turn, ``repeats`` times; medians."""
    rows = {side: [] for side in SIDES}
    for repeat in range(repeats):
        for side in SIDES if repeat % 2 == 0 else SIDES[::-1]:
            plane = make(side, kind)
            row = closed_loop(plane, tasks)
            began = time.perf_counter()
            plane.close()
            row["close_s"] = time.perf_counter() - began
            rows[side].append(row)
            print(f"{kind:10}{side:8}" + "  ".join(f"{name} {value:.3f}" for name, value in row.items()), flush=True)
    return {
        side: {name: round(statistics.median(row[name] for row in found), 4) for name in found[0]}
        for side, found in rows.items()
    }


def first_result(side: str, kind: str) -> dict:
    """In this fresh interpreter: seconds to the first result, imports included, by the clock and of CPU (which other
    work on the machine does not lengthen), and seconds to close.
    """
    began = time.perf_counter()
    plane = PlainParsl(kind, defaults=True) if side == "parsl_defaults" else make(side, kind)
    from operator import neg

    plane.loop(neg, 1)()
    if plane.next() != -1:
        raise RuntimeError("the task came back wrong")
    first, cpu = time.perf_counter() - began, cpu_s()
    began = time.perf_counter()
    plane.close()
    return {"first_result_s": first, "cpu_s": cpu, "close_s": time.perf_counter() - began}


def first_results(repeats: int) -> dict:
    found = {}
    for kind in ("threads", "processes"):
        rows = {side: [] for side in (*SIDES, "parsl_defaults")}
        for _ in range(repeats):
            for side, list_ in rows.items():
                command = [sys.executable, __file__, "--first", side, kind]
                began = time.perf_counter()
                done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
                row = json.loads(done.stdout.splitlines()[-1])
                list_.append({**row, "whole_process_s": time.perf_counter() - began})
        found[kind] = {
            side: {name: round(statistics.median(row[name] for row in each), 3) for name in each[0]}
            for side, each in rows.items()
        }
        print(f"first result, {kind}: {found[kind]}", flush=True)
    return found


def control_bytes() -> dict:
    """Bytes through Parsl's sockets, both ways, for one task that reads a model by key; by value for contrast."""
    import numpy as np

    ours = Ours("processes")
    store, sizes = ours.engine.store, {}
    ours.loop(len, "warm")()
    ours.next()
    counter = _Sockets(ours.executor)
    for name, size in MODELS.items():
        key = store.put({"w": np.random.default_rng(0).standard_normal(size, dtype=np.float32)})
        counter.bytes = 0
        ours.session.submit(_norm, key, uses=(key,))
        ours.next()
        sizes[name] = counter.bytes
        store.release(key)
    ours.close()
    small, large = sizes.values()
    plain = PlainParsl("processes")
    plain.loop(len, "warm")()
    plain.next()
    counter = _Sockets(plain.executor)
    plain.loop(len, {"w": np.zeros(MODELS["45MB"], dtype=np.float32)})()
    plain.next()
    by_value = counter.bytes
    plain.close()
    return {
        "bytes_per_task_10KB_model": small, "bytes_per_task_45MB_model": large,
        "difference_percent": round(100 * abs(large - small) / small, 3), "plain_parsl_45MB_by_value": by_value,
    }  # fmt: skip


def _norm(key) -> float:
    from scilab.planes import get

    return float((get(key)["w"] ** 2).sum())


class _Sockets:
    """Counts what an HTEX executor puts on its outgoing socket and takes off its incoming one."""

    def __init__(self, executor) -> None:
        self.bytes = 0
        outgoing, incoming = executor.outgoing_q, executor.incoming_q
        put, get = outgoing.put, incoming.get

        def counted_put(message, *args, **kwargs):
            self.bytes += len(pickle.dumps(message))
            return put(message, *args, **kwargs)

        def counted_get(*args, **kwargs):
            message = get(*args, **kwargs)
            if message is not None and pickle.loads(message).get("type") == "result":
                self.bytes += len(message)
            return message

        outgoing.put, incoming.get = counted_put, counted_get


def machine() -> dict:
    model = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one repeat of 500 tasks: shows that it runs")
    parser.add_argument("--first", nargs=2, metavar=("SIDE", "KIND"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    os.environ[MARK] = f"{os.getpid()}-{time.time()}"
    if chosen.first:
        print(json.dumps(first_result(*chosen.first)))
        return
    tasks, repeats = (500, 1) if chosen.quick else (chosen.tasks, chosen.repeats)
    load = os.getloadavg()[0]
    found = {kind: side_by_side(kind, tasks, repeats) for kind in ("threads", "processes")}
    beyond = {
        kind: round(each["engine"]["cpu_ms_per_task"] - each["parsl"]["cpu_ms_per_task"], 4)
        for kind, each in found.items()
    }
    summary = {
        "tasks": tasks, "repeats": repeats, "in_flight": IN_FLIGHT, "workers": WORKERS,
        "closed_loop": found, "engine_cpu_ms_per_task_beyond_parsl": beyond,
        "fresh_process": first_results(repeats), "control_plane": control_bytes(),
        "machine": machine(), "load_before": round(load, 2),
    }  # fmt: skip
    print(json.dumps(summary))


if __name__ == "__main__":
    main()

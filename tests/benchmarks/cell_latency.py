"""How long a cell takes while a run goes on in the same kernel, everything pinned to one core.

A real kernel launches a federation, or a campaign of real quantum chemistry, from its widget's defaults (long enough to
outlast the measurement; the campaign trains a new model after every 20 results), then a person's cells, ``1 + 1``, are
executed one after another with a short pause, and their round trips are timed. Last line: one JSON object of
milliseconds.

    python tests/benchmarks/cell_latency.py [--cells 200] [--of federation campaign]
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time

from jupyter_client.manager import KernelManager

LAUNCH = {
    "federation": """
from scilab.widgets import FederationWidget
panel = FederationWidget()
panel.set(rounds=100000, engine={engine!r})
run = panel.launch("latency")
""",
    "campaign": """
from scilab.widgets import SteeringWidget
panel = SteeringWidget()
panel.set(budget=1600, engine={engine!r})
run = panel.launch("latency")
""",
}


def execute(client, code):
    began = time.perf_counter()
    reply = client.execute_interactive(code, timeout=120, output_hook=lambda _: None)
    assert reply["content"]["status"] == "ok", reply["content"]
    return 1000 * (time.perf_counter() - began)


def measure(what, engine, cells, folder):
    """Round trips in ms of cells without and with a run going on, and the rounds that ran meanwhile."""
    os.environ["SCILAB_JOURNAL"] = f"{folder}/{what}-{engine}.db"
    manager = KernelManager()
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(60)
    try:
        execute(client, "1 + 1")
        idle = [execute(client, "1 + 1") for _ in range(50)]
        execute(client, LAUNCH[what].format(engine=engine))
        execute(client, "import time\nwhile not run.progress['done']: time.sleep(0.05)\nfirst = run.progress['done']")
        busy = []
        for _ in range(cells):
            busy.append(execute(client, "1 + 1"))
            time.sleep(0.05)
        execute(client, "assert run.status == 'running' and run.progress['done'] > first, run.status")
        execute(client, "run.stop()")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    busy.sort()
    return {
        "idle_median_ms": round(statistics.median(idle), 1),
        "median_ms": round(statistics.median(busy), 1),
        "p99_ms": round(busy[int(0.99 * (len(busy) - 1))], 1),
        "worst_ms": round(busy[-1], 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--of", nargs="+", default=list(LAUNCH), choices=list(LAUNCH))
    chosen = parser.parse_args()
    cells = chosen.cells
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        result = {what: {engine: measure(what, engine, cells, folder) for engine in ("threads", "processes")}
                  for what in chosen.of}
    machine = platform.processor() or platform.machine()
    print(json.dumps({"cells": cells, "pinned_to_cores": 1, "machine": machine, **result}))


if __name__ == "__main__":
    main()

"""How many devices fit on a small machine: time, CPU and memory of rounds with 16, 2,048 and a million devices.

    python tests/benchmarks/federated_scale.py                      # all cases, each in a process of its own
    python tests/benchmarks/federated_scale.py --devices 2048 --fanouts 16 128 --model cnn --cohort 1

Each device has 16 rows of the digits, drawn with replacement, a state of its own and is dispatched and not returned
before any other is waited for; several share a task. Two worker processes (Parsl's HTEX) do the work. `first_round_s`
counts from before the engine is made, `made_s` is the part of it before the first round. CPU and memory (PSS) are those
of all processes. The last line is JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import time

import torch
from metering import Memory, cpu_s, machine, workers

from scilab.datasets import digits
from scilab.federated import FedAvg, Federation, RoundFinished, Topology, resample
from scilab.models import build
from scilab.planes import Engine

CASES = {
    "16 devices, mlp": (16, [4], "mlp", 1, 3),
    "2,048, mlp, tree": (2048, [16, 128], "mlp", 1, 3),
    "2,048, mlp, flat": (2048, [], "mlp", 1, 3),
    "16 devices, cnn": (16, [4], "cnn", 1, 3),
    "2,048, cnn, tree": (2048, [16, 128], "cnn", 1, 3),
    "2,048, cnn, flat": (2048, [], "cnn", 1, 3),
    "2,048, mlp, tree, cohorts": (2048, [16, 128], "mlp", 0, 5),
    "2,048, mlp, flat, cohorts": (2048, [], "mlp", 0, 5),
    "2,048, cnn, tree, cohorts": (2048, [16, 128], "cnn", 0, 5),
    "1,000,000, mlp, deep tree, cohorts": (1_000_000, [4, 4, 4, 4, 4], "mlp", 0, 1),
}
"""Devices, fanouts, model, cohort (0: as the library chooses), rounds."""


def case(devices: int, fanouts: list[int], model: str, cohort: int, rounds: int) -> dict:
    """One federation in this process and two workers."""
    torch.set_num_threads(1)
    split, load, memory = digits(), os.getloadavg()[0], Memory()
    memory.start()
    began, seconds, cpu = time.perf_counter(), [], []
    with Engine.processes(2) as engine:
        engine.start()
        federation = Federation(
            build(model, (1, 8, 8), 10, 0), split.train, Topology.tree(devices, fanouts), FedAvg(1, 16, 0.1),
            test=split.test, partition=resample(16), rounds=rounds, engine=engine, cohort=cohort or None,
        )  # fmt: skip
        made, mark, cpu_mark, records, pool = time.perf_counter() - began, began, 0.0, 0, None
        for record in federation:
            records += 1
            if isinstance(record, RoundFinished):
                pool = workers() if pool is None else pool
                now, cpu_now = time.perf_counter(), cpu_s(pool, memory)
                seconds.append(now - mark)
                cpu.append(cpu_now - cpu_mark)
                mark, cpu_mark = now, cpu_now
        assert record.failed == 0
        spent = {process.name(): round(cpu_s([process]) - cpu_s([]), 1) for process in pool}
    return {
        "devices": devices, "fanouts": fanouts, "model": model, "cohort": federation.cohort, "made_s": made,
        "first_round_s": seconds[0], "round_s": seconds[1:], "cpu_s": cpu, "cpu_s_of_this_process": cpu_s([], memory),
        "cpu_s_of_workers": spent, "records": records, "peak_pss_mb": memory.stop(), "load_before": load,
        "load_after": os.getloadavg()[0],
    }  # fmt: skip


def main() -> None:
    """One case, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int)
    parser.add_argument("--fanouts", type=int, nargs="*", default=[])
    parser.add_argument("--model", default="mlp")
    parser.add_argument("--cohort", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()
    if chosen.devices:
        print(json.dumps(case(chosen.devices, chosen.fanouts, chosen.model, chosen.cohort, chosen.rounds)))
        return
    found = {}
    for name, (devices, fanouts, model, cohort, rounds) in CASES.items():
        words = [f"--devices={devices}", f"--model={model}", f"--cohort={cohort}", f"--rounds={rounds}"]
        command = [sys.executable, __file__, *words, "--fanouts", *map(str, fanouts)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[name] = one = json.loads(told.splitlines()[-1])
        later = f"then {min(one['round_s']):.2f} s a round, " if one["round_s"] else ""
        memory = f"{one['peak_pss_mb']:.0f} MB; CPU {', '.join(f'{s:.1f}' for s in one['cpu_s'])} s"
        print(f"{name}: first round {one['first_round_s']:.1f} s with start-up, {later}{memory}", flush=True)
    print(json.dumps({"cases": found, **machine("torch", "parsl")}))


if __name__ == "__main__":
    main()

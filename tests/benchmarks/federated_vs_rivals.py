"""Federated averaging here, by Flower's simulation, by pfl-research and by a bare loop: one run, the same work.

    python tests/benchmarks/federated_vs_rivals.py --rivals-python /path/to/venv/bin/python

The rivals live in an environment of their own (see `rivals_federated.py`), named by the argument or by RIVALS_PYTHON;
without it only the loop is run beside ours. All train the same network from the same weights on the same rows of the
digits, 16 for each client, with learning rate 0.5 in batches of 16, and hold the whole round in two workers (pfl and
the loop: in one process). By turns, `--repeats` times, each in a process of its own; the first round pays for starting
up and is left out. Rounds are timed without evaluation; `accuracy` is that of the last model. CPU and memory (PSS) are
those of all processes. Then one round each with payloads the size of SqueezeNet (4.8 MB) and ResNet-18 (44.6 MB), which
no one trains. The last line is JSON.
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

import numpy as np
import torch
from metering import Memory, cpu_s, machine, workers
from rivals_federated import Classifier, accuracy, first_weights, new_model, task

from scilab.federated import FedAvg, Federation, RoundFinished, Topology, indices, resample
from scilab.federated.streams import stream
from scilab.planes import Engine

PAYLOADS = {"SqueezeNet": 4.8, "ResNet-18": 44.6}
RATE, BATCH, SEED = 0.5, 16, 0


def write_task(path: Path, clients: int, rounds: int, payload_mb: float = 0.0) -> None:
    """The work, for all: data, rows of each client, first weights, a seed for each round and client."""
    from scilab.datasets import digits

    split, ballast = digits(), max(0, int(payload_mb * 1e6 / 4) - 2410)
    parts = resample(16)(split.train[1].numpy(), clients, stream(SEED, "partition"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = Classifier(ballast)
    seeds = [[stream(SEED, "shuffle", number, client) for client in range(clients)] for number in range(1, rounds + 1)]
    np.savez(
        path, x=split.train[0].numpy(), y=split.train[1].numpy(), xt=split.test[0].numpy(), yt=split.test[1].numpy(),
        rows=np.concatenate(parts), cuts=np.arange(clients + 1) * 16, seeds=np.array(seeds, dtype=np.int64),
        lr=np.array(RATE), batch=np.array(BATCH), **{f"w:{name}": w.numpy() for name, w in model.state_dict().items()},
    )  # fmt: skip


def ours(path: str, rounds: int, cohort: int, fanouts: list[int]) -> dict:
    """The federation in this process and two workers."""
    torch.set_num_threads(1)
    started, load, memory = time.perf_counter(), os.getloadavg()[0], Memory()
    memory.start()
    given, model, wall, cpu, pool = task(path), new_model(task(path)), [], [], None
    model.load_state_dict(first_weights(given))
    parts = [part.numpy() for part in given["rows"].split((given["cuts"][1:] - given["cuts"][:-1]).tolist())]
    with Engine.processes(2) as engine:
        federation = Federation(
            model, (given["x"], given["y"]), Topology.tree(len(parts), fanouts), FedAvg(1, BATCH, RATE), rounds=rounds,
            partition=indices(parts), engine=engine, cohort=cohort or None, seed=SEED,
        )  # fmt: skip
        before = 0.0
        for record in federation:
            if isinstance(record, RoundFinished):
                pool = workers() if pool is None else pool  # all are there by the end of the first round
                now = cpu_s(pool, memory)
                wall.append(record.seconds)
                cpu.append(now - before)
                before = now
    return {
        "wall_s": wall, "cpu_s": cpu, "whole_s": time.perf_counter() - started, "peak_pss_mb": memory.stop(),
        "accuracy": accuracy(path, federation.result.model.state_dict()), "cohort": federation.cohort,
        "load_before": load, **machine("torch", "numpy", "parsl"),
    }  # fmt: skip


def beside(python: str, engine: str, path: Path, rounds: int) -> dict:
    """A rival, or the loop, in its own process."""
    script = Path(__file__).with_name("rivals_federated.py")
    return _in_process([python, str(script), f"--engine={engine}", f"--task={path}", f"--rounds={rounds}"])


def _in_process(command: list[str]) -> dict:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def once(name: str, python: str | None, path: Path, rounds: int) -> dict:
    """One process: ours (one by one, cohorts; flat or a tree) or a rival."""
    if name.startswith("ours"):
        cohort, fanouts = int("cohorts" not in name), ["16"] if "tree" in name else []
        options = ["--rounds", str(rounds), "--cohort", str(cohort), "--fanouts", *fanouts]
        return _in_process([sys.executable, __file__, "--ours", str(path), *options])
    return beside(sys.executable if name == "loop" else python, name, path, rounds)


def main() -> None:
    """Measure, print, end with a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rivals-python", default=os.environ.get("RIVALS_PYTHON"))
    parser.add_argument("--clients", type=int, nargs="*", default=[256, 1024])
    parser.add_argument("--rounds", type=int, default=5, help="rounds measured, after one that is not")
    parser.add_argument("--flower-rounds", type=int, help="fewer, where time is short; then accuracies differ")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--payload-clients", type=int, default=64, help="0: no payloads")
    parser.add_argument("--rival-payload-mb", type=float, default=10.0, help="Flower holds some 4 times all replies")
    parser.add_argument("--ours", help=argparse.SUPPRESS)
    parser.add_argument("--cohort", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--fanouts", type=int, nargs="*", default=[], help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.ours:
        print(json.dumps(ours(chosen.ours, chosen.rounds, chosen.cohort, chosen.fanouts)))
        return
    rivals = ["pfl", "flower"] if chosen.rivals_python else []
    with tempfile.TemporaryDirectory() as folder:
        found = {f"{n} clients": _compare(chosen, rivals, Path(folder) / f"{n}.npz", n) for n in chosen.clients}
        payloads = _payloads(chosen, rivals, Path(folder))
    print(json.dumps({"clients": found, "payloads": payloads, **machine("torch")}))


def _compare(chosen: argparse.Namespace, rivals: list[str], path: Path, clients: int) -> dict:
    write_task(path, clients, chosen.rounds + 1)
    raw: dict[str, list[dict]] = {}
    for _ in range(chosen.repeats):
        for name in ("loop", "ours one by one", "ours with cohorts", *rivals):
            rounds = 1 + (chosen.flower_rounds or chosen.rounds if name == "flower" else chosen.rounds)
            raw.setdefault(name, []).append(once(name, chosen.rivals_python, path, rounds))
            one = raw[name][-1]
            walls = ", ".join(f"{s:.3f}" for s in one["wall_s"])
            memory = f"{one['peak_pss_mb']:.0f} MB; load {one['load_before']:.1f}"
            print(f"{clients} clients, {name}: {walls} s; {memory}", flush=True)
    wall, cpu = (
        {name: statistics.median(s for one in each for s in one[key][1:]) for name, each in raw.items()}
        for key in ("wall_s", "cpu_s")
    )
    peak = {name: max(one["peak_pss_mb"] for one in each) for name, each in raw.items()}
    figures = {"cpu_one_by_one_to_loop": cpu["ours one by one"] / cpu["loop"]}
    for name in rivals:
        figures |= {
            f"wall_{name}_to_one_by_one": wall[name] / wall["ours one by one"],
            f"wall_{name}_to_cohorts": wall[name] / wall["ours with cohorts"],
            f"memory_one_by_one_to_{name}": peak["ours one by one"] / peak[name],
            f"memory_cohorts_to_{name}": peak["ours with cohorts"] / peak[name],
        }
    print(f"{clients} clients:", ", ".join(f"{name} {value:.2f}" for name, value in figures.items()), flush=True)
    return {
        "median_wall_s": wall, "median_cpu_s": cpu, "peak_pss_mb": peak, "ratios": figures,
        "rounds_and_accuracy": {name: [len(each[0]["wall_s"]), each[0]["accuracy"]] for name, each in raw.items()},
        "raw": raw,
    }  # fmt: skip


def _payloads(chosen: argparse.Namespace, rivals: list[str], folder: Path) -> dict:
    """One round after one that is not measured, of models too large to be worth a batch."""
    found = {}
    for payload, size in PAYLOADS.items() if chosen.payload_clients else ():
        path = folder / f"{payload}.npz"
        write_task(path, chosen.payload_clients, 2, size)
        for name in ("ours flat", "ours tree", *(["flower"] if rivals and size <= chosen.rival_payload_mb else [])):
            found[f"{payload}, {name}"] = one = once(name, chosen.rivals_python, path, 2)
            print(f"{payload}, {name}: {one['wall_s'][1]:.2f} s, {one['peak_pss_mb']:.0f} MB", flush=True)
    return found


if __name__ == "__main__":
    main()

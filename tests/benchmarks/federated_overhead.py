"""What a federation costs beyond training: CPU per device and round of ours against a bare loop, in one run.

    python tests/benchmarks/federated_overhead.py --devices 1024 --rounds 4

The loop is the least that FedAvg needs: load the weights, `torch.optim.SGD`, a running float64 sum; no tasks, no keys,
no records. Both train the same MLP on the same digits with the same streams, by turns, and must end with the same
accuracy. CPU seconds count this process and its workers; the first round of ours pays for starting up and is left out.
The last line is JSON.
"""

import argparse
import json
import os
import platform
import statistics
import time

import numpy as np
import psutil
import torch
from torch.nn.functional import cross_entropy

from scilab.datasets import digits
from scilab.federated import FedAvg, Federation, RoundFinished, Topology
from scilab.federated.streams import stream
from scilab.models import build
from scilab.planes import Engine


def workers() -> list[psutil.Process]:
    """The processes below this one; worker pools are no children of ours, but their supervisors are told our pid."""
    found = psutil.Process().children(recursive=True)
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.endswith("supervisor.py") for word in words) and str(os.getpid()) in words:
            found += [process, *process.children(recursive=True)]
    return list(dict.fromkeys(found))


def cpu_s(others: list[psutil.Process]) -> float:
    """User and system seconds so far of this process and `others`."""
    total = 0.0
    for process in [psutil.Process(), *others]:
        times = process.cpu_times()
        total += times.user + times.system
    return total


def resample(rows: int):
    """`rows` rows per device, drawn with replacement: more devices than a split of the data could feed."""

    def partition(labels, devices, seed):
        return list(np.random.default_rng(seed).integers(len(labels), size=(devices, rows)))

    return partition


def loop(train, parts, strategy, rounds, seed):
    """Bare FedAvg; returns the model and CPU seconds of each round."""
    model, seconds = build("mlp", (1, 8, 8), 10, seed), []
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for number in range(1, rounds + 1):
        began, total, samples = cpu_s([]), {}, 0
        for device, rows in enumerate(parts):
            x, y = train[0][rows], train[1][rows]
            model.load_state_dict(state)
            optimiser = torch.optim.SGD(model.parameters(), lr=strategy.lr)
            order = torch.Generator().manual_seed(stream(seed, "shuffle", number, device))
            for batch in torch.randperm(len(rows), generator=order).split(strategy.batch_size):
                optimiser.zero_grad()
                loss = cross_entropy(model(x[batch]), y[batch])
                loss.backward()
                optimiser.step()
            loss.item()
            samples += len(rows)
            for name, value in model.state_dict().items():
                total[name] = total.get(name, 0.0) + value.double() * len(rows)
        state = {name: (value / samples).float() for name, value in total.items()}
        seconds.append(cpu_s([]) - began)
    model.load_state_dict(state)
    return model, seconds


def ours(train, topology, partition, strategy, rounds, seed, engine):
    """The federation; returns its model and CPU and wall seconds of each round."""
    model = build("mlp", (1, 8, 8), 10, seed)
    cpu, wall = [], []
    federation = Federation(
        model, train, topology, strategy, partition=partition, rounds=rounds, engine=engine, seed=seed
    )
    began, cpu_began, others = time.perf_counter(), 0.0, None
    for record in federation:
        if isinstance(record, RoundFinished):
            others = workers() if others is None else others  # they are all there by the end of the first round
            now, cpu_now = time.perf_counter(), cpu_s(others)
            cpu.append(cpu_now - cpu_began)
            wall.append(now - began)
            began, cpu_began = now, cpu_now
    return federation.result.model, cpu, wall


def main() -> None:
    """Measure, print, end with a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=1024)
    parser.add_argument("--rows", type=int, default=16, help="rows per device")
    parser.add_argument("--rounds", type=int, default=4, help="rounds measured, after one that is not")
    parser.add_argument("--fanouts", type=int, nargs="*", default=[16])
    parser.add_argument("--engine", default="threads:2")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    load_before = os.getloadavg()[0]
    split, strategy, partition = digits(), FedAvg(1, 16, 0.1), resample(chosen.rows)
    topology = Topology.tree(chosen.devices, chosen.fanouts)
    parts = partition(split.train[1].numpy(), chosen.devices, stream(chosen.seed, "partition"))
    bare, engines = [], {"cpu": [], "wall": []}
    engine, _ = Engine.named(chosen.engine)
    with engine:
        for _ in range(2):  # by turns, so that a load that comes and goes meets both
            reference, seconds = loop(split.train, parts, strategy, chosen.rounds + 1, chosen.seed)
            bare += seconds[1:]
            model, cpu, wall = ours(split.train, topology, partition, strategy, chosen.rounds + 1, chosen.seed, engine)
            engines["cpu"] += cpu[1:]
            engines["wall"] += wall[1:]
    accuracies = []
    for each in (reference, model):
        with torch.no_grad():
            accuracies.append(float((each(split.test[0]).argmax(1) == split.test[1]).double().mean()))
    per_device = [1e3 * statistics.median(times) / chosen.devices for times in (bare, engines["cpu"], engines["wall"])]
    print(f"loop  {per_device[0]:.3f} ms CPU per device and round")
    print(f"ours  {per_device[1]:.3f} ms CPU, {per_device[2]:.3f} ms wall ({chosen.engine}, fanouts {chosen.fanouts})")
    print(f"beyond the loop: {per_device[1] - per_device[0]:+.3f} ms CPU, ratio {per_device[1] / per_device[0]:.2f}")
    print(json.dumps({
        "devices": chosen.devices, "rows": chosen.rows, "rounds": chosen.rounds, "engine": chosen.engine,
        "fanouts": chosen.fanouts, "loop_cpu_s": bare, "ours_cpu_s": engines["cpu"], "ours_wall_s": engines["wall"],
        "loop_ms": per_device[0], "ours_ms": per_device[1], "overhead_ms": per_device[1] - per_device[0],
        "ratio": per_device[1] / per_device[0], "accuracy_loop": accuracies[0], "accuracy_ours": accuracies[1],
        "load_before": load_before, "python": platform.python_version(), "torch": torch.__version__,
    }))  # fmt: skip


if __name__ == "__main__":
    main()

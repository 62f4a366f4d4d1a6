"""How much simulated time a tree saves that does not wait for its stragglers.

Forty devices below four aggregators train the digits MLP; every tenth device is ten times slower. The target is the
test accuracy that the synchronous tree has after 20 rounds, and the figure is the simulated time until another policy
first has it, as a share of the synchronous tree's time for those 20 rounds. Same model, data, partition and devices;
all seeds are listed. Run: python tests/benchmarks/federated_stragglers.py [--seeds 5]. The last line is JSON.
"""

import argparse
import json
import statistics

from metering import machine

from scilab.datasets import digits
from scilab.federated import (
    Asynchronous,
    Buffered,
    FedAvg,
    Federation,
    Profile,
    RoundFinished,
    Topology,
    dirichlet,
)
from scilab.models import build

DEVICES, AGGREGATORS, ROUNDS, LIMIT = 40, 4, 20, 80
POLICIES = {
    "asynchronous": [Asynchronous(mix=0.1), Asynchronous()],
    "buffered": [Buffered(4), Buffered(4)],
    "buffered over asynchronous": [Buffered(10), Asynchronous()],
}


def federation(policies, rounds, seed):
    """On a tree whose every tenth device trains on 100 samples a second; the others on 1,000."""
    data, topology = digits(), Topology.tree(DEVICES, [AGGREGATORS])
    slow = {worker: Profile(speed=100.0) for worker in topology.workers[::10]}
    return Federation(
        build("mlp", data.shape, 10, seed), data.train, topology.with_profiles(slow), FedAvg(1, 16, 0.1),
        test=data.test, partition=dirichlet(0.5), rounds=rounds, engine="virtual", seed=seed, policies=policies,
    )  # fmt: skip


def until(policies, target, seed):
    """(simulated seconds until the target accuracy, largest idle share of a round, mean staleness) or None."""
    seconds, idle, ages = 0.0, 0.0, []
    for record in federation(policies, LIMIT, seed):
        if isinstance(record, RoundFinished):
            seconds, idle = seconds + record.seconds, max(idle, record.idle)
            ages += [age for age, count in record.staleness for _ in range(count)]
            if record.accuracy >= target:
                return seconds, idle, statistics.mean(ages)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(parser.parse_args().seeds)
    shares, idles, ages = ({name: [] for name in POLICIES} for _ in range(3))
    targets, idle_synchronous = [], []
    for seed in seeds:
        rounds = [record for record in federation(None, ROUNDS, seed) if isinstance(record, RoundFinished)]
        target, whole = rounds[-1].accuracy, sum(record.seconds for record in rounds)
        targets.append(target)
        idle_synchronous.append(statistics.mean(record.idle for record in rounds))
        print(f"seed {seed}: synchronous {target:.4f} after {whole:.2f} simulated s", flush=True)
        for name, policies in POLICIES.items():
            found = until(policies, target, seed)
            share, idle, age = (found[0] / whole, *found[1:]) if found else (float("inf"), None, None)
            print(f"    {name}: {share:.3f} of that time, idle {idle}, mean staleness {age}", flush=True)
            shares[name].append(share)
            idles[name].append(idle)
            ages[name].append(age)
    figures = {
        "devices": DEVICES, "slow_share": 0.1, "slow_factor": 10, "seeds": list(seeds), "target_accuracy": targets,
        "synchronous_idle_share": statistics.median(idle_synchronous),
        "median_share_of_synchronous_time": {name: statistics.median(each) for name, each in shares.items()},
        "share_of_synchronous_time": shares,
        "largest_idle_share": {n: max((i for i in each if i is not None), default=None) for n, each in idles.items()},
        "mean_staleness": ages,
        **machine("torch", "parsl"),
    }  # fmt: skip
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

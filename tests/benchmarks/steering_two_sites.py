"""A campaign that simulates at one site and learns at another: what goes over the link between them, and whether it
decides otherwise than one at a single site.

    python tests/benchmarks/steering_two_sites.py [--latency-ms 5] [--mbit 100] [--seeds 20] [--virtual-only]

Both sites are on this machine: a relay and two ProxyStore endpoints, two threads here, and two worker processes there
whose tasks and results go through a proxy of that latency and bandwidth, which counts them. Models of over 1 MB are
read by eight tasks each; by reference they stay where they are written and read, by value they travel with the tasks.
What the data plane moves from here to there (the candidates) is counted by its readers and added; that stream, between
the two endpoints, is not slowed. A batch-synchronous policy must decide as it does at a single site.

Then the streaming policy, which does not wait, in virtual time: with learning at hand, and behind a link that adds to
every task of learning --delay-s, with a buffer of --buffer tasks for the simulations. The difference in hits over so
many seeds comes with its 95 % interval (Student's t, paired). Values are those of the table that
steering_discovery.py reads, for molecules of up to five heavy atoms. The last line is one JSON object.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from sys import path

import numpy as np

HERE = Path(__file__).parent
path[:0] = [str(HERE), str(HERE.parent / "endpoints")]

from metering import machine  # noqa: E402
from scipy.stats import t as student  # noqa: E402
from steering_discovery import TABLE, Known  # noqa: E402

from scilab.planes import Engine  # noqa: E402
from scilab.steering import Campaign, Forest, every, ucb  # noqa: E402
from scilab.steering.molecules import enumerate_molecules  # noqa: E402


def over_the_link(latency_s: float, bandwidth_bps: float) -> dict:
    import steered_sites
    from sites import two_sites

    with Engine.threads(2) as engine:
        direct = steered_sites.decided(list(steered_sites.campaign(engine)))
    found = {}
    with tempfile.TemporaryDirectory() as folder, two_sites(Path(folder)) as homes:
        os.environ["PROXYSTORE_HOME"] = str(homes[0][0])
        for name, by_value in (("by_reference", False), ("by_value", True)):
            row = steered_sites.run(Path(folder), homes, by_value, latency_s, bandwidth_bps)
            if row.pop("decided") != direct or row["left"]:
                raise RuntimeError(f"{name}: other decisions than at one site, or objects left behind")
            row["bytes_on_the_link"] = row["tasks_and_results_bytes"] + row["data_plane_bytes"]
            found[name] = row
            print(name, json.dumps(row), flush=True)
    ratio = found["by_value"]["bytes_on_the_link"] / found["by_reference"]["bytes_on_the_link"]
    return {**found, "by_value_over_by_reference": round(ratio, 1), "decisions_as_at_one_site": True}


def parity(seeds: int, delay_s: float, buffer: int) -> dict:
    space, known = enumerate_molecules(5), Known(TABLE, Path(os.devnull))
    values = sorted((value for value in map(known.value, space) if value is not None), reverse=True)
    threshold = values[len(space) // 50]
    hits = {0.0: [], delay_s: []}
    for delay, found in hits.items():
        learning = {"train": 5.0 + delay, "infer": 1.0 + delay}
        for seed in range(seeds):
            with Engine.virtual(lambda tag, learning=learning: learning.get(tag[0], 2.0), 4) as engine:
                campaign = Campaign(
                    space, known, budget=120, initial=30, threshold=threshold, retrain=every(15), acquisition=ucb(1.0),
                    surrogate=Forest(trees=40), slots={"simulate": 2 + (buffer if delay else 0), "learn": 1},
                    engine=engine, seed=seed,
                )  # fmt: skip
                for _ in campaign:
                    pass
            found.append(campaign.result.hits)
            print(f"delay {delay:g} s, seed {seed}: {found[-1]} hits", flush=True)
    direct, far = (np.array(each, dtype=float) for each in hits.values())
    apart = far - direct
    half = student.ppf(0.975, seeds - 1) * apart.std(ddof=1) / np.sqrt(seeds)
    return {
        "seeds": seeds, "delay_s": delay_s, "buffer": buffer, "hits_in_space": len(space) // 50,
        "mean_hits_at_one_site": direct.mean(), "mean_hits_at_two": far.mean(),
        "difference_percent": round(100 * apart.mean() / direct.mean(), 2),
        "difference_95_percent": [round(100 * (apart.mean() + sign * half) / direct.mean(), 2) for sign in (-1, 1)],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency-ms", type=float, default=5.0)
    parser.add_argument("--mbit", type=float, default=100.0)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--delay-s", type=float, default=1.0)
    parser.add_argument("--buffer", type=int, default=1)
    parser.add_argument("--virtual-only", action="store_true")
    chosen = parser.parse_args()
    summary = {"latency_ms": chosen.latency_ms, "mbit_per_s": chosen.mbit}
    if not chosen.virtual_only:
        summary |= over_the_link(chosen.latency_ms / 1e3, chosen.mbit * 1e6 / 8)
    summary["in_virtual_time"] = parity(chosen.seeds, chosen.delay_s, chosen.buffer)
    print(json.dumps({**summary, "machine": machine("proxystore", "parsl", "scikit-learn")}))


if __name__ == "__main__":
    main()

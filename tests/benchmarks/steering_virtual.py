"""A campaign of 65,536 workers in virtual time: are they kept busy, and does one loop keep up with them in real time?

    python tests/benchmarks/steering_virtual.py [--workers 65536] [--waves 6] [--quick]

The campaign searches three candidates for each simulation that it may start. Simulations take 10 virtual seconds on
average (5 to 15, by the candidate), a training 30 and an inference 2; a new model is trained as soon as there are
`workers` new results. So many real workers would end 6,554 simulations a second: the loop must decide as fast.
Utilisation is the share of the workers' time up to the last decision in which they simulated (what follows is the end
of a finite campaign, reported apart). Run twice, the records must be the same. The last line is one JSON object.
"""

import argparse
import json
import math
import os
import time
from hashlib import blake2b
from pathlib import Path
from sys import path

import numpy as np

path.insert(0, str(Path(__file__).parent))
from metering import machine

from scilab.planes import Engine
from scilab.steering import Campaign, Forest, every
from scilab.steering.records import Evaluated, Learned


def features(candidates):
    x = np.array([int(text) for text in candidates], dtype=np.float64)
    return np.stack([np.sin(x / 10.0**k) for k in range(1, 7)], axis=1).astype(np.float32)


def simulate(candidate):
    x = int(candidate)
    return math.sin(x / 1e5) + 0.5 * math.sin(x / 1e3) + 0.2 * math.sin(x / 10)


def seconds(tag):
    what, number, *_ = tag
    return {"train": 30.0, "infer": 2.0}.get(what) or 5.0 + 10.0 * ((number * 2654435761) % 1000) / 1000


def once(workers: int, waves: int) -> dict:
    budget = workers * waves
    space = [str(number) for number in range(3 * budget)]
    with Engine.virtual(seconds, workers + 1) as engine:
        campaign = Campaign(
            space, simulate, budget=budget, threshold=1.6, initial=workers // 2, retrain=every(workers),
            surrogate=Forest(trees=10, min_leaf=16, features=features),
            slots={"simulate": workers, "learn": 1}, engine=engine,
        )  # fmt: skip
        digest, decisions, busy, last, end, learning, versions = blake2b(), 0, [], 0.0, 0.0, 0.0, 0
        began, mark = time.perf_counter(), time.perf_counter()
        cpu, laps = time.process_time(), []
        for record in campaign:
            if isinstance(record, Learned):
                versions += 1
                learning += record.train_s + record.infer_s
                digest.update(record.ranking.encode())
            if isinstance(record, Evaluated):
                digest.update(f"{record.index} {record.ended} {record.value!r}".encode())
                busy.append((record.started, record.ended))
                if record.then:
                    last = record.ended
                end = record.ended
                laps.append(time.perf_counter() - mark)
            mark = time.perf_counter()
            decisions += len(getattr(record, "then", ()))
        wall = time.perf_counter() - began
        started, ended = np.array(busy).T
        used = np.clip(np.minimum(ended, last) - np.minimum(started, last), 0, None).sum()
        return {
            "simulations": len(busy), "decisions": decisions, "models": versions, "hits": campaign.result.hits,
            "utilisation": used / (workers * last),
            "utilisation_with_the_end": (ended - started).sum() / (workers * end),
            "virtual_s": end, "wall_s": wall, "decisions_per_s": decisions / wall,
            "decisions_per_s_without_learning": decisions / (wall - learning), "learning_s": learning,
            "decisions_per_cpu_s": decisions / (time.process_time() - cpu),
            "decision_ms_p50": 1e3 * float(np.median(laps)), "digest": digest.hexdigest()[:16],
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=65_536)
    parser.add_argument("--waves", type=int, default=6, help="simulations a worker, on average")
    parser.add_argument("--quick", action="store_true", help="2,048 workers: shows that it runs")
    chosen = parser.parse_args()
    workers = 2048 if chosen.quick else chosen.workers
    found = [once(workers, chosen.waves) for _ in range(2)]
    for each in found:
        print(json.dumps(each), flush=True)
    best = max(found, key=lambda each: each["decisions_per_s"])
    same = found[0]["digest"] == found[1]["digest"]
    print(json.dumps({"workers": workers, "needed_decisions_per_s": workers / 10, "same_twice": same, **best,
                      "load": round(os.getloadavg()[0], 1),
                      "machine": machine("numpy", "scikit-learn")}))  # fmt: skip


if __name__ == "__main__":
    main()

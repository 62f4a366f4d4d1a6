"""What a model is worth: molecules of high ionization potential found by a random search, by one that trains a model
once, and by one that trains it again and again.

    python tests/benchmarks/steering_discovery.py [--heavy-atoms 6] [--budget 200] [--seeds 5] [--table FILE]

First every molecule of the space is computed, by GFN2-xTB on two threads, into --table (what is there already is not
computed again; 11,703 molecules take about ten minutes on two quiet cores). The threshold is the value that the share
--share of the space exceeds. Then each arm searches with each seed, in virtual time: a simulation takes 1 s, a training
5 s and an inference 1 s on two workers and one for learning, the values come from the table, and the budget includes
the random start. Attainable are min(budget, hits in the space). The last line is one JSON object.
"""

import argparse
import json
import statistics
from functools import partial
from pathlib import Path
from sys import path

path.insert(0, str(Path(__file__).parent))
from metering import machine

from scilab.planes import Engine
from scilab.steering import Campaign, Forest, ResultCache, every, never, random, ucb
from scilab.steering.molecules import enumerate_molecules, ionization_potential
from scilab.steering.records import Evaluated, Failed

ARMS = {
    "random": {"retrain": never(untrained=True), "acquisition": random()},
    "train_once": {"retrain": never(), "acquisition": ucb(1.0)},
    "retrain": {"retrain": every(10), "acquisition": ucb(1.0)},
}


def table(space: tuple[str, ...], file: str) -> dict[str, dict]:
    """Every molecule's result, {"value", "flag"} or {"failed"}, by a campaign that leaves none out."""
    cache, found = ResultCache(file), {}
    campaign = Campaign(
        space, ionization_potential, budget=len(space), retrain=never(untrained=True), acquisition=random(),
        slots={"simulate": 4, "learn": 1}, engine="threads:2", cache=cache,
    )  # fmt: skip
    for record in campaign:
        if isinstance(record, Evaluated):
            found[record.candidate] = {"value": record.value, "flag": record.flag}
        elif isinstance(record, Failed):
            found[record.candidate] = {"failed": record.error}
        if len(found) % 500 == 0:
            print(f"{len(found)} of {len(space)} molecules computed", flush=True)
    cache.close()
    return found


def looked_up(known: dict[str, dict], candidate: str) -> dict:
    result = known[candidate]
    if "failed" in result:
        raise RuntimeError(result["failed"])
    return result


def seconds(tag: tuple) -> float:
    return {"train": 5.0}.get(tag[0], 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heavy-atoms", type=int, default=6)
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--initial", type=int, default=40, help="random simulations before the first model")
    parser.add_argument("--share", type=float, default=0.005)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--table", default="ionization_potentials.db")
    chosen = parser.parse_args()
    space = enumerate_molecules(chosen.heavy_atoms)
    known = table(space, chosen.table)
    values = sorted((each["value"] for each in known.values() if each.get("flag", "") is None), reverse=True)
    threshold = values[max(1, round(chosen.share * len(space)))]
    hits = sum(value > threshold for value in values)
    attainable = min(chosen.budget, hits)
    summary = {
        "space": len(space), "usable": len(values),
        "rearranged": sum(bool(each.get("flag")) for each in known.values()),
        "failed": sum("failed" in each for each in known.values()), "threshold_ev": round(threshold, 3),
        "hits_in_space": hits, "budget": chosen.budget, "initial": chosen.initial, "attainable": attainable,
        "ceiling_of_the_ratio": round(min(len(space) / hits, len(space) / chosen.budget), 1), "seeds": chosen.seeds,
    }  # fmt: skip
    for name, arm in ARMS.items():
        found = []
        for seed in range(chosen.seeds):
            with Engine.virtual(seconds, 3) as engine:
                campaign = Campaign(
                    space, partial(looked_up, known), budget=chosen.budget, initial=chosen.initial, threshold=threshold,
                    surrogate=Forest(), slots={"simulate": 2, "learn": 1}, seed=seed, engine=engine, **arm,
                )  # fmt: skip
                for _ in campaign:
                    pass
                found.append(campaign.result.hits)
            print(f"{name}, seed {seed}: {found[-1]} hits of {attainable}", flush=True)
        rate = statistics.median(found) / chosen.budget
        summary[name] = {
            "hits": found, "median_share_of_attainable": round(statistics.median(found) / attainable, 3),
            "median_rate_over_the_base_rate": round(rate / (hits / len(space)), 1),
        }  # fmt: skip
    print(json.dumps({**summary, "machine": machine("tblite", "rdkit", "scikit-learn")}))


if __name__ == "__main__":
    main()

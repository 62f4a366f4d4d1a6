"""What a model is worth: molecules of high ionization potential found by a random search, by one that trains a model
once, and by one that trains it again and again.

    python tests/benchmarks/steering_discovery.py [--heavy-atoms 6] [--budget 200] [--seeds 5]
    python tests/benchmarks/steering_discovery.py --heavy-atoms 7 --budget 300 --sample 2000

Values are GFN2-xTB's; those of all molecules of up to five heavy atoms and of some of six are in
tables/ionization_potentials.csv.gz, what it lacks is computed and kept in --computed (a tenth of a second each on a
quiet core), and with --write-table in the table. The threshold is what the share
--share of the space exceeds; with --sample, of so many molecules drawn at random, which then say what a random search
finds, too. Each arm searches with each seed, in virtual time: a simulation takes 1 s, a training 5 s on two workers and
one for learning, and the budget includes the random start. Attainable are min(budget, hits in the space). The last
line is one JSON object.
"""

import argparse
import csv
import gzip
import json
import random as chance
import statistics
from pathlib import Path
from sys import path

path.insert(0, str(Path(__file__).parent))
from metering import machine
from scipy.stats import beta

from scilab.planes import Engine
from scilab.steering import Campaign, every, greedy, never, random, ucb
from scilab.steering.molecules import enumerate_molecules, ionization_potential

TABLE = Path(__file__).parent / "tables" / "ionization_potentials.csv.gz"


class Known:
    """Ionization potentials by SMILES: of the table, of a file of what was computed since, or computed now."""

    def __init__(self, table: Path, computed: Path) -> None:
        self.results, self.file = {}, computed
        if table.exists():
            with gzip.open(table, "rt", newline="") as lines:
                for smiles, value, flag, error in csv.reader(lines):
                    self.results[smiles] = {"failed": error} if error else {"value": float(value), "flag": flag or None}
        if computed.exists():
            self.results |= dict(map(json.loads, computed.read_text().splitlines()))

    def __call__(self, smiles: str) -> dict:
        """As `ionization_potential`, errors too."""
        if smiles not in self.results:
            try:
                found = ionization_potential(smiles)
                result = {"value": found["value"], "flag": found["flag"]}
            except (ValueError, RuntimeError) as error:
                result = {"failed": str(error)}
            with self.file.open("a") as lines:
                lines.write(json.dumps([smiles, result]) + "\n")
            self.results[smiles] = result
        if "failed" in self.results[smiles]:
            raise RuntimeError(self.results[smiles]["failed"])
        return self.results[smiles]

    def value(self, smiles: str) -> float | None:
        """None of a molecule that failed or rearranged: it is no hit."""
        try:
            result = self(smiles)
        except RuntimeError:
            return None
        return result["value"] if result["flag"] is None else None

    def write(self, table: Path, space: list[str]) -> None:
        """Values to four digits after the point: a tenth of a millivolt."""
        table.parent.mkdir(exist_ok=True)
        with gzip.GzipFile(table, "wb", mtime=0) as file:
            for smiles in space:
                each = self.results[smiles]
                value = f"{each['value']:.4f}" if "value" in each else ""
                text = each.get("failed", "").replace(",", ";").replace('"', "'")
                file.write(f"{smiles},{value},{each.get('flag') or ''},{text}\n".encode())


def seconds(tag: tuple) -> float:
    return {"train": 5.0}.get(tag[0], 1.0)


def arms(every_n: int) -> dict[str, dict]:
    return {
        "random": {"retrain": never(untrained=True), "acquisition": random()},
        "train_once": {"retrain": never(), "acquisition": ucb(1.0)},
        "retrain": {"retrain": every(every_n), "acquisition": ucb(1.0)},
        "retrain_greedy": {"retrain": every(every_n), "acquisition": greedy()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heavy-atoms", type=int, default=6)
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--initial", type=int, default=40, help="random simulations before the first model")
    parser.add_argument("--every", type=int, default=10, help="results between two models")
    parser.add_argument("--share", type=float, default=0.005)
    parser.add_argument("--sample", type=int, default=0, help="molecules that stand for the space; 0: all are computed")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--computed", type=Path, default=Path("ionization_potentials.jsonl"))
    parser.add_argument("--write-table", action="store_true", help="keep all that is known of the space in the table")
    chosen = parser.parse_args()
    space, known = enumerate_molecules(chosen.heavy_atoms), Known(TABLE, chosen.computed)
    drawn = list(space)
    if chosen.sample:
        chance.Random(0).shuffle(drawn)
        del drawn[chosen.sample :]
    values = []
    for count, smiles in enumerate(drawn):
        values.append(known.value(smiles))
        if count % 500 == 0:
            print(f"{count} of {len(drawn)} molecules known", flush=True)
    if chosen.write_table:
        known.write(TABLE, [smiles for smiles in space if smiles in known.results])
    usable = sorted((value for value in values if value is not None), reverse=True)
    threshold = usable[max(1, round(chosen.share * len(drawn)))]
    hits = sum(value > threshold for value in usable)
    rate = hits / len(drawn)
    summary = {
        "space": len(space), "computed_to_know_it": len(drawn), "usable": len(usable),
        "rearranged": sum(bool(known.results[smiles].get("flag")) for smiles in drawn),
        "failed": sum("failed" in known.results[smiles] for smiles in drawn), "threshold_ev": round(threshold, 3),
        "hits_among_them": hits, "base_rate": round(rate, 6), "budget": chosen.budget, "initial": chosen.initial,
        "retrain_every": chosen.every, "seeds": chosen.seeds,
    }  # fmt: skip
    attainable = min(chosen.budget, hits) if not chosen.sample else None
    if chosen.sample:  # Clopper and Pearson 1934
        bounds = beta.ppf(0.025, hits, len(drawn) - hits + 1), beta.ppf(0.975, hits + 1, len(drawn) - hits)
        summary["base_rate_95_percent"] = [round(float(each), 6) for each in bounds]
    else:
        summary["attainable"] = attainable
    for name, arm in arms(chosen.every).items():
        if name == "random" and chosen.sample:
            continue  # the sample is one
        found = []
        for seed in range(chosen.seeds):
            with Engine.virtual(seconds, 3) as engine:
                campaign = Campaign(
                    space, known, budget=chosen.budget, initial=chosen.initial, threshold=threshold,
                    slots={"simulate": 2, "learn": 1}, seed=seed, engine=engine, **arm,
                )  # fmt: skip
                for _ in campaign:
                    pass
                found.append(campaign.result.hits)
            print(f"{name}, seed {seed}: {found[-1]} hits", flush=True)
        middle = statistics.median(found)
        summary[name] = {"hits": found, "hit_rate_over_the_base_rate": round(middle / chosen.budget / rate, 1)}
        if attainable:
            summary[name]["median_share_of_attainable"] = round(middle / attainable, 3)
        else:
            summary[name]["at_least"] = round(middle / chosen.budget / summary["base_rate_95_percent"][1], 1)
    print(json.dumps({**summary, "machine": machine("tblite", "rdkit", "scikit-learn")}))


if __name__ == "__main__":
    main()

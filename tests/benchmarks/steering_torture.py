"""Simulations that are killed, poisoned, cancelled, late or rotten, on two worker processes that are killed from
outside as well: every one of them must end once, in the way that it may, and nothing be left.

    python tests/benchmarks/steering_torture.py [--tasks 100000] [--kills 200] [--seed 0]

The last line is one JSON object; a loss would end it with an error instead.
"""

import argparse
import json
from pathlib import Path
from sys import path

HERE = Path(__file__).parent
path[:0] = [str(HERE), str(HERE.parent / "steering")]

from metering import machine  # noqa: E402
from storm import stormed  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    print(json.dumps({**stormed(chosen.tasks, chosen.kills, chosen.seed), "machine": machine("parsl")}))


if __name__ == "__main__":
    main()

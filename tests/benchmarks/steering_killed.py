"""A campaign whose kernel is killed with SIGKILL again and again, at random points, each time taken up by the next.

    python tests/benchmarks/steering_killed.py [--kills 1000] [--simulations 4000] [--seed 0]

After each kill the journal must still begin with all that it had; at the end every simulation is there once, no more
were repeated than can have been under way, every model made again ranked as the log says, and the whole log decides
again what it decided. The last line is one JSON object.
"""

import argparse
import json
import tempfile
from pathlib import Path
from sys import path

HERE = Path(__file__).parent
path[:0] = [str(HERE), str(HERE.parent / "steering")]

from fuzz import fuzzed  # noqa: E402
from metering import machine  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--simulations", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = fuzzed(folder, chosen.kills, chosen.simulations, chosen.seed)
    print(json.dumps({**found, "machine": machine("parsl", "scikit-learn")}))


if __name__ == "__main__":
    main()

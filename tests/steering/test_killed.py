"""A kernel that is killed in the middle of a campaign: nothing that was finished is lost or done again."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from hill import campaign, slow

from scilab.runs import Journal, Run

HERE = Path(__file__).parent
KERNEL = """
import sys
sys.path.insert(0, sys.argv[2])
from hill import campaign, noted
from scilab.runs import Journal, Run
Run(campaign(noted(sys.argv[1])), journal=Journal(sys.argv[1] + "/journal.db")).start().wait()
"""


def test_kill_9_loses_nothing_and_repeats_only_what_was_under_way(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    kernel = subprocess.Popen([sys.executable, "-c", KERNEL, str(tmp_path), str(HERE)], env=environment)
    began = tmp_path / "begun"
    deadline = time.monotonic() + 60
    while (not began.exists() or len(began.read_text().split()) < 17) and time.monotonic() < deadline:
        time.sleep(0.005)
    kernel.send_signal(signal.SIGKILL)
    kernel.wait()
    begun = began.read_text().split()
    with contextlib.closing(Journal(tmp_path / "journal.db")) as journal:
        (stored,) = journal.runs()
        assert stored.status == "interrupted"
        known = [r["candidate"] for r in stored.records() if r["kind"] == "Evaluated"]
        assert len(begun) - len(known) <= 2 + 2  # two workers, and two that had just ended
        run = Run.resume(stored.id, campaign(slow), journal=journal).start().wait(60)
        assert run.status == "finished"
        records = run.records()
    done = [r["candidate"] for r in records if r["kind"] == "Evaluated"]
    assert len(done) == len(set(done)) == 40 and done[: len(known)] == known
    assert set(begun) <= set(done)
    assert campaign().replay(records) == 40 + sum(r["kind"] == "Learned" for r in records)

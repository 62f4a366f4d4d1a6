"""Races over ranks: the same as in one process, the trouble of each rank told, nothing left running."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
import torch
from race_work import KFAC_OPTIONS, Breaks, pids, regression
from torch import nn

from scilab.kfac import Race, Racer, RankFailed
from scilab.kfac.records import Changed, EpochFinished, RaceStarted
from scilab.planes import Engine

HERE = Path(__file__).parent
DOUBLE = torch.float64


def racers(fraction=0.5):
    return [Racer("sgd", 0.05, 0.5, kfac={**KFAC_OPTIONS, "gradient_worker_fraction": fraction}), Racer("adam", 0.01)]


def finals(race):
    return {name: torch.cat([t.flatten() for t in model.state_dict().values()])
            for name, model in race.result.models.items()}  # fmt: skip


def ranks_of(pid):
    """Processes below `pid` that are ranks."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # also one that has ended and was not asked for its status
            if "scilab.kfac.rank" in process.cmdline():
                found.append(process)
    return found


def gone(processes, within_s=10.0):
    _, alive = psutil.wait_procs(processes, timeout=within_s)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


@pytest.fixture(scope="module")
def alone():
    """Batches of 8 and, to be uneven over two ranks, of 5; fp64."""
    race = Race(regression(DOUBLE, size=5), racers(1.0), epochs=4)
    list(race)
    return race


def test_two_ranks_do_what_one_process_does_and_hold_what_was_predicted(alone):
    """And the state of two ranks goes on in one: what is left is the same."""
    race = Race(regression(DOUBLE, size=5), racers(), epochs=4, ranks=2)
    records = [record for record in race if type(record).__name__ != "StepFinished"]
    assert records[0] == RaceStarted(0, 0, 8, 2, ("cpu", "cpu"))
    for name, bits in finals(alone).items():
        assert torch.linalg.vector_norm(finals(race)[name] - bits) <= 1e-12 * torch.linalg.vector_norm(bits)
    for name, told in alone.result.epochs.items():
        for key in ("loss", "train_loss"):
            assert [each[key] for each in race.result.epochs[name]] == pytest.approx([each[key] for each in told])
    predicted = race.settings["predicted"]["K-FAC + SGD"]
    # The model is of doubles; what is foreseen from settings alone is of floats.
    for use, told in zip(records[-1].racers[0].ranks, predicted, strict=True):
        assert use.factors + use.decompositions == 2 * told["held"]
        received = sum(count for purpose, count in use.received.items() if purpose != "state")
        headers = 8 * len(use.received)  # a header before each decomposition does not double
        assert received == pytest.approx(2 * told["received"], abs=headers)
    half = Race(regression(DOUBLE, size=5), racers(), epochs=2, ranks=2)
    list(half)
    rest = Race(regression(DOUBLE, size=5), racers(1.0), epochs=4)
    rest.load_state_dict(half.state_dict())
    list(rest)
    for name, bits in finals(alone).items():
        assert torch.linalg.vector_norm(finals(rest)[name] - bits) <= 1e-12 * torch.linalg.vector_norm(bits)


def test_commands_reach_all_ranks_at_one_step_and_a_killed_rank_is_told(tmp_path):
    race = Race(regression(train=pids(str(tmp_path))), racers(), epochs=100_000, ranks=2)
    records = iter(race)
    assert isinstance(next(records), RaceStarted)
    race.send({"damping": 0.2})
    changed = next(record for record in records if isinstance(record, Changed))
    assert changed.what == {"damping": 0.2} and changed.racers == ("K-FAC + SGD",)
    assert next(r for r in records if isinstance(r, EpochFinished)).racers[0].damping == 0.2
    race.send("pause")
    race.send("resume")
    epoch = next(record.epoch for record in records if isinstance(record, EpochFinished))
    assert next(record.epoch for record in records if isinstance(record, EpochFinished)) == epoch + 1
    ranks = ranks_of(os.getpid())
    assert {process.pid for process in ranks} == {int(name) for name in os.listdir(tmp_path)} - {os.getpid()}
    ranks[1].send_signal(signal.SIGKILL)
    with pytest.raises(RankFailed, match=r"rank [01] of 2 failed: .*signal 9 \(SIGKILL\): often .* out of memory"):
        list(records)
    assert gone(ranks)
    state = race.state_dict()
    assert state["epoch"] >= epoch, "what was done is kept"


def test_a_rank_that_raises_is_told_with_its_reason():
    torch.manual_seed(0)
    task = regression()
    object.__setattr__(task, "model", nn.Sequential(Breaks(6, 5), nn.Linear(5, 3)))
    with pytest.raises(RankFailed, match=r"rank 1 of 2 failed: MemoryError: no room on this rank"):
        list(Race(task, [Racer()], epochs=3, ranks=2))
    assert ranks_of(os.getpid()) == []


def test_stopped_it_leaves_no_process_and_its_state():
    race = Race(regression(), racers(), epochs=100_000, ranks=2)
    for record in race:
        if isinstance(record, EpochFinished):
            race.send("stop")
    assert type(record).__name__ == "Held" and race.state_dict()["epoch"] == record.epoch >= 1
    assert ranks_of(os.getpid()) == []


SCRIPT = """
    import sys
    sys.path.insert(0, {here!r})
    from race_work import regression, three
    from scilab.kfac import Race
    for record in Race(regression(), three(), epochs=100_000, ranks=2):
        print(type(record).__name__, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_ranks_end_with_the_kernel_that_wanted_them(number):
    script = textwrap.dedent(SCRIPT.format(here=str(HERE)))
    kernel = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in kernel.stdout:
        if line.startswith("EpochFinished"):
            break
    ranks = ranks_of(kernel.pid)
    assert len(ranks) == 2
    kernel.send_signal(number)
    kernel.wait(20)
    assert gone(ranks)
    kernel.stdout.close(), kernel.stderr.close()


def test_ranks_through_the_control_plane():
    """Tasks of an engine's workers, each with a process of its own; the same as started here."""
    here = Race(regression(DOUBLE), racers(1.0), epochs=2)
    list(here)
    with Engine.processes(2) as engine:
        race = Race(regression(DOUBLE), racers(), epochs=2, ranks=2, engine=engine)
        assert race.settings["engine"] == "processes(2)"
        list(race)
        for name, bits in finals(here).items():
            assert torch.linalg.vector_norm(finals(race)[name] - bits) <= 1e-12 * torch.linalg.vector_norm(bits)
        with pytest.raises(ValueError, match="3 ranks need as many workers at once; this engine has 2"):
            Race(regression(), ranks=3, engine=engine)
        torch.manual_seed(0)
        task = regression()
        object.__setattr__(task, "model", nn.Sequential(Breaks(6, 5), nn.Linear(5, 3)))
        with pytest.raises(RankFailed, match=r"rank 1 of 2 failed: MemoryError: no room on this rank"):
            list(Race(task, [Racer()], epochs=3, ranks=2, engine=engine))


TORCHRUN = """
    import json, sys
    sys.path.insert(0, {here!r})
    import torch
    from race_work import regression
    from test_race_ranks import racers
    from scilab.kfac import Race
    told = [r for r in Race(regression(torch.float64), racers(), epochs=2) if type(r).__name__ == "EpochFinished"]
    for record in told:
        print(json.dumps([each.loss for each in record.racers]), flush=True)
"""


def test_under_torchrun_rank_0_tells_what_all_did(tmp_path):
    script = tmp_path / "race.py"
    script.write_text(textwrap.dedent(TORCHRUN.format(here=str(HERE))))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    printed = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    lines = [json.loads(line) for line in printed.stdout.splitlines() if line.startswith("[")]
    race = Race(regression(DOUBLE), racers(1.0), epochs=2)
    epochs = [record for record in race if isinstance(record, EpochFinished)]
    assert printed.returncode == 0, printed.stderr[-2000:]
    assert lines == [pytest.approx([each.loss for each in record.racers], rel=1e-12) for record in epochs]

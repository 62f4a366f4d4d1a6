"""Every notebook runs on one core within Binder's memory; SCILAB_WRITE_RESULTS=1 keeps the table."""

import shutil
from pathlib import Path

import pytest
from measure import run_on_one_core

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
PEAK_MB = 2000  # what Binder allows
CPU_SECONDS = 60  # one core to itself has the whole notebook done within a minute


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_runs_on_one_core_within_binders_memory(path, tmp_path, report):
    folder = tmp_path / "notebooks"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns(".*"))
    measured = run_on_one_core(folder / path.name, folder)
    report(measured)
    assert measured.problems == []
    assert measured.peak_mb <= PEAK_MB
    assert measured.cpu_seconds < CPU_SECONDS

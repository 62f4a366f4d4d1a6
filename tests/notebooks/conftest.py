"""A table of what the notebooks took, at the end of the run."""

import json
import os
import platform

import pytest

RESULTS = pytest.StashKey[list]()


def pytest_configure(config):
    config.stash[RESULTS] = []


@pytest.fixture
def report(request):
    """Call it with a Measurement of a committed notebook to have it in the table."""
    return request.config.stash[RESULTS].append


def pytest_terminal_summary(terminalreporter, config):
    rows = config.stash[RESULTS]
    if not rows:
        return
    terminalreporter.section("notebooks, each on one core")
    terminalreporter.line(f"{'notebook':<32}{'cells':>6}{'seconds':>9}{'CPU s':>8}{'peak MB':>9}{'processes':>11}")
    for row in rows:
        terminalreporter.line(
            f"{row.notebook:<32}{row.cells:>6}{row.seconds:>9.1f}{row.cpu_seconds:>8.1f}{row.peak_mb:>9.0f}{row.processes:>11}"
        )
    if os.environ.get("SCILAB_WRITE_RESULTS"):
        path = config.rootpath / "tests" / "benchmarks" / "results" / "notebooks.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "what": "each notebook top to bottom on a kernel pinned to one core: seconds, and peak memory of "
            "the kernel and its descendants (see tests/notebooks/measure.py)",
            "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
            "notebooks": [
                {
                    "notebook": row.notebook,
                    "cells": row.cells,
                    "cores": row.cores,
                    "seconds": round(row.seconds, 1),
                    "cpu_seconds": round(row.cpu_seconds, 1),
                    "peak_mb": round(row.peak_mb),
                    "processes": row.processes,
                }
                for row in rows
            ],
        }
        path.write_text(json.dumps(content, indent=2) + "\n")
        terminalreporter.line(f"written to {path.relative_to(config.rootpath)}")

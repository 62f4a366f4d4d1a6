"""What every test gets: its own journal, workers that find their programs, no silent callback errors."""

import logging
import os
import sys
from pathlib import Path

import pytest

# Parsl finds the programs of its worker pools by name, also when nobody activated the environment.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


@pytest.fixture(autouse=True)
def own_journal(tmp_path, monkeypatch):
    """No test reads or writes the journal of the person who runs it."""
    monkeypatch.setenv("SCILAB_JOURNAL", str(tmp_path / "journal.db"))


@pytest.fixture(autouse=True)
def no_swallowed_callback_error(request, caplog):
    """ipywidgets logs what a click handler raises and goes on; a test would pass over a broken handler."""
    yield
    if request.node.get_closest_marker("callback_may_raise"):
        return
    swallowed = [
        record
        for record in caplog.get_records("call")
        if record.levelno >= logging.WARNING and record.getMessage().startswith("Exception in callback")
    ]
    assert not swallowed, f"a widget callback raised: {swallowed[0].getMessage()}"

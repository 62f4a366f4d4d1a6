"""The health check says what is so, and what to do where it is not well."""

import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

from scilab.planes import Engine
from scilab.runs import Journal
from scilab.widgets.health import Check, Health, health
from scilab.widgets.recorded import recorded

module = sys.modules["scilab.widgets.health"]  # the package's name of it is the function


@pytest.fixture
def journal(tmp_path):
    with_runs = Journal(tmp_path / "journal.db")
    yield with_runs
    with_runs.close()


def found(health):
    return {check.what: check for check in health.checks}


def test_a_ready_machine(journal):
    checks = found(health(journal, engines=False))
    assert f"torch {version('torch')}" in checks["Packages"].found
    assert str(journal.path) in checks["Journal"].found and "0 runs" in checks["Journal"].found
    assert not checks["Packages"].advice and not checks["Journal"].advice


def test_engines_are_really_started(journal):
    checks = found(health(journal))
    assert checks["Engine of threads"].found.startswith("first result after")
    assert checks["Engine of processes"].found.startswith("first result after")


def test_an_engine_that_does_not_start(journal, monkeypatch):
    class Broken:
        @staticmethod
        def threads(workers):
            raise OSError("no threads today")

        processes = Engine.processes

    monkeypatch.setattr(module, "Engine", Broken)
    line = found(health(journal))["Engine of threads"]
    assert (line.found, line.advice) == ("does not start", "no threads today")


def test_a_missing_package_names_its_command(monkeypatch):
    def missing(name):
        if name == "doccano-client":
            raise PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(module, "version", missing)
    assert "pip install --no-deps doccano-client==1.2.8" in module._packages().advice


def test_a_journal_that_cannot_be_opened(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SCILAB_JOURNAL", str(tmp_path / "file" / "journal.db"))
    line = found(health(engines=False))["Journal"]
    assert line.found == "cannot be used" and line.advice


def test_shown_as_text_and_as_a_table():
    shown = Health((Check("Memory", "2 GB free"), Check("Disk <a>", "full", "delete something")))
    assert not shown.ready
    assert repr(shown).splitlines() == [
        "✓ Memory    2 GB free",
        "! Disk <a>  full",
        "            → delete something",
    ]
    assert "Disk &lt;a&gt;" in shown._repr_html_() and "→ delete something" in shown._repr_html_()


def test_the_shipped_run_is_imported_once_and_marked(journal):
    run = recorded("federation", journal)
    assert run.recorded and run.kind == "federation" and not run.resumable
    last = [record for record in run.records() if record["kind"] == "RoundFinished"][-1]
    assert last["round"] == 18 and last["accuracy"] == pytest.approx(314 / 360)
    assert recorded("federation", journal).id == run.id
    assert len(journal.runs()) == 1
    with pytest.raises(ValueError, match="there is: federation, kfac"):
        recorded("nothing", journal)

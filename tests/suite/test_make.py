"""What a person types first: "make lab" and "make test"."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def make(*arguments, **more):
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, **more,
    )  # fmt: skip


def environment():
    """Without what an outer make tells its children."""
    return {
        name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    }


def ask(url, within_s=20):
    """The answer as JSON; a server prints its address some moments before it listens."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.fixture
def installed(tmp_path):
    """An environment that is complete: this interpreter under another name, and both stamps."""
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    for stamp in (".installed-lab", ".installed-test"):
        (folder / stamp).touch()
    return folder


@pytest.mark.parametrize("target", ["lab", "test"])
def test_nothing_is_installed_when_nothing_is_missing(installed, target):
    assert "pip install" not in make("--dry-run", target, f"VENV={installed}").stdout


@pytest.mark.parametrize("target", ["lab", "test"])
@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_a_changed_list_of_packages_is_installed(installed, target, changed):
    """And doccano-client by itself, since its metadata rules out the rest."""
    lines = make("--dry-run", f"--what-if={changed}", target, f"VENV={installed}").stdout.splitlines()
    whole, alone = (line.split("pip install")[1] for line in lines if "pip install" in line)
    assert whole.endswith(
        "-c constraints.txt -e '.[test]'" if target == "test" else "-c constraints.txt -e '.'"
    )
    assert alone.endswith("--no-deps doccano-client==1.2.8")


def test_without_a_suitable_python_it_says_what_to_do(tmp_path):
    result = make("lab", f"VENV={tmp_path / 'venv'}", "PYTHON=/no/such/python")
    assert result.returncode != 0
    assert "scilab needs Python 3.11, 3.12 or 3.13" in result.stderr
    assert "found none at /no/such/python" in result.stderr and "make lab PYTHON=" in result.stderr
    assert not (tmp_path / "venv").exists()


def test_another_python_is_refused(tmp_path):
    old = tmp_path / "python3.10"
    old.write_text("#!/bin/sh\nexit 1\n")  # what the question for 3.11 to 3.13 answers there
    old.chmod(0o755)
    result = make("test", f"VENV={tmp_path / 'venv'}", f"PYTHON={old}")
    assert result.returncode != 0 and f"found none at {old}" in result.stderr


def test_lab_serves_the_welcome_notebook_on_the_next_port_when_its_own_is_taken(installed, tmp_path):
    private = {
        name: str(tmp_path / name)
        for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    }
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        flags = f"LAB_FLAGS=--no-browser --ServerApp.ip=127.0.0.1 --ServerApp.port={port}"
        process = subprocess.Popen(
            ["make", "lab", f"VENV={installed}", flags],
            cwd=ROOT, env=environment() | private, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        deadline = threading.Timer(60, os.killpg, (process.pid, signal.SIGKILL))
        deadline.start()
        try:
            said = ""
            while not (found := re.search(r"(http://127\.0\.0\.1:(\d+))/lab/tree/(\S+)\?token=(\w+)", said)):
                line = process.stdout.readline()
                assert line, f"make lab ended without an address:\n{said}"
                said += line
            base, used, path, token = found.groups()
            assert path == "notebooks/00_welcome.ipynb" and int(used) != port
            assert f"The port {port} is already in use, trying another port." in said
            assert ask(f"{base}/api/contents/{path}?token={token}")["type"] == "notebook"
        finally:
            deadline.cancel()
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate(timeout=30)

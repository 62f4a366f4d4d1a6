"""The wheel holds every file of the package: front-end modules, styles, recorded runs, embedded data."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "scilab"


def made_here(name):
    """Whether a name is a tool's cache, which git ignores: __pycache__, .ipynb_checkpoints, .ruff_cache …"""
    return name == "__pycache__" or name.startswith(".")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stderr
    (path,) = folder.glob("scilab-*.whl")
    return zipfile.ZipFile(path)


def test_every_file_of_the_package_is_in_the_wheel(wheel):
    source = {
        path.relative_to(PACKAGE.parent).as_posix(): path.read_bytes()
        for path in PACKAGE.rglob("*")
        if path.is_file() and not any(made_here(part) for part in path.relative_to(PACKAGE).parts)
    }
    shipped = {name: wheel.read(name) for name in wheel.namelist() if name.startswith("scilab/")}
    assert shipped == source


def test_nothing_else_is_in_the_wheel(wheel):
    outside = {name.split("/")[0] for name in wheel.namelist()} - {"scilab"}
    assert len(outside) == 1 and outside.pop().endswith(".dist-info")


def test_the_wheel_carries_the_licence(wheel):
    (licence,) = (name for name in wheel.namelist() if name.endswith("/LICENSE"))
    assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()

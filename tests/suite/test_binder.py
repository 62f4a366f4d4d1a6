"""What Binder will build, asked of repo2docker: it prints its Dockerfile without Docker or a network."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def dockerfile(folder):
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug"]
    command += ["--user-id", "1000", "--user-name", "jovyan", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


@pytest.fixture
def copy(tmp_path):
    """The files repo2docker looks at, in a folder of their own."""
    shutil.copytree(ROOT / "binder", tmp_path / "binder")
    for name in ("environment.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_binder_builds_python_3_11_from_its_own_environment_file():
    text = dockerfile(ROOT)
    assert "Building conda environment for python=3.11\n" in text
    assert '--file "binder/environment.yml"' in text
    assert "RUN ./binder/postBuild" in text
    assert "unspecified" not in text


def test_the_check_sees_a_binder_folder_without_environment(copy):
    (copy / "binder" / "environment.yml").unlink()
    text = dockerfile(copy)
    assert "python=3.11" not in text and "environment.yml" not in text.partition("RUN")[2]


def test_the_check_sees_a_version_binder_does_not_understand(copy):
    path = copy / "binder" / "environment.yml"
    path.write_text(path.read_text().replace("python=3.11", "python>=3.11"))
    assert "Building conda environment for python=3.11\n" not in dockerfile(copy)


def test_post_build_stops_at_its_first_error():
    path = ROOT / "binder" / "postBuild"
    assert os.stat(path).st_mode & stat.S_IXUSR
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "set -euo pipefail"
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_the_badge_lands_on_the_welcome_notebook():
    assert "HEAD?labpath=notebooks%2F00_welcome.ipynb" in (ROOT / "README.md").read_text()
    assert (ROOT / "notebooks" / "00_welcome.ipynb").is_file()

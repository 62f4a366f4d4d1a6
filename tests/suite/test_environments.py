"""pyproject.toml, constraints.txt and the two conda files say the same thing.

One package is an exception everywhere: doccano-client 1.2.8. Its metadata asks for pydantic 1, which spaCy
and ProxyStore rule out, so nothing that resolves can list it. It is installed by a line of its own with
--no-deps, and imported with pydantic's bundled version 1 standing in for pydantic.
"""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
DOCCANO = "doccano-client==1.2.8"
NOT_PINNED = {"scilab", "setuptools", "pip"}  # the first is this repository, the others are in every venv

project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
runtime = [Requirement(text) for text in project["dependencies"]]
extras = {
    name: [Requirement(text) for text in texts] for name, texts in project["optional-dependencies"].items()
}


def pins(lines):
    """{canonical name: version} of lines "name==version"; a comment or an empty line is no pin."""
    return {
        canonicalize_name(name): Version(version)
        for name, version in (line.strip().split("==") for line in lines if "==" in line)
    }


def conda(path):
    """The conda entries and the pip entries of an environment file."""
    entries = yaml.safe_load((ROOT / path).read_text())["dependencies"]
    assert list(entries[-1]) == ["pip"], f"{path}: the pip list comes last"
    return entries[:-1], entries[-1]["pip"]


def closure(requirements):
    """Names of everything the requirements pull in, from the metadata of what is installed here."""
    seen, todo = set(), list(requirements)
    while todo:
        requirement = todo.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        for text in importlib.metadata.distribution(requirement.name).requires or []:
            needed = Requirement(text)
            wanted = ("", *requirement.extras)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in wanted):
                todo.append(needed)
    return {name for name, _ in seen} - NOT_PINNED


constraints = pins((ROOT / "constraints.txt").read_text().splitlines())


@pytest.mark.parametrize("requirement", runtime + extras["test"], ids=str)
def test_each_declared_package_is_pinned_inside_its_bounds(requirement):
    pinned = constraints[canonicalize_name(requirement.name)]
    assert pinned in requirement.specifier
    assert pinned.local is None, "a local label such as +cpu would refuse every other build"


def test_everything_the_suite_pulls_in_is_pinned():
    assert closure(runtime + extras["test"]) <= set(constraints)


def test_this_environment_holds_the_pinned_versions():
    for name in closure(runtime):
        installed = Version(importlib.metadata.version(name))
        assert Version(installed.public) == constraints[name], name


def test_the_conda_file_leaves_the_versions_to_pyproject():
    packages, pip = conda("environment.yml")
    assert packages == ["python=3.11", "pip", "pytorch" + str(bound("torch"))]
    assert pip == ["-e ."]


def bound(name):
    return next(requirement.specifier for requirement in runtime if requirement.name == name)


def test_binder_has_the_pinned_versions_and_a_cpu_build_of_torch():
    packages, pip = conda("binder/environment.yml")
    assert packages[:2] == ["python=3.11", "pip"]
    (torch,) = packages[2:]
    name, version = torch.split("=")
    assert name == "pytorch-cpu" and Version(version) in bound("torch")
    binder = pins(pip)
    assert len(binder) == len(pip), "every line of binder's pip list is a pin"
    assert binder == {name: constraints[name] for name in binder}
    on_linux = closure(runtime) - {"appnope"}
    assert on_linux - set(binder) == {"torch"}


def test_doccano_client_is_the_one_exception():
    assert "doccano-client" not in constraints
    assert "doccano-client" not in {requirement.name for requirement in sum(extras.values(), runtime)}
    assert "doccano-client" not in pins(conda("binder/environment.yml")[1])
    for path in ("Makefile", "binder/postBuild", "README.md", "environment.yml"):
        lines = [line for line in (ROOT / path).read_text().splitlines() if "doccano-client==" in line]
        assert len(lines) == 1, path
        assert re.search(r"\binstall\b.* --no-deps " + re.escape(DOCCANO) + "$", lines[0]), path


def test_doccano_client_still_needs_the_exception():
    """When a later client accepts pydantic 2, it belongs in pyproject.toml and this exception goes."""
    needed = {
        (requirement := Requirement(text)).name: requirement.specifier
        for text in importlib.metadata.requires("doccano-client")
    }
    assert importlib.metadata.version("doccano-client") == DOCCANO.partition("==")[2]
    assert constraints["pydantic"] not in needed["pydantic"]


def test_what_doccano_client_imports_is_installed():
    program = (
        "import sys, pydantic, pydantic.types, pydantic.v1, pydantic.v1.types\n"
        "real = {name: sys.modules[name] for name in ('pydantic', 'pydantic.types')}\n"
        "sys.modules |= {'pydantic': pydantic.v1, 'pydantic.types': pydantic.v1.types}\n"
        "import doccano_client\n"
        "sys.modules |= real\n"
        "client = doccano_client.DoccanoClient('http://127.0.0.1:9')\n"
        "import spacy\n"
        "print(type(client).__name__, len(spacy.blank('en')('two words')))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert result.stdout.split() == ["DoccanoClient", "2"], result.stderr

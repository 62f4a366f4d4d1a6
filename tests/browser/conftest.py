"""Fixtures of the browser tests: a JupyterLab and a page for each test, a Chromium for each module."""

import os
import shutil
from pathlib import Path

import nbformat
import pytest
from lab_page import LabPage
from lab_server import serve
from panel_page import Shown, pages  # noqa: F401
from playwright.sync_api import sync_playwright

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
SIZE = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def chromium():
    """A headless Chromium that can reach nothing but loopback."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.fail(f"no {' or '.join(BROWSERS)} on the PATH (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            chromium_sandbox=os.geteuid() != 0,  # Chromium's own sandbox refuses root, as in containers
            args=["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def one_server(tmp_path_factory):
    """A JupyterLab for all tests, which takes some seconds to start."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    (folder / "scratch").mkdir()
    with serve(folder / "notebooks", folder / "scratch") as server:
        yield server


@pytest.fixture
def lab_server(one_server):
    """A JupyterLab as new that serves a copy of notebooks/, so that a test may save and add to it."""
    one_server.renew()
    if NOTEBOOKS.is_dir():
        shutil.copytree(NOTEBOOKS, one_server.root, ignore=shutil.ignore_patterns(".*"), dirs_exist_ok=True)
    yield one_server
    one_server.end_kernels()


@pytest.fixture
def lab_page(chromium, lab_server):
    """A LabPage of 1280 by 900 pixels in the light theme; it clicks and waits up to 20 s."""
    with chromium.new_context(viewport=SIZE) as context:
        page = context.new_page()
        page.set_default_timeout(20_000)
        yield LabPage(page, lab_server)


@pytest.fixture
def probe(lab_server, lab_page):
    """Write the cells as a notebook, open it and run it all."""

    def run(*sources):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
        nbformat.write(notebook, lab_server.root / "probe.ipynb")
        return lab_page.open("probe.ipynb").run_all()

    return run


@pytest.fixture
def shown(chromium, pages):  # noqa: F811
    """shown(panel) draws a panel in the browser; see panel_page.Shown."""
    tabs = []

    def show(panel, width=1100):
        tabs.append(Shown(chromium.new_page(viewport={"width": width, "height": 900}), panel, pages))
        return tabs[-1]

    yield show
    for tab in tabs:
        tab.page.close()
        assert tab.errors == []

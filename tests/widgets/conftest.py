"""Fixtures of the widgets' tests."""

import os
import shutil

import comm
import pytest
from ipywidgets import Widget
from panel_page import Page, Shown
from playwright.sync_api import sync_playwright

from scilab.widgets import Panel


@pytest.fixture
def pages(monkeypatch):
    """{comm id: Page} of the panels made in the test."""
    made: dict[str, Page] = {}

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        if msg_type in ("comm_open", "comm_msg"):
            made.setdefault(self.comm_id, Page()).take(data, buffers)

    monkeypatch.setattr(comm.DummyComm, "publish_msg", publish_msg)
    return made


@pytest.fixture(autouse=True)
def nothing_left_over():
    """No panel and no run goes on into the next test."""
    yield
    Widget.close_all()
    for run in list(Panel._steered.values()):
        if run.status != "ready":
            run.close()


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium that can reach nothing but loopback."""
    names = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.fail(f"no {' or '.join(names)} on the PATH (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            chromium_sandbox=os.geteuid() != 0,  # Chromium's own sandbox refuses root, as in containers
            args=["--host-resolver-rules=MAP * ~NOTFOUND"],
        )
        yield browser
        browser.close()


@pytest.fixture
def shown(chromium, pages):
    """shown(panel) draws a panel in the browser; see panel_page.Shown."""
    tabs = []

    def show(panel, width=1100):
        tabs.append(Shown(chromium.new_page(viewport={"width": width, "height": 900}), panel, pages))
        return tabs[-1]

    yield show
    for tab in tabs:
        tab.page.close()
        assert tab.errors == []

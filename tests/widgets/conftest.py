"""Fixtures of the widgets' tests."""

import comm
import pytest
from ipywidgets import Widget
from panel_page import Page


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
def close_panels():
    yield
    Widget.close_all()

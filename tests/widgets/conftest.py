"""Fixtures of the widgets' tests."""

import pytest
from ipywidgets import Widget
from panel_page import pages  # noqa: F401

from scilab.widgets import Panel


@pytest.fixture(autouse=True)
def nothing_left_over():
    """No panel and no run goes on into the next test."""
    yield
    Widget.close_all()
    for run in list(Panel._steered.values()):
        if run.status != "ready":
            run.close()

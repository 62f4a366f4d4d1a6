"""A real doccano server, started once for all tests that need it; not where there is no Python it runs on."""

import doccano_server
import pytest

collect_ignore = [] if doccano_server.suitable_python() else ["test_doccano.py"]


def pytest_terminal_summary(terminalreporter):
    """Say what did not run and why, so that nobody takes silence for a pass."""
    if collect_ignore:
        terminalreporter.write_line("not run: tests/literature/test_doccano.py, which needs python3.11", yellow=True)


@pytest.fixture(scope="session")
def doccano(tmp_path_factory):
    server = doccano_server.DoccanoServer(tmp_path_factory.mktemp("doccano"))
    yield server
    server.close()

"""One engine of threads and one of processes for all campaigns; one thread for torch, as in workers."""

import pytest
import torch

from scilab.planes import Engine


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def threads():
    with Engine.threads(2) as engine:
        yield engine


@pytest.fixture(scope="session")
def processes():
    with Engine.processes(2) as engine:
        yield engine

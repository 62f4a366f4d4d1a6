import pytest

from scilab.planes import Engine


@pytest.fixture(scope="module")
def processes():
    with Engine.processes(2, gpus=0) as engine:
        yield engine


@pytest.fixture(params=["threads", "processes"])
def engine(request, processes):
    if request.param == "processes":
        yield processes
        assert processes.store.count() == 0
    else:
        with Engine.threads(2) as threads:
            yield threads
            assert threads.store.count() == 0


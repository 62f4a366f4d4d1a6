"""The contract with Parsl's Globus Compute executor, against a stand-in for the service's SDK.

The service itself cannot be reached from a test; what is checked is our side: tasks go through Parsl's own
executor, values come back, and a sign-in that expires pauses the engine and loses nothing.
"""

import concurrent.futures
import importlib
import pickle
import sys
import types

import pytest
import work
from work import collect

from scilab.planes import Engine, Store


class GlobusAPIError(Exception):
    """As the SDK's: more arguments than pickle would give back."""

    def __init__(self, status, message):
        super().__init__(f"{status} {message}")


class Executor:
    """The part of ``globus_compute_sdk.Executor`` that Parsl's executor uses."""

    signed_in = True
    sent = 0

    def __init__(self, endpoint_id=None):
        self.endpoint_id = endpoint_id
        self.resource_specification = None
        self.user_endpoint_config = None
        self._threads = concurrent.futures.ThreadPoolExecutor(2)

    def submit(self, function, *args, **kwargs):
        Executor.sent += 1
        if not Executor.signed_in:
            failed = concurrent.futures.Future()
            failed.set_exception(GlobusAPIError(401, "Credentials are required or have expired"))
            return failed
        wire = pickle.dumps((function, args, kwargs))  # it leaves this machine

        def remote():
            f, a, k = pickle.loads(wire)
            return pickle.loads(pickle.dumps(f(*a, **k)))

        return self._threads.submit(remote)

    def shutdown(self, wait=True, cancel_futures=False):
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)

    def _get_result_watcher(self):
        return types.SimpleNamespace(shutdown=lambda **_: None)


@pytest.fixture
def sdk(monkeypatch):
    fake = types.ModuleType("globus_compute_sdk")
    fake.Executor = Executor
    monkeypatch.setitem(sys.modules, "globus_compute_sdk", fake)
    import parsl.executors as executors
    from parsl.executors import globus_compute

    importlib.reload(globus_compute)
    monkeypatch.setattr(executors, "GlobusComputeExecutor", globus_compute.GlobusComputeExecutor, raising=False)
    Executor.signed_in, Executor.sent = True, 0
    return fake


def test_tasks_go_through_parsls_executor(sdk, tmp_path):
    with Engine.globus("7b6c2d1e-0000", Store.file(tmp_path), 2, str(tmp_path / "runs")) as engine:
        with engine.session() as session:
            for x in range(6):
                session.submit(work.square, x)
            session.submit(work.poison)
            done = collect(session, 7)
    assert sorted(c.value for c in done if c.ok) == [0, 1, 4, 9, 16, 25]
    assert [c.failure.error_type for c in done if not c.ok] == ["Poison"]
    assert Executor.sent == 7


def test_an_expired_sign_in_pauses_and_loses_nothing(sdk, tmp_path):
    with Engine.globus("7b6c2d1e-0000", Store.file(tmp_path), 2, str(tmp_path / "runs")) as engine:
        with engine.session() as session:
            session.submit(work.square, 3)
            assert session.next(60).value == 9
            Executor.signed_in = False
            for x in range(10):
                session.submit(work.square, x)
            told = session.next(60)
            assert told["command"] == "engine paused"
            assert "sign in" in told["reason"] and "unpause" in told["reason"]
            assert engine.state == "paused" and "expired" in engine.error
            while session.next(0.5) is not None:
                raise AssertionError("a task ended while nobody was signed in")
            assert session.waiting == 10
            Executor.signed_in = True
            engine.unpause()
            done = collect(session, 10)
    assert sorted(c.value for c in done) == [x * x for x in range(10)]
    assert all(c.attempts == 1 for c in done)

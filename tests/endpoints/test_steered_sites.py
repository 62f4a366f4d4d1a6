"""Two sites over a link: it is as slow as it says, and a campaign over it decides what it decides without."""

import socket
import threading
import time

import pytest
import steered_sites
from link import Link
from sites import two_sites

from scilab.planes import Engine


def test_a_link_delays_counts_and_loses_nothing():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with Link(server.getsockname()[1], latency_s=0.05, bandwidth_bps=2_000_000) as link:
            near = socket.create_connection(("127.0.0.1", link.port))
            far, _ = server.accept()
            data, got, began = bytes(range(256)) * 800, bytearray(), time.monotonic()
            threading.Thread(target=near.sendall, args=(data,)).start()
            while len(got) < len(data):
                got += far.recv(65536)
            # The promise itself, not a speed: it cannot have been quicker.
            assert time.monotonic() - began >= 0.05 + len(data) / 2_000_000
            assert bytes(got) == data and link.sent == [len(data), 0]
            near.close()
            assert far.recv(1) == b""
            far.close()


@pytest.mark.slow
def test_learning_at_another_site_decides_alike_and_sends_models_once(tmp_path, monkeypatch):
    with two_sites(tmp_path) as homes:
        monkeypatch.setenv("PROXYSTORE_HOME", str(homes[0][0]))
        found = steered_sites.run(tmp_path, homes, by_value=False, latency_s=0.002)
    with Engine.threads(2) as engine:
        direct = steered_sites.decided(list(steered_sites.campaign(engine)))
    assert found["decided"] == direct and found["left"] == 0
    assert found["versions"] == 2 and found["consumers_a_version"] == 8
    assert found["model_bytes"] >= 1_000_000
    # By value each model goes over nine times: back from its training, then to each that reads it.
    by_value = found["versions"] * 9 * found["model_bytes"]
    assert 5 * (found["tasks_and_results_bytes"] + found["data_plane_bytes"]) <= by_value

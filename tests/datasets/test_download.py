"""Checked downloads against a small server on the loopback."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scilab.datasets import DownloadError, data_folder, fetch

CONTENT = bytes(range(256)) * 8192  # 2 MiB: several blocks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server:
    """Serves CONTENT; `plan` says for each request how it goes wrong, None for a good answer."""

    def __init__(self, plan=(), ranges=True, body=CONTENT):
        self.plan, self.requests = list(plan), []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                wanted = self.headers.get("Range") if ranges else None
                start = int(wanted[6:-1]) if wanted else 0
                outer.requests.append(start)
                fault = outer.plan.pop(0) if outer.plan else None
                if fault == 500:
                    return self.send_error(500, "tired")
                if start >= len(body):
                    return self.send_error(416)
                self.send_response(206 if wanted else 200)
                self.send_header("Content-Length", str(len(body) - start))
                self.end_headers()
                if fault == "cut":
                    self.wfile.write(body[start : start + (len(body) - start) // 2])
                else:
                    self.wfile.write(body[start:])

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/file.bin"

    def __enter__(self):
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_a_good_file_arrives_once_with_progress(tmp_path):
    seen = []
    with Server() as server:
        target = tmp_path / "cache" / "file.bin"
        assert fetch(server.url, target, SHA256, progress=lambda *now: seen.append(now)) == target
        fetch(server.url, target, SHA256)
        assert server.requests == [0]
    assert target.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT)) and seen == sorted(seen)
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]


def test_a_wrong_hash_never_becomes_the_file(tmp_path):
    with (
        Server(body=b"something else") as server,
        pytest.raises(DownloadError, match="served a file whose SHA-256"),
    ):
        fetch(server.url, tmp_path / "file.bin", SHA256)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_connection_is_continued_where_it_broke(tmp_path):
    with Server(plan=["cut", "cut"]) as server:
        fetch(server.url, tmp_path / "file.bin", SHA256)
        assert server.requests == [0, len(CONTENT) // 2, len(CONTENT) * 3 // 4]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_what_arrived_before_giving_up_is_continued_by_the_next_call(tmp_path):
    target = tmp_path / "file.bin"
    with Server(plan=["cut"] * 3) as server:
        with pytest.raises(DownloadError, match="connection broke after"):
            fetch(server.url, target, SHA256)
        assert not target.exists()
        fetch(server.url, target, SHA256)
        assert server.requests[3] == len(CONTENT) * 7 // 8
    assert target.read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(tmp_path):
    with Server(plan=["cut"], ranges=False) as server:
        fetch(server.url, tmp_path / "file.bin", SHA256)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_complete_part_file_needs_no_byte_more(tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    with Server() as server:
        fetch(server.url, tmp_path / "file.bin", SHA256)
        assert server.requests == [len(CONTENT)]
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_the_next_mirror_serves_when_the_first_fails(tmp_path):
    with Server(plan=[500] * 9) as bad, Server() as good:
        fetch([bad.url, good.url], tmp_path / "file.bin", SHA256)
        assert len(bad.requests) == 3
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_offline_says_which_file_to_put_where(tmp_path):
    with Server() as server:
        url = server.url  # nothing listens there once the server is closed
    target = tmp_path / "cifar.tar.gz"
    with pytest.raises(DownloadError, match="refused") as error:
        fetch(url, target, SHA256, timeout_s=2)
    assert str(target) in str(error.value) and SHA256 in str(error.value) and "SCILAB_DATA" in str(error.value)


def test_a_damaged_file_in_the_cache_is_named_not_used(tmp_path):
    target = tmp_path / "file.bin"
    target.write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match="not the published file"):
        fetch("http://127.0.0.1:9/", target, SHA256)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match="could not write"):
        fetch("http://127.0.0.1:9/", tmp_path / "file" / "file.bin", SHA256)


def test_the_data_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SCILAB_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.delenv("SCILAB_DATA")
    assert data_folder().parts[-2:] == ("scilab", "datasets")

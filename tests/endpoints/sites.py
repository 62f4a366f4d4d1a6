"""What a data plane between sites stands on, all on the loopback: a Redis server, or a relay with its endpoints."""

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path

import scilab.planes.supervisor

PATIENCE_S = 30
NEEDED = ("aiortc", "aiosqlite", "daemon", "quart", "uvicorn", "uvloop", "websockets")

RELAY = "from proxystore.p2p.relay.run import cli; cli()"
# ProxyStore's own start of an endpoint, without its look at public STUN servers: tests talk to nobody outside.
ENDPOINT = """
import sys
import proxystore.endpoint.serve as serve
from proxystore.endpoint.commands import start_endpoint
async def no_check(): pass
serve.check_nat_and_log = no_check
sys.exit(start_endpoint(sys.argv[1], proxystore_dir=sys.argv[2]))
"""


def missing_for_redis() -> list[str]:
    """What is not installed here that the Redis tests need."""
    return [] if shutil.which("redis-server") else ["redis-server on PATH"]


def missing_for_endpoints() -> list[str]:
    """The packages of ``proxystore[endpoints]`` that are not installed here."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def program(folder: Path, name: str, *command: str):
    """Run a server; end it, with whatever it started, on the way out."""
    log = folder / f"{name}.out"
    # Watched as an engine's workers are: even if the tests are killed, no server outlives them.
    watched = [sys.executable, scilab.planes.supervisor.__file__, str(os.getpid()), "new", *command]
    with open(log, "wb") as out:
        process = subprocess.Popen(watched, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=folder)
    try:
        yield process, log
    finally:
        # The supervisor ends the server's whole group with itself.
        process.terminate()
        process.wait(10)


def wait_for(answers, process: subprocess.Popen, log: Path) -> None:
    """Wait until ``answers()`` raises no more; a server that has ended is an error with its last words."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            answers()
            return
        except Exception as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{log.name}: {error}; it said:\n{log.read_text()[-3000:]}") from None
            time.sleep(0.05)


@contextlib.contextmanager
def redis_server(folder: Path):
    """A Redis of our own; yields its port."""
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with program(folder, "redis", "redis-server", *options) as (process, log):
        wait_for(lambda: socket.create_connection(("127.0.0.1", port), 1).close(), process, log)
        yield port


@contextlib.contextmanager
def two_sites(folder: Path):
    """A relay and two endpoints that know each other only through it; yields both (ProxyStore home, UUID)."""
    from proxystore.endpoint.config import EndpointConfig, EndpointRelayConfig, write_config

    relay = free_port()
    with contextlib.ExitStack() as stack:
        command = [sys.executable, "-c", RELAY, "--host", "127.0.0.1", "--port", str(relay)]
        process, log = stack.enter_context(program(folder, "relay", *command))
        wait_for(lambda: socket.create_connection(("127.0.0.1", relay), 1).close(), process, log)
        sites = []
        for name in ("here", "there"):
            home, port, identity = folder / name, free_port(), str(uuid.uuid4())
            links = EndpointRelayConfig(address=f"ws://127.0.0.1:{relay}", ice_servers=[])
            config = EndpointConfig(
                name=name, uuid=identity, host="127.0.0.1", host_type="static", port=port, relay=links
            )
            write_config(config, str(home / name))
            command = [sys.executable, "-c", ENDPOINT, name, str(home)]
            process, log = stack.enter_context(program(folder, f"endpoint-{name}", *command))
            url = f"http://127.0.0.1:{port}/endpoint"
            wait_for(lambda url=url: urllib.request.urlopen(url, timeout=1).close(), process, log)
            sites.append((home, identity))
        yield sites

"""One rank as a process, started by `launch`: it calls back, takes part, and ends when nobody listens any more."""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from multiprocessing.connection import Client, Connection

import cloudpickle
import torch
import torch.distributed as dist

from .launch import ADDRESS
from .ranks import join
from .training import Training

LOOPBACK = {"linux": "lo", "darwin": "lo0"}


def main() -> int:
    """Take part; the exit status is 0 if it went well, or was told."""
    host, port, key, rank = os.environ.pop(ADDRESS).split()
    rank = int(rank)
    connection = Client((host, int(port)), authkey=key.encode())
    connection.send(rank)
    plan, state, host, store_port, ranks = cloudpickle.loads(connection.recv_bytes())
    inbox: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(connection, inbox), daemon=True).start()
    if host == "127.0.0.1":  # a laptop's name often leads to an address that it does not have
        os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK[sys.platform])
    try:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        world = join(plan.devices, rank, ranks, dist.TCPStore(host, store_port, None, False))
        training = Training(plan, world, inbox, state)
        for record in training.run():
            saved = training.saved if getattr(record, "checkpoint", False) else None
            _say(connection, "record", (record, saved))
        _say(connection, "record", (None, training.saved))
        _say(connection, "end", None)
        training.close()
        dist.destroy_process_group()
    except BaseException as error:
        told = f"{type(error).__name__}: {error}"
        _say(connection, "cut off" if _of_others(error) else "failed", f"{told}\n{traceback.format_exc()}")
    return 0


def _of_others(error: BaseException) -> bool:
    """Whether it is the end of another rank that this one complains of."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def _say(connection: Connection, what: str, content: object) -> None:
    connection.send_bytes(cloudpickle.dumps((what, content)))


def _listen(connection: Connection, inbox: queue.SimpleQueue) -> None:
    """Commands come in; the end of the connection is the end of this process, whatever it is in the middle of."""
    try:
        while True:
            inbox.put(connection.recv())
    except (EOFError, OSError):
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main())

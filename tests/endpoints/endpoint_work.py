"""Task functions for the tests of remote data planes: importable by workers."""

import os
import signal

from scilab.planes import get, put


def twice(key, address):
    """Read a dict of tensors, write its double; and say from which site and process."""
    made = put(address, {name: 2 * tensor for name, tensor in get(key, edge="down").items()}, edge="up")
    return made, os.environ.get("PROXYSTORE_HOME"), os.getpid()


def write_and(address, obj, what):
    """Write, then come to a bad end."""
    put(address, obj)
    if what == "raise":
        raise ValueError("after writing")
    os.kill(os.getpid(), signal.SIGKILL)

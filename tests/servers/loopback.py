"""Ports of this machine's loopback, and servers that come up on them."""

import itertools
import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

DEADLINE_S = 60.0
LOWEST, PORTS = 10_000, 20_000
"""Linux gives a connection a port of 32,768 and above."""
EACH = 40
"""Ports of one process: more than it has servers at a time."""
_given = itertools.count()


def free_port() -> int:
    """A port that nobody listens on, and that the tests' other processes are not given at the same time.

    It lies below those that the system gives to connections: one of these would otherwise be on it at times when a
    server begins to listen, or comes back after it was killed.
    """
    first = LOWEST + os.getpid() % (PORTS // EACH) * EACH
    for _ in range(EACH):
        port = first + next(_given) % EACH
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError(f"the ports {first} to {first + EACH - 1} are all taken")


def is_listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Raises RuntimeError with the log of `process` when it ends instead, or takes too long; it is gone then."""
    end = time.monotonic() + DEADLINE_S
    while process.poll() is None and time.monotonic() < end:
        if ready():
            return
        time.sleep(0.01)
    process.kill()
    process.wait()
    raise RuntimeError(f"{process.args!r} did not start:\n{log.read_text(errors='replace')[-4000:]}")

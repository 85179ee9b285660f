"""Ports of this machine's loopback, and servers that come up on them."""

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

DEADLINE_S = 60.0


def free_port() -> int:
    """A port that nobody listens on now. Somebody else may take it before you do."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


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

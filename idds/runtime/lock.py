"""A lock on a folder or file that one process holds."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from idds.domain.errors import Unavailable


@contextmanager
def hold(path: str) -> Iterator[None]:
    """Hold the lock; it ends with the process at the latest. Raises Unavailable when another process holds it."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = Path(path).read_text() or "another process"
            raise Unavailable(
                f"{path.removesuffix('.lock')} is in use by process {owner}: SQLite means one process."
                " Stop that one, or give both a PostgreSQL (store.url in the settings)."
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        os.close(descriptor)

"""Files that say that somebody is at work; the lock ends with the process, however that ends."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path


class Lock:
    """A file that this process has made, or found, and locked."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    def leave(self) -> None:
        """Remove the file, and let it go."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def try_lock(path: Path) -> Lock | None:
    """None where somebody else has it. A file system without locks locks nobody out. Raises OSError."""
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            # Some file systems of clusters have none.
            return Lock(path, descriptor)
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(descriptor).st_ino:
                return Lock(path, descriptor)
        # Whoever had it has just removed it.
        os.close(descriptor)

"""Checkpoints: for each sample that is being evaluated a folder, found again by whoever goes on with it."""

import shutil
from pathlib import Path
from urllib.parse import urlsplit

from idds.sdk.locks import Lock, try_lock


class Checkpoints:
    """Of one study of the service at `url`, below `folder`, which any number of payloads may share."""

    def __init__(self, folder: Path, url: str, study: int) -> None:
        self._folder = folder.absolute() / urlsplit(url).netloc.replace(":", "-") / f"study-{study}"

    def take(self, sample: int) -> "Checkpoint | None":
        """The sample's, with what was left there; None while somebody else on this folder is still at it.

        Raises OSError where nothing can be written.
        """
        path = self._folder / f"sample-{sample}"
        path.mkdir(parents=True, exist_ok=True)
        lock = try_lock(path.with_suffix(".lock"))
        return None if lock is None else Checkpoint(path, lock)


class Checkpoint:
    """A folder that is ours until `leave` or `remove`."""

    def __init__(self, path: Path, lock: Lock) -> None:
        self.path = path
        self._lock = lock

    def is_written(self) -> bool:
        """Whether there is anything in it."""
        return any(self.path.iterdir())

    def leave(self) -> None:
        """Let it be, for the next one."""
        self._lock.leave()

    def remove(self) -> None:
        """Its sample has come to its end."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.leave()

"""Where a file lies: `root/RSE/scope/name`, with scope and name made safe as names of one folder and one file."""

import fcntl
import hashlib
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from idds.domain.identifiers import Did

PART = ".part"
"""What a file is called while it is written. No encoded name ends so."""
LONGEST = 200
"""Of an encoded name; a file system takes 255 bytes, and a part's name is longer by 38."""


def encode(name: str) -> str:
    """One file name for any text: no slash, no dot in front, never ending in `.part`, and no two texts the same."""
    quoted = quote(name, safe="").replace("~", "%7E")
    if quoted.startswith("."):
        quoted = "%2E" + quoted[1:]
    if quoted.endswith(PART):
        quoted = quoted.removesuffix(PART) + "%2Epart"
    if len(quoted) > LONGEST:
        # "%-" stands in no quoted text, so a shortened name meets no other one.
        digest = hashlib.sha256(name.encode()).hexdigest()[:40]
        quoted = f"{quoted[: LONGEST - 42]}%-{digest}"
    return quoted


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders under one root."""

    root: Path

    def folder(self, rse: str) -> Path:
        return self.root / rse

    def path(self, rse: str, did: Did) -> Path:
        return self.root / rse / encode(did.scope) / encode(did.name)

    def holding(self, rses: Collection[str], dids: Iterable[Did]) -> list[list[str]]:
        """For each file those RSEs that have one of its name."""
        return [[rse for rse in rses if self.path(rse, did).exists()] for did in dids]

    @property
    def catalogue(self) -> Path:
        return self.root / "catalogue.sqlite"

    @property
    def lock(self) -> Path:
        return self.root / "mover.lock"

    def create(self, rses: Iterable[str]) -> None:
        for rse in rses:
            self.folder(rse).mkdir(parents=True, exist_ok=True)

    def bytes_on(self, rse: str) -> int:
        """The sizes of all files in the RSE's folder, those being written too."""
        total = 0
        for path in _files(self.folder(rse)):
            with suppress(FileNotFoundError):
                total += path.stat().st_size
        return total

    def remove_leftovers(self, rses: Iterable[str]) -> None:
        """Delete the parts that nobody writes any more: a living writer holds a lock on its part."""
        for rse in rses:
            for path in _files(self.folder(rse)):
                if path.name.endswith(PART):
                    _remove_unlocked(path)


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def _remove_unlocked(path: Path) -> None:
    with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()

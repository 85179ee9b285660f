"""Looking at the disk: what really lies there, whatever the service says."""

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from idds.cli.demonstration.record import Record

INTERVAL_S = 0.05
QUIET_S = 1.0
"""Looks that saw no change are written down this often."""
PART = ".part"


@dataclass(frozen=True, slots=True)
class Look:
    """What lay on disk at one moment. `bytes` counts files half copied too; `names` are the complete ones."""

    bytes: int = 0
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Sight:
    """`staged` and `released` say how many files came and how many went until `at` (microseconds UTC)."""

    at: int
    bytes: int
    staged: int
    released: int
    looks: int


def look(folder: Path) -> Look:
    total = 0
    names: set[str] = set()
    for parent, _, files in os.walk(folder):
        for name in files:
            with suppress(FileNotFoundError):
                total += Path(parent, name).stat().st_size
                if not name.endswith(PART):
                    names.add(name)
    return Look(total, frozenset(names))


class DiskWatch:
    """Looks at a folder all the time, about twenty times a second, and goes on with the record of those before it."""

    def __init__(self, folder: Path, record: Record) -> None:
        self._folder = folder
        self._record = record
        self.last, self.released = _left_by(record)

    async def watch(self) -> None:
        """Until cancelled. `last` is what was seen last, `released` how many files went since the first look of all."""
        looks, written = 0, 0.0
        while True:
            now = await asyncio.to_thread(look, self._folder)
            looks += 1
            if now != self.last or time.monotonic() - written > QUIET_S:
                self._write(now, looks)
                looks, written = 0, time.monotonic()
            self.last = now
            await asyncio.sleep(INTERVAL_S)

    def _write(self, now: Look, looks: int) -> None:
        came, went = sorted(now.names - self.last.names), sorted(self.last.names - now.names)
        self.released += len(went)
        self._record.add({"at": time.time_ns() // 1000, "bytes": now.bytes, "came": came, "went": went, "looks": looks})


def _left_by(record: Record) -> tuple[Look, int]:
    """What lay there when the last look was written down, and how many files had gone by then."""
    names: set[str] = set()
    size = released = 0
    for entry in record:
        names.update(entry["came"])
        names.difference_update(entry["went"])
        size, released = entry["bytes"], released + len(entry["went"])
    return Look(size, frozenset(names)), released


def sights(record: Record) -> Sequence[Sight]:
    found: list[Sight] = []
    staged = released = 0
    for entry in record:
        staged += len(entry["came"])
        released += len(entry["went"])
        found.append(Sight(entry["at"], entry["bytes"], staged, released, entry["looks"]))
    return found

"""The emulated tape library of one tape RSE: drives that mount, seek and read."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from idds.ddm.posix.copying import Pace
from idds.ddm.posix.datasets import TapeCopy
from idds.ddm.posix.options import Tape
from idds.ddm.posix.recall import Recall
from idds.ddm.posix.schedule import Schedule

Transfer = Callable[[Recall, TapeCopy, Pace], Awaitable[None]]
"""Reads one file at a pace; raises nothing."""


@dataclass(frozen=True, slots=True)
class TapeStatistics:
    """Counted since this process began to move files. Reading on from where the head stands is no seek."""

    mounts: int = 0
    seeks: int = 0
    files: int = 0


@dataclass(slots=True)
class _Drive:
    cartridge: str | None = None
    head: int = 0


class TapeLibrary:
    """A task per drive. A cartridge is in one drive at most, and stays there until the drive needs another."""

    def __init__(self, tape: Tape, transfer: Transfer) -> None:
        self._tape = tape
        self._transfer = transfer
        self._schedule: Schedule[tuple[Recall, TapeCopy]] = Schedule()
        self._waiting: dict[str, tuple[Recall, TapeCopy]] = {}
        self._drives = [_Drive() for _ in range(tape.drives)]
        self._tasks: list[asyncio.Task[None]] = []
        self._arrival = asyncio.Event()
        self._mounts = self._seeks = self._files = 0

    @property
    def statistics(self) -> TapeStatistics:
        return TapeStatistics(self._mounts, self._seeks, self._files)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._work(drive), name="tape drive") for drive in self._drives]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def add(self, recall: Recall, copy: TapeCopy) -> None:
        self._waiting[recall.rule_id] = pair = (recall, copy)
        self._schedule.add(copy.cartridge, copy.position, pair)
        self._arrival.set()

    def remove(self, recall: Recall) -> bool:
        """Whether it was waiting still: then no drive will touch it."""
        pair = self._waiting.pop(recall.rule_id, None)
        return pair is not None and self._schedule.remove(pair[1].cartridge, pair[1].position, pair)

    async def _work(self, drive: _Drive) -> None:
        while True:
            elsewhere = {other.cartridge for other in self._drives if other is not drive and other.cartridge}
            cartridge = self._schedule.cartridge(drive.cartridge, elsewhere)
            if cartridge is None:
                self._arrival.clear()
                await self._arrival.wait()
                continue
            if cartridge != drive.cartridge:
                drive.cartridge, drive.head = cartridge, 0
                self._mounts += 1
                await asyncio.sleep(self._tape.mount_s)
            # Chosen after the mount: what arrived or was cancelled during it counts.
            if (chosen := self._schedule.next(cartridge, drive.head)) is not None:
                await self._read(drive, *chosen[1])

    async def _read(self, drive: _Drive, recall: Recall, copy: TapeCopy) -> None:
        del self._waiting[recall.rule_id]
        distance = abs(copy.position - drive.head)
        self._seeks += distance > 0
        self._files += 1
        drive.head = copy.position + 1
        seek_s = self._tape.seek_s * min(1.0, distance / copy.length)
        await self._transfer(recall, copy, Pace(self._tape.bytes_per_s, seek_s))

"""A tape library at work: drives, robot arms, and the queue of recalls that it puts into its own order."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush, heapreplace

from idds.simulation.layout import Layout
from idds.simulation.scenario import Library

SECOND = 1_000_000
"""Times are microseconds, as everywhere."""


def microseconds(seconds: float) -> int:
    return round(seconds * SECOND)


@dataclass(frozen=True, slots=True)
class Reading:
    """A drive reads a group from `begins` to `ends`; the first of its files is off the tape at `first_at`."""

    drive: int
    group: int
    begins: int
    first_at: int
    ends: int


@dataclass(slots=True)
class _Drive:
    cartridge: int | None = None
    at: int = 0


@dataclass(slots=True)
class _Queue:
    """What is wanted of one cartridge: before the head of the drive, and behind it, for the next sweep."""

    since: int
    bytes: int = 0
    ahead: list[tuple[int, int]] = field(default_factory=list)
    behind: list[tuple[int, int]] = field(default_factory=list)


class TapeLibrary:
    """Recalls are ordered; readings come back, each to be told as `read` when it ends."""

    def __init__(self, library: Library, layout: Layout) -> None:
        self.mounts = 0
        self._library = library
        self._layout = layout
        self._drives = [_Drive() for _ in range(library.drives)]
        self._idle = list(range(library.drives))
        self._arms = [0] * library.arms
        self._queues: dict[int, _Queue] = {}
        self._mounted: dict[int, int] = {}
        self._waiting: set[int] = set()

    def order(self, groups: Iterable[int], now: int) -> list[Reading]:
        """Put these into the queue; what the drives that were idle read now."""
        for group in groups:
            self._enqueue(group, now)
        started: list[Reading] = []
        for number in list(self._idle):
            if (reading := self._next(number, now)) is not None:
                self._idle.remove(number)
                started.append(reading)
        return started

    def read(self, drive: int, now: int) -> Reading | None:
        """The drive has ended a reading; what it reads now, None when there is nothing."""
        reading = self._next(drive, now)
        if reading is None:
            self._idle.append(drive)
        return reading

    def _enqueue(self, group: int, now: int) -> None:
        cartridge, at = self._layout.cartridge[group], self._layout.at[group]
        queue = self._queues.get(cartridge)
        if queue is None:
            queue = self._queues[cartridge] = _Queue(now)
        drive = self._mounted.get(cartridge)
        if drive is None:
            self._waiting.add(cartridge)
        is_passed = drive is not None and at < self._drives[drive].at
        heappush(queue.behind if is_passed else queue.ahead, (at, group))
        queue.bytes += self._layout.bytes[group]

    def _next(self, number: int, now: int) -> Reading | None:
        drive = self._drives[number]
        queue = self._queues.get(drive.cartridge) if drive.cartridge is not None else None
        begins = now
        if (queue is None or not queue.ahead) and (cartridge := self._choose(queue, now)) is not None:
            begins = self._mount(number, cartridge, now)
            queue = self._queues[cartridge]
        if queue is None:
            return None
        return self._read(number, drive, queue, begins)

    def _choose(self, own: _Queue | None, now: int) -> int | None:
        """The cartridge to bring; None when the mounted one is the best, or nothing is wanted of any other."""
        if not self._waiting:
            return None
        oldest = min(self._waiting, key=lambda cartridge: (self._queues[cartridge].since, cartridge))
        if self._queues[oldest].since + microseconds(self._library.patience_s) <= now:
            return oldest
        most = max(self._waiting, key=lambda cartridge: (self._queues[cartridge].bytes, -cartridge))
        return None if own is not None and own.bytes >= self._queues[most].bytes else most

    def _mount(self, number: int, cartridge: int, now: int) -> int:
        """When the drive can read, at the beginning of the cartridge."""
        library, drive = self._library, self._drives[number]
        if drive.cartridge is not None:
            now += microseconds(library.unload_s) + self._locating(drive.at)
            del self._mounted[drive.cartridge]
            if (left := self._queues.get(drive.cartridge)) is not None:
                left.ahead, left.behind, left.since = left.ahead + left.behind, [], now
                heapify(left.ahead)
                self._waiting.add(drive.cartridge)
        exchanged = max(now, self._arms[0]) + microseconds(library.exchange_s)
        heapreplace(self._arms, exchanged)
        self.mounts += 1
        self._waiting.remove(cartridge)
        self._mounted[cartridge] = number
        drive.cartridge, drive.at = cartridge, 0
        return exchanged + microseconds(library.load_s)

    def _read(self, number: int, drive: _Drive, queue: _Queue, begins: int) -> Reading:
        if not queue.ahead:
            queue.ahead, queue.behind = queue.behind, []
        at, group = heappop(queue.ahead)
        assert drive.cartridge is not None
        size, files = self._layout.bytes[group], self._layout.files[group]
        queue.bytes -= size
        if not (queue.ahead or queue.behind):
            del self._queues[drive.cartridge]
        begins += self._locating(at - drive.at)
        drive.at = at + size
        takes = microseconds(files * self._library.file_s + size / self._library.drive_bytes_s)
        return Reading(number, group, begins, begins + takes // files, begins + takes)

    def _locating(self, distance: int) -> int:
        return microseconds(self._library.locate_s * abs(distance) / self._library.cartridge_bytes)

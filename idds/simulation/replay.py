"""What a window would have done with a staging that was seen: the same tape, the same planner, a smaller disk."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from idds.domain.errors import InvalidInput, Problem
from idds.simulation.layout import Dataset, Layout
from idds.simulation.library import Reading, microseconds
from idds.simulation.running import Trial, smallest_window
from idds.simulation.scenario import Disk, Library, Planning, Requests, Scenario
from idds.simulation.trace import Trace

FAST = 1e15
"""Bytes a second: how fast the disk was is in what was seen."""
WITHIN = 1.05
"""A window is large enough when it takes no longer than this part of what it takes without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """What a Rucio does not tell. `process_s` from a file's landing on it is needed; `deletion_s` later it is gone.

    A recall that finds the tape idle takes `recall_s` more.
    """

    process_s: float = 600.0
    recall_s: float = 300.0
    deletion_s: float = 60.0
    batch: int = 1


class SeenTape:
    """A tape that is as fast as it was seen to be: each file takes as long as it came after the one before."""

    mounts = 0

    def __init__(self, takes: list[int], recall_s: float) -> None:
        self._takes = takes
        self._recall = microseconds(recall_s)
        self._queue: deque[int] = deque()
        self._reading = False

    def order(self, groups: Iterable[int], now: int) -> list[Reading]:
        self._queue.extend(groups)
        if self._reading or not self._queue:
            return []
        return [self._next(now + self._recall)]

    def read(self, drive: int, now: int) -> Reading | None:
        self._reading = False
        return self._next(now) if self._queue else None

    def _next(self, begins: int) -> Reading:
        group = self._queue.popleft()
        self._reading = True
        ends = begins + self._takes[group]
        return Reading(0, group, begins, ends, ends)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was seen, and what would have been enough.

    `used_bytes` were on disk at once at most, `before` files were there when the watch began. With a window of
    `enough_bytes` it would have taken `enough_s` from the first recall to the last file processed, `endless_s` with
    room for everything.
    """

    files: int
    bytes: int
    before: int
    seen_s: float
    used_bytes: int
    enough_bytes: int
    enough_s: float
    endless_s: float


def judge(trace: Trace, assumed: Assumed) -> Verdict:
    """Look for the smallest window. Raises InvalidInput where no file was seen to come."""
    trial = replay(trace, assumed)
    endless = trial.run("planned", trial.bytes)
    enough = smallest_window(trial, "planned", round(WITHIN * endless.makespan)) or endless
    return Verdict(
        files=endless.files,
        bytes=endless.bytes,
        before=trace.before,
        seen_s=trace.seconds,
        used_bytes=trace.used_bytes,
        enough_bytes=enough.window_bytes,
        enough_s=enough.makespan / 1e6,
        endless_s=endless.makespan / 1e6,
    )


def replay(trace: Trace, assumed: Assumed) -> Trial:
    """To be run with one window or another. Raises InvalidInput where no file was seen to come."""
    if not trace.landings or trace.began_at is None:
        raise InvalidInput([Problem("", "no file was seen to come to the disk: there is nothing to judge")])
    layout, takes = _lay_out(trace, trace.began_at, assumed.batch)
    scenario = Scenario(
        name="as it was seen",
        disk=Disk(window_bytes=sum(layout.bytes), bytes_s=FAST, deletion_s=assumed.deletion_s),
        libraries={"tape": Library(drives=1)},
        requests=[Requests(name="seen", library="tape", slots=len(takes), process_s=assumed.process_s)],
        planning=Planning(every_s=0.0),
    )
    return Trial(scenario, layout, lambda _: SeenTape(takes, assumed.recall_s), sum(takes))


def _lay_out(trace: Trace, began_at: int, batch: int) -> tuple[Layout, list[int]]:
    """The files in the order in which they came, in groups, and how long each group took to come."""
    layout = Layout()
    takes: list[int] = []
    at = 0
    for start in range(0, len(trace.landings), batch):
        group = trace.landings[start : start + batch]
        before = trace.landings[start - 1].at if start else began_at
        size = sum(max(1, landing.bytes) for landing in group)
        layout.files.append(len(group))
        layout.bytes.append(size)
        layout.cartridge.append(0)
        layout.at.append(at)
        takes.append(group[-1].at - before)
        at += size
    layout.datasets["seen"] = [Dataset("tape", 0, len(takes))]
    return layout, takes

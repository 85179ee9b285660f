"""The time a demo ran, without the time between a kill and the run that went on."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from idds.cli.demonstration.disk import Sight
from idds.cli.demonstration.record import Record


@dataclass(frozen=True, slots=True)
class Run:
    """From its start until it was last heard of (microseconds UTC)."""

    start: int
    end: int
    was_killed: bool


@dataclass(frozen=True, slots=True)
class Timeline:
    runs: tuple[Run, ...]

    @classmethod
    def of(cls, record: Record, sights: Sequence[Sight], now: int) -> Self:
        """`record` holds the start of every run, and the end of those that were not killed."""
        entries = list(record)
        starts = [entry["started"] for entry in entries if "started" in entry]
        ends = [entry["ended"] for entry in entries if "ended" in entry]
        runs = []
        for start, following in zip(starts, [*starts[1:], None], strict=True):
            if following is None:
                runs.append(Run(start, now, was_killed=False))
                continue
            orderly = [end for end in ends if start <= end < following]
            seen = [sight.at for sight in sights if start <= sight.at < following]
            runs.append(Run(start, max([*orderly, *seen], default=start), was_killed=not orderly))
        return cls(tuple(runs))

    def seconds(self, at: int) -> float:
        """How long the demo had run at a time (microseconds UTC); what fell between two runs counts as their border."""
        index = bisect_right([run.start for run in self.runs], at) - 1
        if index < 0:
            return 0.0
        before = sum(run.end - run.start for run in self.runs[:index])
        return (before + min(at, self.runs[index].end) - self.runs[index].start) / 1e6

    @property
    def kills_s(self) -> tuple[float, ...]:
        """When it was killed."""
        return tuple(self.seconds(run.end) for run in self.runs if run.was_killed)

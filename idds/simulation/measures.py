"""What a run is judged by."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from idds.simulation.requests import Request

FAIRNESS_SPANS = 50
"""In so many parts of the bound it is looked at who got how much."""
SIGHTS = 400
"""So many times in the bound the picture looks at the disk."""


@dataclass(frozen=True, slots=True)
class Sights:
    """Most bytes on disk, and bytes delivered, in each span of `span` microseconds."""

    span: int
    on_disk: Sequence[int]
    delivered: Sequence[int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one strategy on one scenario. Times are microseconds.

    `peak_bytes` were on disk at once at most, half written ones counted in full; `reserved_bytes` were promised room,
    `recalled_bytes` read from tape, more than once where they were deleted in between.
    `bound` is what tapes, network and jobs need at least, `makespan` when the last file was processed. `mounts` is of
    all libraries. `unfairness` is 1 minus Jain's index (DEC-TR-301, 1984) of what the requests that compete for a
    library got in the same span of time, on average over spans: 0 when all got the same, up to 1 - 1/n when one got
    all. `first` is, of each request, from its arrival to its first file, the shortest first; `lasted`
    from its arrival to its end, in the order of the scenario.
    """

    strategy: str
    window_bytes: int
    requests: int
    files: int
    bytes: int
    refused_groups: int
    bound: int
    makespan: int
    peak_bytes: int
    reserved_bytes: int
    recalled_bytes: int
    mounts: int
    first: Sequence[int]
    lasted: Sequence[int]
    unfairness: float
    sights: Sights

    @property
    def stretch(self) -> float:
        """The makespan as a multiple of the bound."""
        return self.makespan / self.bound

    @property
    def first_median(self) -> int:
        return self.first[len(self.first) // 2] if self.first else 0

    @property
    def first_last(self) -> int:
        """That of the request that waited longest."""
        return self.first[-1] if self.first else 0


class Measures:
    """Told of what happens while it happens."""

    def __init__(self, bound: int) -> None:
        self.peak_bytes = self.reserved_bytes = self.recalled_bytes = 0
        self._span = max(1, bound // FAIRNESS_SPANS)
        self._sight = max(1, bound // SIGHTS)
        self._now_bytes = 0
        self._on_disk: dict[int, int] = {}
        self._delivered: defaultdict[int, int] = defaultdict(int)
        self._got: defaultdict[int, defaultdict[int, int]] = defaultdict(lambda: defaultdict(int))
        """In each span: bytes of each request."""
        self._last: dict[int, int] = {}
        """When each request got its last bytes."""

    def on_disk(self, change: int, now: int) -> None:
        self._now_bytes += change
        self.peak_bytes = max(self.peak_bytes, self._now_bytes)
        sight = now // self._sight
        self._on_disk[sight] = max(self._on_disk.get(sight, 0), self._now_bytes)

    def recalled(self, size: int) -> None:
        self.recalled_bytes += size

    def reserved(self, size: int) -> None:
        self.reserved_bytes = max(self.reserved_bytes, size)

    def delivered(self, request: Request, size: int, now: int) -> None:
        self._delivered[now // self._sight] += size
        self._got[now // self._span][request.number] += size
        self._last[request.number] = now

    def sights(self) -> Sights:
        last = max([*self._on_disk, *self._delivered], default=0)
        on_disk: list[int] = []
        for number in range(last + 1):
            on_disk.append(self._on_disk.get(number, on_disk[-1] if on_disk else 0))
        return Sights(self._sight, on_disk, [self._delivered.get(number, 0) for number in range(last + 1)])

    def unfairness(self, requests: Iterable[Request]) -> float:
        """Only spans count all through which at least two requests wanted more of one library."""
        by_library: defaultdict[str, list[Request]] = defaultdict(list)
        for request in requests:
            if request.number in self._last:
                by_library[request.dataset.library].append(request)
        found: list[float] = []
        for span, got in sorted(self._got.items()):
            begins, ends = span * self._span, (span + 1) * self._span
            for rivals in by_library.values():
                open_ones = [r for r in rivals if r.arrives_at <= begins and self._last[r.number] >= ends]
                parts = [got.get(request.number, 0) for request in open_ones]
                if len(parts) > 1 and any(parts):
                    found.append(1 - jain(parts))
        return fmean(found) if found else 0.0


def jain(parts: Sequence[float]) -> float:
    """Jain's index of fairness: 1 when all parts are equal, 1/n when one has all."""
    squares = sum(part * part for part in parts)
    return float(sum(parts)) ** 2 / (len(parts) * squares) if squares else 1.0

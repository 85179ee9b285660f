"""What happened when, as a chart shows it: a value for each of some times."""

from dataclasses import dataclass

from idds.domain.identifiers import RequestId


@dataclass(frozen=True, slots=True)
class Took:
    """So many files took less than `up_to` microseconds, and half of that at least; None: longer than all others."""

    up_to: int | None
    files: int


@dataclass(frozen=True, slots=True)
class RequestSeries:
    """A request over time. Each series has a value for each of `at`, the ends of bins `width` wide (microseconds).

    `staged`, `processed`, `failed` and `released` count files up to then: those that became available, were done or
    failed, and whose replicas of ours are gone. `bytes_on_disk` are those of replicas of ours at that time,
    `bytes_per_s` what landed on average. `window_bytes` is what may be on disk at once, None: there is no limit, or
    several. `took` tells how long files took from their order to the disk.
    """

    request: RequestId
    width: int
    at: tuple[int, ...]
    staged: tuple[int, ...]
    processed: tuple[int, ...]
    failed: tuple[int, ...]
    released: tuple[int, ...]
    bytes_on_disk: tuple[int, ...]
    bytes_per_s: tuple[float, ...]
    window_bytes: int | None
    took: tuple[Took, ...]


@dataclass(frozen=True, slots=True)
class SourceSeries:
    """What came from one source (None: it is not known from where), for each of the times."""

    source: str | None
    files: tuple[int, ...]
    bytes_per_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Landings:
    """What landed on our disks of late; `at` are the ends of bins `width` wide (microseconds)."""

    width: int
    at: tuple[int, ...]
    sources: tuple[SourceSeries, ...]

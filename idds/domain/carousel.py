"""The carousel as people see it: tapes and disks, when things will have come, and what an order touches."""

from collections.abc import Mapping
from dataclasses import dataclass

from idds.domain.hold import Hold
from idds.domain.identifiers import CollectionId, RequestId
from idds.domain.replica import Window


@dataclass(frozen=True, slots=True)
class Eta:
    """In how many microseconds the last will have come; nine of ten times it is between `low` and `high`."""

    expected: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class TimesToStage:
    """Within how many microseconds after their order half of `files`, nine of ten, and 99 of 100 had come."""

    files: int
    p50: int | None
    p90: int | None
    p99: int | None


@dataclass(frozen=True, slots=True)
class TapeForecast:
    """A tape RSE (an empty name: those that nobody told of) and what comes from it to one disk RSE.

    `bytes_per_s` and `files_per_s` are of the last ten minutes, those `_1h` of the last hour; `times` of the last six
    hours. `in_flight` is what is ordered, the first of it at `oldest_at`. `waiting` counts contents not admitted yet.
    """

    tape: str
    rse: str
    held: str | None
    bytes_per_s: float
    files_per_s: float
    bytes_per_s_1h: float
    files_per_s_1h: float
    times: TimesToStage
    in_flight_files: int
    in_flight_bytes: int
    oldest_at: int | None
    waiting_inputs: int
    waiting: int


@dataclass(frozen=True, slots=True)
class DiskStanding:
    """A disk RSE: its window, what the service has there by status (files, bytes), and why it is held."""

    rse: str
    held: str | None
    window: Window | None
    replicas: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Carousel:
    """The whole carousel as of `at` (microseconds UTC)."""

    at: int
    tapes: tuple[TapeForecast, ...]
    disks: tuple[DiskStanding, ...]
    holds: tuple[Hold, ...]


@dataclass(frozen=True, slots=True)
class InputForecast:
    """An input that is staged. `left` counts contents that are to come, `waiting` those of them not admitted yet.

    `first_after` is how long the first took since the request was submitted; None while none is there. `eta` tells in
    how many microseconds the last will have come, None where nobody can tell; `says` tells from what, or why not.
    """

    collection: CollectionId
    did: str | None
    rse: str
    tape: str | None
    total: int
    left: int
    waiting: int
    first_after: int | None
    files_per_s: float
    eta: Eta | None
    says: str


@dataclass(frozen=True, slots=True)
class RequestForecast:
    """Of a request, as of `at` (microseconds UTC)."""

    request: RequestId
    at: int
    inputs: tuple[InputForecast, ...]


@dataclass(frozen=True, slots=True)
class Touched:
    """What an order touches, or would: files and their bytes, and of which requests. `more` files wait for another one.

    `says` tells in words what is done, and what is not.
    """

    verb: str
    entity: str
    dry_run: bool = False
    requests: tuple[RequestId, ...] = ()
    files: int = 0
    bytes: int = 0
    more: bool = False
    says: tuple[str, ...] = ()

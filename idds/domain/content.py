"""A content: one deliverable thing of a collection; and what happens to sets of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from idds.domain.identifiers import CollectionId, ContentId, MoveId, ReplicaId, RequestId
from idds.domain.statuses import ContentStatus


@dataclass(frozen=True, slots=True)
class Content:
    """A file (`min_id` = `max_id` = 0), a range of its events, or a sample (`payload` holds its parameters).

    `attempt` counts leases: it fences reports. Those of before a retry are `spent`: they count no more against the
    attempts of the work. `lease_until` is None where a processing leases for its lifetime. `events` is how many events
    a file was reported to have.
    """

    id: ContentId
    request_id: RequestId
    collection_id: CollectionId
    scope: str
    name: str
    min_id: int
    max_id: int
    bytes: int
    adler32: str | None
    group_no: int
    status: ContentStatus
    attempt: int
    lessee: str | None
    lease_until: int | None
    replica_id: ReplicaId | None
    reason: str | None
    payload: Mapping[str, Any] | None
    changed_at: int
    spent: int = 0
    events: int | None = None

    @property
    def tries(self) -> int:
        """How often it was leased, since the last retry if there was one."""
        return self.attempt - self.spent


class NewContent(NamedTuple):
    """A content to be registered. `group_no` says with which others it is admitted and processed.

    A tuple, because they come by the hundred thousand: a frozen dataclass takes three times as long to make.
    """

    name: str
    group_no: int
    scope: str = ""
    min_id: int = 0
    max_id: int = 0
    bytes: int = 0
    adler32: str | None = None
    replica_id: ReplicaId | None = None
    payload: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one content: `done`, or not, and why. `retry` is False when trying again is pointless.

    `events` is how many events a file turned out to have. `constraint_values` of a sample are each 0 or less where its
    result is feasible; one `is_pruned` was ended before its end, as there was no hope for it.
    """

    content_id: ContentId
    attempt: int
    done: bool
    reason: str | None = None
    retry: bool = True
    objective_values: tuple[float, ...] = ()
    events: int | None = None
    constraint_values: tuple[float, ...] = ()
    is_pruned: bool = False


@dataclass(frozen=True, slots=True)
class Intermediate:
    """What a sample's objective was at a step of its evaluation; not a number, or infinite, where it diverged."""

    content_id: ContentId
    attempt: int
    step: int
    value: float


@dataclass(frozen=True, slots=True)
class Advice:
    """Whether the evaluation of a sample is to stop, and why."""

    content_id: ContentId
    stop: bool
    reason: str | None = None


class Verdict(StrEnum):
    """What became of a report."""

    ACCEPTED = "accepted"
    AGAIN = "again"
    """Accepted as a failure; the content is delivered once more."""
    DUPLICATE = "duplicate"
    """This had been said before; nothing changed."""
    STALE = "stale"
    """Somebody else has the content by now, or has brought its outcome; nothing changed."""
    UNKNOWN = "unknown"
    """No such content in this collection."""


@dataclass(frozen=True, slots=True)
class Move:
    """A set of things changing status together, for one reason: the unit of history, of effects and of messages.

    `entity` is `collection:ID` or `rse:NAME` when `ids` are contents or replicas, else `request:ID` and the like.
    """

    id: MoveId
    request_id: RequestId | None
    entity: str
    event: str
    from_status: str | None
    to_status: str
    n: int
    ids: tuple[int, ...] = field(repr=False)
    agent: str
    reason: str | None
    at: int

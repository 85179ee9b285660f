"""Which status may follow which: one table per noun. Whatever stands not here does not happen."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from idds.domain.statuses import TERMINAL, ContentStatus, ReplicaStatus, Status

_ENDS = TERMINAL

_AGAIN = frozenset({Status.NEW})

# A retry makes all of it new again but what finished.
REQUEST: Mapping[Status, frozenset[Status]] = {
    Status.NEW: frozenset({Status.RUNNING, Status.FAILED, Status.CANCELLED}),
    Status.RUNNING: _ENDS | {Status.SUSPENDED},
    Status.SUSPENDED: _ENDS | {Status.RUNNING},
    **dict.fromkeys(_ENDS - {Status.FINISHED}, _AGAIN),
}

# One that finished is new again where it takes the outputs of one that is retried.
TRANSFORM: Mapping[Status, frozenset[Status]] = {
    Status.NEW: frozenset({Status.RUNNING, Status.FAILED, Status.CANCELLED}),
    Status.RUNNING: _ENDS,
    **dict.fromkeys(_ENDS, _AGAIN),
}

# A processing goes back to `new` when its next attempt is to be submitted; also an ended one, whose group has contents
# to be done again.
_OWN_ENDS = _ENDS - {Status.EXPIRED}
PROCESSING: Mapping[Status, frozenset[Status]] = {
    Status.NEW: frozenset({Status.READY, Status.SUBFINISHED, Status.FAILED, Status.CANCELLED, Status.NEW}),
    Status.READY: _OWN_ENDS | {Status.RUNNING, Status.NEW},
    Status.RUNNING: _OWN_ENDS | {Status.NEW},
    **dict.fromkeys(_OWN_ENDS, _AGAIN),
}


class IllegalTransition(Exception):
    """A decision that the table does not allow: a defect of the engine, never of the input."""


def check(table: Mapping[Status, frozenset[Status]], before: Status, after: Status) -> None:
    """Raises IllegalTransition unless `after` may follow `before`."""
    if before != after and after not in table.get(before, frozenset()):
        raise IllegalTransition(f"{before} -> {after}")


class ContentEvent(StrEnum):
    """Why a set of contents moves."""

    LISTED = "listed"
    """The source told of it."""
    LANDED = "landed"
    """What it holds is there: its replica is on disk, its parameters are drawn."""
    LEASED = "leased"
    """A consumer or a processing took it."""
    PROCESSED = "processed"
    """Its outcome came, and is good."""
    FAILED = "failed"
    """Its outcome came, and is final, or it cannot be had."""
    LOST = "lost"
    """The source has it no more."""
    RETURNED = "returned"
    """Whoever leased it went away, or failed and may try again."""
    CANCELLED = "cancelled"
    """Nobody wants it any more."""
    WITHDRAWN = "withdrawn"
    """Its replica went away before anybody took it: it waits until that is back."""
    RETRIED = "retried"
    """It came to a bad end, and is tried again from the beginning."""


S = TypeVar("S", ContentStatus, ReplicaStatus)


@dataclass(frozen=True, slots=True)
class Edge(Generic[S]):
    """From any of these statuses to that one."""

    sources: tuple[S, ...]
    target: S


_C = ContentStatus
CONTENT: Mapping[ContentEvent, Edge[ContentStatus]] = {
    ContentEvent.LISTED: Edge((), _C.NEW),
    ContentEvent.LANDED: Edge((_C.NEW,), _C.AVAILABLE),
    ContentEvent.LEASED: Edge((_C.AVAILABLE,), _C.LEASED),
    # From `available` too: an announced content is acknowledged without a lease, and a result that comes after its
    # lease ended is still knowledge.
    ContentEvent.PROCESSED: Edge((_C.LEASED, _C.AVAILABLE), _C.DONE),
    ContentEvent.FAILED: Edge((_C.NEW, _C.AVAILABLE, _C.LEASED), _C.FAILED),
    ContentEvent.LOST: Edge((_C.NEW,), _C.MISSING),
    ContentEvent.RETURNED: Edge((_C.LEASED,), _C.AVAILABLE),
    ContentEvent.CANCELLED: Edge((_C.NEW, _C.AVAILABLE, _C.LEASED), _C.CANCELLED),
    ContentEvent.WITHDRAWN: Edge((_C.AVAILABLE,), _C.NEW),
    ContentEvent.RETRIED: Edge((_C.FAILED, _C.MISSING, _C.CANCELLED), _C.NEW),
}


class ReplicaEvent(StrEnum):
    """Why a set of replicas moves."""

    ADMITTED = "admitted"
    """The windows have room for it: its bytes are reserved."""
    RECALLED = "recalled"
    """The data management took the order to stage it."""
    REDIRECTED = "redirected"
    """It is to be ordered anew, from another source."""
    LANDED = "landed"
    """It is on disk, complete."""
    REFUSED = "refused"
    """It cannot be had, and nothing of it is on disk: its bytes come back."""
    RELEASED = "released"
    """Nobody pins it any more: it is to be deleted."""
    VANISHED = "vanished"
    """The data management has it no more: it is recalled again, in the room that it has."""
    FORGOTTEN = "forgotten"
    """Somebody else was to bring it, or kept it, and that came to nothing: whoever wants it has it admitted anew."""
    DELETED = "deleted"
    """The data management says that it is gone: its bytes come back."""


_R = ReplicaStatus
REPLICA: Mapping[ReplicaEvent, Edge[ReplicaStatus]] = {
    # From `present` where it is not ours and nobody pins it: whether it is still there is asked again.
    ReplicaEvent.ADMITTED: Edge((_R.GONE, _R.PRESENT), _R.ADMITTED),
    ReplicaEvent.RECALLED: Edge((_R.ADMITTED,), _R.STAGING),
    ReplicaEvent.LANDED: Edge((_R.STAGING,), _R.PRESENT),
    ReplicaEvent.REDIRECTED: Edge((_R.STAGING,), _R.ADMITTED),
    ReplicaEvent.REFUSED: Edge((_R.ADMITTED,), _R.GONE),
    ReplicaEvent.VANISHED: Edge((_R.PRESENT,), _R.ADMITTED),
    ReplicaEvent.FORGOTTEN: Edge((_R.STAGING, _R.PRESENT), _R.GONE),
    ReplicaEvent.RELEASED: Edge((_R.STAGING, _R.PRESENT), _R.DELETING),
    ReplicaEvent.DELETED: Edge((_R.DELETING,), _R.GONE),
}

PINNABLE = (_R.ADMITTED, _R.STAGING, _R.PRESENT)
"""A content may pin a replica in these; one that is `deleting` takes no pin: the want waits for `gone`."""

PINNING = (_C.NEW, _C.AVAILABLE, _C.LEASED)
"""A content in these holds its pin."""

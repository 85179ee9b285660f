"""A single file: how it stands, what happened to it, and whether it gives trouble."""

from dataclasses import dataclass

from idds.domain.content import Content, Move
from idds.domain.identifiers import ReplicaId, RequestId
from idds.domain.statuses import ReplicaStatus


@dataclass(frozen=True, slots=True)
class Standing:
    """The replica of a file on a disk: what was done for it so far. Times are microseconds UTC.

    It comes from the tape `source`, where that is known; was ordered `ordered_times` times, last at `ordered_at`;
    landed at `landed_at`; and something was done `stalled_times` times because it made no progress, last at
    `stalled_at`. `ours` says that this service had it staged.
    """

    id: ReplicaId
    rse: str
    status: ReplicaStatus
    bytes: int
    ours: bool
    rule_id: str | None
    source: str | None
    path: str | None
    ordered_at: int | None
    ordered_times: int
    landed_at: int | None
    stalled_times: int
    stalled_at: int | None
    changed_at: int


@dataclass(frozen=True, slots=True)
class Story:
    """A content, its replica where it has one, and what happened to both: the moves they were part of, oldest first.

    Of what happened long ago in a very large collection not all may be told.
    """

    content: Content
    replica: Standing | None
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class OnItsWay:
    """A content that waits for its replica, which is being staged."""

    content: Content
    replica: Standing


@dataclass(frozen=True, slots=True)
class Troubles:
    """Of a request, as of `at` (microseconds UTC): those files that are longest on their way, and those that failed or
    went missing last. So many of each at most are told.
    """

    request: RequestId
    at: int
    on_their_way: tuple[OnItsWay, ...]
    ended_badly: tuple[Content, ...]

"""What the service tells of its things: frozen records, as the HTTP API has them. Times are microseconds UTC."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from idds.domain.access import Proof
from idds.domain.content import Intermediate, Outcome, Verdict
from idds.domain.identifiers import ContentId, RequestId, TransformId
from idds.domain.request import Role
from idds.domain.statuses import ContentStatus, Intent, Relation, SourceKind, Status
from idds.domain.transform import Transform
from idds.domain.workflow import Workflow

LONGEST_REASON = 4000
_NOT_IN_TEXTS = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class CollectionView:
    """An input or output set. `transform` is the id of whose it is; `did` is written `scope:name`."""

    id: int
    request: int
    transform: TransformId
    relation: Relation
    is_closed: bool
    counts: Mapping[ContentStatus, int]
    total: int
    source: SourceKind | None = None
    did: str | None = None
    rse: str | None = None

    def count(self, *statuses: ContentStatus) -> int:
        """How many contents have one of these statuses."""
        return sum(self.counts.get(status, 0) for status in statuses)


@dataclass(frozen=True, slots=True)
class RequestView:
    """A request. In a listing it comes without workflow, transforms and collections."""

    id: int
    name: str
    status: Status
    intent: Intent
    owner: str = ""
    vo: str = ""
    share: str = ""
    priority: int = 0
    reason: str | None = None
    created_at: int | None = None
    changed_at: int | None = None
    expires_at: int | None = None
    retries: int = 0
    workflow: Workflow | None = field(default=None, repr=False)
    transforms: tuple[Transform, ...] = ()
    collections: tuple[CollectionView, ...] = ()

    def transform(self, work: str) -> Transform:
        """The latest transform of a work. Raises KeyError when there is none."""
        found = [transform for transform in self.transforms if transform.work == work]
        if not found:
            raise KeyError(work)
        return max(found, key=lambda transform: transform.iteration)

    def collection(self, work: str, relation: Relation = Relation.INPUT) -> CollectionView:
        """The input, or output, of a work's latest transform. Raises KeyError when there is none."""
        transform = self.transform(work)
        for collection in self.collections:
            if collection.transform == transform.id and collection.relation is relation:
                return collection
        raise KeyError(f"{relation} of {work}")


@dataclass(frozen=True, slots=True)
class TransformView:
    """A transform and its collections."""

    id: TransformId
    request_id: RequestId
    work: str
    iteration: int
    status: Status
    open_processings: int
    changed_at: int
    collections: tuple[CollectionView, ...]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class MoveView:
    """A step of history: `n` things of an entity changed status together, for one reason.

    `request` is told with events, `ids` (of contents, replicas and the like) where they were asked for.
    """

    id: int
    entity: str
    event: str
    to_status: str
    n: int
    at: int
    from_status: str | None = None
    agent: str = ""
    reason: str | None = None
    request: int | None = None
    ids: tuple[int, ...] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ContentView:
    """One thing of a collection: a file, a range of its events (`min_id`..`max_id`), or a sample (`parameters`)."""

    id: int
    name: str
    status: ContentStatus
    scope: str = ""
    attempt: int = 0
    min_id: int = 0
    max_id: int = 0
    bytes: int = 0
    adler32: str | None = None
    path: str | None = None
    parameters: Mapping[str, Any] | None = None
    objective_values: tuple[float, ...] | None = None
    lessee: str | None = None
    lease_until: int | None = None
    reason: str | None = None
    changed_at: int | None = None


@dataclass(frozen=True, slots=True)
class NewContent:
    """A content to be registered: a file, a range of its events, or a sample with its `parameters`."""

    name: str
    scope: str = ""
    min_id: int = 0
    max_id: int = 0
    bytes: int | None = None
    adler32: str | None = None
    parameters: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """How many contents are new to their collection, and how many it had already."""

    registered: int
    known: int


@dataclass(frozen=True, slots=True)
class LeasedContent:
    """A content that is ours until `lease_until`. Its `attempt` goes with each heartbeat and report on it."""

    id: int
    attempt: int
    scope: str
    name: str
    min_id: int = 0
    max_id: int = 0
    bytes: int = 0
    adler32: str | None = None
    path: str | None = None
    parameters: Mapping[str, Any] | None = None
    lease_until: int | None = None

    def done(
        self, *objective_values: float, constraint_values: Sequence[float] = (), events: int | None = None
    ) -> Outcome:
        """To be reported: it is done; what came out if it is a sample, how many events it has if it is a file.

        What is not finite makes a sample a failure.
        """
        return Outcome(
            ContentId(self.id),
            self.attempt,
            done=True,
            objective_values=objective_values,
            events=events,
            constraint_values=tuple(constraint_values),
        )

    def at(self, step: int, value: float) -> Intermediate:
        """What a sample is at a step of its evaluation, for `Client.intermediate`."""
        return Intermediate(ContentId(self.id), self.attempt, step, value)

    def pruned(self) -> Outcome:
        """To be reported of a sample: it was stopped before its end, as there was no hope for it."""
        return Outcome(ContentId(self.id), self.attempt, done=True, is_pruned=True)

    def failed(self, reason: str, *, retry: bool = True) -> Outcome:
        """To be reported: it failed; `retry` is False when trying again is pointless.

        Of the reason is said what the service takes: `LONGEST_REASON` characters, and none that no text may hold.
        """
        said = _NOT_IN_TEXTS.sub("\ufffd", reason)
        if len(said) > LONGEST_REASON:
            said = said[: LONGEST_REASON - 1] + "…"
        return Outcome(ContentId(self.id), self.attempt, done=False, reason=said, retry=retry)


@dataclass(frozen=True, slots=True)
class Lease:
    """What was leased. `ended` says that no more will come from this collection."""

    contents: tuple[LeasedContent, ...]
    ended: bool


@dataclass(frozen=True, slots=True)
class Stopped:
    """A content that is not to be gone on with, and why."""

    id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Kept:
    """The ids of what is still held; and what of it is to stop."""

    held: tuple[int, ...] = ()
    stop: tuple[Stopped, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of the report on a content."""

    id: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Reported(Lease):
    """A receipt for each outcome that was reported; and what was leased with that."""

    receipts: tuple[Receipt, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """Whether the evaluation of a sample is to stop, and why: it is then reported as `LeasedContent.pruned`."""

    id: int
    stop: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ReplicasView:
    """How many replicas on an RSE have a status."""

    rse: str
    status: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SentenceView:
    """What is so, since when, and what happens next."""

    text: str
    since: int | None = None
    next: str | None = None


@dataclass(frozen=True, slots=True)
class TransformAnswer:
    """What a transform waits for, or what it came to."""

    id: int
    work: str
    status: Status
    sentences: tuple[SentenceView, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request and its transforms wait for, as of `at`, or what they came to."""

    request: int
    status: Status
    intent: Intent
    at: int
    sentences: tuple[SentenceView, ...]
    transforms: tuple[TransformAnswer, ...] = ()


@dataclass(frozen=True, slots=True)
class Whoami:
    """Who a token makes of its holder. `collection` is the only one that a payload's token is good for."""

    owner: str
    vo: str
    role: Role
    by: Proof
    shares: tuple[str, ...] | None = None
    collection: int | None = None
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class TokenView:
    """A token. Its secret, `token`, is known only where it was just made."""

    id: int
    owner: str
    vo: str
    role: Role
    shares: tuple[str, ...] | None
    collection: int | None
    note: str | None
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    revoked_at: int | None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who gives tokens that the service takes, and what the device flow asks it for."""

    name: str
    issuer: str
    client_id: str
    scopes: tuple[str, ...]
    audience: str | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who changed what. `call` is the id of the HTTP request that did it."""

    id: int
    at: int
    owner: str
    vo: str
    role: Role
    action: str
    entity: str
    call: str | None
    details: Mapping[str, Any] | None

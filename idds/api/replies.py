"""What is answered. Times are microseconds UTC; a cursor asks for the next page, null at the end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from idds.domain.agent import AgentProcess
from idds.domain.collection import Collection
from idds.domain.content import Move, Verdict
from idds.domain.identifiers import CollectionId, ContentId, MoveId, RequestId, TransformId
from idds.domain.processing import Processing
from idds.domain.redefinition import StudyVersion
from idds.domain.replica import Window
from idds.domain.request import Request, RequestSummary
from idds.domain.statuses import ContentStatus, Intent, Relation, SourceKind, Status
from idds.domain.study import Sample, StudySummary
from idds.domain.transform import Transform
from idds.domain.workflow import Workflow
from idds.services.delivery import Delivered, Receipt


@dataclass(frozen=True, slots=True)
class CollectionReply:
    """An input or output of a transform. `counts` says how many of its contents have each status."""

    id: CollectionId
    request: RequestId
    transform: TransformId
    relation: Relation
    source: SourceKind | None
    did: str | None
    rse: str | None
    is_closed: bool
    counts: Mapping[ContentStatus, int]
    total: int


@dataclass(frozen=True, slots=True)
class RequestReply:
    """A request and what belongs to it."""

    id: RequestId
    name: str
    status: Status
    intent: Intent
    owner: str
    vo: str
    share: str
    priority: int
    created_at: int
    changed_at: int
    expires_at: int | None
    retries: int
    reason: str | None
    workflow: Workflow
    transforms: Sequence[Transform]
    collections: Sequence[CollectionReply]


@dataclass(frozen=True, slots=True)
class VersionsReply:
    """What a study was, version by version. `next` asks for the versions after those."""

    versions: Sequence[StudyVersion]
    next: int | None


@dataclass(frozen=True, slots=True)
class RequestPage:
    requests: Sequence[RequestSummary]
    next: int | None


@dataclass(frozen=True, slots=True)
class TransformReply:
    """A transform with its collections. `open_processings` counts those that have not ended."""

    id: TransformId
    request_id: RequestId
    work: str
    iteration: int
    status: Status
    open_processings: int
    changed_at: int
    reason: str | None
    collections: Sequence[CollectionReply]


@dataclass(frozen=True, slots=True)
class TransformsReply:
    transforms: Sequence[Transform]


@dataclass(frozen=True, slots=True)
class ProcessingPage:
    processings: Sequence[Processing]
    next: int | None


@dataclass(frozen=True, slots=True)
class MoveReply:
    """That `n` things of `entity` changed status together; their `ids`, where those were asked for."""

    id: MoveId
    entity: str
    event: str
    from_status: str | None
    to_status: str
    n: int
    agent: str
    reason: str | None
    at: int
    ids: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class MovePage:
    moves: Sequence[MoveReply]
    next: int | None


@dataclass(frozen=True, slots=True)
class ContentReply:
    """A content. `path` is where its file lies; `parameters` were given with it, or are a sample's.

    Field by field it is what the store lists.
    """

    id: ContentId
    scope: str
    name: str
    min_id: int
    max_id: int
    bytes: int
    adler32: str | None
    status: ContentStatus
    attempt: int
    lessee: str | None
    lease_until: int | None
    reason: str | None
    changed_at: int
    path: str | None
    parameters: Mapping[str, Any] | None
    objective_values: Sequence[float] | None


@dataclass(frozen=True, slots=True)
class ContentPage:
    contents: Sequence[ContentReply]
    next: int | None


@dataclass(frozen=True, slots=True)
class StudyPage:
    studies: Sequence[StudySummary]
    next: CollectionId | None


@dataclass(frozen=True, slots=True)
class StudySamplePage:
    samples: Sequence[Sample]
    next: int | None


@dataclass(frozen=True, slots=True)
class BestReply:
    samples: Sequence[Sample]


@dataclass(frozen=True, slots=True)
class LeasedContent:
    """A content that is leased until `lease_until`: report it with its `attempt`."""

    id: ContentId
    attempt: int
    scope: str
    name: str
    min_id: int
    max_id: int
    bytes: int
    adler32: str | None
    path: str | None
    parameters: Mapping[str, Any] | None
    lease_until: int | None


@dataclass(frozen=True, slots=True)
class LeaseReply:
    """`ended` says that nothing will ever come again: a consumer may stop."""

    contents: Sequence[LeasedContent]
    ended: bool


@dataclass(frozen=True, slots=True)
class RegisterReply:
    """How many contents are new to the collection, and how many it had already: those stay as they are."""

    registered: int
    known: int


@dataclass(frozen=True, slots=True)
class StopReply:
    id: ContentId
    reason: str


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    """The contents whose lease still holds; and of them the samples whose evaluation is to stop, and why."""

    held: Sequence[ContentId]
    stop: Sequence[StopReply]


@dataclass(frozen=True, slots=True)
class AdviceReply:
    id: ContentId
    stop: bool
    reason: str | None


@dataclass(frozen=True, slots=True)
class IntermediateReply:
    """For each sample whether its evaluation is to stop, and why: it is then reported as done and pruned."""

    samples: Sequence[AdviceReply]


@dataclass(frozen=True, slots=True)
class ReturnReply:
    """The contents whose lease still held, and has ended."""

    returned: Sequence[ContentId]


@dataclass(frozen=True, slots=True)
class ReceiptReply:
    id: ContentId
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ReportReply:
    """What became of each report, in order; and what the lease brought that was asked for with them.

    `ended` says that nothing will ever come again; without a lease nobody looked.
    """

    receipts: Sequence[ReceiptReply]
    contents: Sequence[LeasedContent] = ()
    ended: bool = False


@dataclass(frozen=True, slots=True)
class TokenReply:
    """The token is shown this once."""

    token: str


@dataclass(frozen=True, slots=True)
class WindowsReply:
    windows: Sequence[Window]


@dataclass(frozen=True, slots=True)
class ReplicaCount:
    """How many replicas of an RSE have a status, and their bytes."""

    rse: str
    status: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ReplicasReply:
    replicas: Sequence[ReplicaCount]


@dataclass(frozen=True, slots=True)
class AgentsReply:
    agents: Sequence[AgentProcess]


@dataclass(frozen=True, slots=True)
class RucioEventsReply:
    """`news` of the `received` events were of replicas of ours, and had not been told before."""

    received: int
    news: int


@dataclass(frozen=True, slots=True)
class HealthReply:
    status: str


def of_request(request: Request) -> RequestSummary:
    return RequestSummary(
        id=request.id,
        name=request.name,
        status=request.status,
        intent=request.intent,
        owner=request.owner,
        vo=request.vo,
        share=request.share,
        priority=request.priority,
        created_at=request.created_at,
        changed_at=request.changed_at,
        expires_at=request.expires_at,
        retries=request.retries,
        reason=request.reason,
    )


def of_whole_request(
    request: Request, transforms: Sequence[Transform], collections: Sequence[Collection]
) -> RequestReply:
    return RequestReply(
        id=request.id,
        name=request.name,
        status=request.status,
        intent=request.intent,
        owner=request.owner,
        vo=request.vo,
        share=request.share,
        priority=request.priority,
        created_at=request.created_at,
        changed_at=request.changed_at,
        expires_at=request.expires_at,
        retries=request.retries,
        reason=request.reason,
        workflow=request.workflow,
        transforms=transforms,
        collections=[of_collection(collection) for collection in collections],
    )


def of_collection(collection: Collection) -> CollectionReply:
    return CollectionReply(
        id=collection.id,
        request=collection.request_id,
        transform=collection.transform_id,
        relation=collection.relation,
        source=collection.source,
        did=str(collection.did) if collection.did else None,
        rse=collection.rse,
        is_closed=collection.is_closed,
        counts=dict(collection.counts),
        total=collection.total,
    )


def of_transform(transform: Transform, collections: Sequence[Collection]) -> TransformReply:
    return TransformReply(
        id=transform.id,
        request_id=transform.request_id,
        work=transform.work,
        iteration=transform.iteration,
        status=transform.status,
        open_processings=transform.open_processings,
        changed_at=transform.changed_at,
        reason=transform.reason,
        collections=[of_collection(collection) for collection in collections],
    )


def of_move(move: Move, *, with_ids: bool = False) -> MoveReply:
    return MoveReply(
        id=move.id,
        entity=move.entity,
        event=move.event,
        from_status=move.from_status,
        to_status=move.to_status,
        n=move.n,
        agent=move.agent,
        reason=move.reason,
        at=move.at,
        ids=move.ids if with_ids else None,
    )


def of_delivered(delivered: Delivered) -> LeasedContent:
    content = delivered.content
    return LeasedContent(
        id=content.id,
        attempt=content.attempt,
        scope=content.scope,
        name=content.name,
        min_id=content.min_id,
        max_id=content.max_id,
        bytes=content.bytes,
        adler32=content.adler32,
        path=delivered.path,
        parameters=(content.payload or {}).get("parameters"),
        lease_until=content.lease_until,
    )


def of_receipt(receipt: Receipt) -> ReceiptReply:
    return ReceiptReply(receipt.content_id, receipt.verdict)

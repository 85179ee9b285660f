"""Things as the engine sees them, with what a test does not care about filled in."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from idds.domain.collection import Collection
from idds.domain.content import Content
from idds.domain.identifiers import (
    CollectionId,
    ContentId,
    Handle,
    ProcessingId,
    RequestId,
    TransformId,
    WindowId,
)
from idds.domain.job import JobState
from idds.domain.processing import Processing
from idds.domain.replica import Window
from idds.domain.request import Request
from idds.domain.statuses import ContentStatus, Intent, JobStatus, Relation, SourceKind, Status
from idds.domain.transform import Transform
from idds.domain.workflow import Input, Output, Parameter, Payload, Samples, Work, Workflow

THEN = 1_000
NOW = 2_000
PAYLOAD = Payload(argv=("run",))
SPACE = {"x": Parameter(type="float", low=0, high=1)}


def a_request(*works: Work, status: Status = Status.RUNNING, intent: Intent = Intent.RUN) -> Request:
    return Request(
        id=RequestId(1),
        name="example",
        status=status,
        intent=intent,
        owner="somebody",
        vo="vo",
        share="",
        priority=0,
        workflow=Workflow(name="example", works=works or (Work(name="only", payload=PAYLOAD),)),
        created_at=THEN,
        changed_at=THEN,
    )


def a_transform(status: Status = Status.RUNNING, open_processings: int = 0) -> Transform:
    return Transform(TransformId(1), RequestId(1), "work", 0, status, open_processings, THEN)


def a_processing(
    status: Status = Status.RUNNING, *, attempt: int = 1, intent: Intent = Intent.RUN, handle: str | None = "job"
) -> Processing:
    return Processing(
        id=ProcessingId(1),
        request_id=RequestId(1),
        transform_id=TransformId(1),
        group_no=0,
        attempt=attempt,
        status=status,
        intent=intent,
        provider="local",
        handle=None if handle is None or status is Status.NEW else Handle(handle),
        exit_code=None,
        usage=None,
        reason=None,
        submitted_at=None,
        ended_at=None,
        changed_at=THEN,
    )


def a_collection(
    source: SourceKind | None = SourceKind.DATASET,
    counts: Mapping[ContentStatus, int] | None = None,
    *,
    closed: bool = True,
    batch: int = 1,
    next_no: int | None = None,
    unadmitted: int = 0,
) -> Collection:
    counter = Counter(counts or {})
    return Collection(
        id=CollectionId(1),
        request_id=RequestId(1),
        transform_id=TransformId(1),
        relation=Relation.INPUT,
        source=source,
        did=None,
        rse="DISK",
        batch=batch,
        is_closed=closed,
        listed_to=None,
        next_no=counter.total() if next_no is None else next_no,
        unadmitted=unadmitted,
        counts=counter,
    )


def a_content(status: ContentStatus = ContentStatus.LEASED, attempt: int = 1) -> Content:
    return Content(
        id=ContentId(1),
        request_id=RequestId(1),
        collection_id=CollectionId(1),
        scope="data",
        name="file",
        min_id=0,
        max_id=0,
        bytes=1,
        adler32=None,
        group_no=0,
        status=status,
        attempt=attempt,
        lessee="me" if status is ContentStatus.LEASED else None,
        lease_until=NOW if status is ContentStatus.LEASED else None,
        replica_id=None,
        reason=None,
        payload=None,
        changed_at=THEN,
    )


def a_window(
    limit_bytes: int | None = None,
    limit_files: int | None = None,
    *,
    reserved_bytes: int = 0,
    reserved_files: int = 0,
    kind: str = "rse",
) -> Window:
    return Window(WindowId(1), kind, "DISK", limit_bytes, reserved_bytes, limit_files, reserved_files)


def a_state(status: JobStatus, reason: str | None = None) -> JobState:
    return JobState(status, NOW, str(status), exit_code=0 if status is JobStatus.SUCCEEDED else 1, reason=reason)


def files(name: str = "files", **changes: object) -> Work:
    """A work that takes the files of a dataset."""
    return replace(Work(name=name, input=Input(dataset="data:set"), payload=PAYLOAD), **changes)  # type: ignore[arg-type]


def makes(name: str, **changes: object) -> Work:
    """A work that runs alone and has outputs."""
    return replace(Work(name=name, payload=PAYLOAD, output=Output(dataset="data:out")), **changes)  # type: ignore[arg-type]


def takes(name: str, outputs: str, **changes: object) -> Work:
    """A work that takes the outputs of another."""
    return replace(Work(name=name, payload=PAYLOAD, input=Input(outputs=outputs)), **changes)  # type: ignore[arg-type]


def study(count: int = 10, **changes: object) -> Work:
    """A work that evaluates samples."""
    source = Input(samples=Samples(space=SPACE, sampler="random", count=count))
    return replace(Work(name="study", payload=PAYLOAD, input=source), **changes)  # type: ignore[arg-type]

"""A transform: one instance of a work."""

from dataclasses import dataclass

from idds.domain.identifiers import RequestId, TransformId
from idds.domain.statuses import Status


@dataclass(frozen=True, slots=True)
class Transform:
    """`open_processings` counts those that have not ended."""

    id: TransformId
    request_id: RequestId
    work: str
    iteration: int
    status: Status
    open_processings: int
    changed_at: int
    reason: str | None = None

"""What callers send: bodies and query parameters, read strictly."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from idds.domain.statuses import ContentStatus, Status
from idds.domain.workflow import Workflow

LARGEST_ID = 2**63 - 1
MAX_AT_ONCE = 10_000

Identifier = Annotated[int, Field(ge=1, le=LARGEST_ID)]
Seconds = Annotated[float, Field(gt=0)]
After = Annotated[
    int, Field(ge=0, le=LARGEST_ID, description="Rows with ids above this one: `next` of the page before.")
]
Before = Annotated[
    int, Field(ge=1, le=LARGEST_ID, description="Rows with ids below this one: `next` of the page before.")
]
Limit = Annotated[int, Field(ge=1, le=1000, description="How many at most.")]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Bulk(_Body):
    """Many small records of types, bounds and lengths, without rules of their own: read several times as fast."""


class _Query(BaseModel):
    # Query parameters are text: numbers are read out of it.
    model_config = ConfigDict(extra="forbid", frozen=True)


class SubmitBody(_Body):
    """A request to be carried out."""

    workflow: Workflow
    share: Annotated[str, Field(max_length=128)] = ""
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0


def _of_outside(lessee: str) -> str:
    if lessee.startswith("processing:"):
        raise ValueError("names that begin with 'processing:' are the service's own")
    return lessee


class LeaseBody(_Body):
    """Contents to be leased. Without `ttl_s` the service's default holds; `wait_s` is cut to its longest wait."""

    lessee: Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_of_outside)]
    count: Annotated[int, Field(ge=1, le=MAX_AT_ONCE)] = 1
    ttl_s: Seconds | None = None
    wait_s: Annotated[float, Field(ge=0)] = 0.0


class Held(_Body):
    """A leased content and the attempt under which it is held."""

    id: Identifier
    attempt: Annotated[int, Field(ge=1, le=2**31 - 1)]


class HeartbeatBody(Bulk):
    """Leases that are to hold `ttl_s` from now."""

    held: Annotated[list[Held], Field(min_length=1, max_length=MAX_AT_ONCE)]
    ttl_s: Seconds | None = None


class Report(_Body):
    """What came of a content. Attempt 0 acknowledges one that was announced and never leased."""

    id: Identifier
    attempt: Annotated[int, Field(ge=0, le=2**31 - 1)]
    status: Literal["done", "failed"]
    reason: Annotated[str, Field(max_length=4000)] | None = None
    retry: bool = True
    objective_values: Annotated[list[float], Field(max_length=100)] = []


class ReportBody(Bulk):
    """Outcomes of contents."""

    reports: Annotated[list[Report], Field(min_length=1, max_length=MAX_AT_ONCE)]


class TokenBody(_Body):
    """A token for payloads. Without `lifetime_s` the service's default holds."""

    lifetime_s: Seconds | None = None


class RequestsQuery(_Query):
    """Which requests: newest first, with ids below `before`."""

    status: Annotated[Status | None, Field(description="Those in this status only.")] = None
    before: Before | None = None
    limit: Limit = 100


class PageQuery(_Query):
    """Which rows: in id order, with ids above `after`."""

    after: After = 0
    limit: Limit = 100


class ContentsQuery(_Query):
    """Which contents: in id order, with ids above `after`. A stream has no `limit`."""

    status: Annotated[ContentStatus | None, Field(description="Those in this status only.")] = None
    after: After = 0
    limit: Annotated[int, Field(ge=1, le=MAX_AT_ONCE, description="How many at most; a stream has no limit.")] = 1000


class LogsQuery(_Query):
    """Which bytes: up to `limit` from `offset`; a negative offset counts from the end."""

    offset: Annotated[
        int, Field(ge=-LARGEST_ID, le=LARGEST_ID, description="Where to begin; below zero, from the end.")
    ] = 0
    limit: Annotated[int, Field(ge=1, le=2**20, description="How many bytes at most.")] = 65536


class NoQuery(_Query):
    """No parameters."""

"""What callers send: bodies and query parameters, read strictly."""

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from idds.domain.hold import HoldKind
from idds.domain.redefinition import Change
from idds.domain.request import Role
from idds.domain.statuses import ContentStatus, Status
from idds.domain.workflow import Workflow
from idds.engine.numbers import NotFinite

LARGEST_ID = 2**63 - 1
MAX_AT_ONCE = 10_000
MAX_VALUES_AT_ONCE = 1000

Identifier = Annotated[int, Field(ge=1, le=LARGEST_ID)]
Seconds = Annotated[float, Field(gt=0)]
Number = float | NotFinite
"""Of an evaluation, which may have diverged."""
EventNumber = Annotated[int, Field(ge=0, le=LARGEST_ID)]
Lifetime = Annotated[float, Field(ge=0.001, le=10**9)]
After = Annotated[
    int, Field(ge=0, le=LARGEST_ID, description="Rows with ids above this one: `next` of the page before.")
]
Before = Annotated[
    int, Field(ge=1, le=LARGEST_ID, description="Rows with ids below this one: `next` of the page before.")
]
Limit = Annotated[int, Field(ge=1, le=1000, description="How many at most.")]


Name = Annotated[str, Field(min_length=1, max_length=256)]


Statuses = Annotated[
    tuple[Status, ...],
    Field(max_length=len(Status), description="Those in one of these only; may be given several times."),
]


class _Body(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class Bulk(_Body):
    """Many small records of types, bounds and lengths, without rules of their own: read several times as fast."""


class _Query(BaseModel):
    # Query parameters are text: numbers are read out of it.
    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _in_digits(cls, value: Any, field: ValidationInfo) -> Any:
        if _is_integer(cls.model_fields[str(field.field_name)].annotation) and not _DIGITS.fullmatch(str(value)):
            raise ValueError("write a whole number, in digits")
        return value


_DIGITS = re.compile("-?[0-9]{1,19}")


def _is_integer(kind: Any) -> bool:
    return kind is int or any(_is_integer(each) for each in get_args(kind))


class SubmitBody(_Body):
    """A request to be carried out. Another `owner` than the caller is for wfms and operators."""

    workflow: Workflow
    share: Annotated[str, Field(max_length=128)] = ""
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    lifetime_s: Lifetime | None = None
    owner: Name | None = None


class RetryBody(_Body):
    """Without `lifetime_s` the service's default holds."""

    lifetime_s: Lifetime | None = None


class ExtendBody(_Body):
    """When a request expires: `lifetime_s` from now; null: never."""

    lifetime_s: Lifetime | None


class NextLease(Bulk):
    """Contents to be leased, of what is available. Without `ttl_s` the service's default holds."""

    lessee: Name
    count: Annotated[int, Field(ge=1, le=MAX_AT_ONCE)] = 1
    ttl_s: Seconds | None = None


class LeaseBody(NextLease):
    """Contents to be leased. Without `ttl_s` the service's default holds; `wait_s` is cut to its longest wait."""

    wait_s: Annotated[float, Field(ge=0)] = 0.0


class RedefineBody(_Body):
    """What changes of a study's space, one after the other, and why; only of version `if_version` where that is given.

    `change` says what a change is: narrow, widen, choices, drop, fix, add, constrain or unconstrain.
    """

    changes: Annotated[
        tuple[Annotated[Change, Field(discriminator="change")], ...], Field(min_length=1, max_length=1000)
    ]
    reason: Annotated[str, Field(min_length=1, max_length=1000)]
    if_version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None


class Held(_Body):
    """A leased content and the attempt under which it is held."""

    id: Identifier
    attempt: Annotated[int, Field(ge=1, le=2**31 - 1)]


class HeartbeatBody(Bulk):
    """Leases that are to hold `ttl_s` from now."""

    held: Annotated[list[Held], Field(min_length=1, max_length=MAX_AT_ONCE)]
    ttl_s: Seconds | None = None


class ReturnBody(Bulk):
    """Leases that end, of contents that were not begun."""

    held: Annotated[list[Held], Field(min_length=1, max_length=MAX_AT_ONCE)]


class Report(_Body):
    """What came of a content. Attempt 0 acknowledges one that was announced and never leased.

    `events` is how many events a file has: another work may have it cut into ranges. A sample that is done has
    `objective_values`, and `constraint_values` where its study wants them; one that is `pruned` was stopped before its
    end and has none. A value that is not finite makes it a failure.
    """

    id: Identifier
    attempt: Annotated[int, Field(ge=0, le=2**31 - 1)]
    status: Literal["done", "failed"]
    reason: Annotated[str, Field(max_length=4000)] | None = None
    retry: bool = True
    objective_values: Annotated[list[Number], Field(max_length=100)] = []
    events: Annotated[int, Field(ge=0, le=LARGEST_ID)] | None = None
    constraint_values: Annotated[list[Number], Field(max_length=100)] = []
    pruned: bool = False


class ReportBody(Bulk):
    """Outcomes of contents; and the `lease` that is wanted next, if one is."""

    reports: Annotated[list[Report], Field(min_length=1, max_length=MAX_AT_ONCE)]
    lease: NextLease | None = None


class IntermediateValue(_Body):
    """What the objective of a leased sample is at a step of its evaluation, counted as the payload likes."""

    id: Identifier
    attempt: Annotated[int, Field(ge=1, le=2**31 - 1)]
    step: Annotated[int, Field(ge=0, le=2**53)]
    value: Number


class IntermediateBody(Bulk):
    """Values on the way."""

    values: Annotated[list[IntermediateValue], Field(min_length=1, max_length=MAX_VALUES_AT_ONCE)]


class NewContentBody(Bulk):
    """A content to be registered: a file, a range of its events, or what payloads take as `parameters`.

    `min_id`..`max_id` are events of a file, counted from 1; 0..0 is all of it. Files to be staged need their `scope`
    and `bytes`. `adler32` is eight hex digits.
    """

    name: Annotated[str, Field(min_length=1, max_length=512)]
    scope: Annotated[str, Field(max_length=64)] = ""
    min_id: EventNumber = 0
    max_id: EventNumber = 0
    bytes: Annotated[int, Field(ge=0, le=10**18)] | None = None
    adler32: Annotated[str, Field(min_length=8, max_length=8)] | None = None
    parameters: Annotated[dict[str, Any], Field(max_length=1000)] | None = None


class RegisterBody(Bulk):
    """Contents to be registered."""

    contents: Annotated[list[NewContentBody], Field(min_length=1, max_length=MAX_AT_ONCE)]


class TokenBody(_Body):
    """A token for payloads. Without `lifetime_s` the service's default holds."""

    lifetime_s: Seconds | None = None


class NewTokenBody(_Body):
    """A token for the caller itself, or for whom it may speak. What is not given is the caller's own."""

    role: Annotated[Role, Field(strict=False)] | None = None
    owner: Name | None = None
    vo: Name | None = None
    shares: Annotated[list[Annotated[str, Field(max_length=128)]], Field(min_length=1, max_length=100)] | None = None
    lifetime_s: Lifetime | None = None
    note: Annotated[str, Field(max_length=256)] | None = None


class HoldBody(_Body):
    """A tape RSE or tape system, or a disk RSE, that is not to be used for now; and why."""

    kind: Annotated[HoldKind, Field(strict=False)]
    ref: Name
    reason: Annotated[str, Field(min_length=1, max_length=1000)]


class ResumeBody(_Body):
    """A tape RSE or tape system, or a disk RSE, that is held."""

    kind: Annotated[HoldKind, Field(strict=False)]
    ref: Name


class ChangeWindowBody(_Body):
    """Other limits for the window of the disk `rse`, or of the input `collection`; null for none of this sort.

    With `reset` those of the settings, or of the workflow, hold again.
    """

    rse: Name | None = None
    collection: Identifier | None = None
    bytes: Annotated[int, Field(gt=0, le=LARGEST_ID)] | None = None
    files: Annotated[int, Field(gt=0, le=LARGEST_ID)] | None = None
    reset: bool = False


class RetireBody(_Body):
    """What is on the disk `rse` by the service's doing, and nobody has used for `idle_s` seconds."""

    rse: Name
    idle_s: Annotated[float, Field(ge=0, le=10**9)]


class ChangeSourceBody(_Body):
    """The tape RSE to recall from; with `under_way` also what is being recalled from another one."""

    source: Name
    under_way: bool = False


class ChangeDestinationBody(_Body):
    """The disk RSE to bring files to."""

    rse: Name


class OrderQuery(_Query):
    """Whether the order is carried out."""

    dry_run: Annotated[bool, Field(description="Only tell what the order would touch, and change nothing.")] = False


class RequestsQuery(_Query):
    """Which requests: newest first, with ids below `before`."""

    status: Statuses = ()
    owner: Annotated[str | None, Field(max_length=256, description="Those of this owner only.")] = None
    share: Annotated[str | None, Field(max_length=128, description="Those of this share only.")] = None
    name: Annotated[str | None, Field(max_length=128, description="Those whose name begins so only.")] = None
    before: Before | None = None
    limit: Limit = 100


class LandingsQuery(_Query):
    """How far back."""

    span_s: Annotated[int, Field(ge=60, le=30 * 86400, description="The last so many seconds.")] = 3 * 3600


class PageQuery(_Query):
    """Which rows: in id order, with ids above `after`."""

    after: After = 0
    limit: Limit = 100


class VersionsQuery(_Query):
    """Which versions of a study: in order, with numbers above `after`."""

    after: Annotated[int, Field(ge=0, le=10**9, description="Numbers above this: `next` of the page before.")] = 0
    limit: Limit = 100


class ProcessingsQuery(PageQuery):
    """Which processings: in id order, with ids above `after`."""

    status: Statuses = ()
    transform: Annotated[int | None, Field(ge=1, le=LARGEST_ID, description="Those of this transform only.")] = None


class HistoryQuery(PageQuery):
    """Which moves: in id order, with ids above `after`."""

    entity: Annotated[
        str | None,
        Field(
            max_length=64,
            pattern="^[a-z]+:[0-9]+$",
            description="Those of this entity only, `collection:ID` and the like.",
        ),
    ] = None
    with_ids: Annotated[bool, Field(description="Tell the ids, too, of what moved.")] = False


class ContentsQuery(_Query):
    """Which contents: in id order, with ids above `after`. A stream has no `limit`."""

    status: Annotated[ContentStatus | None, Field(description="Those in this status only.")] = None
    after: After = 0
    limit: Annotated[int, Field(ge=1, le=MAX_AT_ONCE, description="How many at most; a stream has no limit.")] = 1000


class StudiesQuery(_Query):
    """Which studies: newest first, with ids below `before`."""

    request: Annotated[int | None, Field(ge=1, le=LARGEST_ID, description="Those of this request only.")] = None
    before: Before | None = None
    limit: Limit = 100


class SamplesQuery(_Query):
    """Which samples: in the order of their numbers, above `after`. A stream has no `limit`."""

    status: Annotated[ContentStatus | None, Field(description="Those in this status only.")] = None
    version: Annotated[int | None, Field(ge=1, le=2**31 - 1, description="Those of this version only.")] = None
    after: Annotated[int, Field(ge=-1, le=10**9, description="Numbers above this: `next` of the page before.")] = -1
    limit: Annotated[int, Field(ge=1, le=MAX_AT_ONCE, description="How many at most; a stream has no limit.")] = 1000


class BestQuery(_Query):
    """How many of the best."""

    limit: Limit = 10


class EventsQuery(_Query):
    """Which events: of a request, of an entity (`request:7`, `collection:3`), or all; those with ids above `after`."""

    request: Annotated[
        int | None, Field(ge=1, le=LARGEST_ID, description="Those of this request and all that belongs to it only.")
    ] = None
    entity: Annotated[
        str | None, Field(min_length=1, max_length=256, description="Those of this entity only, as in collection:3.")
    ] = None
    after: Annotated[
        int | None,
        Field(
            ge=0, le=LARGEST_ID, description="Those after the one with this id; without it, what happens from now on."
        ),
    ] = None


class LogsQuery(_Query):
    """Which bytes: up to `limit` from `offset`; a negative offset counts from the end."""

    offset: Annotated[
        int, Field(ge=-LARGEST_ID, le=LARGEST_ID, description="Where to begin; below zero, from the end.")
    ] = 0
    limit: Annotated[int, Field(ge=1, le=2**20, description="How many bytes at most.")] = 65536


class TokensQuery(_Query):
    """Which tokens: in id order, with ids above `after`."""

    owner: Annotated[Name | None, Field(description="Those of this owner only.")] = None
    after: After = 0
    limit: Limit = 100


class AuditQuery(_Query):
    """Which entries: in id order, with ids above `after`."""

    entity: Annotated[Name | None, Field(description="Those of this entity only, as in request:7.")] = None
    owner: Annotated[Name | None, Field(description="What this owner ordered only.")] = None
    after: After = 0
    limit: Limit = 100


class NoQuery(_Query):
    """No parameters."""

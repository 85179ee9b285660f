"""What operators order about the carousel. `dry_run=true` answers what an order would touch, and changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from idds.api.bodies import (
    ChangeDestinationBody,
    ChangeSourceBody,
    ChangeWindowBody,
    HoldBody,
    OrderQuery,
    ResumeBody,
    RetireBody,
)
from idds.api.route import Call, Caller, Endpoint, Reply, Route
from idds.domain.carousel import Touched
from idds.domain.errors import InvalidInput, Problem
from idds.domain.hold import Hold
from idds.domain.identifiers import CollectionId, RequestId
from idds.domain.workflow import WindowLimits
from idds.services.steering import Order

MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class HoldsReply:
    holds: Sequence[Hold]


async def holds(call: Call[None, None]) -> Reply:
    return Reply(HoldsReply(await call.doors.steering.holds(call.principal)))


async def hold(call: Call[OrderQuery, HoldBody]) -> Reply:
    body = call.body
    return Reply(await call.doors.steering.hold(_order(call), body.kind, body.ref, body.reason))


async def resume(call: Call[OrderQuery, ResumeBody]) -> Reply:
    return Reply(await call.doors.steering.resume(_order(call), call.body.kind, call.body.ref))


async def change_window(call: Call[OrderQuery, ChangeWindowBody]) -> Reply:
    body = call.body
    if (body.rse is None) == (body.collection is None):
        raise InvalidInput([Problem("/rse", "name either an rse or a collection")])
    if body.reset and (body.bytes is not None or body.files is not None):
        raise InvalidInput([Problem("/reset", "a window that is reset takes its limits from elsewhere")])
    limits = None if body.reset else WindowLimits(bytes=body.bytes, files=body.files)
    collection = None if body.collection is None else CollectionId(body.collection)
    changed = await call.doors.steering.change_window(_order(call), rse=body.rse, collection=collection, limits=limits)
    return Reply(changed)


async def retire(call: Call[OrderQuery, RetireBody]) -> Reply:
    idle = round(call.body.idle_s * MICROSECONDS)
    return Reply(await call.doors.steering.retire(_order(call), call.body.rse, idle))


async def change_source(call: Call[OrderQuery, ChangeSourceBody]) -> Reply:
    body, request = call.body, RequestId(call.number)
    steering = call.doors.steering
    return Reply(await steering.change_source(_order(call), request, body.source, under_way=body.under_way))


async def change_destination(call: Call[OrderQuery, ChangeDestinationBody]) -> Reply:
    steering = call.doors.steering
    return Reply(await steering.change_destination(_order(call), RequestId(call.number), call.body.rse))


async def force(call: Call[OrderQuery, None]) -> Reply:
    return Reply(await call.doors.steering.force(_order(call), RequestId(call.number)))


async def release(call: Call[OrderQuery, None]) -> Reply:
    return Reply(await call.doors.steering.release(_order(call), RequestId(call.number)))


def _order(call: Call[OrderQuery, Any]) -> Order:
    return Order(call.principal, call.query.dry_run)


def _route(path: str, name: str, summary: str, endpoint: Endpoint, body: type | None) -> Route:
    statuses = (200, 404, 409)
    return Route(
        "POST", path, name, summary, Caller.OPERATOR, endpoint, Touched, OrderQuery, body=body, statuses=statuses
    )


ROUTES = (
    Route("GET", "/v1/holds", "listHolds", "The tapes and disks that are held", Caller.READER, holds, reply=HoldsReply),
    _route(
        "/v1/carousel:hold",
        "holdStorage",
        "Recall nothing more from a tape, or bring nothing more to a disk; what is under way goes on",
        hold,
        HoldBody,
    ),
    _route("/v1/carousel:resume", "resumeStorage", "Use a tape or a disk again that is held", resume, ResumeBody),
    _route(
        "/v1/carousel:change-window",
        "changeWindow",
        "Give a window other limits while it is in use; they stand against the settings",
        change_window,
        ChangeWindowBody,
    ),
    _route(
        "/v1/carousel:retire-unused",
        "retireUnused",
        "Delete what was staged to a disk and nobody used for some time",
        retire,
        RetireBody,
    ),
    _route(
        "/v1/requests/{id}:change-source",
        "changeSource",
        "Recall the files of a request from another tape",
        change_source,
        ChangeSourceBody,
    ),
    _route(
        "/v1/requests/{id}:change-destination",
        "changeDestination",
        "Bring those files of a request to another disk that are not admitted yet",
        change_destination,
        ChangeDestinationBody,
    ),
    _route("/v1/requests/{id}:force-staging", "forceStaging", "Admit what waits of a request next", force, None),
    _route(
        "/v1/requests/{id}:release",
        "releaseRequest",
        "Give up now what of a request is on disk and nobody has taken",
        release,
        None,
    ),
)

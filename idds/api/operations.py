"""Logs, windows, replicas; whether the service lives and is ready; and its own description."""

import asyncio

from aiohttp import web

from idds.api.bodies import LogsQuery
from idds.api.replies import HealthReply, ReplicaCount, ReplicasReply, WindowsReply
from idds.api.route import Call, Caller, Reply, Route
from idds.domain.errors import Unavailable
from idds.domain.identifiers import ProcessingId
from idds.store.upgrade import is_current


async def logs(call: Call[LogsQuery, None]) -> web.StreamResponse:
    chunk = await call.doors.catalogue.logs(
        call.principal,
        ProcessingId(call.number),
        call.request.match_info["stream"],
        offset=call.query.offset,
        limit=call.query.limit,
    )
    headers = {"X-Next-Offset": str(chunk.next_offset), "X-Eof": "true" if chunk.eof else "false"}
    return web.Response(body=chunk.bytes, content_type="text/plain", charset="utf-8", headers=headers)


async def windows(call: Call[None, None]) -> Reply:
    return Reply(WindowsReply(await call.doors.catalogue.windows(call.principal)))


async def replicas(call: Call[None, None]) -> Reply:
    found = await call.doors.catalogue.replicas(call.principal)
    return Reply(ReplicasReply([ReplicaCount(*row) for row in found]))


async def healthz(_call: Call[None, None]) -> Reply:
    return Reply(HealthReply("alive"))


async def readyz(call: Call[None, None]) -> Reply:
    limit = call.settings.readiness_timeout_s
    try:
        async with asyncio.timeout(limit):
            ready = await is_current(call.doors.database)
    except TimeoutError:
        raise Unavailable(f"the database does not answer within {limit:g} s") from None
    if not ready:
        raise Unavailable("the database's tables are not of this version")
    return Reply(HealthReply("ready"))


ROUTES = (
    Route(
        "GET",
        "/v1/processings/{id}/logs/{stream}",
        "readLogs",
        "Bytes of a log of a processing's present attempt; X-Next-Offset says where the next begin, X-Eof whether",
        Caller.READER,
        logs,
        query=LogsQuery,
        statuses=(200, 404),
        also="text/plain",
    ),
    Route(
        "GET",
        "/v1/windows",
        "listWindows",
        "All windows, and what is reserved in them",
        Caller.OPERATOR,
        windows,
        reply=WindowsReply,
    ),
    Route(
        "GET",
        "/v1/replicas",
        "countReplicas",
        "How many replicas of each RSE have which status",
        Caller.OPERATOR,
        replicas,
        reply=ReplicasReply,
    ),
    Route("GET", "/healthz", "healthz", "The process lives", Caller.PUBLIC, healthz, reply=HealthReply),
    Route("GET", "/readyz", "readyz", "Calls can be served", Caller.PUBLIC, readyz, reply=HealthReply),
)

"""Collections and their contents: listed, leased, reported."""

from collections.abc import AsyncIterator, Sequence

import msgspec
from aiohttp import web

from idds.api.bodies import ContentsQuery, HeartbeatBody, LeaseBody, ReportBody, TokenBody
from idds.api.problems import Stale
from idds.api.replies import (
    CollectionReply,
    ContentPage,
    HeartbeatReply,
    LeaseReply,
    ReportReply,
    TokenReply,
    of_collection,
    of_content,
    of_delivered,
    of_receipt,
)
from idds.api.route import Call, Caller, Reply, Route
from idds.api.waiting import Order
from idds.domain.content import Outcome
from idds.domain.errors import InvalidInput, Problem
from idds.domain.identifiers import CollectionId, ContentId
from idds.engine.reporting import Verdict
from idds.services.catalogue import Listed

NDJSON = "application/x-ndjson"
MICROSECONDS = 1_000_000


async def show(call: Call[None, None]) -> Reply:
    return Reply(of_collection(await call.doors.catalogue.collection(call.principal, CollectionId(call.number))))


async def contents(call: Call[ContentsQuery, None]) -> Reply | web.StreamResponse:
    query, collection = call.query, CollectionId(call.number)
    if NDJSON in call.request.headers.get("Accept", ""):
        return await _stream(call, collection)
    found = await call.doors.catalogue.contents(
        call.principal, collection, status=query.status, after=query.after, limit=query.limit + 1
    )
    page = found[: query.limit]
    following = page[-1].content.id if len(found) > query.limit else None
    return Reply(ContentPage([of_content(listed) for listed in page], following))


async def _stream(call: Call[ContentsQuery, None], collection: CollectionId) -> web.StreamResponse:
    pages = call.doors.catalogue.stream(call.principal, collection, status=call.query.status, after=call.query.after)
    # Before the first byte, so that an error can still be told.
    first = await anext(pages, None)
    response = web.StreamResponse(headers={"Content-Type": NDJSON})
    await response.prepare(call.request)
    try:
        if first is not None:
            await response.write(_lines(first))
            await _write(response, pages)
    except ConnectionError:
        return response
    except BaseException:
        # Cut off, so that nobody takes what was sent for all there is.
        if call.request.transport is not None:
            call.request.transport.abort()
        raise
    await response.write_eof()
    return response


async def _write(response: web.StreamResponse, pages: AsyncIterator[Sequence[Listed]]) -> None:
    async for page in pages:
        await response.write(_lines(page))


def _lines(page: Sequence[Listed]) -> bytes:
    return b"".join(msgspec.json.encode(of_content(listed)) + b"\n" for listed in page)


async def lease(call: Call[None, LeaseBody]) -> Reply:
    body = call.body
    order = Order(body.count, _ttl(call, body.ttl_s), body.lessee, lambda: call.is_abandoned)
    wait_s = min(body.wait_s, call.settings.max_wait_s)
    leased, ended = await call.counters.lease(call.principal, CollectionId(call.number), order, wait_s)
    return Reply(LeaseReply([of_delivered(delivered) for delivered in leased], ended))


async def heartbeat(call: Call[None, HeartbeatBody]) -> Reply:
    held = {each.id: each.attempt for each in call.body.held}
    if len(held) < len(call.body.held):
        raise InvalidInput([Problem("/held", "the same content stands in it twice")])
    collection, ttl = CollectionId(call.number), _ttl(call, call.body.ttl_s)
    async with call.counters.turn(collection):
        holding = await call.doors.delivery.heartbeat(call.principal, collection, held=held, ttl=ttl)
    return Reply(HeartbeatReply(sorted(holding)))


def _ttl(call: Call[None, LeaseBody] | Call[None, HeartbeatBody], ttl_s: float | None) -> int:
    longest = call.settings.max_lease_s
    if ttl_s is not None and ttl_s > longest:
        raise InvalidInput([Problem("/ttl_s", f"a lease lasts {longest:g} s at most")])
    return max(1, round((ttl_s if ttl_s is not None else call.settings.default_lease_s) * MICROSECONDS))


async def report(call: Call[None, ReportBody]) -> Reply:
    outcomes = [
        Outcome(
            ContentId(each.id),
            each.attempt,
            done=each.status == "done",
            reason=each.reason,
            retry=each.retry,
            objective_values=tuple(each.objective_values),
        )
        for each in call.body.reports
    ]
    collection = CollectionId(call.number)
    async with call.counters.turn(collection):
        receipts = await call.doors.delivery.report(call.principal, collection, outcomes)
    if len(receipts) == 1 and receipts[0].verdict is Verdict.STALE:
        sent = call.body.reports[0]
        raise Stale(f"content {sent.id} is not held under attempt {sent.attempt}: the report changed nothing")
    return Reply(ReportReply([of_receipt(receipt) for receipt in receipts]))


async def issue_token(call: Call[None, TokenBody]) -> Reply:
    lifetime_s, longest = call.body.lifetime_s, call.settings.max_token_s
    if lifetime_s is None:
        lifetime_s = call.settings.default_token_s
    if lifetime_s > longest:
        raise InvalidInput([Problem("/lifetime_s", f"a token for payloads lasts {longest:g} s at most")])
    token = await call.doors.access.issue_for_payloads(
        call.principal, CollectionId(call.number), lifetime=max(1, round(lifetime_s * MICROSECONDS))
    )
    return Reply(TokenReply(token), 201)


_OF_COLLECTION = "/v1/collections/{id}"

ROUTES = (
    Route(
        "GET",
        _OF_COLLECTION,
        "showCollection",
        "A collection and the counters of its contents",
        Caller.USER,
        show,
        reply=CollectionReply,
        statuses=(200, 404),
    ),
    Route(
        "GET",
        f"{_OF_COLLECTION}/contents",
        "listContents",
        "Contents in id order; accepting application/x-ndjson, all of them as a stream, one JSON object a line",
        Caller.USER,
        contents,
        reply=ContentPage,
        query=ContentsQuery,
        statuses=(200, 404),
        also=NDJSON,
    ),
    Route(
        "POST",
        f"{_OF_COLLECTION}/contents:lease",
        "leaseContents",
        "Lease contents, waiting for some where none is available",
        Caller.PAYLOAD,
        lease,
        reply=LeaseReply,
        body=LeaseBody,
        statuses=(200, 404, 409),
    ),
    Route(
        "POST",
        f"{_OF_COLLECTION}/contents:heartbeat",
        "extendLeases",
        "Keep leases; answers those that still held",
        Caller.PAYLOAD,
        heartbeat,
        reply=HeartbeatReply,
        body=HeartbeatBody,
        statuses=(200, 404, 409),
    ),
    Route(
        "POST",
        f"{_OF_COLLECTION}/contents:report",
        "reportContents",
        "Report what came of contents; a single report that is stale is answered 409",
        Caller.PAYLOAD,
        report,
        reply=ReportReply,
        body=ReportBody,
        statuses=(200, 404, 409),
    ),
    Route(
        "POST",
        f"{_OF_COLLECTION}:token",
        "issueToken",
        "A token for payloads: good for leases and reports of this collection, and nothing else",
        Caller.USER,
        issue_token,
        reply=TokenReply,
        body=TokenBody,
        statuses=(201, 404),
    ),
)

"""Contents of a collection: listed and streamed."""

from collections.abc import AsyncIterator, Sequence

import msgspec
from aiohttp import web

from idds.api.bodies import ContentsQuery
from idds.api.replies import ContentPage, of_content
from idds.api.route import Call, Caller, Reply, Route
from idds.domain.identifiers import CollectionId
from idds.services.catalogue import Listed

NDJSON = "application/x-ndjson"


async def list_contents(call: Call[ContentsQuery, None]) -> Reply | web.StreamResponse:
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


_OF_COLLECTION = "/v1/collections/{id}"

ROUTES = (
    Route(
        "GET",
        f"{_OF_COLLECTION}/contents",
        "listContents",
        "Contents in id order; accepting application/x-ndjson, all of them as a stream, one JSON object a line",
        Caller.READER,
        list_contents,
        reply=ContentPage,
        query=ContentsQuery,
        statuses=(200, 404),
        also=NDJSON,
    ),
)

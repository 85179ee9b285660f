"""Long answers, sent as they are read: what is asked for may be a million files."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from aiohttp import web

from idds.api.facade.route import Call
from idds.api.streams import stream


async def send_list(call: Call, pages: AsyncGenerator[Iterable[bytes]]) -> web.StreamResponse:
    """Answer a JSON list whose elements come page by page, each encoded already.

    Raises what getting the first page raises.
    """
    async with aclosing(pages):
        first = await anext(pages, None)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})

        async def write() -> None:
            page, between = first, b"["
            while page is not None:
                for_now = b",".join(page)
                if for_now:
                    await response.write(between + for_now)
                    between = b","
                page = await anext(pages, None)
            await response.write(b"[]" if between == b"[" else b"]")

        await stream(call.request, response, write)
    return response

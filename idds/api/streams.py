"""Answers that are sent as they come about: whole, or seen to be cut off."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

from aiohttp import web

from idds.api.lines import NDJSON

P = TypeVar("P")


def cut_off(request: web.Request) -> None:
    """End the connection, so that nobody takes what was sent for all there is."""
    if request.transport is not None:
        request.transport.abort()


async def stream(request: web.Request, response: web.StreamResponse, write: Callable[[], Awaitable[None]]) -> None:
    """Begin the answer, have its body written, end it. An exception cuts it off; that the caller has gone is none."""
    try:
        await response.prepare(request)
        await write()
        await response.write_eof()
    except ConnectionError:
        pass
    except BaseException:
        cut_off(request)
        raise


async def stream_lines(
    request: web.Request, pages: AsyncGenerator[P], encode: Callable[[P], bytes]
) -> web.StreamResponse:
    """Send pages as lines of JSON, each as it comes. An error before the first byte is raised, and can be told."""
    first = await anext(pages, None)
    response = web.StreamResponse(headers={"Content-Type": NDJSON, "Vary": "Accept, Accept-Encoding"})
    if request.method == "HEAD":
        return response
    response.enable_compression()

    async def write() -> None:
        if first is not None:
            await response.write(encode(first))
            async for page in pages:
                await response.write(encode(page))

    await stream(request, response, write)
    return response

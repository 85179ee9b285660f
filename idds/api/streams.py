"""Answers that are sent as they come about: whole, or seen to be cut off."""

from collections.abc import Awaitable, Callable

from aiohttp import web


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

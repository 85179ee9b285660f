"""Bodies as they come in."""

import asyncio

from aiohttp import web

from idds.api.problems import Malformed, Stalled, UnsupportedMedia
from idds.domain.errors import Problem

_ENCODINGS = frozenset({"identity", "gzip", "deflate"})


def check_form(request: web.Request) -> None:
    """That the body can be unpacked, and holds UTF-8. Raises UnsupportedMedia."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in _ENCODINGS:
        raise UnsupportedMedia(f"send the body as it is, or in one of these encodings: {', '.join(sorted(_ENCODINGS))}")
    if (request.charset or "utf-8").lower() not in ("utf-8", "utf8"):
        raise UnsupportedMedia("send the body in UTF-8")


async def whole(request: web.Request, stall_s: float) -> bytes:
    """All of a body. Raises HTTPRequestEntityTooLarge, and what `more` does."""
    limit, body = request.client_max_size, bytearray()
    size = request.content_length or 0
    is_here = request.content.is_eof()
    while size <= limit and (some := await more(request, stall_s)):
        body += some
        size = len(body)
        if is_here:
            break
    if size > limit:
        raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=size)
    return bytes(body)


async def more(request: web.Request, stall_s: float) -> bytes:
    """What comes next of a body, nothing at its end. Raises Malformed, and Stalled after `stall_s` of nothing."""
    try:
        if request.content.is_eof():  # all of it is here
            return request.content.read_nowait()
        async with asyncio.timeout(stall_s):
            return await request.content.readany()
    except TimeoutError:
        raise Stalled(f"nothing came for {stall_s:g} s") from None
    except (web.RequestPayloadError, ConnectionError):
        raise Malformed(Problem("", "it is cut off, or not encoded as its Content-Encoding says")) from None

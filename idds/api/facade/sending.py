"""Long answers, sent as they are read: what is asked for may be a million files."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from aiohttp import web

from idds.api.facade.route import Call


async def send_list(call: Call, pages: AsyncGenerator[Iterable[bytes]]) -> web.StreamResponse:
    """Answer a JSON list whose elements come page by page, each encoded already.

    An answer that breaks is cut off, so that nobody takes what was sent for all there is. Raises what getting the first
    page raises.
    """
    async with aclosing(pages):
        page = await anext(pages, None)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            await response.prepare(call.request)
            between = b"["
            while page is not None:
                for_now = b",".join(page)
                if for_now:
                    await response.write(between + for_now)
                    between = b","
                page = await anext(pages, None)
            await response.write(b"[]" if between == b"[" else b"]")
            await response.write_eof()
        except ConnectionError:
            pass  # whoever asked has gone
        except BaseException:
            if call.request.transport is not None:
                call.request.transport.abort()
            raise
    return response

"""The application at an address, on connections that are not for ever patient."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import structlog
from aiohttp import web
from aiohttp.http_exceptions import ContentEncodingError

from idds.api.answering import HEADERS
from idds.api.problems import of_head
from idds.runtime.settings import ApiSettings

SHUTDOWN_S = 5.0
"""Calls under way have so long to end when the service stops."""
LINGERING_S = 4.0
"""Who is refused while still sending has so long to read why, before the connection is closed."""
BACKLOG = 1024

log = structlog.get_logger()


@asynccontextmanager
async def served(application: web.Application, settings: ApiSettings) -> AsyncIterator[int]:
    """Serve it at the address of the settings until the block is left; the port. Raises OSError."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    try:
        loop, server = asyncio.get_running_loop(), runner.server
        assert server is not None
        bound = await loop.create_server(
            lambda: _Connection(server, settings, loop), settings.host, settings.port, backlog=BACKLOG
        )
        try:
            yield bound.sockets[0].getsockname()[1]
        finally:
            bound.close()
    finally:
        await runner.cleanup()


class _Connection(web.RequestHandler):
    """Who connects and sends no call is sent away; a head that cannot be read is answered with a problem document."""

    def __init__(self, server: web.Server, settings: ApiSettings, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type] # as AppRunner has it: none
            keepalive_timeout=settings.idle_s,
            lingering_time=LINGERING_S,
            max_line_size=settings.max_header_bytes,
            max_field_size=settings.max_header_bytes,
        )
        self._patience_s = settings.max_head_s
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._deadline = asyncio.get_running_loop().call_later(self._patience_s, self._give_up)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if not self._request_count:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """An answer to what is no call; the connection is closed then."""
        if status != 400 or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        log.debug("a head that cannot be read", error=type(exc).__name__)
        is_packed = isinstance(exc, ContentEncodingError)
        status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE if is_packed else HTTPStatus.BAD_REQUEST
        response = of_head(status, uuid.uuid4().hex)
        response.headers.update(HEADERS)
        response.force_close()
        return response

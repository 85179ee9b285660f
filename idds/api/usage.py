"""That tokens were used: noted in sets, now and then, never in the way of a call."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog
from aiohttp import web

from idds.api.authentication import Authentication
from idds.domain.errors import Unavailable
from idds.services.access import Access

log = structlog.get_logger()


class Usage:
    """Notes what `authentication` saw, every `interval_s` at most, and at the end."""

    def __init__(self, authentication: Authentication, access: Access, interval_s: float) -> None:
        self._authentication = authentication
        self._access = access
        self._interval_s = interval_s

    async def during(self, _application: web.Application) -> AsyncIterator[None]:
        """As aiohttp wants it: up to the yield at the start, the rest at the end."""
        noting = asyncio.create_task(self._run(), name="usage of tokens")
        yield
        noting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await noting
        await self.write()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self.write()
            except Exception:
                # A loop must outlive its step.
                log.exception("the usage of tokens was not noted")

    async def write(self) -> None:
        """Note what was used since the last time. While the database is away, it waits for the next."""
        used = frozenset(self._authentication.used)
        if not used:
            return
        try:
            await self._access.note_used(used)
        except Unavailable as error:
            log.warning("not available for now", duty="usage of tokens", error=str(error))
        else:
            self._authentication.used -= used

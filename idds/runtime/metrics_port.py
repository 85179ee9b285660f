"""Metrics of a process that has no API, on a port of their own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from idds.runtime.metrics import CONTENT_TYPE, Metrics
from idds.runtime.settings import MetricsSettings


@asynccontextmanager
async def exposed(metrics: Metrics, settings: MetricsSettings) -> AsyncIterator[None]:
    """Answer GET /metrics until the block is left, to whoever reaches the port; do nothing where it is 0.

    Raises OSError.
    """

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=await metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    if settings.port == 0:
        yield
        return
    application = web.Application()
    application.router.add_get("/metrics", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        yield
    finally:
        await runner.cleanup()

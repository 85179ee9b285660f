"""Stopping cleanly."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

log = structlog.get_logger()


async def until_told_to_stop(run: Coroutine[Any, Any, None], stop: Callable[[], None], drain_s: float) -> None:
    """Await `run`. At SIGTERM or SIGINT call `stop` and give it `drain_s` seconds, then cancel it."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    running = asyncio.create_task(run)
    waiting = asyncio.create_task(told.wait())
    try:
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            log.info("stopping: steps under way are finished first", at_most_s=drain_s)
            stop()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(drain_s):
                    await asyncio.shield(running)
        if not running.done():
            log.warning("steps under way were cut off")
            running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    finally:
        waiting.cancel()
        running.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

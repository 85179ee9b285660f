"""Ending a task that may swallow what it is told."""

import asyncio
from typing import Any


async def end(task: "asyncio.Task[Any]") -> None:
    """Cancel a task until it has ended: a connection that is just being made or let go may swallow a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=1.0)

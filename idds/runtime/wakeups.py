"""Wake-ups within one process."""

import asyncio
import contextlib
from collections import Counter

from idds.ports.wakeups import Channel


class LocalWakeups:
    """Within one process. None is ever lost."""

    def __init__(self) -> None:
        self._counts: Counter[Channel] = Counter()
        self._waited: dict[Channel, asyncio.Event] = {}

    def wake(self, channel: Channel) -> None:
        self._counts[channel] += 1
        if event := self._waited.pop(channel, None):
            event.set()

    def count(self, channel: Channel) -> int:
        return self._counts[channel]

    async def wait(self, channel: Channel, seen: int, timeout: float) -> int:
        if self._counts[channel] == seen and timeout > 0:
            event = self._waited.setdefault(channel, asyncio.Event())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await event.wait()
        return self._counts[channel]

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

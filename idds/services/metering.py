"""Metering: what waits and what is under way, for who watches the service."""

import asyncio
import time
from collections.abc import Callable

from idds.domain.levels import Levels
from idds.store.database import Database
from idds.store.metering import read_levels


class Metering:
    """However many ask, the database is asked once in `memory_s` seconds."""

    def __init__(self, database: Database, memory_s: float = 3.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._memory_s = memory_s
        self._clock = clock
        self._turn = asyncio.Lock()
        self._known: tuple[Levels, float] | None = None

    async def levels(self) -> Levels:
        """How much there is of everything, not older than `memory_s`. Raises Unavailable."""
        async with self._turn:
            if self._known is None or self._clock() >= self._known[1]:
                async with self._database.snapshot() as tx:
                    levels = await read_levels(tx)
                self._known = levels, self._clock() + self._memory_s
            return self._known[0]

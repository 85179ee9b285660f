"""Answers that are costly to find, given again for a while."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

LEAST_S, TIMES, KEPT = 0.5, 20, 200

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """Each answer is good for `TIMES` as long as it took to find: finding it takes so small a part of one connection
    at most, however many ask. Who asks while it is being found waits for the same one. `clock` counts seconds.
    """

    def __init__(self, find: Callable[[K], Awaitable[V]], clock: Callable[[], float] = time.monotonic) -> None:
        self._find = find
        self._clock = clock
        self._known: dict[K, _Answer[V]] = {}

    async def get(self, key: K) -> V:
        """Raises what finding it raises; that is not remembered."""
        answer = self._known.pop(key, None) or _Answer()
        self._known[key] = answer
        while len(self._known) > KEPT:
            del self._known[next(iter(self._known))]
        async with answer.lock:
            if not answer.found or self._clock() >= answer.good_until:
                begun = self._clock()
                answer.found = (await self._find(key),)
                now = self._clock()
                answer.good_until = now + max(LEAST_S, TIMES * (now - begun))
            return answer.found[0]


class _Answer(Generic[V]):
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.found: tuple[V, ...] = ()
        self.good_until = 0.0

"""Waiting for contents: many consumers at one collection stand in line, at the cost of one look for all of them."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from weakref import WeakValueDictionary

from idds.domain.collection import Collection
from idds.domain.identifiers import CollectionId
from idds.domain.request import Principal
from idds.domain.statuses import ContentStatus
from idds.ports.wakeups import Channel, Wakeups
from idds.services.catalogue import Catalogue
from idds.services.delivery import Delivered, Delivery

LOOK_AGAIN_S = 1.0
"""What a lost wake-up costs, and how soon waiting consumers learn that a collection has ended."""


@dataclass(frozen=True, slots=True)
class Order:
    """Up to `count` contents for `ttl` microseconds. `is_abandoned` tells whether who ordered has hung up."""

    count: int
    ttl: int
    lessee: str
    is_abandoned: Callable[[], bool]


class Counters:
    """A counter for each collection, open as long as somebody stands at it."""

    def __init__(self, delivery: Delivery, catalogue: Catalogue, wakeups: Wakeups) -> None:
        self._delivery = delivery
        self._catalogue = catalogue
        self._wakeups = wakeups
        self._counters: WeakValueDictionary[int, _Counter] = WeakValueDictionary()
        self._closed = False

    async def close(self) -> None:
        """Send home who waits: the service stops."""
        self._closed = True
        for counter in list(self._counters.values()):
            await counter.close()

    @asynccontextmanager
    async def turn(self, collection: CollectionId) -> AsyncIterator[None]:
        """One at a time: they would wait for each other in the database as well, and hold connections there."""
        async with self._counter(collection).turn:
            yield

    async def lease(
        self, principal: Principal, collection: CollectionId, order: Order, wait_s: float
    ) -> tuple[list[Delivered], bool]:
        """Lease as `Delivery.lease` does, waiting up to `wait_s` for something; and whether nothing will ever come.

        Who hung up while waiting gets nothing, so that nothing lies leased to nobody.
        """
        counter = self._counter(collection)
        deadline = time.monotonic() + wait_s

        async def look() -> Collection:
            return await self._catalogue.collection(principal, collection)

        while True:
            async with counter.turn:
                leased = await self._delivery.lease(
                    principal, collection, count=order.count, ttl=order.ttl, lessee=order.lessee
                )
            if leased:
                return leased, False
            left = deadline - time.monotonic()
            if left <= 0 or self._closed:
                return [], _has_ended(await look())
            called = await counter.stand(left, order.is_abandoned, look)
            if called is not _Called.TO_LEASE:
                return [], called is _Called.AT_THE_END

    def _counter(self, collection: CollectionId) -> "_Counter":
        counter = self._counters.get(collection)
        if counter is None:
            counter = self._counters[collection] = _Counter(self._wakeups)
        return counter


class _Called(Enum):
    """Why somebody in the line was called."""

    TO_LEASE = auto()
    AT_THE_END = auto()
    AWAY = auto()


@dataclass(frozen=True, slots=True)
class _Place:
    called: asyncio.Future[_Called]
    is_abandoned: Callable[[], bool]


class _Counter:
    """Who waits at one collection, in order, and the one task that looks for all of them."""

    def __init__(self, wakeups: Wakeups) -> None:
        self.turn = asyncio.Lock()
        self._wakeups = wakeups
        self._line: deque[_Place] = deque()
        self._watch: asyncio.Task[None] | None = None

    async def stand(
        self, wait_s: float, is_abandoned: Callable[[], bool], look: Callable[[], Awaitable[Collection]]
    ) -> _Called:
        """Stand in line until called, `wait_s` at most. Raises what looking raises."""
        place = _Place(asyncio.get_running_loop().create_future(), is_abandoned)
        self._line.append(place)
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_over(look), name="contents waited for")
        try:
            async with asyncio.timeout(wait_s):
                return await place.called
        except TimeoutError:
            return _Called.AWAY
        finally:
            if place in self._line:
                self._line.remove(place)

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        self._call(_Called.AWAY, len(self._line))

    async def _watch_over(self, look: Callable[[], Awaitable[Collection]]) -> None:
        try:
            while self._line:
                seen = self._wakeups.count(Channel.CONTENTS)
                found = await look()
                if _has_ended(found):
                    self._call(_Called.AT_THE_END, len(self._line))
                else:
                    self._call(_Called.TO_LEASE, found.counts[ContentStatus.AVAILABLE])
                # Also with nobody left: who was called and got nothing comes back, and is not called again at once.
                await self._wakeups.wait(Channel.CONTENTS, seen, LOOK_AGAIN_S)
        except Exception as error:  # noqa: BLE001 -- each who waits is told of it
            while self._line:
                self._line.popleft().called.set_exception(error)
        finally:
            self._watch = None

    def _call(self, why: _Called, number: int) -> None:
        """Call the first `number` of those that are still there."""
        while self._line and number > 0:
            place = self._line.popleft()
            if place.called.done():
                continue
            if place.is_abandoned():
                place.called.set_result(_Called.AWAY)
                continue
            place.called.set_result(why)
            number -= 1


def _has_ended(collection: Collection) -> bool:
    return collection.is_closed and collection.open == 0

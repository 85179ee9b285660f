"""Waiting for contents: many consumers at one collection, served in turn, at the cost of one look for all of them."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

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
    """Up to `count` contents for `ttl` microseconds."""

    count: int
    ttl: int
    lessee: str


@dataclass(slots=True, weakref_slot=True)
class _Counter:
    """Where consumers of one collection stand in line, and what the last look at it showed."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    seen: int = -1
    looked_at: float = 0.0
    available: int = 0
    ended: bool = False


class Counters:
    """One line a collection, as long as somebody stands in it."""

    def __init__(self, delivery: Delivery, catalogue: Catalogue, wakeups: Wakeups) -> None:
        self._delivery = delivery
        self._catalogue = catalogue
        self._wakeups = wakeups
        self._counters: WeakValueDictionary[int, _Counter] = WeakValueDictionary()
        self._closed = False

    def close(self) -> None:
        """Send home who waits: the service stops."""
        self._closed = True
        self._wakeups.wake(Channel.CONTENTS)

    async def lease(
        self,
        principal: Principal,
        collection: CollectionId,
        order: Order,
        wait_s: float,
        is_abandoned: Callable[[], bool],
    ) -> tuple[list[Delivered], bool]:
        """Lease as `Delivery.lease` does, waiting up to `wait_s` for something; and whether nothing will ever come.

        Who hung up while waiting gets nothing, so that nothing lies leased to nobody.
        """
        deadline = time.monotonic() + wait_s
        seen = self._wakeups.count(Channel.CONTENTS)
        leased = await self._lease(principal, collection, order)
        if leased:
            return leased, False
        counter = self._counters.get(collection)
        if counter is None:
            counter = self._counters[collection] = _Counter()
        while True:
            async with counter.turn:
                if is_abandoned():
                    return [], False
                await self._look(counter, principal, collection)
                if counter.ended:
                    return [], True
                if counter.available and time.monotonic() < deadline:
                    leased = await self._lease(principal, collection, order)
                    # What is available and cannot be had, cannot be had until something changes.
                    counter.available = max(0, counter.available - len(leased)) if leased else 0
                    if leased:
                        return leased, False
            left = deadline - time.monotonic()
            if left <= 0 or self._closed:
                return [], False
            seen = await self._wakeups.wait(Channel.CONTENTS, seen, min(left, LOOK_AGAIN_S))

    async def _lease(self, principal: Principal, collection: CollectionId, order: Order) -> list[Delivered]:
        return await self._delivery.lease(principal, collection, count=order.count, ttl=order.ttl, lessee=order.lessee)

    async def _look(self, counter: _Counter, principal: Principal, collection: CollectionId) -> None:
        seen, now = self._wakeups.count(Channel.CONTENTS), time.monotonic()
        if seen == counter.seen and now < counter.looked_at + LOOK_AGAIN_S:
            return
        found = await self._catalogue.collection(principal, collection)
        counter.seen, counter.looked_at = seen, now
        counter.available = found.counts[ContentStatus.AVAILABLE]
        counter.ended = found.is_closed and found.open == 0

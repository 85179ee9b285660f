"""Serving consumers: all of a collection who come at a time together, and who has to wait, in line."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TypeVar, cast
from weakref import WeakValueDictionary

from idds.domain.content import Advice
from idds.domain.errors import IddsError
from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.request import Principal
from idds.ports.wakeups import Channel, Wakeups
from idds.services.delivery import (
    Answer,
    Delivery,
    GiveBack,
    Heartbeat,
    Kept,
    Lease,
    Leased,
    Order,
    Report,
    Reported,
    Said,
)
from idds.services.grouping import Grouping

LOOK_AGAIN_S = 1.0
"""What a lost wake-up costs, and how soon waiting consumers learn that a collection has ended."""
MOST_AT_ONCE = 10_000
"""So many contents are leased, kept and reported in one transaction, or as many as one consumer sends."""

_A = TypeVar("_A")


def _never() -> bool:
    return False


async def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class _Ordered:
    """An order; `is_abandoned` tells whether who ordered has hung up."""

    order: Order
    is_abandoned: Callable[[], bool] = _never

    @property
    def size(self) -> int:
        return self.order.size

    @property
    def wanted(self) -> Order:
        """What is wanted by now: who has hung up is given nothing, so that nothing lies leased to nobody."""
        match self.order:
            case Lease() if self.is_abandoned():
                return replace(self.order, count=0)
            case Report(lease=Lease()) if self.is_abandoned():
                return replace(self.order, lease=None)
            case _:
                return self.order


class Counters:
    """Where consumers are served: at each collection's counter one group after the other."""

    def __init__(self, delivery: Delivery, wakeups: Wakeups) -> None:
        self._delivery = delivery
        self._wakeups = wakeups
        self._groups: Grouping[CollectionId, _Ordered, Answer] = Grouping(
            self._serve, MOST_AT_ONCE, lambda ordered: ordered.size
        )
        self._lines: WeakValueDictionary[CollectionId, _Line] = WeakValueDictionary()
        self._closed = False

    async def close(self) -> None:
        """Send home who waits: the service stops."""
        self._closed = True
        for line in list(self._lines.values()):
            await line.close()
        await self._groups.close()

    async def lease(
        self,
        collection: CollectionId,
        order: Lease,
        wait_s: float = 0.0,
        is_abandoned: Callable[[], bool] = _never,
        identify: Callable[[], Awaitable[object]] = _nothing,
    ) -> Leased:
        """Lease, waiting up to `wait_s` for something. Raises what `Delivery.serve` has for it, as the others do.

        Who has waited is told and given nothing before `identify` was asked again, which raises what is against it.
        """
        deadline = time.monotonic() + wait_s
        line = self._lines.get(collection)
        # Behind those who wait there is nothing to be had now; but who never came before is to hear of a refusal.
        is_behind = wait_s > 0 and not self._closed and line is not None and line.has_before(order.principal)
        while True:
            if not is_behind:
                order = self._behind_others(collection, order)
                leased = cast("Leased", await self._groups.order(collection, _Ordered(order, is_abandoned)))
                left = deadline - time.monotonic()
                if leased.contents or leased.has_ended or left <= 0 or self._closed:
                    return leased
            is_behind = False
            called = await self._line(collection).stand(deadline - time.monotonic(), order, is_abandoned)
            if called is _Called.AWAY:
                return Leased(())
            await identify()
            if called is _Called.AT_THE_END:
                return Leased((), has_ended=True)

    async def keep(self, collection: CollectionId, order: Heartbeat) -> Kept:
        return cast("Kept", await self._groups.order(collection, _Ordered(order)))

    async def hear(self, collection: CollectionId, order: Said) -> Sequence[Advice]:
        return cast("Sequence[Advice]", await self._groups.order(collection, _Ordered(order)))

    async def give_back(self, collection: CollectionId, order: GiveBack) -> set[ContentId]:
        return cast("set[ContentId]", await self._groups.order(collection, _Ordered(order)))

    async def report(
        self, collection: CollectionId, order: Report, is_abandoned: Callable[[], bool] = _never
    ) -> Reported:
        """Report, and lease what is there without waiting for more, where the order says so."""
        if order.lease is not None:
            order = replace(order, lease=self._behind_others(collection, order.lease))
        return cast("Reported", await self._groups.order(collection, _Ordered(order, is_abandoned)))

    def _behind_others(self, collection: CollectionId, order: Lease) -> Lease:
        line = self._lines.get(collection)
        return replace(order, behind=line.wanted if line is not None else 0)

    async def _serve(self, collection: CollectionId, orders: Sequence[_Ordered]) -> list[Answer | IddsError]:
        return await self._delivery.serve(collection, [ordered.wanted for ordered in orders])

    def _line(self, collection: CollectionId) -> "_Line":
        line = self._lines.get(collection)
        if line is None:
            line = self._lines[collection] = _Line(lambda: self._delivery.look(collection), self._wakeups)
        return line


class _Called(Enum):
    """Why somebody in the line was called."""

    TO_LEASE = auto()
    AT_THE_END = auto()
    AWAY = auto()


@dataclass(frozen=True, slots=True, eq=False)
class _Waiter:
    called: asyncio.Future[_Called]
    count: int
    is_abandoned: Callable[[], bool]


class _Line:
    """Who waits at one collection, in order, and the one task that looks for all of them."""

    def __init__(self, look: Callable[[], Awaitable[tuple[int, bool]]], wakeups: Wakeups) -> None:
        self._look = look
        self._wakeups = wakeups
        self._waiting: dict[_Waiter, None] = {}
        self._welcome: set[Principal] = set()
        self._watch: asyncio.Task[None] | None = None

    @property
    def wanted(self) -> int:
        """How many contents all together wait for."""
        return sum(waiter.count for waiter in self._waiting)

    def has_before(self, principal: Principal) -> bool:
        """Whether somebody waits, in a line that this one has stood in, too."""
        return bool(self._waiting) and principal in self._welcome

    async def stand(self, wait_s: float, order: Lease, is_abandoned: Callable[[], bool]) -> _Called:
        """Stand in line until called, `wait_s` at most. Raises what looking raises."""
        waiter = _Waiter(asyncio.get_running_loop().create_future(), order.count, is_abandoned)
        self._welcome.add(order.principal)
        self._waiting[waiter] = None
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_over(), name="contents waited for")
        try:
            async with asyncio.timeout(wait_s):
                return await waiter.called
        except TimeoutError:
            return _Called.AWAY
        finally:
            self._waiting.pop(waiter, None)

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        self._call(_Called.AWAY)

    async def _watch_over(self) -> None:
        try:
            while self._waiting:
                seen = self._wakeups.count(Channel.CONTENTS)
                available, has_ended = await self._look()
                if has_ended:
                    self._call(_Called.AT_THE_END)
                else:
                    self._call(_Called.TO_LEASE, available)
                # Also with nobody left: who was called and got nothing comes back, and is not called again at once.
                await self._wakeups.wait(Channel.CONTENTS, seen, LOOK_AGAIN_S)
        except Exception as error:  # noqa: BLE001 -- each who waits is told of it
            while self._waiting:
                if not (called := self._next().called).done():
                    called.set_exception(error)
        finally:
            self._watch = None

    def _call(self, why: _Called, contents: int | None = None) -> None:
        """Call the first of those that are still there, as many as want these contents; None: all."""
        while self._waiting and (contents is None or contents > 0):
            waiter = self._next()
            if waiter.called.done():
                continue
            if waiter.is_abandoned():
                waiter.called.set_result(_Called.AWAY)
                continue
            waiter.called.set_result(why)
            if contents is not None:
                contents -= waiter.count

    def _next(self) -> _Waiter:
        waiter = next(iter(self._waiting))
        del self._waiting[waiter]
        return waiter

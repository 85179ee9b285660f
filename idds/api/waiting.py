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
    MOST_OF_ONE,
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
    """An order; `is_abandoned` tells whether who ordered has hung up. Who was called from the line is its `waiter`."""

    order: Order
    is_abandoned: Callable[[], bool] = _never
    waiter: "_Waiter | None" = None

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
        line = self._line(collection)
        # Behind those who wait there is nothing to be had now; but who never came before is to hear of a refusal.
        is_behind = wait_s > 0 and not self._closed and line.has_before(order.principal)
        waiter = _Waiter(order, is_abandoned)
        try:
            while True:
                if not is_behind:
                    ordered = _Ordered(order, is_abandoned, waiter)
                    leased = cast("Leased", await self._groups.order(collection, ordered))
                    left = deadline - time.monotonic()
                    if leased.contents or leased.has_ended or left <= 0 or self._closed:
                        return leased
                is_behind = False
                called = await line.stand(waiter, deadline - time.monotonic())
                if called is _Called.AWAY:
                    return Leased(())
                await identify()
                if called is _Called.AT_THE_END:
                    return Leased((), has_ended=True)
        finally:
            line.leave(waiter)

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
        return cast("Reported", await self._groups.order(collection, _Ordered(order, is_abandoned)))

    async def _serve(self, collection: CollectionId, orders: Sequence[_Ordered]) -> list[Answer | IddsError]:
        for ordered in orders:
            if ordered.waiter is not None:
                ordered.waiter.called = None
        line = self._lines.get(collection)
        behind = line.wanted if line is not None else 0
        return await self._delivery.serve(collection, [ordered.wanted for ordered in orders], behind)

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


@dataclass(slots=True, eq=False)
class _Waiter:
    """Somebody with a place in the line, which is kept until the end, also by who was called and got nothing."""

    order: Lease
    is_abandoned: Callable[[], bool]
    called: asyncio.Future[_Called] | None = None
    """Done: on the way to be served. None: being served, or not in line yet."""

    @property
    def counted(self) -> int:
        """How many contents are thought of when others are served."""
        return 0 if self.is_abandoned() else min(self.order.count, MOST_OF_ONE)

    @property
    def is_waiting(self) -> bool:
        return self.called is not None and not self.called.done()


class _Line:
    """Who waits at one collection, in order, and the one task that looks for all of them."""

    def __init__(self, look: Callable[[], Awaitable[tuple[int, bool]]], wakeups: Wakeups) -> None:
        self._look = look
        self._wakeups = wakeups
        self._places: dict[_Waiter, None] = {}
        self._welcome: set[Principal] = set()
        self._watch: asyncio.Task[None] | None = None

    @property
    def wanted(self) -> int:
        """How many contents all together wait for, but for those who are being served."""
        return sum(waiter.counted for waiter in self._places if waiter.called is not None)

    def has_before(self, principal: Principal) -> bool:
        """Whether somebody waits, in a line that this one has stood in, too."""
        return principal in self._welcome and any(waiter.is_waiting for waiter in self._places)

    async def stand(self, waiter: _Waiter, wait_s: float) -> _Called:
        """Wait until called, `wait_s` at most, last in line or at the place held. Raises what looking raises."""
        waiter.called = asyncio.get_running_loop().create_future()
        self._welcome.add(waiter.order.principal)
        self._places.setdefault(waiter)
        if self._watch is None:
            self._watch = asyncio.create_task(self._watch_over(), name="contents waited for")
        try:
            async with asyncio.timeout(wait_s):
                return await waiter.called
        except TimeoutError:
            return _Called.AWAY

    def leave(self, waiter: _Waiter) -> None:
        self._places.pop(waiter, None)

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        self._call(_Called.AWAY)

    async def _watch_over(self) -> None:
        try:
            while self._places:
                seen = self._wakeups.count(Channel.CONTENTS)
                available, has_ended = await self._look()
                if has_ended:
                    self._call(_Called.AT_THE_END)
                else:
                    self._call(_Called.TO_LEASE, available)
                # Also with nobody left: who was called and got nothing comes back, and is not called again at once.
                await self._wakeups.wait(Channel.CONTENTS, seen, LOOK_AGAIN_S)
        except Exception as error:  # noqa: BLE001 -- each who waits is told of it
            for called in [waiter.called for waiter in self._places]:
                if called is not None and not called.done():
                    called.set_exception(error)
        finally:
            self._watch = None

    def _call(self, why: _Called, contents: int | None = None) -> None:
        """Call the first of those that are still there, as many as want these contents; None: all."""
        for waiter in self._places:
            if contents is not None and contents <= 0:
                return
            if waiter.called is None:
                continue
            is_abandoned = waiter.is_abandoned()
            if not waiter.called.done():
                waiter.called.set_result(_Called.AWAY if is_abandoned else why)
            if contents is not None and not is_abandoned:
                # Also of who was called before and is still on the way.
                contents -= waiter.order.count

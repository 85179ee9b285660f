"""Grouping: what is ordered of one thing while something is done with it is done together, next."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

from idds.domain.errors import Unavailable

K = TypeVar("K", bound=Hashable)
O = TypeVar("O")  # noqa: E741 -- an order
A = TypeVar("A")

CROWD, LINGER, LONGEST_S = 4, 0.25, 0.01
"""After a group of so many, who has been served may come back for this part of the time that it took, or ten
milliseconds: a crowd costs less the larger its groups are.
"""

_Waiting = deque[tuple[O, asyncio.Future[A]]]


class Grouping(Generic[K, O, A]):
    """Serves orders in groups: in order of arrival, one group of a thing at a time.

    `serve` answers each order of a group, or has an error stand in its place; what it raises befalls the group. A group
    is `most` large at most, as `size` counts, or a single order.
    """

    def __init__(
        self, serve: Callable[[K, Sequence[O]], Awaitable[Sequence[A | Exception]]], most: int, size: Callable[[O], int]
    ) -> None:
        self._serve = serve
        self._most = most
        self._size = size
        self._waiting: dict[K, _Waiting[O, A]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def order(self, thing: K, order: O) -> A:
        """What comes of an order. One that is cancelled before its group begins is not served."""
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.get(thing)
        if waiting is None:
            waiting = self._waiting[thing] = deque()
            task = asyncio.create_task(self._serve_all(thing, waiting), name=f"orders of {thing}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        waiting.append((order, answer))
        return await answer

    async def close(self) -> None:
        """Return when all that was ordered has been served."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve_all(self, thing: K, waiting: _Waiting[O, A]) -> None:
        try:
            while waiting:
                if group := self._next(waiting):
                    begun = time.monotonic()
                    await self._serve_group(thing, group)
                    if len(group) >= CROWD:
                        await asyncio.sleep(min(LONGEST_S, LINGER * (time.monotonic() - begun)))
        finally:
            del self._waiting[thing]
            for _, answer in waiting:
                answer.cancel()

    def _next(self, waiting: _Waiting[O, A]) -> list[tuple[O, asyncio.Future[A]]]:
        group: list[tuple[O, asyncio.Future[A]]] = []
        room = self._most
        while waiting:
            order, answer = waiting[0]
            if not answer.done():
                room -= self._size(order)
                if group and room < 0:
                    break
                group.append((order, answer))
            waiting.popleft()
        return group

    async def _serve_group(self, thing: K, group: Sequence[tuple[O, asyncio.Future[A]]]) -> None:
        try:
            answers = await self._serve(thing, [order for order, _ in group])
        except asyncio.CancelledError:
            for _, answer in group:
                answer.cancel()
            raise
        except Exception as error:  # noqa: BLE001 -- who ordered is told of it
            if len(group) == 1 or isinstance(error, Unavailable):
                answers = [error] * len(group)
            else:
                # Somebody's order breaks the group: it is to break alone.
                for one in group:
                    await self._serve_group(thing, [one])
                return
        for (_, answer), served in zip(group, answers, strict=True):
            if answer.done():
                continue
            if isinstance(served, Exception):
                answer.set_exception(served)
            else:
                answer.set_result(served)

"""The line at a counter: who is called, when, and what it costs."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from idds.api.waiting import Counters
from idds.domain.errors import Unavailable
from idds.domain.identifiers import CollectionId
from idds.domain.request import Principal
from idds.ports.wakeups import Channel
from idds.runtime.wakeups import LocalWakeups
from idds.services.delivery import MOST_OF_ONE, Lease, Leased, Report, Reported

OWNER = Principal("owner", "vo")
HERE = CollectionId(1)
DEADLINE_S = 10


class Shelf:
    """A collection, to be leased from and looked at, counting what it is asked."""

    def __init__(self) -> None:
        self.available = 0
        self.has_ended = False
        self.is_halted = False
        self.error: Exception | None = None
        self.leases = 0
        self.groups = 0
        self.looks = 0
        self.behind = 0

    async def serve(self, collection: CollectionId, orders: Sequence[Lease | Report], behind: int) -> Sequence[Any]:
        self.groups += 1
        self.behind = behind
        return [self._lease(order) if isinstance(order, Lease) else Reported(()) for order in orders]

    def _lease(self, order: Lease) -> Leased:
        self.leases += 1
        taken: tuple[Any, ...] = (None,) * (0 if self.is_halted else min(order.count, self.available))
        self.available -= len(taken)
        return Leased(taken, self.has_ended and not taken)

    async def look(self, collection: CollectionId) -> tuple[int, bool]:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return self.available, self.has_ended


SOME, NOTHING, ENDED = Leased((None,)), Leased(()), Leased((), has_ended=True)  # type: ignore[arg-type]


class Parts:
    def __init__(self) -> None:
        self.shelf = Shelf()
        self.wakeups = LocalWakeups()
        shelf: Any = self.shelf
        self.counters = Counters(shelf, self.wakeups)
        self.gone: set[str] = set()

    def ask(self, name: str, wait_s: float = DEADLINE_S, count: int = 1) -> "asyncio.Task[Leased]":
        order = Lease(OWNER, count, 1, name)
        return asyncio.create_task(self.counters.lease(HERE, order, wait_s, lambda: name in self.gone))

    async def line_up(self, number: int, count: int = 1) -> "list[asyncio.Task[Leased]]":
        """So many, all of whom have looked in vain and wait."""
        asked = [self.ask(f"c{n}", count=count) for n in range(number)]
        async with asyncio.timeout(DEADLINE_S):
            while self.shelf.leases < number or not self.shelf.looks:
                await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)
        return asked

    def put(self, number: int) -> None:
        self.shelf.available += number
        self.wakeups.wake(Channel.CONTENTS)


async def test_one_look_serves_all_and_only_who_can_be_served_is_called() -> None:
    parts = Parts()
    asked = await parts.line_up(100)
    assert (parts.shelf.leases, parts.shelf.groups, parts.shelf.looks) == (100, 1, 1)
    parts.put(3)
    async with asyncio.timeout(DEADLINE_S):
        served = await asyncio.gather(*asked[:3])
    assert served == [SOME] * 3
    assert (parts.shelf.leases, parts.shelf.groups) == (103, 2)
    assert not any(task.done() for task in asked[3:])
    await parts.counters.close()
    assert await asyncio.gather(*asked[3:]) == [NOTHING] * 97


async def test_who_hung_up_is_passed_over() -> None:
    parts = Parts()
    asked = await parts.line_up(2)
    parts.gone.add("c0")
    parts.put(1)
    async with asyncio.timeout(DEADLINE_S):
        assert await asyncio.gather(*asked) == [NOTHING, SOME]
    await parts.counters.close()


async def test_who_wants_many_is_called_alone() -> None:
    parts = Parts()
    asked = await parts.line_up(3, count=5)
    parts.put(4)
    async with asyncio.timeout(DEADLINE_S):
        assert len((await asked[0]).contents) == 4
    assert parts.shelf.leases == 4
    await parts.counters.close()
    assert await asyncio.gather(*asked[1:]) == [NOTHING] * 2


async def test_who_hung_up_before_being_served_gets_nothing() -> None:
    parts = Parts()
    parts.shelf.available = 2
    asked = [parts.ask("here", 0), parts.ask("gone", 0)]
    parts.gone.add("gone")
    assert await asyncio.gather(*asked) == [SOME, NOTHING]
    assert parts.shelf.available == 1
    await parts.counters.close()


async def test_all_learn_of_the_end() -> None:
    parts = Parts()
    asked = await parts.line_up(3)
    parts.shelf.has_ended = True
    parts.wakeups.wake(Channel.CONTENTS)
    async with asyncio.timeout(DEADLINE_S):
        assert await asyncio.gather(*asked) == [ENDED] * 3
    assert await parts.ask("late", wait_s=0) == ENDED
    await parts.counters.close()


async def test_all_learn_of_an_error() -> None:
    parts = Parts()
    asked = await parts.line_up(2)
    parts.shelf.error = Unavailable("the database is away")
    parts.wakeups.wake(Channel.CONTENTS)
    for task in asked:
        with pytest.raises(Unavailable):
            await task
    parts.shelf.error = None
    [again] = await parts.line_up(1)
    parts.put(1)
    assert await again == SOME
    await parts.counters.close()


async def test_what_is_there_and_cannot_be_had_is_not_asked_for_again_and_again() -> None:
    parts = Parts()
    parts.shelf.is_halted, parts.shelf.available = True, 5
    [asked] = await parts.line_up(1)
    assert parts.shelf.leases <= 2
    await parts.counters.close()
    assert await asked == NOTHING


async def test_who_waits_no_longer_leaves_the_line() -> None:
    parts = Parts()
    assert await parts.ask("short", wait_s=0.001) == NOTHING
    [cancelled] = await parts.line_up(1)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    [asked] = await parts.line_up(1)
    parts.put(1)
    assert await asked == SOME
    await parts.counters.close()


async def test_who_comes_where_others_wait_stands_behind_them_at_once() -> None:
    parts = Parts()
    asked = await parts.line_up(2)
    late = parts.ask("late")
    for _ in range(10):
        await asyncio.sleep(0)
    assert parts.shelf.leases == 2
    parts.put(3)
    async with asyncio.timeout(DEADLINE_S):
        assert await asyncio.gather(*asked, late) == [SOME] * 3
    assert parts.shelf.leases == 5


async def test_a_stranger_is_looked_at_first_though_others_wait() -> None:
    parts = Parts()
    await parts.line_up(2)
    stranger = Lease(Principal("stranger", "vo"), 1, 1, "s")
    calling = asyncio.create_task(parts.counters.lease(HERE, stranger, DEADLINE_S))
    async with asyncio.timeout(DEADLINE_S):
        while parts.shelf.leases < 3:
            await asyncio.sleep(0)
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    await parts.counters.close()


async def test_who_was_called_in_vain_keeps_the_place() -> None:
    parts = Parts()
    asked = await parts.line_up(3)
    parts.shelf.is_halted = True
    parts.put(1)
    async with asyncio.timeout(DEADLINE_S):
        while parts.shelf.leases < 4:
            await asyncio.sleep(0)
    parts.shelf.is_halted = False
    parts.wakeups.wake(Channel.CONTENTS)
    async with asyncio.timeout(DEADLINE_S):
        assert await asked[0] == SOME
    assert not any(task.done() for task in asked[1:])
    await parts.counters.close()
    assert await asyncio.gather(*asked[1:]) == [NOTHING] * 2


async def test_others_are_served_with_those_in_mind_who_wait() -> None:
    parts = Parts()
    await parts.line_up(3)
    parts.gone.add("c1")
    many = parts.ask("many", count=10_000)
    for _ in range(10):
        await asyncio.sleep(0)
    assert await parts.ask("brief", wait_s=0) == NOTHING
    assert parts.shelf.behind == 2 + MOST_OF_ONE, "one has hung up, and one is not to count as ten thousand"
    await parts.counters.close()
    assert await many == NOTHING


async def test_who_was_called_counts_until_being_served() -> None:
    """Between the call and the service a token is asked about: who reports meanwhile does not go before."""
    parts = Parts()
    is_known = asyncio.Event()
    order = Lease(OWNER, 1, 1, "called")
    calling = asyncio.create_task(parts.counters.lease(HERE, order, DEADLINE_S, identify=is_known.wait))
    async with asyncio.timeout(DEADLINE_S):
        while not parts.shelf.looks:
            await asyncio.sleep(0)
        parts.put(1)
        while parts.shelf.looks < 2:
            await asyncio.sleep(0)
    await parts.counters.report(HERE, Report(OWNER, (), Lease(OWNER, 1, 1, "reports")))
    assert parts.shelf.behind == 1
    is_known.set()
    assert await calling == SOME
    assert parts.shelf.behind == 0
    await parts.counters.close()

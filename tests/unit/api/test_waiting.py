"""The line at a counter: who is called, when, and what it costs."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from idds.api.waiting import Counters, Order
from idds.domain.collection import Collection
from idds.domain.errors import Unavailable
from idds.domain.identifiers import CollectionId, RequestId, TransformId
from idds.domain.request import Principal
from idds.domain.statuses import ContentStatus, Relation, SourceKind
from idds.ports.wakeups import Channel
from idds.runtime.wakeups import LocalWakeups

OWNER = Principal("owner", "vo")
HERE = CollectionId(1)
DEADLINE_S = 10


class Shelf:
    """A collection, to be leased from and looked at: both services in one, counting what they are asked."""

    def __init__(self) -> None:
        self.available = 0
        self.is_closed = False
        self.is_halted = False
        self.error: Exception | None = None
        self.leases = 0
        self.looks = 0

    async def lease(self, principal: Principal, collection: CollectionId, *, count: int, **_: object) -> Sequence[int]:
        self.leases += 1
        taken = 0 if self.is_halted else min(count, self.available)
        self.available -= taken
        return list(range(taken))

    async def collection(self, principal: Principal, collection: CollectionId) -> Collection:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return Collection(
            id=collection,
            request_id=RequestId(1),
            transform_id=TransformId(1),
            relation=Relation.INPUT,
            source=SourceKind.SAMPLES,
            did=None,
            rse=None,
            batch=1,
            is_closed=self.is_closed,
            listed_to=None,
            next_no=0,
            unadmitted=0,
            counts=Counter({ContentStatus.AVAILABLE: self.available}),
        )


class Parts:
    def __init__(self) -> None:
        self.shelf = Shelf()
        self.wakeups = LocalWakeups()
        both: Any = self.shelf
        self.counters = Counters(both, both, self.wakeups)
        self.gone: set[str] = set()

    def ask(self, name: str, wait_s: float = DEADLINE_S) -> "asyncio.Task[tuple[list[Any], bool]]":
        order = Order(1, 1, name, lambda: name in self.gone)
        return asyncio.create_task(self.counters.lease(OWNER, HERE, order, wait_s))

    async def line_up(self, number: int) -> "list[asyncio.Task[tuple[list[Any], bool]]]":
        """So many, all of whom have looked in vain and wait."""
        asked = [self.ask(f"c{n}") for n in range(number)]
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
    assert (parts.shelf.leases, parts.shelf.looks) == (100, 1)
    parts.put(3)
    async with asyncio.timeout(DEADLINE_S):
        served = await asyncio.gather(*asked[:3])
    assert [len(contents) for contents, _ in served] == [1, 1, 1]
    assert parts.shelf.leases == 103
    assert not any(task.done() for task in asked[3:])
    await parts.counters.close()
    assert await asyncio.gather(*asked[3:]) == [([], False)] * 97


async def test_who_hung_up_is_passed_over() -> None:
    parts = Parts()
    asked = await parts.line_up(2)
    parts.gone.add("c0")
    parts.put(1)
    async with asyncio.timeout(DEADLINE_S):
        assert await asyncio.gather(*asked) == [([], False), ([0], False)]
    await parts.counters.close()


async def test_all_learn_of_the_end() -> None:
    parts = Parts()
    asked = await parts.line_up(3)
    parts.shelf.is_closed = True
    parts.wakeups.wake(Channel.CONTENTS)
    async with asyncio.timeout(DEADLINE_S):
        assert await asyncio.gather(*asked) == [([], True)] * 3
    assert await parts.ask("late", wait_s=0) == ([], True)
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
    assert await again == ([0], False)
    await parts.counters.close()


async def test_what_is_there_and_cannot_be_had_is_not_asked_for_again_and_again() -> None:
    parts = Parts()
    parts.shelf.is_halted, parts.shelf.available = True, 5
    [asked] = await parts.line_up(1)
    assert parts.shelf.leases <= 2
    await parts.counters.close()
    assert await asked == ([], False)


async def test_who_waits_no_longer_leaves_the_line() -> None:
    parts = Parts()
    assert await parts.ask("short", wait_s=0.001) == ([], False)
    [cancelled] = await parts.line_up(1)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    [asked] = await parts.line_up(1)
    parts.put(1)
    assert await asked == ([0], False)
    await parts.counters.close()

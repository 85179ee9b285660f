import asyncio
import gc

import pytest

from idds.ddm.posix import hints
from idds.ddm.posix.hints import Hints
from idds.ddm.posix.rules import Change
from idds.domain.identifiers import Did

ONE, TWO = Did("s", "one"), Did("s", "two")


async def test_hints_come_by_rse_each_file_once() -> None:
    told = Hints()
    consumers = [told.consumer(), told.consumer()]
    told.tell([Change("A", ONE), Change("B", ONE), Change("A", TWO), Change("A", ONE)])
    for consumer in consumers:
        assert await anext(consumer) == ("A", (ONE, TWO))
        assert await anext(consumer) == ("B", (ONE,))
    told.tell([Change("B", TWO)])
    assert [await anext(consumer) for consumer in consumers] == [("B", (TWO,))] * 2


async def test_a_slow_consumer_keeps_no_more_than_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "MOST", 2)
    told = Hints()
    consumer = told.consumer()
    told.tell([Change("A", ONE), Change("A", TWO), Change("B", ONE), Change("A", ONE)])
    assert await anext(consumer) == ("A", (ONE, TWO))
    told.tell([Change("B", ONE)])
    assert await anext(consumer) == ("B", (ONE,))


async def test_who_waits_is_woken_and_who_left_is_forgotten() -> None:
    told = Hints()
    waiting = asyncio.ensure_future(anext(told.consumer()))
    await asyncio.sleep(0)
    told.tell([Change("A", ONE)])
    assert await waiting == ("A", (ONE,))
    del waiting
    gc.collect()
    assert not told._consumers

"""Messages: in order per request, claimed by request; and the inbox."""

import json

import pytest

from idds.domain.errors import Conflict
from idds.domain.identifiers import RequestId
from tests.contract.store_world import World

LEASE = 1000


async def say(world: World, request: RequestId, *texts: str) -> None:
    async with world.transaction() as tx:
        tx.messages.add(request, [("topic", {"text": text}) for text in texts])


async def claim(world: World, owner: str = "me", limit: int = 10) -> list[RequestId]:
    async with world.transaction() as tx:
        return await tx.messages.claim(owner=owner, lease=LEASE, limit=limit)


async def texts(world: World, request: RequestId, limit: int = 10) -> list[str]:
    async with world.transaction() as tx:
        return [json.loads(message.body)["text"] for message in await tx.messages.unsent(request, limit)]


async def test_messages_of_a_request_are_numbered_in_order(world: World) -> None:
    one, two = await world.submit(), await world.submit()
    await say(world, one.id, "a", "b")
    await say(world, two.id, "x")
    await say(world, one.id, "c")
    async with world.transaction() as tx:
        found = await tx.messages.of_request(one.id, after=0, limit=10)
        assert [(message.seq, json.loads(message.body)["text"]) for message in found] == [(1, "a"), (2, "b"), (3, "c")]
        assert json.loads(found[0].body) == {"id": f"{one.id}.1", "seq": 1, "time": world.now, "text": "a"}
        assert [message.seq for message in await tx.messages.of_request(one.id, after=1, limit=1)] == [2]
        assert [message.seq for message in await tx.messages.unsent(two.id, 10)] == [1]


async def broken(world: World, request: RequestId) -> None:
    async with world.transaction() as tx:
        tx.messages.add(request, [("topic", {"text": "lost"})])
        await tx.flush()
        raise Conflict("something else broke")


async def test_what_is_rolled_back_leaves_no_hole(world: World) -> None:
    request = await world.submit()
    await say(world, request.id, "a")
    with pytest.raises(Conflict):
        await broken(world, request.id)
    await say(world, request.id, "b")
    assert await texts(world, request.id) == ["a", "b"]
    async with world.transaction() as tx:
        assert [message.seq for message in await tx.messages.unsent(request.id, 10)] == [1, 2]


async def test_a_request_is_published_by_one_at_a_time(world: World) -> None:
    requests = [await world.submit() for _ in range(3)]
    for request in requests:
        await say(world, request.id, "a")
    ids = [request.id for request in requests]
    assert await claim(world, "a", limit=2) == ids[:2]
    assert await claim(world, "b") == ids[2:]
    assert await claim(world, "c") == []
    async with world.transaction() as tx:
        await tx.messages.give_back(ids[:2], "b")  # not b's to give
        await tx.messages.give_back(ids[:1], "a")
    assert await claim(world, "c") == ids[:1]
    world.clock.advance(LEASE)
    assert await claim(world, "d") == ids


async def test_what_was_sent_is_not_sent_again(world: World) -> None:
    request = await world.submit()
    await say(world, request.id, "a", "b", "c")
    assert await texts(world, request.id, 2) == ["a", "b"]
    async with world.transaction() as tx:
        await tx.messages.mark_sent(request.id, 2)
    assert await texts(world, request.id) == ["c"]
    async with world.transaction() as tx:
        await tx.messages.mark_sent(request.id, 3)
    assert await claim(world) == []


async def test_a_message_that_came_in_is_taken_once(world: World) -> None:
    async with world.transaction() as tx:
        assert await tx.messages.take_in("vo/1")
        assert not await tx.messages.take_in("vo/1")
    async with world.transaction() as tx:
        assert not await tx.messages.take_in("vo/1")
        assert await tx.messages.take_in("vo/2")


async def test_what_is_old_and_done_with_is_forgotten(world: World) -> None:
    request = await world.submit()
    await say(world, request.id, "sent", "waits")
    async with world.transaction() as tx:
        await tx.messages.mark_sent(request.id, 1)
        await tx.messages.take_in("old")
        await tx.messages.forget_before(world.now + 1)
    async with world.transaction() as tx:
        assert [message.seq for message in await tx.messages.of_request(request.id, after=0, limit=10)] == [2]
        assert await tx.messages.take_in("old")

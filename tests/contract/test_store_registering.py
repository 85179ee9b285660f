"""Contents registered in bulk: each once, and numbered without holes."""

import pytest

from idds.domain.collection import Collection
from idds.domain.content import NewContent
from idds.domain.statuses import ContentStatus, SourceKind
from idds.engine.transitions import ContentEvent
from tests.contract.store_world import World

LISTED, LANDED = ContentEvent.LISTED, ContentEvent.LANDED


def named(*names: str) -> list[NewContent]:
    return [NewContent(name=name, group_no=99, scope="s", bytes=len(name)) for name in names]


async def opened(world: World, batch: int = 2) -> Collection:
    return await world.collection(source=SourceKind.REGISTERED, batch=batch)


async def more(world: World, collection: Collection, *names: str, event: ContentEvent = LANDED) -> list[str]:
    """Register these; the names of those that were new."""
    async with world.transaction() as tx:
        fresh = await tx.collections.get(collection.id)
        assert fresh is not None
        ids, new = await tx.contents.register_more(fresh, named(*names), event)
        found = {content.id: content.name for content in await tx.contents.get(ids)}
        assert [found[identifier] for identifier in ids] == [content.name for content in new]
    return [content.name for content in new]


async def grouped(world: World, collection: Collection) -> dict[str, int]:
    async with world.database.snapshot() as tx:
        page = await tx.contents.page(collection.id, status=None, after=0, limit=1000)
    return {content.name: content.group_no for content in page}


async def test_each_is_there_once_and_the_batches_have_no_holes(world: World) -> None:
    collection = await opened(world)
    assert await more(world, collection, "a", "b", "c") == ["a", "b", "c"]
    assert await more(world, collection, "b", "d", "a", "d", "e") == ["d", "e"]
    assert await more(world, collection, "a", "e") == []
    assert await more(world, collection, "f") == ["f"]
    assert await grouped(world, collection) == {"a": 0, "b": 0, "c": 1, "d": 1, "e": 2, "f": 2}
    folded, there = await world.counts(collection)
    assert folded == there == {ContentStatus.AVAILABLE: 6}
    assert (await world.fresh(collection)).next_no == 6


async def test_all_of_one_batch(world: World) -> None:
    collection = await opened(world, batch=0)
    await more(world, collection, "a", "b")
    await more(world, collection, "b", "c")
    assert await grouped(world, collection) == {"a": 0, "b": 0, "c": 0}


async def test_files_to_be_staged_wait_for_admission(world: World) -> None:
    collection = await opened(world)
    await more(world, collection, "a", event=LISTED)
    await more(world, collection, "a", "b", event=LISTED)
    fresh = await world.fresh(collection)
    assert (fresh.counts[ContentStatus.NEW], fresh.unadmitted) == (2, 2)


async def test_a_content_is_another_by_its_scope_or_its_events(world: World) -> None:
    collection = await opened(world)
    new = [
        NewContent("a", 0),
        NewContent("a", 0, "s"),
        NewContent("a", 0, "s", 1, 5),
        NewContent("a", 0, "s", 6, 10),
        NewContent('odd "\\ ü', 0, "s"),
    ]
    for number in range(2):
        async with world.transaction() as tx:
            ids, _ = await tx.contents.register_more(await world.fresh(collection), [*new, *new], LANDED)
        assert len(ids) == (0 if number else 5)


async def test_the_same_names_elsewhere_are_others(world: World) -> None:
    first, second = await opened(world, batch=1), await opened(world, batch=1)
    for collection in (first, second):
        assert await more(world, collection, "a", "b") == ["a", "b"]


async def test_history_tells_of_what_was_new(world: World) -> None:
    collection = await opened(world)
    await more(world, collection, "a", "b")
    await more(world, collection, "a", "c")
    await more(world, collection, "a")
    async with world.database.snapshot() as tx:
        moves = await tx.moves.of([f"collection:{collection.id}"])
    assert [(move.event, move.n, len(move.ids)) for move in moves] == [("landed", 2, 2), ("landed", 1, 1)]


class Undone(Exception):
    """Nothing of it shall stay."""


async def undone(world: World, collection: Collection) -> None:
    async with world.transaction() as tx:
        await tx.contents.register_more(await world.fresh(collection), named("a", "b"), LANDED)
        raise Undone


async def test_what_is_undone_leaves_no_trace(world: World) -> None:
    collection = await opened(world)
    await more(world, collection, "a")
    with pytest.raises(Undone):
        await undone(world, collection)
    assert await grouped(world, collection) == {"a": 0}
    assert (await world.fresh(collection)).next_no == 1

"""Contents: registered once, moved in guarded sets, counted as they move."""

import random

import pytest

from idds.domain.collection import Collection
from idds.domain.content import NewContent
from idds.domain.identifiers import ContentId
from idds.domain.statuses import ContentStatus, Intent, SourceKind, Status
from idds.engine.transitions import CONTENT, ContentEvent
from idds.store.contents import of_ids
from idds.store.leases import MOST_CHARACTERS, Wanted
from tests.contract.store_world import RSE, World, a_file, the_file

C, E = ContentStatus, ContentEvent
LISTED, LANDED = ContentEvent.LISTED, ContentEvent.LANDED


async def statuses(world: World, collection: Collection) -> list[ContentStatus]:
    async with world.transaction() as tx:
        page = await tx.contents.page(collection.id, status=None, after=0, limit=1000)
    return [content.status for content in page]


async def test_a_content_comes_back_as_it_was_registered(world: World) -> None:
    collection = await world.collection(source=SourceKind.SAMPLES)
    new = NewContent(
        'odd " name\nü', 3, "scope", 5, 9, 2**40, "0123abcd", None, {"parameters": {"x": 0.1}, "list": [1, None, "a"]}
    )
    async with world.transaction() as tx:
        move = await tx.contents.register(collection, [new], LANDED)
        (content,) = await tx.contents.get(move.ids)
    assert (move.event, move.from_status, move.to_status, move.n) == ("landed", None, "available", 1)
    for name in ("name", "group_no", "scope", "min_id", "max_id", "bytes", "adler32", "payload"):
        assert getattr(content, name) == getattr(new, name)
    assert (content.status, content.attempt, content.lessee) == (C.AVAILABLE, 0, None)
    assert (content.request_id, content.changed_at) == (collection.request_id, world.now)


async def test_what_is_registered_again_is_not_there_twice_and_counted_once(world: World) -> None:
    collection = await world.collection()
    files = [a_file(collection, number) for number in range(5)]
    async with world.transaction() as tx:
        assert (await tx.contents.register(collection, files[:3], LISTED, listed_to="3")).n == 3
    await world.move(E.CANCELLED, [(await contents(world, collection))[0].id])
    async with world.transaction() as tx:
        assert (await tx.contents.register(collection, files, LISTED, listed_to="5")).n == 2
    assert await statuses(world, collection) == [C.CANCELLED] + [C.NEW] * 4
    collection = await world.fresh(collection)
    assert (collection.total, collection.unadmitted, collection.listed_to) == (5, 4, "5")


async def contents(world: World, collection: Collection) -> list:
    async with world.transaction() as tx:
        return await tx.contents.page(collection.id, status=None, after=0, limit=1000)


async def test_contents_registered_as_available_tell_which_they_are(world: World) -> None:
    collection = await world.collection(source=SourceKind.OUTPUTS)
    other = await world.collection(source=SourceKind.OUTPUTS)
    files = [a_file(collection, number) for number in range(4)]
    async with world.transaction() as tx:
        await tx.contents.register(other, files, LANDED)
        first = await tx.contents.register(collection, files[:2], LANDED)
        second = await tx.contents.register(collection, files, LANDED)
        names = [content.name for content in await tx.contents.get(second.ids)]
        empty = await tx.contents.register(collection, [], LANDED)
    assert names == ["f000002", "f000003"]
    assert set(first.ids).isdisjoint(second.ids)
    assert (empty.n, empty.ids) == (0, ())


async def test_the_same_name_may_come_in_several_ranges(world: World) -> None:
    collection = await world.collection()
    ranges = [NewContent("f", 0, "data", low, low + 9) for low in (0, 10, 20)]
    async with world.transaction() as tx:
        assert (await tx.contents.register(collection, [*ranges, ranges[1]], LISTED)).n == 3


async def test_an_event_moves_what_the_table_says_and_nothing_else(world: World) -> None:
    for event, edge in CONTENT.items():
        if event is LISTED:
            continue
        collection = await world.collection()
        ids = await one_in_each_status(world, collection)
        async with world.transaction() as tx:
            moves = await tx.contents.move(event, of_ids(ids.values()), reason="because")
        assert sorted((move.from_status, move.ids) for move in moves) == sorted(
            (str(status), (ids[status],)) for status in edge.sources
        )
        assert all((move.to_status, move.entity) == (edge.target, f"collection:{collection.id}") for move in moves)
        after = {content.id: content for content in await contents(world, collection)}
        for status, content in ids.items():
            moved = status in edge.sources
            assert after[content].status is (edge.target if moved else status)
            assert after[content].reason == ("because" if moved else None)
        folded, recounted = await world.counts(collection)
        assert folded == recounted


async def one_in_each_status(world: World, collection: Collection) -> dict[ContentStatus, ContentId]:
    ids = dict(zip(ContentStatus, await world.fill(collection, len(ContentStatus)), strict=True))
    for event, to in {
        E.LANDED: (C.AVAILABLE, C.LEASED, C.DONE),
        E.LEASED: (C.LEASED, C.DONE),
        E.PROCESSED: (C.DONE,),
        E.FAILED: (C.FAILED,),
        E.LOST: (C.MISSING,),
        E.CANCELLED: (C.CANCELLED,),
    }.items():
        await world.move(event, [ids[status] for status in to])
    assert await statuses(world, collection) == list(ContentStatus)
    return ids


async def test_a_move_may_be_held_to_fewer_statuses(world: World) -> None:
    collection = await world.collection()
    ids = await one_in_each_status(world, collection)
    async with world.transaction() as tx:
        moves = await tx.contents.move(E.CANCELLED, of_ids(ids.values()), sources=(C.LEASED,))
    assert [move.ids for move in moves] == [(ids[C.LEASED],)]


async def test_a_move_across_collections_is_one_move_each(world: World) -> None:
    one, two = await world.collection(), await world.collection()
    ids = [*await world.fill(one, 2), *await world.fill(two, 3)]
    async with world.transaction() as tx:
        moves = await tx.contents.move(E.LANDED, of_ids(ids))
        assert [(move.entity, move.n, move.request_id) for move in moves] == [
            (f"collection:{one.id}", 2, one.request_id),
            (f"collection:{two.id}", 3, two.request_id),
        ]
        history = await tx.moves.of([f"collection:{two.id}"])
    assert [(move.event, move.n) for move in history] == [("listed", 3), ("landed", 3)]
    assert history[-1].ids == tuple(ids[2:])


@pytest.mark.parametrize("seed", range(2))
async def test_folded_counters_equal_a_recount(world: World, seed: int) -> None:
    chance = random.Random(seed)
    collections = [await world.collection(batch=batch) for batch in (1, 3)]
    ids = [content for collection in collections for content in await world.fill(collection, 40)]
    events = [event for event in ContentEvent if event is not LISTED]
    for _ in range(25):
        some = chance.sample(ids, chance.randint(1, 30))
        async with world.transaction() as tx:
            await tx.contents.move(chance.choice(events), of_ids(some))
            if chance.random() < 0.3:
                collection = chance.choice(collections)
                fresh = await tx.collections.get(collection.id)
                assert fresh is not None
                await tx.leases.give(fresh, [Wanted(chance.randint(1, 5), "me", world.now + 5)])
            if chance.random() < 0.1:
                await tx.contents.cancel_untaken(collections[0].id, 2)
    for collection in collections:
        folded, recounted = await world.counts(collection)
        assert folded == recounted
        new = recounted.get(C.NEW, 0)
        assert (await world.fresh(collection)).unadmitted == new


async def test_leases_go_oldest_first_to_each_in_turn(world: World) -> None:
    collection = await world.collection()
    ids = await world.fill(collection, 5)
    await world.move(E.LANDED, ids)
    async with world.transaction() as tx:
        [first] = await tx.leases.give(collection, [Wanted(1, "a", world.now + 10)])
    async with world.transaction() as tx:
        wanted = [Wanted(2, "b", world.now + 20), Wanted(0, "c", 1), Wanted(9, "d", world.now + 30), Wanted(1, "e", 1)]
        given = await tx.leases.give(collection, wanted)
        assert await tx.leases.give(collection, [Wanted(9, "f", world.now + 10)]) == [[]]
    assert [each.content.id for each in first] == ids[:1]
    assert [[each.content.id for each in of_one] for of_one in given] == [ids[1:3], [], ids[3:], []]
    async with world.transaction() as tx:
        written = await tx.contents.get(ids)
        [move] = (await tx.moves.of([f"collection:{collection.id}"]))[-1:]
    assert written == [each.content for of_one in (first, *given) for each in of_one]
    leases = [(c.lessee, c.attempt, c.lease_until, c.changed_at) for c in written]
    until = [("a", 10), ("b", 20), ("b", 20), ("d", 30), ("d", 30)]
    assert leases == [(lessee, 1, world.now + more, world.now) for lessee, more in until]
    assert (move.event, move.from_status, move.to_status, move.ids) == ("leased", "available", "leased", tuple(ids[1:]))
    folded, recounted = await world.counts(collection)
    assert folded == recounted


async def test_what_is_large_is_given_in_parts(world: World) -> None:
    collection = await world.collection(source=SourceKind.SAMPLES)
    payload = {"parameters": {"x": "y" * (MOST_CHARACTERS // 1000)}}
    new = [NewContent(f"s{number}", number, payload=payload) for number in range(1500)]
    async with world.transaction() as tx:
        ids = (await tx.contents.register(collection, new, LANDED)).ids
    async with world.transaction() as tx:
        [given] = await tx.leases.give(collection, [Wanted(1500, "a", world.now + 10)])
    assert 900 < len(given) <= 1000
    async with world.transaction() as tx:
        second = await tx.leases.give(collection, [Wanted(1500, "b", world.now + 10), Wanted(1, "c", world.now + 10)])
    assert [each.content.id for of_one in ([given], second) for part in of_one for each in part] == list(ids)


async def test_small_contents_are_given_in_any_number_passing_over_some(world: World) -> None:
    collection = await world.collection()
    ids = await world.fill(collection, 3000)
    await world.move(E.LANDED, ids)
    without = frozenset({ids[0], ids[1000]})
    async with world.transaction() as tx:
        given = await tx.leases.give(collection, [Wanted(2500, "a", world.now, without), Wanted(3, "b", world.now)])
    assert [each.content.id for each in given[0]] == [each for each in ids[:2502] if each not in without]
    assert [each.content.id for each in given[1]] == [ids[0], ids[1000], ids[2502]]


async def test_each_lease_is_another_attempt(world: World) -> None:
    collection = await world.collection()
    ids = await world.fill(collection, 1)
    await world.move(E.LANDED, ids)
    for attempt in (1, 2, 3):
        async with world.transaction() as tx:
            [[delivered]] = await tx.leases.give(collection, [Wanted(1, "a", world.now + 10)])
        assert delivered.content.attempt == attempt
        await world.move(E.RETURNED, ids)


async def test_leases_end_at_their_time_and_can_be_extended_by_their_holder(world: World) -> None:
    collection, other = await world.collection(), await world.collection()
    ids = await world.fill(collection, 4)
    await world.move(E.LANDED, ids)
    async with world.transaction() as tx:
        await tx.leases.give(collection, [Wanted(3, "a", world.now + 10)])
        assert await tx.contents.next_lease_end() == world.now + 10
        assert await tx.leases.extend(other.id, [({ids[0]: 1}, world.now + 99)]) == [set()]
        held = [({ids[0]: 1, ids[1]: 2, ids[3]: 0, 10**9: 1}, world.now + 20), ({ids[1]: 2}, world.now + 90)]
        assert await tx.leases.extend(collection.id, held) == [{ids[0]}, set()]
        assert await tx.leases.holding(collection.id, [{ids[0]: 1, ids[1]: 1, ids[3]: 0}, {ids[2]: 2}]) == [
            {ids[0], ids[1]},
            set(),
        ]
    world.clock.advance(10)
    async with world.transaction() as tx:
        assert [content.id for content in await tx.contents.ended_leases(10)] == ids[1:3]
        assert len(await tx.contents.ended_leases(1)) == 1
    await world.move(E.PROCESSED, ids[1:3])
    async with world.transaction() as tx:
        assert await tx.contents.ended_leases(10) == []
        assert await tx.leases.extend(collection.id, [({ids[1]: 1}, world.now + 20)]) == [set()]
        assert await tx.contents.next_lease_end() == world.now + 10


async def groups(world: World, collection: Collection, limit: int = 1000) -> dict[int, list[ContentId]]:
    fresh = await world.fresh(collection)
    async with world.transaction() as tx:
        return await tx.contents.ready_groups(fresh, limit)


async def test_a_group_is_ready_when_none_of_it_is_still_to_come(world: World) -> None:
    collection = await world.collection(batch=3)
    ids = await world.fill(collection, 8)
    await world.move(E.LANDED, [ids[0], ids[1], ids[3], ids[4], ids[5], ids[6]])
    assert await groups(world, collection) == {1: ids[3:6]}
    await world.move(E.LANDED, [ids[7]])
    assert await groups(world, collection) == {1: ids[3:6]}  # group 2 may get another
    collection = await world.close(collection)
    assert await groups(world, collection) == {1: ids[3:6], 2: ids[6:8]}
    await world.move(E.FAILED, [ids[2]])  # what failed is not waited for
    assert await groups(world, collection) == {0: ids[:2], 1: ids[3:6], 2: ids[6:8]}
    await world.move(E.LEASED, ids[3:6])
    assert await groups(world, collection) == {0: ids[:2], 2: ids[6:8]}


async def test_one_batch_of_everything_is_ready_when_the_input_is_closed(world: World) -> None:
    collection = await world.collection(batch=0)
    ids = await world.fill(collection, 4)
    await world.move(E.LANDED, ids)
    assert await groups(world, collection) == {}
    collection = await world.close(collection)
    assert await groups(world, collection, limit=2) == {0: ids}


async def test_a_limit_never_cuts_a_ready_group(world: World) -> None:
    collection = await world.collection(batch=3)
    ids = await world.fill(collection, 10)
    await world.move(E.LANDED, ids)
    await world.close(collection)
    whole = {0: ids[:3], 1: ids[3:6], 2: ids[6:9], 3: ids[9:]}
    for limit in range(1, 12):
        found = await groups(world, collection, limit)
        assert found
        assert found == {number: whole[number] for number in range(len(found))}
        assert sum(map(len, found.values())) <= max(limit, 3)


async def unadmitted(world: World, collection: Collection, limit: int = 1000) -> list[tuple[int, ContentId]]:
    fresh = await world.fresh(collection)
    async with world.transaction() as tx:
        return [(content.group_no, content.id) for content in await tx.contents.unadmitted(fresh, limit)]


async def test_complete_groups_wait_for_admission_in_order(world: World) -> None:
    collection = await world.collection(batch=2)
    ids = await world.fill(collection, 5)
    assert await unadmitted(world, collection) == [(0, ids[0]), (0, ids[1]), (1, ids[2]), (1, ids[3])]
    collection = await world.close(collection)
    assert (await unadmitted(world, collection))[-1] == (2, ids[4])
    await pin(world, collection, [0])
    assert await unadmitted(world, collection) == [(1, ids[2]), (1, ids[3]), (2, ids[4])]
    assert (await world.fresh(collection)).unadmitted == 3
    await world.move(E.CANCELLED, [ids[0], ids[2]])
    assert (await world.fresh(collection)).unadmitted == 2
    assert await unadmitted(world, collection) == [(1, ids[3]), (2, ids[4])]


async def pin(world: World, collection: Collection, groups: list[int]) -> None:
    of_groups = [no for no, content in enumerate(await contents(world, collection)) if content.group_no in groups]
    async with world.transaction() as tx:
        await tx.replicas.admit(RSE, [the_file(number) for number in of_groups], None)
        assert await tx.contents.pin(collection, groups)


async def test_one_batch_of_everything_waits_for_the_whole_list(world: World) -> None:
    collection = await world.collection(batch=0)
    ids = await world.fill(collection, 3)
    assert await unadmitted(world, collection) == []  # more may be listed: admitted now, it would be cut
    await world.close(collection)
    assert await unadmitted(world, collection, limit=1) == [(0, content) for content in ids]


async def test_a_limit_never_cuts_a_group_that_waits(world: World) -> None:
    collection = await world.collection(batch=3)
    ids = await world.fill(collection, 8)
    await world.close(collection)
    whole = [(no // 3, content) for no, content in enumerate(ids)]
    for limit in range(1, 10):
        found = await unadmitted(world, collection, limit)
        assert found
        assert found == whole[: len(found)]
        assert len(found) % 3 == 0 or found == whole
        assert len(found) <= max(limit, 3)


async def test_what_stands_in_the_way_of_admission_is_told(world: World) -> None:
    one, two = await world.collection(), await world.collection()
    await world.fill(one, 2)
    await world.fill(two, 2)
    await pin(world, one, [0])
    fresh = await world.fresh(two)
    async with world.transaction() as tx:
        first, second = await tx.contents.unadmitted(fresh, 10)
    assert (first.replica_status, first.replica_ours, first.replica_is_pinned) == ("admitted", True, True)
    assert (second.replica_status, second.replica_ours, second.replica_is_pinned) == (None, None, False)


async def test_what_waits_for_a_replica_that_was_forgotten_is_admitted_anew(world: World) -> None:
    collection = await world.collection()
    ids = await world.fill(collection, 3)
    await pin(world, collection, [0, 1])
    await world.move(E.LANDED, ids[1:2])
    async with world.transaction() as tx:
        replicas = [content.replica_id for content in await tx.contents.get(ids[:2])]
        assert None not in replicas
        await tx.contents.unpin(replicas)  # type: ignore[arg-type]
        await tx.contents.unpin([])
        assert [content.replica_id for content in await tx.contents.get(ids)] == [None, replicas[1], None]
    assert (await world.fresh(collection)).unadmitted == 2


async def test_names_that_are_registered_are_known(world: World) -> None:
    collection, other = await world.collection(), await world.collection()
    await world.fill(collection, 2)
    names = ["f000001", "f000002"]
    async with world.transaction() as tx:
        assert await tx.contents.known(collection.id, "data", names) == {"f000001": 0}
        assert await tx.contents.known(collection.id, "elsewhere", names) == {}
        assert await tx.contents.known(other.id, "data", names) == {}


async def test_contents_are_leased_by_the_processing_of_their_group(world: World) -> None:
    collection = await world.collection(batch=2)
    ids = await world.fill(collection, 4)
    await world.move(E.LANDED, ids)
    async with world.transaction() as tx:
        made = await tx.processings.add(collection.request_id, collection.transform_id, "local", [0, 1])
        await tx.contents.lease_to_processings(collection, collection.transform_id, ids)
        held = await tx.contents.held_by([f"processing:{made[0]}", f"processing:{made[1]}", "processing:0"])
    assert [[content.id for content in of_one] for of_one in held.values()] == [ids[:2], ids[2:], []]
    assert {(c.attempt, c.lease_until) for of_one in held.values() for c in of_one} == {(1, None)}
    await world.move(E.PROCESSED, ids[:1])
    async with world.transaction() as tx:
        held = await tx.contents.held_by([f"processing:{made[0]}"])
        assert [content.id for content in held[f"processing:{made[0]}"]] == ids[1:2]
        (processing,) = await tx.processings.get([made[0]])
    assert (processing.status, processing.intent, processing.attempt) == (Status.NEW, Intent.RUN, 1)


async def test_pages_come_in_order_and_by_status(world: World) -> None:
    collection = await world.collection()
    ids = await world.fill(collection, 5)
    await world.fill(await world.collection(), 2)
    await world.move(E.LANDED, ids[1:3])
    async with world.transaction() as tx:
        assert [c.id for c in await tx.contents.page(collection.id, status=None, after=ids[1], limit=2)] == ids[2:4]
        assert [c.id for c in await tx.contents.page(collection.id, status=C.AVAILABLE, after=0, limit=9)] == ids[1:3]
        pages = [[c.id for c in page] async for page in tx.contents.stream(collection.id, after=0, limit=2)]
    assert pages == [ids[:2], ids[2:4], ids[4:]]


async def test_what_nobody_took_is_cancelled_part_by_part(world: World) -> None:
    collection = await world.collection()
    ids = await world.fill(collection, 7)
    await world.move(E.LANDED, ids[2:])
    await world.move(E.LEASED, ids[6:])
    taken: list[tuple[str | None, tuple[int, ...]]] = []
    while True:
        async with world.transaction() as tx:
            moves = await tx.contents.cancel_untaken(collection.id, 3)
        if not moves:
            break
        taken += [(move.from_status, move.ids) for move in moves]
    assert taken == [("new", tuple(ids[:2])), ("available", tuple(ids[2:5])), ("available", (ids[5],))]
    assert await statuses(world, collection) == [C.CANCELLED] * 6 + [C.LEASED]

"""Replicas and windows: admitted while there is room, pinned while somebody wants them, given back when gone."""

import asyncio
from dataclasses import replace

from idds.domain.collection import Collection
from idds.domain.identifiers import ReplicaId
from idds.domain.replica import Replica, Window
from idds.domain.statuses import ReplicaStatus
from idds.engine.transitions import ContentEvent, ReplicaEvent
from tests.contract.store_world import RSE, World, the_file

R, E = ReplicaStatus, ReplicaEvent


async def admit(world: World, *numbers: int, window: Window | None = None) -> list[Replica]:
    async with world.transaction() as tx:
        return await tx.replicas.admit(RSE, [the_file(no) for no in numbers], window.id if window else None)


async def move(world: World, event: ReplicaEvent, replicas: list[Replica]) -> list[ReplicaId]:
    async with world.transaction() as tx:
        return [replica.id for replica in await tx.replicas.move(event, RSE, [replica.id for replica in replicas])]


async def pin(world: World, collection: Collection, *numbers: int) -> bool:
    async with world.transaction() as tx:
        return await tx.contents.pin(collection, numbers)


async def status(world: World, replica: Replica) -> ReplicaStatus:
    async with world.transaction() as tx:
        return (await tx.replicas.get([replica.id]))[0].status


async def release(world: World, replicas: list[Replica]) -> list[ReplicaId]:
    async with world.transaction() as tx:
        ids = [replica.id for replica in replicas]
        await tx.replicas.lock(ids)
        return [replica.id for replica in await tx.replicas.release_unpinned(RSE, ids)]


async def disown(world: World, replica: Replica) -> None:
    async with world.transaction() as tx:
        await tx.replicas.note_rules([(replica.id, "theirs", False)])
        await tx.replicas.disown([replica.id])


async def test_only_what_is_newly_admitted_is_told(world: World) -> None:
    first = await admit(world, 0, 1)
    assert [(replica.did, replica.bytes, replica.status, replica.ours) for replica in first] == [
        (the_file(no).did, 10, R.ADMITTED, True) for no in (0, 1)
    ]
    assert [replica.did for replica in await admit(world, 1, 2)] == [the_file(2).did]
    assert await admit(world, 0, 1, 2) == []
    async with world.transaction() as tx:
        assert await tx.replicas.admit(RSE, [], None) == []


async def test_a_file_that_is_named_twice_is_admitted_once(world: World) -> None:
    assert len(await admit(world, 0, 0, 1)) == 2


async def test_one_that_is_gone_is_admitted_anew_as_the_file_is_now(world: World) -> None:
    (replica,) = await admit(world, 0)
    async with world.transaction() as tx:
        await tx.replicas.note_rules([(replica.id, "rule", True)])
    for event in (E.RECALLED, E.LANDED):
        await move(world, event, [replica])
        assert await admit(world, 0) == []
    assert await release(world, [replica]) == [replica.id]
    assert await admit(world, 0) == []  # the want waits until it is gone
    await move(world, E.DELETED, [replica])
    changed = replace(the_file(0, 25), adler32="0000000f")
    async with world.transaction() as tx:
        (again,) = await tx.replicas.admit(RSE, [changed], None)
    assert (again.id, again.status, again.rule_id) == (replica.id, R.ADMITTED, None)
    assert (again.bytes, again.adler32) == (25, "0000000f")


async def test_one_that_is_not_ours_is_used_and_never_deleted(world: World) -> None:
    (replica,) = await admit(world, 0)
    await move(world, E.RECALLED, [replica])
    await disown(world, replica)
    await move(world, E.LANDED, [replica])
    assert await release(world, [replica]) == []
    assert await status(world, replica) is R.PRESENT


async def test_somebody_elses_is_asked_for_again_once_nobody_pinned_it(world: World) -> None:
    collection = await world.collection()
    (content, _) = await world.fill(collection, 2)
    (replica,) = await admit(world, 0)
    assert await pin(world, collection, 0)
    await move(world, E.RECALLED, [replica])
    await disown(world, replica)
    await move(world, E.LANDED, [replica])
    assert await admit(world, 0) == []
    await world.move(ContentEvent.CANCELLED, [content])
    assert [again.id for again in await admit(world, 0)] == [replica.id]


async def test_a_pinned_replica_is_released_with_its_last_pin(world: World) -> None:
    one, two = await world.collection(), await world.collection()
    (first,), (second,) = await world.fill(one, 1), await world.fill(two, 1)
    replicas = await admit(world, 0)
    for collection in (one, two):
        assert await pin(world, collection, 0)
    await move(world, E.RECALLED, replicas)
    await world.move(ContentEvent.LANDED, [first])
    await world.move(ContentEvent.PROCESSED, [first])
    assert await release(world, replicas) == []
    await world.move(ContentEvent.FAILED, [second])
    assert await release(world, replicas) == [replicas[0].id]
    assert await release(world, replicas) == []
    assert await status(world, replicas[0]) is R.DELETING


async def test_one_that_is_only_admitted_is_not_released_before_it_is_staged(world: World) -> None:
    replicas = await admit(world, 0)
    assert await release(world, replicas) == []
    await move(world, E.RECALLED, replicas)
    assert await release(world, replicas) == [replicas[0].id]


async def test_one_that_is_on_its_way_out_takes_no_pin(world: World) -> None:
    collection = await world.collection()
    await world.fill(collection, 2)
    replicas = await admit(world, 0, 1)
    await move(world, E.RECALLED, replicas)
    await release(world, replicas[:1])
    assert not await pin(world, collection, 0)
    await move(world, E.DELETED, replicas[:1])
    assert not await pin(world, collection, 0)
    assert await pin(world, collection, 1)


async def test_contents_of_what_is_on_disk_become_available_at_once(world: World) -> None:
    collection = await world.collection()
    ids = await world.fill(collection, 2)
    replicas = await admit(world, 0, 1)
    await pin(world, collection, 0, 1)
    await move(world, E.RECALLED, replicas)
    await move(world, E.LANDED, replicas[:1])
    async with world.transaction() as tx:
        (landed,) = await tx.contents.land_present(collection, [0, 1])
        await tx.replicas.note_paths({replicas[0].id: "/disk/f0"})
        assert await tx.contents.paths(ids) == {ids[0]: "/disk/f0", ids[1]: None}
        assert await tx.contents.pinning([replica.id for replica in replicas]) == {collection.request_id}
    assert landed.ids == (ids[0],)


async def test_what_is_in_motion_is_told(world: World) -> None:
    replicas = await admit(world, 0, 1, 2, 3)
    await move(world, E.RECALLED, replicas[1:])
    await move(world, E.LANDED, replicas[2:3])
    await release(world, replicas[3:])
    async with world.transaction() as tx:
        moving = await tx.replicas.in_motion()
        assert [(replica.id, replica.status) for replica in moving] == [
            (replicas[1].id, R.STAGING),
            (replicas[3].id, R.DELETING),
        ]
        wanted = [the_file(2).did, the_file(9).did]
        assert [replica.id for replica in await tx.replicas.find(RSE, wanted)] == [replicas[2].id]
        assert await tx.replicas.find("ELSEWHERE", wanted) == []
        assert sorted(await tx.replicas.summary()) == [
            (RSE, str(which), 1, 10) for which in sorted([R.ADMITTED, R.DELETING, R.PRESENT, R.STAGING])
        ]


async def test_what_was_seen_of_a_former_time_is_told(world: World) -> None:
    replicas = await admit(world, 0, 1)
    await move(world, E.RECALLED, replicas)
    async with world.transaction() as tx:
        seen = await tx.replicas.in_motion()
    world.clock.advance(1)
    for event in (E.RELEASED, E.DELETED):
        await move(world, event, replicas[:1])
    await admit(world, 0)
    await move(world, E.RECALLED, replicas[:1])
    async with world.transaction() as tx:
        assert [replica.id for replica in await tx.replicas.lock_unchanged(seen)] == [replicas[1].id]


async def test_as_many_files_as_a_large_hint_names_are_found(world: World) -> None:
    (replica,) = await admit(world, 0)
    async with world.transaction() as tx:
        found = await tx.replicas.find(RSE, [the_file(no).did for no in range(40_000)])
    assert [one.id for one in found] == [replica.id]


async def test_outputs_are_registered_as_present_and_not_ours(world: World) -> None:
    async with world.transaction() as tx:
        ids = await tx.replicas.register(RSE, [(the_file(0), "/disk/f0"), (the_file(1), "/disk/f1")])
        again = await tx.replicas.register(RSE, [(the_file(1), "/disk/f1")])
        assert await tx.replicas.register(RSE, []) == {}
        (replica,) = await tx.replicas.get([ids[the_file(1).did]])
    assert again == {the_file(1).did: ids[the_file(1).did]}
    assert (replica.status, replica.ours, replica.window_id) == (R.PRESENT, False, None)


async def a_window(world: World, kind: str, ref: str, size: int | None, files: int | None) -> Window:
    async with world.transaction() as tx:
        await tx.windows.add(kind, ref, limit_bytes=size, limit_files=files)
        return (await tx.windows.find([(kind, ref)]))[(kind, ref)]


async def reserved(world: World, window: Window) -> tuple[int, int]:
    async with world.transaction() as tx:
        found = (await tx.windows.find([(window.kind, window.ref)]))[(window.kind, window.ref)]
    return found.reserved_bytes, found.reserved_files


async def reserve(world: World, window: Window, size: int, files: int) -> bool:
    async with world.transaction() as tx:
        return await tx.windows.reserve(window.id, bytes=size, files=files)


async def test_nothing_is_reserved_above_a_limit(world: World) -> None:
    window = await a_window(world, "rse", RSE, 100, 3)
    assert await reserve(world, window, 60, 1)
    assert not await reserve(world, window, 41, 1)
    assert await reserve(world, window, 40, 1)
    assert await reserve(world, window, 0, 1)
    assert not await reserve(world, window, 0, 1)
    assert await reserved(world, window) == (100, 3)
    free = await a_window(world, "rse", "FREE", None, None)
    assert await reserve(world, free, 10**15, 10**6)


async def test_a_window_that_shrinks_keeps_what_is_reserved(world: World) -> None:
    window = await a_window(world, "rse", RSE, 100, None)
    assert await reserve(world, window, 60, 1)
    async with world.transaction() as tx:
        await tx.windows.declare("rse", RSE, limit_bytes=50, limit_files=None)
        await tx.windows.declare("rse", "NEW", limit_bytes=7, limit_files=8)
        assert [(w.ref, w.limit_bytes, w.reserved_bytes) for w in await tx.windows.all()] == [
            (RSE, 50, 60),
            ("NEW", 7, 0),
        ]
    assert not await reserve(world, window, 1, 1)
    assert await reserve(world, window, 0, 0)
    async with world.transaction() as tx:
        await tx.windows.give_back({window.id: (60, 1)})
    assert await reserve(world, window, 50, 1)


async def test_bytes_go_back_to_the_windows_they_were_taken_from(world: World) -> None:
    of_rse = await a_window(world, "rse", RSE, 100, 10)
    of_input = await a_window(world, "collection", "1", 100, 10)
    both, one = await admit(world, 0, window=of_input), await admit(world, 1)
    await reserve(world, of_rse, 20, 2)
    await reserve(world, of_input, 10, 1)
    async with world.transaction() as tx:
        await tx.replicas.give_back([*both, *one])
        await tx.replicas.give_back([])
    assert await reserved(world, of_rse) == (0, 0)
    assert await reserved(world, of_input) == (0, 0)


async def test_what_is_not_ours_gives_nothing_back(world: World) -> None:
    of_rse = await a_window(world, "rse", RSE, 100, 10)
    (replica,) = await admit(world, 0)
    await reserve(world, of_rse, 10, 1)
    await move(world, E.RECALLED, [replica])
    async with world.transaction() as tx:
        await tx.replicas.give_back([replica])
    await disown(world, replica)
    async with world.transaction() as tx:
        await tx.replicas.give_back(await tx.replicas.get([replica.id]))
    assert await reserved(world, of_rse) == (0, 0)


async def test_eight_at_once_never_reserve_more_than_there_is(postgres_world: World) -> None:
    world = postgres_world
    window = await a_window(world, "rse", RSE, 500, 60)

    async def take(_: int) -> int:
        return sum([await reserve(world, window, 10, 1) for _ in range(20)])

    got = await asyncio.gather(*map(take, range(8)))
    assert sum(got) == 50
    assert await reserved(world, window) == (500, 50)


async def test_eight_at_once_admit_the_same_files_once_whatever_their_order(postgres_world: World) -> None:
    world = postgres_world

    async def all_of_them(turn: int) -> int:
        numbers = list(range(60))
        return len(await admit(world, *(numbers if turn % 2 else reversed(numbers))))

    got = await asyncio.gather(*map(all_of_them, range(8)))
    assert sum(got) == 60

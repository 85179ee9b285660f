"""What happened when, and to which file: read back from a history that is written step by step, on both databases."""

from collections.abc import AsyncIterator, Sequence

import pytest
from sqlalchemy import select

from idds.domain.collection import Collection
from idds.domain.errors import NotFound
from idds.domain.identifiers import ContentId, ReplicaId, RequestId
from idds.domain.request import Principal, Role
from idds.domain.series import Took
from idds.domain.statuses import ContentStatus, ReplicaStatus
from idds.engine.transitions import ContentEvent, ReplicaEvent
from idds.services.files import Files
from idds.services.series import BINS, Series
from idds.store.contents import of_ids
from idds.store.schema import turnover
from tests.contract.store_world import ALICE, RSE, World, the_file, world_of
from tests.integration.plans import captured

SECOND = 1_000_000
STRANGER = Principal("bob", "atlas", Role.USER)
OPERATOR = Principal("op", "atlas", Role.OPERATOR)


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with world_of(database_url) as world:
        yield world


async def stage(world: World, collection: Collection, numbers: Sequence[int], *, takes: Sequence[int]) -> list[int]:
    """Admit these files and order them; each lands after so many seconds."""
    ids = await world.fill(collection, len(numbers))
    async with world.transaction() as tx:
        await tx.windows.declare("rse", RSE, limit_bytes=100, limit_files=None)
        admitted = await tx.replicas.admit(RSE, [the_file(n) for n in numbers], None, "TAPE")
        replicas = [replica.id for replica in admitted]
        tx.replicas.record_admission(RSE, replicas, collection.request_id)
        assert await tx.contents.pin(await world.fresh(collection), numbers)
    async with world.transaction() as tx:
        await tx.replicas.move(ReplicaEvent.RECALLED, RSE, replicas)
    for replica, content, seconds in zip(replicas, ids, takes, strict=True):
        world.clock.advance(seconds * SECOND)
        async with world.transaction() as tx:
            await tx.replicas.move(ReplicaEvent.LANDED, RSE, [replica])
            await tx.contents.move(ContentEvent.LANDED, of_ids([content]))
    return replicas


async def process(world: World, contents: Sequence[int], event: ContentEvent, reason: str | None = None) -> None:
    async with world.transaction() as tx:
        await tx.contents.move(event, of_ids(contents), reason=reason)


async def release(world: World, replicas: Sequence[int]) -> None:
    async with world.transaction() as tx:
        await tx.replicas.move(ReplicaEvent.RELEASED, RSE, replicas)
    async with world.transaction() as tx:
        await tx.replicas.move(ReplicaEvent.DELETED, RSE, replicas)


async def test_a_request_over_time(world: World) -> None:
    collection = await world.collection()
    request = collection.request_id
    replicas = await stage(world, collection, [0, 1, 2], takes=[1, 2, 4])
    world.clock.advance(5 * SECOND)
    await process(world, [1, 2], ContentEvent.PROCESSED)
    await process(world, [3], ContentEvent.FAILED, "it cannot be read")
    world.clock.advance(3 * SECOND)
    await release(world, replicas[:2])

    told = await Series(world.database).request(ALICE, request)
    assert told.width == SECOND
    assert told.at[-1] - told.at[0] == (len(told.at) - 1) * SECOND
    start = told.at[0] - SECOND

    def at(second: int) -> int:
        """The place of what happened so many seconds after the start."""
        return second + (world.now - 15 * SECOND - start) // SECOND

    assert [told.staged[at(second)] for second in (0, 1, 3, 7, 15)] == [0, 1, 2, 3, 3]
    assert [told.processed[at(second)] for second in (11, 12, 15)] == [0, 2, 2]
    assert [told.failed[at(second)] for second in (11, 12, 15)] == [0, 1, 1]
    assert [told.released[at(second)] for second in (14, 15)] == [0, 2]
    assert [told.bytes_on_disk[at(second)] for second in (0, 1, 3, 7, 14, 15)] == [0, 10, 20, 30, 30, 10]
    assert [told.bytes_per_s[at(second)] for second in (0, 1, 2, 3, 7, 8)] == [0, 10, 0, 10, 10, 0]
    assert told.window_bytes == 100
    assert told.took == (Took(1_024_000, 1), Took(2_048_000, 0), Took(4_096_000, 1), Took(8_192_000, 1))
    with pytest.raises(NotFound):
        await Series(world.database).request(STRANGER, request)
    with pytest.raises(NotFound):
        await Series(world.database).request(ALICE, RequestId(999))


async def test_a_long_one_has_no_more_bins(world: World) -> None:
    collection = await world.collection()
    replicas = await stage(world, collection, [0], takes=[1])
    world.clock.advance(400 * 86400 * SECOND)
    await release(world, replicas)
    told = await Series(world.database).request(ALICE, collection.request_id)
    assert len(told.at) <= BINS + 1
    assert told.bytes_on_disk[0] == 10
    assert told.bytes_on_disk[-1] == 0
    assert told.at[-2] <= world.now <= told.at[-1] + told.width


async def test_what_was_on_disk_before_counts_from_when_it_is_available(world: World) -> None:
    """A replica that another request had staged: it came from no tape for this one."""
    first = await world.collection()
    await stage(world, first, [0], takes=[1])
    world.clock.advance(100 * SECOND)
    second = await world.collection()
    ids = await world.fill(second, 1)
    async with world.transaction() as tx:
        assert await tx.contents.pin(await world.fresh(second), [0])
    world.clock.advance(10 * SECOND)
    async with world.transaction() as tx:
        await tx.contents.move(ContentEvent.LANDED, of_ids(ids))
    world.clock.advance(10 * SECOND)
    told = await Series(world.database).request(ALICE, second.request_id)
    assert (told.bytes_on_disk[0], told.bytes_on_disk[-1]) == (0, 10)
    assert set(told.bytes_per_s) == {0}
    assert told.took == ()


async def test_a_replica_counts_once_for_a_request_and_again_when_it_came_again(world: World) -> None:
    collection = await world.collection()
    [replica] = await stage(world, collection, [0], takes=[1])
    async with world.transaction() as tx:
        await tx.contents.move(ContentEvent.WITHDRAWN, of_ids([1]))
        await tx.contents.move(ContentEvent.LANDED, of_ids([1]))
    assert (await Series(world.database).request(ALICE, collection.request_id)).bytes_on_disk[-1] == 10
    async with world.transaction() as tx:
        await tx.contents.move(ContentEvent.WITHDRAWN, of_ids([1]))
        await tx.replicas.move(ReplicaEvent.VANISHED, RSE, [replica])
    assert (await Series(world.database).request(ALICE, collection.request_id)).bytes_on_disk[-1] == 0
    async with world.transaction() as tx:
        await tx.replicas.move(ReplicaEvent.RECALLED, RSE, [replica])
        await tx.replicas.move(ReplicaEvent.LANDED, RSE, [replica])
        await tx.contents.move(ContentEvent.LANDED, of_ids([1]))
    told = await Series(world.database).request(ALICE, collection.request_id)
    assert (told.bytes_on_disk[-1], told.released[-1]) == (10, 1)
    assert sum(rate * told.width / SECOND for rate in told.bytes_per_s) == pytest.approx(20)


async def test_what_a_chart_is_made_of_grows_with_a_requests_age_no_more_than_its_doublings(world: World) -> None:
    collection = await world.collection()
    replicas = await stage(world, collection, [0], takes=[1])
    for _ in range(30):
        world.clock.advance(86400 * SECOND // 30)
        async with world.transaction() as tx:
            await tx.replicas.move(ReplicaEvent.VANISHED, RSE, replicas)
            await tx.replicas.move(ReplicaEvent.RECALLED, RSE, replicas)
            await tx.replicas.move(ReplicaEvent.LANDED, RSE, replicas)
            await tx.turnover.begin(collection.request_id, [ReplicaId(each) for each in replicas])
    async with world.database.snapshot() as tx:
        rows = (await tx.connection.execute(select(turnover.c.at, turnover.c.files))).all()
    assert sum(row.files for row in rows) == 61
    assert {row.at % (128 * SECOND) for row in rows if row.at > world.now - 20_000 * SECOND} == {0}


async def test_landings_by_source(world: World) -> None:
    await stage(world, await world.collection(), [0, 1], takes=[1, 70])
    told = await Series(world.database).landings(OPERATOR, 600 * SECOND)
    [source] = told.sources
    assert source.source == "TAPE"
    assert sum(source.files) == 2
    assert sum(rate * told.width / SECOND for rate in source.bytes_per_s) == pytest.approx(20)
    assert len(told.at) == len(source.files) == len(source.bytes_per_s)
    assert told.at[-1] >= world.now
    world.clock.advance(7200 * SECOND)
    assert (await Series(world.database).landings(OPERATOR, 600 * SECOND + 1)).sources == ()


async def test_a_file_tells_what_happened_to_it(world: World) -> None:
    collection = await world.collection()
    replicas = await stage(world, collection, [0, 1, 2], takes=[1, 1, 1])
    await process(world, [3], ContentEvent.PROCESSED)
    await process(world, [2], ContentEvent.FAILED, "it cannot be read")
    await release(world, replicas[1:2])
    story = await Files(world.database).story(ALICE, ContentId(2))
    assert (story.content.id, story.content.status, story.content.reason) == (
        2,
        ContentStatus.FAILED,
        "it cannot be read",
    )
    assert story.replica is not None
    assert (story.replica.status, story.replica.source) == (ReplicaStatus.GONE, "TAPE")
    assert story.replica.ordered_times == 1
    assert story.replica.landed_at is not None
    happened = [(move.entity.split(":")[0], move.event) for move in story.moves if move.event != "listed"]
    assert happened == [
        ("rse", "admitted"),
        ("rse", "recalled"),
        ("rse", "landed"),
        ("collection", "landed"),
        ("collection", "failed"),
        ("rse", "released"),
        ("rse", "deleted"),
    ]
    with pytest.raises(NotFound):
        await Files(world.database).story(STRANGER, ContentId(2))
    with pytest.raises(NotFound):
        await Files(world.database).story(ALICE, ContentId(999))


async def test_a_story_is_looked_for_in_the_last_moves_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a replica that shares a disk with millions: what is bounded is how many ids are looked through."""
    collection = await world.collection()
    await stage(world, collection, [0, 1, 2], takes=[1, 1, 1])
    for most, happened in ((1, ["landed"]), (2, ["landed"]), (5, ["recalled", "landed"]), (9, None)):
        monkeypatch.setattr("idds.store.files.IDS_LOOKED_AT", most)
        story = await Files(world.database).story(ALICE, ContentId(3))
        found = [move.event for move in story.moves if move.entity.startswith("rse:")]
        assert found == (happened or ["admitted", "recalled", "landed"])


async def test_troubles(world: World) -> None:
    collection = await world.collection()
    assert (await Files(world.database).troubles(ALICE, collection.request_id)).on_their_way == ()
    await world.fill(collection, 4)
    for number in (1, 0):  # ordered one after the other
        async with world.transaction() as tx:
            [replica] = await tx.replicas.admit(RSE, [the_file(number)], None, "TAPE")
            assert await tx.contents.pin(await world.fresh(collection), [number])
        async with world.transaction() as tx:
            await tx.replicas.move(ReplicaEvent.RECALLED, RSE, [replica.id])
        world.clock.advance(SECOND)
    await process(world, [3], ContentEvent.LOST, "it is on no tape")
    await process(world, [4], ContentEvent.FAILED, "no")
    await process(world, [4], ContentEvent.RETRIED)
    files = Files(world.database)
    told = await files.troubles(ALICE, collection.request_id)
    assert [each.content.id for each in told.on_their_way] == [2, 1]
    assert [told.at - (each.replica.ordered_at or 0) for each in told.on_their_way] == [2 * SECOND, SECOND]
    assert [(each.id, each.status, each.reason) for each in told.ended_badly] == [
        (3, ContentStatus.MISSING, "it is on no tape")
    ]
    with pytest.raises(NotFound):
        await files.troubles(STRANGER, collection.request_id)


async def test_series_are_read_once_for_all_who_watch(world: World) -> None:
    collection = await world.collection()
    series = Series(world.database)
    await series.request(ALICE, collection.request_id)
    with captured(world.database) as statements:
        await series.request(ALICE, collection.request_id)
    assert not [each for each in statements if "FROM moves" in each.sql]

"""What landed is counted by minute, source, destination and how long it took; on both databases."""

from collections.abc import AsyncIterator

import pytest

from idds.domain.files import File
from idds.domain.hold import HoldKind
from idds.domain.identifiers import Did
from idds.engine.times import Times, class_of
from idds.engine.transitions import ReplicaEvent
from idds.store.database import Database
from idds.store.throughput import MINUTE, InFlight, Landing
from idds.store.upgrade import upgrade
from idds.testing.clock import ManualClock

SECOND = 1_000_000


@pytest.fixture
async def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def database(database_url: str, clock: ManualClock) -> AsyncIterator[Database]:
    database = Database(database_url, clock=clock)
    await upgrade(database)
    yield database
    await database.close()


async def admit(database: Database, names: list[str], source: str | None) -> list[int]:
    async with database.transaction("test") as tx:
        files = [File(Did("data", name), 10) for name in names]
        return [replica.id for replica in await tx.replicas.admit("DISK", files, None, source)]


async def move(database: Database, event: ReplicaEvent, ids: list[int]) -> None:
    async with database.transaction("test") as tx:
        assert len(await tx.replicas.move(event, "DISK", ids)) == len(ids)


async def test_what_landed_is_counted_by_tape_and_time(database: Database, clock: ManualClock) -> None:
    fast = await admit(database, ["a", "b"], "TAPE")
    slow = await admit(database, ["c"], "TAPE")
    unknown = await admit(database, ["d"], None)
    start = clock.now()
    await move(database, ReplicaEvent.RECALLED, fast + slow + unknown)
    async with database.snapshot() as tx:
        assert await tx.throughput.in_flight() == [
            InFlight("DISK", "", 1, 10, start),
            InFlight("DISK", "TAPE", 3, 30, start),
        ]
    clock.advance(10 * SECOND)
    for each in fast + unknown:  # one by one: they are added to what is counted
        await move(database, ReplicaEvent.LANDED, [each])
    clock.advance(5 * MINUTE)
    await move(database, ReplicaEvent.LANDED, slow)
    async with database.snapshot() as tx:
        assert await tx.throughput.in_flight() == []
        found = await tx.throughput.landed_since(start)
    first, last = start - start % MINUTE, clock.now() - clock.now() % MINUTE
    ten, long = class_of(10 * SECOND), class_of(10 * SECOND + 5 * MINUTE)
    assert sorted(found, key=lambda each: (each.at, each.source)) == sorted(
        [
            Landing("DISK", "", first + (start + 10 * SECOND - first) // MINUTE * MINUTE, ten, 1, 10),
            Landing("DISK", "TAPE", first + (start + 10 * SECOND - first) // MINUTE * MINUTE, ten, 2, 20),
            Landing("DISK", "TAPE", last, long, 1, 10),
        ],
        key=lambda each: (each.at, each.source),
    )
    median = Times({landing.took: landing.files for landing in found if landing.source}).quantile(0.5)
    assert median is not None
    assert abs(median - 10 * SECOND) < SECOND
    async with database.transaction("test") as tx:
        assert await tx.throughput.forget_before(last, limit=1) == 1
        assert await tx.throughput.forget_before(last, limit=100) == 1
        assert len(await tx.throughput.landed_since(start)) == 1


async def test_what_is_admitted_anew_has_no_past(database: Database, clock: ManualClock) -> None:
    (replica,) = await admit(database, ["a"], "TAPE")
    await move(database, ReplicaEvent.RECALLED, [replica])
    clock.advance(SECOND)
    for event in (ReplicaEvent.LANDED, ReplicaEvent.RELEASED, ReplicaEvent.DELETED):
        await move(database, event, [replica])
    assert await admit(database, ["a"], "OTHER") == [replica]
    async with database.snapshot() as tx:
        (found,) = await tx.replicas.get([replica])
    assert (found.source_rse, found.ordered_at, found.stalled_times) == ("OTHER", None, 0)


async def test_who_holds_first_says_why(database: Database) -> None:
    async with database.transaction("test") as tx:
        held = await tx.holds.add(HoldKind.TAPE, "TAPE", reason="robot", owner="op")
        assert held is not None
        assert await tx.holds.add(HoldKind.TAPE, "TAPE", reason="other", owner="op") is None
        assert await tx.holds.all() == [held]
        assert await tx.holds.remove(HoldKind.TAPE, "TAPE") == held
        assert await tx.holds.remove(HoldKind.TAPE, "TAPE") is None


async def test_settings_do_not_overwrite_what_an_operator_set(database: Database, clock: ManualClock) -> None:
    async with database.transaction("test") as tx:
        await tx.windows.declare("rse", "DISK", limit_bytes=100, limit_files=None)
        (window,) = (await tx.windows.find([("rse", "DISK")])).values()
        changed = await tx.windows.change(window.id, limit_bytes=50, limit_files=5, by="op")
        assert changed is not None
        assert (changed.limit_bytes, changed.limit_files, changed.set_by, changed.set_at) == (50, 5, "op", clock.now())
        await tx.windows.declare("rse", "DISK", limit_bytes=100, limit_files=None)
        assert list(await tx.windows.all()) == [changed]
        again = await tx.windows.change(window.id, limit_bytes=100, limit_files=None, by=None)
        assert again == window
        await tx.windows.declare("rse", "DISK", limit_bytes=70, limit_files=None)
        assert [each.limit_bytes for each in await tx.windows.all()] == [70]

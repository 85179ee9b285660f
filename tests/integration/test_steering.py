"""The orders of operators about a running carousel: what each does, and that a rehearsal tells it and does nothing."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from sqlalchemy import select

from idds.domain.carousel import Touched
from idds.domain.errors import Conflict, Forbidden, IddsError, InvalidInput, NotFound
from idds.domain.hold import HoldKind
from idds.domain.identifiers import CollectionId, Did, RequestId
from idds.domain.request import Principal, Role
from idds.domain.statuses import ContentStatus, Intent, ReplicaStatus
from idds.domain.workflow import WindowLimits
from idds.services.steering import Order
from idds.store.database import Database
from idds.store.integrity import disagreements
from idds.store.schema import metadata
from idds.store.upgrade import upgrade
from idds.testing.clock import ManualClock
from tests.integration.carousel import DISK, OPERATOR, OTHER, SECOND, SIZE, Running, order

ORDERS: dict[str, Callable[[Running, Order], Awaitable[Touched]]] = {
    "hold": lambda r, o: r.steering.hold(o, HoldKind.TAPE, "TAPE", "robot"),
    "hold a disk": lambda r, o: r.steering.hold(o, HoldKind.RSE, DISK, "full"),
    "window": lambda r, o: r.steering.change_window(o, rse=DISK, collection=None, limits=WindowLimits(files=1)),
    "own window": lambda r, o: r.steering.change_window(
        o, rse=None, collection=CollectionId(1), limits=WindowLimits(bytes=1)
    ),
    "reset": lambda r, o: r.steering.change_window(o, rse=DISK, collection=None, limits=None),
    "source": lambda r, o: r.steering.change_source(o, RequestId(1), "SECOND", under_way=True),
    "destination": lambda r, o: r.steering.change_destination(o, RequestId(1), OTHER),
    "force": lambda r, o: r.steering.force(o, RequestId(1)),
    "release": lambda r, o: r.steering.release(o, RequestId(1)),
    "retire": lambda r, o: r.steering.retire(o, DISK, SECOND),
}


@pytest.fixture
async def running(database_url: str) -> AsyncIterator[Running]:
    clock = ManualClock()
    database = Database(database_url, clock=clock)
    await upgrade(database)
    async with database.transaction("test") as tx:
        await tx.windows.declare("rse", DISK, limit_bytes=3 * SIZE, limit_files=None)
        await tx.windows.declare("rse", OTHER, limit_bytes=3 * SIZE, limit_files=None)
    yield Running(database, clock)
    assert await database.run(disagreements) == []
    await database.close()


async def everything(database: Database) -> dict[str, list[object]]:
    async with database.snapshot() as tx:
        return {
            table.name: [tuple(row) for row in await tx.connection.execute(select(table))]
            for table in metadata.sorted_tables
        }


async def statuses(running: Running, request: RequestId) -> list[ContentStatus]:
    return [content.status for content in await running.contents(request)]


@pytest.mark.parametrize("name", ORDERS)
async def test_a_rehearsal_tells_what_the_order_does_and_changes_nothing(running: Running, name: str) -> None:
    await running.submit("a", 6)
    running.ddm.land(DISK, "a0")
    await running.survey()
    running.clock.advance(10 * SECOND)
    before = await everything(running.database)
    told = await ORDERS[name](running, order(dry_run=True))
    assert await everything(running.database) == before
    done = await ORDERS[name](running, order())
    assert done == replace(told, dry_run=False)
    assert told.dry_run
    after = await everything(running.database)
    assert len(after["audit"]) == len(before["audit"]) + 1
    assert len(after["moves"]) > len(before["moves"])


async def test_what_is_held_is_not_recalled_until_it_is_resumed(running: Running) -> None:
    request = await running.submit("a", 1)
    running.ddm.land(DISK, "a0")
    await running.survey()
    await running.steering.hold(order(), HoldKind.TAPE, "TAPE", "robot")
    second = await running.submit("b", 1)
    assert [name for name, _ in running.ddm.orders] == ["a0"]
    again = await running.steering.hold(order(), HoldKind.TAPE, "TAPE", "other")
    assert again.says == ("it is held already, by op: robot",)
    assert [hold.reason for hold in await running.steering.holds(OPERATOR)] == ["robot"]
    await running.steering.resume(order(), HoldKind.TAPE, "TAPE")
    await running.advance()
    assert [name for name, _ in running.ddm.orders] == ["a0", "b0"]
    assert (await running.steering.resume(order(), HoldKind.TAPE, "TAPE")).says == ("it is not held",)
    assert await statuses(running, request) == [ContentStatus.AVAILABLE]
    assert await statuses(running, second) == [ContentStatus.NEW]


async def test_a_held_disk_takes_nothing(running: Running) -> None:
    await running.steering.hold(order(), HoldKind.RSE, DISK, "full")
    await running.submit("a", 1)
    assert running.ddm.orders == []
    await running.steering.resume(order(), HoldKind.RSE, DISK)
    await running.advance()
    assert running.ddm.orders == [("a0", None)]


async def test_a_window_is_changed_while_it_is_in_use(running: Running) -> None:
    await running.submit("a", 6)
    assert len(running.ddm.orders) == 3
    shrunk = await running.steering.change_window(
        order(), rse=DISK, collection=None, limits=WindowLimits(bytes=2 * SIZE)
    )
    assert (shrunk.files, shrunk.requests) == (3, (1,))
    assert shrunk.says[0] == f"the window was {3 * SIZE} bytes and becomes {2 * SIZE} bytes"
    assert "nothing is admitted until" in shrunk.says[1]
    running.ddm.land(DISK, "a0")
    await running.survey()
    assert len(running.ddm.orders) == 3
    await running.steering.change_window(order(), rse=DISK, collection=None, limits=WindowLimits(bytes=5 * SIZE))
    await running.advance()
    assert len(running.ddm.orders) == 5
    # As at the next start: what the operator said stands.
    async with running.database.transaction("settings") as tx:
        await tx.windows.declare("rse", DISK, limit_bytes=SIZE, limit_files=None)
    (window,) = [each for each in (await running.forecast.carousel(OPERATOR)).disks if each.rse == DISK]
    assert window.window is not None
    assert (window.window.limit_bytes, window.window.set_by) == (5 * SIZE, "op")
    await running.steering.change_window(order(), rse=DISK, collection=None, limits=None)
    async with running.database.transaction("settings") as tx:
        await tx.windows.declare("rse", DISK, limit_bytes=60, limit_files=None)
        assert (await tx.windows.find([("rse", DISK)]))[("rse", DISK)].limit_bytes == 60


async def test_an_input_has_its_own_window(running: Running) -> None:
    request = await running.submit("a", 6, window=WindowLimits(files=1))
    assert len(running.ddm.orders) == 1
    collection = (await running.input_of(request)).id
    await running.steering.change_window(order(), rse=None, collection=collection, limits=WindowLimits(files=2))
    await running.advance()
    assert len(running.ddm.orders) == 2
    told = await running.steering.change_window(order(), rse=None, collection=collection, limits=None)
    assert "becomes 1 files" in told.says[0]


async def test_the_source_is_changed_of_what_is_to_come_and_of_what_is_under_way(running: Running) -> None:
    running.ddm.tapes = {Did("data", f"a{no}"): ("TAPE", "SECOND") for no in range(6)}
    request = await running.submit("a", 6)
    first = (await running.input_of(request)).source_rse
    other = ({"TAPE", "SECOND"} - {first}).pop()
    running.ddm.orders.clear()
    told = await running.steering.change_source(order(), request, other, under_way=False)
    assert told.files == 0
    assert told.says[1] == "3 recalls under way go on from where they are"
    await running.advance()
    assert running.ddm.orders == []
    told = await running.steering.change_source(order(), request, other, under_way=True)
    assert (told.files, told.bytes) == (3, 3 * SIZE)
    await running.advance()
    assert sorted(running.ddm.orders) == [("a0", other), ("a1", other), ("a2", other)]
    running.ddm.land(DISK, "a0")
    await running.survey()
    await running.steering.release(order(), request)
    await running.advance()
    running.ddm.finish_deleting()
    await running.survey()
    assert running.ddm.orders[3:] == [("a3", other)]


async def test_the_destination_is_changed_of_what_is_not_admitted(running: Running) -> None:
    request = await running.submit("a", 6)
    told = await running.steering.change_destination(order(), request, OTHER)
    assert told.files == 3
    await running.advance()
    assert {did.name for did in running.ddm.replicas(DISK)} == {"a0", "a1", "a2"}
    assert {did.name for did in running.ddm.replicas(OTHER)} == {"a3", "a4", "a5"}
    for rse, names in ((DISK, ("a0", "a1", "a2")), (OTHER, ("a3", "a4", "a5"))):
        running.ddm.land(rse, *names)
    await running.survey()
    assert await statuses(running, request) == [ContentStatus.AVAILABLE] * 6


async def test_who_is_forced_goes_next(running: Running) -> None:
    await running.submit("a", 6)
    second = await running.submit("b", 2)
    await running.steering.force(order(), second)
    running.ddm.land(DISK, "a0", "a1")
    await running.survey()
    await running.steering.release(order(), RequestId(1))
    await running.advance()
    running.ddm.finish_deleting()
    await running.survey()
    assert [name for name, _ in running.ddm.orders[3:]] == ["b0", "b1"]


async def test_what_nobody_took_is_released_now_and_comes_again_with_a_retry(running: Running) -> None:
    request = await running.submit("a", 2)
    running.ddm.land(DISK, "a0")
    await running.survey()
    told = await running.steering.release(order(), request)
    assert (told.files, told.bytes, told.more) == (1, SIZE, False)
    await running.advance()
    assert await statuses(running, request) == [ContentStatus.CANCELLED, ContentStatus.NEW]
    assert (await running.contents(request))[0].reason == "ordered by an operator: released"
    running.ddm.finish_deleting()
    await running.survey()
    assert (await running.replica("a0")).status is ReplicaStatus.GONE


async def test_what_is_unused_is_retired_and_what_is_used_is_not(running: Running) -> None:
    old = await running.submit("a", 1)
    running.ddm.land(DISK, "a0")
    await running.survey()
    running.clock.advance(100 * SECOND)
    new = await running.submit("b", 1)
    running.ddm.land(DISK, "b0")
    await running.survey()
    told = await running.steering.retire(order(), DISK, 50 * SECOND)
    assert (told.files, told.requests) == (1, (old,))
    await running.advance()
    assert await statuses(running, old) == [ContentStatus.CANCELLED]
    assert await statuses(running, new) == [ContentStatus.AVAILABLE]


async def refused(awaitable: Awaitable[Touched]) -> IddsError:
    with pytest.raises(IddsError) as caught:
        await awaitable
    return caught.value


async def test_orders_that_make_no_sense_are_refused(running: Running) -> None:
    request = await running.submit("a", 1)
    steering = running.steering
    assert isinstance(await refused(steering.hold(order(), HoldKind.RSE, "DIKS", "x")), InvalidInput)
    assert isinstance(await refused(steering.retire(order(), "DIKS", 1)), InvalidInput)
    assert isinstance(await refused(steering.change_destination(order(), request, "DIKS")), InvalidInput)
    assert isinstance(await refused(steering.force(order(), RequestId(99))), NotFound)
    wrong = steering.change_window(order(), rse=None, collection=CollectionId(99), limits=WindowLimits())
    assert isinstance(await refused(wrong), NotFound)
    await running.submission.order(OPERATOR, request, Intent.CANCEL)
    running.ddm.land(DISK, "a0")
    await running.survey()
    for ended in (steering.force(order(), request), steering.change_source(order(), request, "TAPE", under_way=True)):
        assert isinstance(await refused(ended), Conflict)


async def test_who_is_held_to_shares_orders_nothing_that_concerns_others(running: Running) -> None:
    request = await running.submit("a", 1)
    mine = Order(Principal("op", "vo", Role.OPERATOR, frozenset({"mine"})))
    assert isinstance(await refused(running.steering.hold(mine, HoldKind.RSE, DISK, "x")), Forbidden)
    assert isinstance(await refused(running.steering.retire(mine, DISK, 1)), Forbidden)
    assert isinstance(await refused(running.steering.force(mine, request)), NotFound)

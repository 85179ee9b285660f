"""An input that names no disk goes to the best of several, and its history says why."""

from collections.abc import AsyncIterator

import pytest

from idds.domain.hold import HoldKind
from idds.services.placement import Placement
from idds.services.progress import Progress
from idds.store.database import Database
from idds.store.upgrade import upgrade
from idds.testing.clock import ManualClock
from tests.integration.carousel import DISK, OTHER, Running, order


@pytest.fixture
async def running(database_url: str) -> AsyncIterator[Running]:
    clock = ManualClock()
    database = Database(database_url, clock=clock)
    await upgrade(database)
    async with database.transaction("test") as tx:
        await tx.windows.declare("rse", DISK, limit_bytes=100, limit_files=None)
        await tx.windows.declare("rse", OTHER, limit_bytes=50, limit_files=None)
    running = Running(database, clock)
    choose_among(running, {})
    yield running
    await database.close()


def choose_among(running: Running, distances: dict[str, dict[str, int]]) -> None:
    running.progress = Progress(
        running.database, Placement("local", DISK, "OUT", disks=(DISK, OTHER), distances=distances)
    )


async def test_the_disk_with_the_most_room_is_chosen_as_room_is_taken(running: Running) -> None:
    first, second = await running.submit("a", 8), await running.submit("b", 1)
    assert [(await running.input_of(request)).rse for request in (first, second)] == [DISK, OTHER]
    (said,) = await running.reasons(f"collection:{(await running.input_of(second)).id}", "destination")
    assert said is not None
    assert "OTHER of 2" in said
    assert "50 bytes left" in said


async def test_a_held_disk_is_passed_by(running: Running) -> None:
    await running.steering.hold(order(), HoldKind.RSE, DISK, "downtime")
    assert (await running.input_of(await running.submit("a", 1))).rse == OTHER


async def test_the_near_one_goes_before_the_one_with_room(running: Running) -> None:
    choose_among(running, {DISK: {"local": 3}, OTHER: {"local": 1}})
    assert (await running.input_of(await running.submit("a", 1))).rse == OTHER

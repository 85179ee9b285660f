"""How the carousel runs and when a request will have come, as it is told; from what really came."""

from collections.abc import AsyncIterator

import pytest

from idds.domain.carousel import Eta
from idds.domain.errors import NotFound
from idds.domain.hold import HoldKind
from idds.domain.identifiers import RequestId
from idds.domain.request import Principal
from idds.domain.workflow import WindowLimits
from idds.services.catalogue import Catalogue
from idds.services.series import Series
from idds.store.database import Database
from idds.store.upgrade import upgrade
from idds.testing.clock import ManualClock
from tests.integration.carousel import DISK, OPERATOR, OWNER, SECOND, SIZE, Running, order

MINUTE = 60 * SECOND


@pytest.fixture
async def running(database_url: str) -> AsyncIterator[Running]:
    clock = ManualClock()
    database = Database(database_url, clock=clock)
    await upgrade(database)
    async with database.transaction("test") as tx:
        await tx.windows.declare("rse", DISK, limit_bytes=1000, limit_files=None)
    yield Running(database, clock)
    await database.close()


OTHERS = Principal("bob", "vo")


async def land_one_a_minute(running: Running, name: str, number: int) -> None:
    for no in range(number):
        running.clock.advance(MINUTE)
        running.ddm.land(DISK, f"{name}{no}")
        await running.survey()


async def test_every_tape_is_told_with_what_comes_from_it(running: Running) -> None:
    await running.submit("a", 110)
    started = running.clock.now()
    await land_one_a_minute(running, "a", 20)
    await running.steering.hold(order(), HoldKind.TAPE, "TAPE", "robot")
    found = await running.forecast.carousel(OPERATOR)
    (tape,) = [each for each in found.tapes if each.tape == "TAPE"]
    assert (tape.rse, tape.held) == (DISK, "robot")
    assert (tape.in_flight_files, tape.in_flight_bytes) == (80, 80 * SIZE)
    assert (tape.waiting_inputs, tape.waiting) == (1, 10)
    assert tape.oldest_at is not None
    assert tape.oldest_at <= started
    assert tape.files_per_s == pytest.approx(1 / 60, rel=0.2)
    assert tape.bytes_per_s == pytest.approx(SIZE / 60, rel=0.2)
    assert tape.bytes_per_s_1h == pytest.approx(20 * SIZE / 3600, rel=0.05)
    assert tape.times.files == 20
    assert tape.times.p50 == pytest.approx(10 * MINUTE, rel=0.1)
    assert tape.times.p90 == pytest.approx(18 * MINUTE, rel=0.1)
    (disk,) = found.disks
    assert disk.window is not None
    assert disk.window.reserved_bytes == 1000
    assert disk.replicas == {"present": (20, 20 * SIZE), "staging": (80, 80 * SIZE)}
    assert [hold.ref for hold in found.holds] == ["TAPE"]


async def test_a_request_is_told_when_its_last_file_will_have_come(running: Running) -> None:
    request = await running.submit("a", 60)
    nothing = (await running.forecast.request(OWNER, request)).inputs[0]
    assert (nothing.eta, nothing.first_after, nothing.left, nothing.total) == (None, None, 60, 60)
    assert "nothing has come" in nothing.says
    await land_one_a_minute(running, "a", 40)
    told = (await running.forecast.request(OWNER, request)).inputs[0]
    assert (told.tape, told.rse, told.did) == ("TAPE", DISK, "data:a")
    assert (told.left, told.first_after) == (20, MINUTE)
    assert told.files_per_s == pytest.approx(1 / 60, rel=0.1)
    assert told.eta is not None
    assert told.eta.expected == pytest.approx(20 * MINUTE, rel=0.1)
    assert told.eta.low <= told.eta.expected <= told.eta.high <= 40 * MINUTE


async def test_what_has_come_is_there_now(running: Running) -> None:
    request = await running.submit("a", 1)
    await land_one_a_minute(running, "a", 1)
    assert (await running.forecast.request(OPERATOR, request)).inputs[0].eta == Eta(0, 0, 0)


async def test_a_new_request_is_told_from_what_its_tape_brings(running: Running) -> None:
    await running.submit("a", 60)
    await land_one_a_minute(running, "a", 30)
    second = await running.submit("b", 10)
    told = (await running.forecast.request(OWNER, second)).inputs[0]
    assert "from tape TAPE" in told.says
    assert told.eta is not None
    assert told.eta.high > told.eta.expected > 10 * MINUTE


async def test_requests_of_others_are_not_told(running: Running) -> None:
    request = await running.submit("a", 1)
    with pytest.raises(NotFound):
        await running.forecast.request(Principal("somebody", "vo"), request)
    with pytest.raises(NotFound):
        await running.forecast.request(OPERATOR, RequestId(99))


async def test_a_user_is_told_of_what_is_his_vos_and_of_no_operator_who_it_is(running: Running) -> None:
    other = Principal("eve", "other")
    stranger = Principal("mallory", "third")
    await running.submit("a", 4)
    await running.submit("b", 2, by=other)
    await running.steering.hold(order(), HoldKind.TAPE, "TAPE", "robot")
    await running.steering.change_window(order(), rse=DISK, collection=None, limits=WindowLimits(bytes=500))

    async def told(reader: Principal) -> tuple[object, ...]:
        found = await running.forecast.carousel(reader)
        assert [(hold.ref, hold.owner) for hold in found.holds] == [
            ("TAPE", "op" if reader is OPERATOR else "an operator")
        ]
        files = [(tape.in_flight_files, tape.waiting_inputs) for tape in found.tapes]
        disks = [(disk.rse, disk.replicas, disk.window and disk.window.set_by) for disk in found.disks]
        return files, disks

    def staging(number: int) -> dict[str, tuple[int, int]]:
        return {"staging": (number, number * SIZE)}

    assert await told(OPERATOR) == ([(6, 0)], [(DISK, staging(6), "op")])
    assert await told(OWNER) == ([(4, 0)], [(DISK, staging(4), "an operator")])
    assert await told(other) == ([(2, 0)], [(DISK, staging(2), "an operator")])
    assert await told(stranger) == ([], [])
    for reader, number in ((OPERATOR, 6), (OWNER, 4), (other, 2)):
        assert await Catalogue(running.database, {}).replicas(reader) == [(DISK, "staging", number, number * SIZE)]
    assert await Catalogue(running.database, {}).replicas(stranger) == []


async def test_what_landed_is_told_to_those_for_whom_it_comes(running: Running) -> None:
    await running.submit("a", 2)
    await land_one_a_minute(running, "a", 2)
    for reader, sources in ((OPERATOR, ["TAPE"]), (OWNER, ["TAPE"]), (Principal("eve", "other"), [])):
        found = await Series(running.database).landings(reader, 60 * MINUTE)
        assert [each.source for each in found.sources] == sources


async def test_windows_of_inputs_are_told_to_who_sees_them(running: Running) -> None:
    await running.submit("a", 2, window=WindowLimits(files=1))
    for reader, kinds in ((OPERATOR, ["rse", "collection"]), (OWNER, ["rse", "collection"]), (OTHERS, ["rse"])):
        assert sorted(each.kind for each in await Catalogue(running.database, {}).windows(reader)) == sorted(kinds)

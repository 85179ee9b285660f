"""Recalls that make no progress on several tapes: hastened, recalled from elsewhere, given up; and sources chosen."""

from collections.abc import AsyncIterator

import pytest

from idds.domain.hold import HoldKind
from idds.domain.identifiers import Did, RequestId
from idds.domain.statuses import ContentStatus, ReplicaStatus
from idds.engine.stalls import Patience
from idds.services.explanation import Explanation
from idds.store.database import Database
from idds.store.upgrade import upgrade
from idds.testing.clock import ManualClock
from tests.integration.carousel import DISK, OWNER, SECOND, Running, order

MINUTE = 60 * SECOND
PATIENCE = Patience(floor=MINUTE, unknown=10 * MINUTE, least=4, boosts=1, orders=1, longest=10**15)


@pytest.fixture
async def running(database_url: str) -> AsyncIterator[Running]:
    clock = ManualClock()
    database = Database(database_url, clock=clock)
    await upgrade(database)
    async with database.transaction("test") as tx:
        await tx.windows.declare("rse", DISK, limit_bytes=50, limit_files=None)
    yield Running(database, clock, PATIENCE)
    await database.close()


async def all_but_one(running: Running) -> None:
    """Five files are ordered; four land within ten seconds, `a0` does not."""
    await running.submit("a", 5)
    running.clock.advance(10 * SECOND)
    running.ddm.land(DISK, "a1", "a2", "a3", "a4")
    await running.survey()
    running.clock.advance(MINUTE + SECOND)


async def others_land(running: Running) -> None:
    """Time goes by, and the tape goes on: something else of it lands as fast as is usual."""
    running.clock.advance(20 * MINUTE)
    number = len(running.ddm.staged)
    await running.submit(f"b{number}-", 1)
    running.clock.advance(10 * SECOND)
    running.ddm.land(DISK, f"b{number}-0")
    await running.survey()


async def make_room(running: Running) -> None:
    async with running.database.transaction("test") as tx:
        await tx.windows.declare("rse", DISK, limit_bytes=10**6, limit_files=None)


async def test_one_that_is_nowhere_else_is_hastened_and_at_last_given_up(running: Running) -> None:
    await make_room(running)
    await all_but_one(running)
    for boosts in (1, 2):
        await others_land(running)
        assert await running.stalls.judge() == 1
        assert await running.stalls.judge() == 0, "its clock begins anew"
        await running.advance()
        stalled = await running.replica("a0")
        assert (stalled.status, stalled.stalled_times) == (ReplicaStatus.STAGING, boosts)
        assert running.ddm.boosted == {stalled.rule_id}
        answer = await Explanation(running.database).why(OWNER, RequestId(1))
        said = [sentence.text for sentence in answer.transforms[0].sentences]
        assert any(text.startswith("1 recall made no progress; last boosted: no progress for") for text in said), said
    await others_land(running)
    assert await running.stalls.judge() == 1
    failed = [content for content in await running.contents(RequestId(1)) if content.status is ContentStatus.FAILED]
    assert [content.name for content in failed] == ["a0"]
    assert "hastened 2 times" in (failed[0].reason or "")
    assert (await running.replica("a0")).status is ReplicaStatus.DELETING
    told = await running.reasons("collection:1", "stalled")
    assert [reason.partition(":")[0] for reason in told if reason] == ["boosted", "boosted", "given up"]


async def test_one_that_is_elsewhere_is_recalled_from_there(running: Running) -> None:
    await make_room(running)
    running.ddm.tapes[Did("data", "a0")] = ("TAPE", "SECOND")
    await all_but_one(running)
    first = (await running.replica("a0")).source_rse
    other = ({"TAPE", "SECOND"} - {first}).pop()
    await others_land(running)
    await running.stalls.judge()
    await running.advance()
    if first == "TAPE":
        await others_land(running)
    await running.stalls.judge()
    await running.advance()
    now = await running.replica("a0")
    assert (now.status, now.source_rse) == (ReplicaStatus.STAGING, other)
    assert running.ddm.orders[-1] == ("a0", other)
    running.ddm.land(DISK, "a0")
    await running.survey()
    assert all(content.status is ContentStatus.AVAILABLE for content in await running.contents(RequestId(1)))


async def test_a_recall_that_failed_is_tried_from_elsewhere_before_its_file_is(running: Running) -> None:
    running.ddm.tapes = {Did("data", "a0"): ("TAPE", "SECOND"), Did("data", "a1"): ("TAPE",)}
    request = await running.submit("a", 2)
    first = (await running.replica("a0")).source_rse
    running.ddm.fail(DISK, "a0")
    running.ddm.fail(DISK, "a1")
    await running.survey()
    by_name = {content.name: content for content in await running.contents(request)}
    assert by_name["a1"].status is ContentStatus.FAILED
    assert by_name["a0"].status is ContentStatus.NEW
    assert (await running.replica("a0")).source_rse != first
    assert (await running.replica("a0")).stalled_times == 1
    (said,) = await running.reasons("collection:1", "stalled")
    assert said is not None
    assert "cannot be read" in said
    # Tried as often as allowed, it fails with the last reason.
    for _ in range(2):
        running.ddm.fail(DISK, "a0")
        await running.survey()
    assert (await running.contents(request))[0].status is ContentStatus.FAILED


async def test_while_a_tape_stands_still_its_files_are_not_blamed(running: Running) -> None:
    await all_but_one(running)
    running.clock.advance(60 * MINUTE)
    assert await running.stalls.judge() == 0
    assert (await running.replica("a0")).stalled_times == 0
    running.clock.advance(60 * MINUTE)
    assert await running.stalls.judge() == 0


async def test_what_is_held_is_not_judged_and_begins_anew_after_that(running: Running) -> None:
    await make_room(running)
    await all_but_one(running)
    await others_land(running)
    await running.steering.hold(order(), HoldKind.TAPE, "TAPE", "robot")
    assert await running.stalls.judge() == 0
    await running.steering.resume(order(), HoldKind.TAPE, "TAPE")
    assert await running.stalls.judge() == 0
    await others_land(running)
    assert await running.stalls.judge() == 1


async def test_of_several_sources_the_best_is_asked_and_told(running: Running) -> None:
    await make_room(running)
    both = ("TAPE", "SECOND")
    running.ddm.tapes = {Did("data", f"{name}{no}"): both for name in "ab" for no in range(3)}
    running.ddm.tapes |= {Did("data", f"c{no}"): ("TAPE", "ELSEWHERE") for no in range(2)}
    first = await running.submit("a", 3)
    second = await running.submit("b", 3)
    third = await running.submit("c", 2)
    sources = [(await running.input_of(request)).source_rse for request in (first, second, third)]
    assert set(sources[:2]) == {"TAPE", "SECOND"}, "the second one goes where no queue is"
    assert sources[2] == "ELSEWHERE", "a disk needs no mount"
    (said,) = await running.reasons("collection:1", "source")
    assert said is not None
    assert "of 2" in said


async def test_a_held_tape_is_passed_by_and_what_is_only_there_waits(running: Running) -> None:
    await make_room(running)
    running.ddm.tapes = {Did("data", "a0"): ("TAPE", "SECOND")}
    await running.steering.hold(order(), HoldKind.TAPE, "TAPE", "robot")
    await running.submit("a", 2)
    assert running.ddm.orders == [("a0", "SECOND")]
    async with running.database.snapshot() as tx:
        assert (await tx.replicas.find(DISK, [Did("data", "a1")]))[0].status is ReplicaStatus.ADMITTED
    await running.steering.resume(order(), HoldKind.TAPE, "TAPE")
    await running.advance()
    assert running.ddm.orders == [("a0", "SECOND"), ("a1", None)]

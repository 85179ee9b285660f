"""Admission as a service: planned over all that waits for a disk, and carried out in the database."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from random import Random

import pytest
from sqlalchemy import text

from idds.domain.files import File
from idds.domain.hold import HoldKind
from idds.domain.identifiers import CollectionId, Did, ReplicaId, RequestId
from idds.domain.request import Terms
from idds.domain.statuses import ContentStatus, Intent, ReplicaStatus
from idds.domain.workflow import Input, WindowLimits, Work, Workflow
from idds.engine.planner import Policy
from idds.engine.shares import Share
from idds.engine.transitions import ContentEvent, ReplicaEvent
from idds.ports.wakeups import Channel
from idds.runtime.wakeups import LocalWakeups
from idds.services import admission, announcing, joining
from idds.services import planning as service
from idds.services.announcing import follow
from idds.services.explanation import Explanation
from idds.services.listing import Listing
from idds.services.placement import Placement
from idds.services.planning import Planning
from idds.services.progress import Progress
from idds.services.standing import Rules
from idds.services.submission import Offer, Submission
from idds.store.contents import pinned_to
from idds.store.database import Database, Transaction
from idds.store.integrity import disagreements
from idds.store.upgrade import upgrade
from idds.testing.clock import ManualClock
from idds.testing.memory_ddm import MemoryDDM
from tests.integration.simulation.world import OWNER

DISK = "DISK"
RULES = Rules(Policy(run_files=2, patience=10_000_000), shares=(Share("fast", 1.0, True),))
TAPES = replace(RULES, systems={"TAPE-1": "library"}, recalls_in_flight={"library": 3})
PLAIN = Terms()


class Site:
    """Requests, and the planner; what is admitted stays so until a test has it deleted."""

    def __init__(self, database: Database, clock: ManualClock, wakeups: LocalWakeups) -> None:
        self.database, self.clock, self.wakeups = database, clock, wakeups
        self.ddm = MemoryDDM(Random(0))
        self.progress = Progress(database, Placement("local", DISK, "OUT"))
        self.listing = Listing(database, self.ddm, "me")
        self.submission = Submission(database, Offer(frozenset(), frozenset({DISK}), frozenset()))
        self.planning = Planning(database, RULES)

    async def submit(
        self, name: str, files: int, *, of: str | None = None, first: int = 0, terms: Terms = PLAIN, **wanted: object
    ) -> RequestId:
        """A request over files of one byte, listed and ready to be admitted; the `first` one is listed first."""
        numbers = [*range(first, files), *range(first)]
        self.ddm.add_dataset(Did("data", name), [File(Did("data", f"{of or name}.{n:03}"), 1) for n in numbers])
        source = Input(dataset=f"data:{name}", **wanted)  # type: ignore[arg-type]
        request, _ = await self.submission.submit(
            OWNER, Workflow(name=name, works=(Work(name="w", input=source),)), terms
        )
        while await self.progress.step() + await self.listing.step():
            pass
        return request.id

    async def plan(self) -> None:
        while await self.planning.step():
            pass

    async def admitted(self) -> dict[RequestId, int]:
        """How many files of each request hold a pin."""
        async with self.database.snapshot() as tx:
            found = await tx.collections.get_all(range(1, 20))
        return {each.request_id: each.counts[ContentStatus.NEW] - each.unadmitted for each in found}

    async def land(self, number: int) -> list[ReplicaId]:
        """So many replicas come to the disk, the first ones first."""
        async with self.database.transaction("test") as tx:
            ids = [replica.id for replica in await tx.replicas.get(range(1, 1000)) if replica.status == "admitted"]
            ids = ids[:number]
            await tx.replicas.move(ReplicaEvent.RECALLED, DISK, ids)
            await tx.replicas.move(ReplicaEvent.LANDED, DISK, ids)
            await follow(tx, await tx.contents.move(ContentEvent.LANDED, pinned_to(ids)))
        return ids

    async def give_back(self, number: int, *, planning: bool = False) -> None:
        """So many replicas land, are processed, deleted and gone."""
        ids = await self.land(number)
        if planning:
            await self.plan()
        async with self.database.transaction("test") as tx:
            await follow(tx, await tx.contents.move(ContentEvent.PROCESSED, pinned_to(ids)))
            await tx.replicas.give_back(await tx.replicas.move(ReplicaEvent.DELETED, DISK, ids))

    async def check(self) -> None:
        assert await self.database.run(disagreements, writes=False) == []


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    clock, wakeups = ManualClock(), LocalWakeups()
    database = Database(database_url, clock=clock, wakeups=wakeups)
    try:
        await upgrade(database)
        async with database.transaction("test") as tx:
            await tx.windows.declare("rse", DISK, limit_bytes=None, limit_files=12)
        yield Site(database, clock, wakeups)
    finally:
        await database.close()


def _look_at(monkeypatch: pytest.MonkeyPatch, *, heads: int) -> None:
    monkeypatch.setattr(service, "HEADS", heads)
    monkeypatch.setattr(service, "MOST_HEADS", heads)


async def test_a_disk_is_divided_among_those_that_wait_for_it(site: Site) -> None:
    first = await site.submit("one", 30)
    second = await site.submit("two", 30)
    await site.plan()
    assert await site.admitted() == {first: 6, second: 6}
    third = await site.submit("three", 30)
    for _ in range(4):
        await site.give_back(3)
        await site.plan()
        site.clock.advance(20_000_000)
        await site.check()
    parts = await site.admitted()
    assert parts[third] >= 4
    assert sum(parts.values()) == 12


async def test_an_express_share_goes_first(site: Site) -> None:
    await site.submit("slow", 30)
    fast = await site.submit("fast", 10, terms=Terms(share="fast"))
    await site.plan()
    assert (await site.admitted())[fast] == 10


async def test_a_quota_bounds_what_a_share_holds_and_is_given_back(site: Site) -> None:
    rules = Rules(RULES.policy, shares=(Share("small"),))
    site.planning = Planning(site.database, rules)
    request = await site.submit("before", 2, terms=Terms(share="small"))
    await site.plan()
    async with site.database.transaction("test") as tx:
        await tx.windows.declare_quotas({"small": 5})
    await site.submit("after", 20, terms=Terms(share="small"))
    await site.plan()
    assert sum((await site.admitted()).values()) == 5
    await site.give_back(4)
    site.clock.advance(20_000_000)
    await site.plan()
    assert (await site.admitted())[request] == 0
    assert sum((await site.admitted()).values()) == 5
    await site.check()
    async with site.database.transaction("test") as tx:
        await tx.windows.declare_quotas({})
        assert [window.kind for window in await tx.windows.all()] == ["rse"]
    site.clock.advance(20_000_000)
    await site.plan()
    assert sum((await site.admitted()).values()) == 12


async def test_recalls_in_flight_are_bounded_by_tape_system(site: Site) -> None:
    site.planning = Planning(site.database, TAPES)
    first, second = await site.submit("one", 9), await site.submit("two", 9)
    await site.plan()
    assert sum((await site.admitted()).values()) == 3  # it is not known yet from which tape they will be
    await site.give_back(3)
    async with site.database.transaction("test") as tx:
        await tx.collections.note_source([1, 2], "TAPE-1")
    await site.plan()
    assert sum((await site.admitted()).values()) == 3
    why = await Explanation(site.database, rules=TAPES).why(OWNER, first)
    assert "tape library has 3 of 3 files in flight" in str(why)
    async with site.database.transaction("test") as tx:
        await tx.collections.note_source([2], "ELSEWHERE")
    await site.plan()
    assert (await site.admitted())[second] >= 6


@pytest.mark.parametrize(("kind", "ref"), [(HoldKind.TAPE, "TAPE-1"), (HoldKind.TAPE, "library"), (HoldKind.RSE, DISK)])
async def test_what_is_held_takes_nothing(site: Site, kind: HoldKind, ref: str) -> None:
    site.planning = Planning(site.database, TAPES)
    request = await site.submit("one", 2)
    async with site.database.transaction("test") as tx:
        await tx.collections.note_source([1], "TAPE-1")
        await tx.holds.add(kind, ref, reason="a robot is stuck", owner="op")
    await site.plan()
    assert await site.admitted() == {request: 0}
    assert "is held: a robot is stuck" in str(await Explanation(site.database, rules=TAPES).why(OWNER, request))
    async with site.database.transaction("test") as tx:
        await tx.holds.remove(kind, ref)
    await site.plan()
    assert await site.admitted() == {request: 2}


async def test_a_hold_of_one_tape_rse_holds_no_other_of_the_same_tape_system(site: Site) -> None:
    rules = replace(RULES, systems={"TAPE-1": "library", "TAPE-2": "library"}, recalls_in_flight={"library": 9})
    site.planning = Planning(site.database, rules)
    first, second = await site.submit("one", 4), await site.submit("two", 4)
    async with site.database.transaction("test") as tx:
        await tx.collections.note_source([1], "TAPE-1")
        await tx.collections.note_source([2], "TAPE-2")
        await tx.holds.add(HoldKind.TAPE, "TAPE-1", reason="a robot is stuck", owner="op")
    await site.plan()
    assert await site.admitted() == {first: 0, second: 4}
    why = str(await Explanation(site.database, rules=rules).why(OWNER, first))
    assert "tape TAPE-1 is held: a robot is stuck" in why
    async with site.database.transaction("test") as tx:
        await tx.holds.remove(HoldKind.TAPE, "TAPE-1")
        await tx.holds.add(HoldKind.TAPE, "library", reason="no power", owner="op")
    await site.plan()
    assert await site.admitted() == {first: 0, second: 4}
    async with site.database.transaction("test") as tx:
        await tx.holds.remove(HoldKind.TAPE, "library")
    await site.plan()
    assert await site.admitted() == {first: 4, second: 4}


async def test_what_is_forced_goes_first(site: Site) -> None:
    await site.submit("one", 30)
    second = await site.submit("two", 10)
    async with site.database.transaction("test") as tx:
        await tx.collections.force([2])
    await site.plan()
    assert (await site.admitted())[second] == 10


async def test_what_another_request_has_on_disk_costs_nothing(site: Site) -> None:
    first = await site.submit("one", 12)
    await site.plan()
    second = await site.submit("two", 12, of="one")
    await site.plan()
    assert await site.admitted() == {first: 12, second: 12}
    await site.check()


async def test_who_comes_late_joins_wherever_the_others_are_and_reads_the_rest_when_they_have_ended(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    _look_at(monkeypatch, heads=4)
    first = await site.submit("one", 40)
    await site.plan()
    assert await site.admitted() == {first: 12}
    await site.give_back(8)
    await site.plan()
    late = await site.submit("late", 40, of="one")
    await site.plan()
    # The first has 8 to 19; the late one joins in half of its part of the disk, and begins nothing of its own.
    assert await site.admitted() == {first: 12, late: 3}
    for _ in range(10):
        site.clock.advance(20_000_000)
        await site.give_back(6, planning=True)
        await site.plan()
        await site.check()
    async with site.database.snapshot() as tx:
        (one,), (other,) = [await tx.collections.get_all([number]) for number in (CollectionId(1), CollectionId(2))]
        moves = await tx.moves.of([f"rse:{DISK}"])
    assert (one.counts[ContentStatus.DONE], one.unadmitted) == (40, 0)
    assert (other.counts[ContentStatus.DONE], other.unadmitted) == (40, 0)
    recalled = sum(move.n for move in moves if move.event == ReplicaEvent.ADMITTED)
    assert recalled == 40 + 8  # what was gone before it came


async def test_what_only_the_end_of_a_long_queue_wants_is_found_as_it_comes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    _look_at(monkeypatch, heads=4)
    monkeypatch.setattr(joining, "LOOKUPS", 6)
    first = await site.submit("one", 300)
    late = await site.submit("late", 300, of="one", first=150)
    async with site.database.transaction("test") as tx:
        await tx.windows.declare("rse", DISK, limit_bytes=None, limit_files=60)
    await site.plan()
    admitted = await site.admitted()
    assert admitted[first] + admitted[late] > 60
    async with site.database.snapshot() as tx:
        replicas = await tx.replicas.get(range(1, 1000))
    assert len(replicas) == 60
    await site.check()


async def test_a_group_is_joined_when_all_of_it_is_there(site: Site) -> None:
    first = await site.submit("one", 12)
    await site.plan()
    late = await site.submit("late", 40, of="one", first=10, batch=5)
    await site.plan()
    # Of its groups 10-14, ..., 35-39, 0-4, 5-9 the last two are on their way: half of its part may be filled with such.
    assert await site.admitted() == {first: 12, late: 5}
    await site.land(12)
    await site.plan()
    async with site.database.snapshot() as tx:
        collection = await tx.collections.get(CollectionId(2))
    assert collection is not None
    assert (collection.unadmitted, collection.counts[ContentStatus.AVAILABLE]) == (30, 10)
    await site.check()


async def test_a_request_that_is_suspended_waits_and_wakes_the_planner_when_it_goes_on(site: Site) -> None:
    request = await site.submit("one", 3)
    await site.submission.order(OWNER, request, Intent.SUSPEND)
    await site.plan()
    assert await site.admitted() == {request: 0}
    seen = site.wakeups.count(Channel.PLANNING)
    await site.submission.order(OWNER, request, Intent.RUN)
    assert site.wakeups.count(Channel.PLANNING) > seen
    await site.plan()
    assert await site.admitted() == {request: 3}


async def test_it_looks_again_by_itself_when_time_changes_something(site: Site) -> None:
    await site.submit("one", 30)
    await site.plan()
    assert await site.planning.due_in() == service.FALLBACK
    await site.give_back(1)
    site.clock.advance(7_000_000)
    await site.plan()
    assert sum((await site.admitted()).values()) == 11  # a run of two is gathered
    assert await site.planning.due_in() == 3_000_000
    site.clock.advance(3_000_000)
    await site.plan()
    assert sum((await site.admitted()).values()) == 12


async def test_a_window_goes_with_the_last_file_of_an_input_that_has_ended(site: Site) -> None:
    await site.submit("one", 4, window=WindowLimits(files=2))
    for _ in range(2):
        await site.plan()
        async with site.database.snapshot() as tx:
            assert [(w.kind, w.reserved_files) for w in await tx.windows.all()] == [("rse", 2), ("collection", 2)]
        await site.give_back(2)
        while await site.progress.step():
            pass
    async with site.database.snapshot() as tx:
        assert [window.kind for window in await tx.windows.all()] == ["rse"]
        assert {replica.status for replica in await tx.replicas.get(range(1, 5))} == {ReplicaStatus.GONE}
    await site.check()


async def test_an_input_that_breaks_is_left_alone_and_the_others_go_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.submit("odd", 2)
    plain = await site.submit("plain", 2)
    original, tried = admission.admit, list[CollectionId]()

    async def admit(tx: object, collection: CollectionId, groups: object) -> int:
        if collection == 1:
            tried.append(collection)
            raise RuntimeError("a defect of the service")
        return await original(tx, collection, groups)  # type: ignore[arg-type]

    monkeypatch.setattr(service, "admit", admit)
    for _ in range(5):
        await site.planning.step()
    assert (await site.admitted())[plain] == 2
    assert len(tried) == 1
    monkeypatch.undo()
    site.clock.advance(60_000_000)
    await site.plan()
    assert sum((await site.admitted()).values()) == 4


async def test_a_refusal_that_breaks_holds_up_nobody(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = await site.submit("odd", 20, batch=20)
    tried = list[CollectionId]()

    async def refuse(tx: object, collection: CollectionId, refusals: object) -> None:
        tried.append(collection)
        raise RuntimeError("a defect of the service")

    monkeypatch.setattr(service, "refuse", refuse)
    for _ in range(5):
        await site.planning.step()
    plain = await site.submit("plain", 2)
    await site.plan()
    assert await site.admitted() == {odd: 0, plain: 2}
    assert len(tried) == 1
    monkeypatch.undo()
    site.clock.advance(60_000_000)
    await site.plan()
    async with site.database.snapshot() as tx:
        (collection,) = await tx.collections.get_all([CollectionId(1)])
    assert collection.counts[ContentStatus.FAILED] == 20


async def test_long_queues_are_looked_at_further_where_there_is_room(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "HEADS", 2)
    request = await site.submit("one", 40)
    async with site.database.transaction("test") as tx:
        await tx.windows.declare("rse", DISK, limit_bytes=None, limit_files=None)
    await site.plan()
    assert await site.admitted() == {request: 40}
    await site.check()


async def test_one_at_a_time_plans_for_a_disk(postgres_url: str) -> None:
    clock = ManualClock()
    database = Database(postgres_url, clock=clock)
    try:
        await upgrade(database)
        site = Site(database, clock, LocalWakeups())
        request = await site.submit("one", 3)
        async with database.snapshot() as tx:
            assert await tx.demands.claim(DISK)
            assert await site.planning.step() == 0
        assert await site.planning.step() == 3
        assert await site.admitted() == {request: 3}
    finally:
        await database.close()


async def test_whatever_ends_at_once_has_all_its_replicas_locked_before_the_first_is_let_go(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two requests over the same files, in another order each, could wait for each other in a circle."""
    database = Database(postgres_url, clock=ManualClock())
    free: list[int] = []

    async def release(tx: Transaction, replica_ids: Sequence[int]) -> None:
        async with database.transaction("somebody else") as other:
            found = await other.connection.execute(text("SELECT id FROM replicas FOR UPDATE SKIP LOCKED"))
            free.extend(row.id for row in found)

    try:
        await upgrade(database)
        site = Site(database, ManualClock(), LocalWakeups())
        await site.submit("one", 5)
        await site.plan()
        monkeypatch.setattr(announcing, "MAX_CONTENTS", 2)
        monkeypatch.setattr(announcing, "release", release)
        async with database.transaction("test") as tx:
            await follow(tx, await tx.contents.move(ContentEvent.CANCELLED, pinned_to(range(1, 6))))
    finally:
        await database.close()
    assert free == []

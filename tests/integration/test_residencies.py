"""Listing and staging where the world moves on: datasets that grow, recalls of others that fail, agents that lag."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random

import pytest

from idds.domain.files import File, FilePage
from idds.domain.identifiers import Did, RequestId
from idds.domain.statuses import ContentStatus, Intent, ReplicaStatus
from idds.domain.workflow import Input, WindowLimits, Work, Workflow
from idds.engine.transitions import ReplicaEvent
from idds.ports.ddm import NotNow, Refused, Residency, Staging, Where
from idds.runtime.wakeups import LocalWakeups
from idds.services.listing import GROWTH, Listing
from idds.services.placement import Placement
from idds.services.planning import Planning
from idds.services.progress import Progress
from idds.services.staging import Residencies
from idds.services.standing import Rules
from idds.services.submission import Offer, Submission
from idds.services.surveying import DELETION
from idds.store.database import Database
from idds.store.upgrade import upgrade
from idds.testing.clock import ManualClock
from idds.testing.memory_ddm import MemoryDDM
from tests.integration.simulation.world import OWNER
from tests.integration.surveys import survey

DISK = "DISK"
SET = Did("data", "set")


class GrowingDDM(MemoryDDM):
    """Its datasets may grow while `is_open`; it answers as of `then` while that is set."""

    is_open = False
    then: dict[Did, Residency] | None = None

    async def list_files(self, dataset: Did, *, after: str | None, limit: int) -> FilePage:
        page = await super().list_files(dataset, after=after, limit=limit)
        return FilePage(page.files, page.next, is_open=self.is_open)

    async def residency(self, rse: str, dids: Sequence[Did]) -> dict[Did, Residency]:
        return self.then if self.then is not None else await super().residency(rse, dids)

    def lose(self, did: Did) -> None:
        """Whoever was bringing it is not any more."""
        self._states.pop((DISK, did), None)
        self._rules.pop((DISK, did), None)
        self.foreign.discard((DISK, did))


class Service:
    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database, self.clock = database, clock
        self.ddm = GrowingDDM(Random(0))
        self.progress = Progress(database, Placement("local", DISK, "OUT"))
        self.planning = Planning(database, Rules())
        self.listing = Listing(database, self.ddm, "me")
        self.residencies = Residencies(database, self.ddm, LocalWakeups(), "me")
        self.submission = Submission(database, Offer(frozenset(), frozenset({DISK}), frozenset()))

    async def submit(self, batch: int = 1) -> RequestId:
        work = Work(name="w", input=Input(dataset=str(SET), batch=batch))
        request, _ = await self.submission.submit(OWNER, Workflow(name="w", works=(work,)))
        await self.advance()
        return request.id

    async def advance(self) -> None:
        while await self.progress.step():
            pass
        await self.listing.step()
        while await self.progress.step() + await self.planning.step():
            pass
        await self.residencies.recalling.step()

    async def survey(self) -> None:
        await survey(self.residencies, everything=True)
        await self.advance()

    async def reserved(self) -> int:
        async with self.database.snapshot() as tx:
            return (await tx.windows.find([("rse", DISK)]))[("rse", DISK)].reserved_bytes

    async def contents(self) -> list[tuple[str, int, ContentStatus]]:
        async with self.database.snapshot() as tx:
            page = await tx.contents.page(1, status=None, after=0, limit=100)  # type: ignore[arg-type]
        return [(content.name, content.group_no, content.status) for content in page]

    async def replica(self) -> tuple[ReplicaStatus, bool]:
        async with self.database.snapshot() as tx:
            (found,) = await tx.replicas.find(DISK, [Did("data", "f0")])
        return found.status, found.ours


def some(number: int) -> list[File]:
    return [File(Did("data", f"f{no}"), 10) for no in range(number)]


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    clock = ManualClock()
    database = Database(f"sqlite:///{tmp_path}/idds.sqlite", clock=clock)
    await upgrade(database)
    async with database.transaction("test") as tx:
        await tx.windows.declare("rse", DISK, limit_bytes=100, limit_files=None)
    yield Service(database, clock)
    await database.close()


async def test_files_that_a_dataset_gets_later_are_numbered_on(service: Service) -> None:
    service.ddm.is_open = True
    service.ddm.add_dataset(SET, some(3))
    await service.submit(batch=2)
    async with service.database.snapshot() as tx:
        before = len(await tx.moves.of(["collection:1"]))
    for number in (3, 3, 5):
        service.ddm.add_dataset(SET, some(number))
        service.clock.advance(GROWTH)
        await service.advance()
        if number == 3:
            async with service.database.snapshot() as tx:
                assert len(await tx.moves.of(["collection:1"])) == before  # nothing came, nothing happened
    listed = [(name, group) for name, group, _ in await service.contents()]
    assert listed == [
        ("f0", 0),
        ("f1", 0),
        ("f2", 1),
        ("f3", 1),
        ("f4", 2),
    ]


async def test_files_that_are_told_again_within_one_look_leave_no_holes(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = some(4)
    pages = [FilePage((files[0],), "1", is_open=True), FilePage(tuple(files), None, is_open=False)]

    async def tell(_dataset: Did, *, after: str | None, limit: int) -> FilePage:
        return pages[0 if after is None else 1]

    monkeypatch.setattr(service.ddm, "list_files", tell)
    service.ddm.add_dataset(SET, files)
    await service.submit(batch=2)
    listed = [(name, group) for name, group, _ in await service.contents()]
    assert listed == [
        ("f0", 0),
        ("f1", 0),
        ("f2", 1),
        ("f3", 1),
    ]
    async with service.database.snapshot() as tx:
        (collection,) = await tx.collections.get_all([1])
    assert (collection.next_no, collection.total, collection.is_closed) == (4, 4, True)


async def test_a_file_that_somebody_else_failed_to_bring_is_admitted_anew(service: Service) -> None:
    service.ddm.add_dataset(SET, some(1))
    service.ddm.foreign.add((DISK, Did("data", "f0")))
    await service.submit()
    assert await service.replica() == (ReplicaStatus.STAGING, False)
    assert await service.reserved() == 0
    service.ddm.lose(Did("data", "f0"))
    await service.survey()
    assert await service.replica() == (ReplicaStatus.STAGING, True)
    assert await service.reserved() == 10


async def test_a_dataset_that_another_ones_rule_brings_is_awaited_and_needs_no_room(service: Service) -> None:
    service.ddm.add_dataset(SET, some(20))
    files = [file.did for file in some(20)]
    for did in files:
        service.ddm.bring(DISK, did, "a-rule")
    work = Work(name="w", input=Input(dataset=str(SET), rule="a-rule", window=WindowLimits(files=1)))
    await service.submission.submit(OWNER, Workflow(name="w", works=(work,)))
    await service.advance()
    assert service.ddm.staged == []
    assert await service.reserved() == 0
    assert await service.replica() == (ReplicaStatus.STAGING, False)
    service.ddm.put(DISK, files[0])
    await service.survey()
    available = [name for name, _, status in await service.contents() if status is ContentStatus.AVAILABLE]
    assert available == ["f0"]
    for did in files[1:]:
        service.ddm.lose(did)
    await service.survey()
    assert len(service.ddm.staged) == 1, "whatever the rule brings no more is recalled, within the window"
    assert await service.reserved() == 10


async def test_a_dataset_whose_rule_is_not_there_is_recalled_and_the_history_says_so(service: Service) -> None:
    service.ddm.add_dataset(SET, some(1))
    work = Work(name="w", input=Input(dataset=str(SET), rule="no-rule"))
    request, _ = await service.submission.submit(OWNER, Workflow(name="w", works=(work,)))
    await service.advance()
    assert await service.replica() == (ReplicaStatus.STAGING, True)
    async with service.database.snapshot() as tx:
        moves = await tx.moves.of_request(request.id, entity=None, after=0, limit=100)
    (said,) = [move.reason for move in moves if move.event == "destination"]
    assert said is not None
    assert "no-rule" in said


async def test_a_file_that_was_told_of_too_early_is_looked_at_again_soon(service: Service) -> None:
    """As Rucio does: a transfer is told done, seconds later the replica is available, and of that nobody tells."""
    service.ddm.add_dataset(SET, some(2))
    files = [Did("data", "f0"), Did("data", "f1")]
    service.ddm.foreign |= {(DISK, did) for did in files}
    await service.submit()
    await survey(service.residencies, everything=True)
    assert await service.residencies.arrivals.due_in() is None
    async with service.database.transaction("test") as tx:
        await tx.hints.add([(DISK, files[0])])
    await survey(service.residencies, everything=False)
    for did in files:
        service.ddm.put(DISK, did)
    waited = [await service.residencies.arrivals.due_in()]
    assert await survey(service.residencies, everything=False) == 0, "not before it is due"
    service.clock.advance(waited[0] or 0)
    assert await survey(service.residencies, everything=False) == 1
    assert [status for _, _, status in await service.contents()] == [ContentStatus.AVAILABLE, ContentStatus.NEW]
    assert await service.residencies.arrivals.due_in() is not None
    service.clock.advance(await service.residencies.arrivals.due_in() or 0)
    await survey(service.residencies, everything=False)
    assert await service.residencies.arrivals.due_in() is None, "it is there"


async def test_a_deletion_that_was_just_ordered_is_not_looked_at_before_it_can_be_done(service: Service) -> None:
    service.ddm.add_dataset(SET, some(1))
    request = await service.submit()
    service.ddm.put(DISK, Did("data", "f0"))
    await service.survey()
    await service.submission.order(OWNER, request, Intent.CANCEL)
    await service.advance()
    assert await service.residencies.releasing.step() == 1
    service.ddm.lose(Did("data", "f0"))
    departures = service.residencies.departures
    assert await departures.step(everything=False) == 0
    assert await departures.due_in() == DELETION
    service.residencies.hint(DISK, [Did("data", "f0")])
    assert await departures.step(everything=False) == 1, "the data management says so"
    assert (await service.replica())[0] is ReplicaStatus.GONE


async def test_what_was_told_and_never_comes_is_left_to_the_slow_look(service: Service) -> None:
    service.ddm.add_dataset(SET, some(1))
    service.ddm.foreign.add((DISK, Did("data", "f0")))
    await service.submit()
    async with service.database.transaction("test") as tx:
        await tx.hints.add([(DISK, Did("data", "f0"))])
    await survey(service.residencies, everything=False)
    waited = []
    while (pause := await service.residencies.arrivals.due_in()) is not None:
        waited.append(pause)
        service.clock.advance(pause)
        await survey(service.residencies, everything=False)
    assert waited == [250_000 * 2**n for n in range(7)]


async def test_a_recall_that_was_lost_and_then_done_by_another_holds_no_room(service: Service) -> None:
    service.ddm.add_dataset(SET, some(1))
    await service.submit()
    assert await service.reserved() == 10
    service.ddm.lose(Did("data", "f0"))
    service.ddm.foreign.add((DISK, Did("data", "f0")))
    await service.survey()
    assert await service.replica() == (ReplicaStatus.STAGING, False)
    assert await service.reserved() == 0


async def test_a_late_answer_gives_no_room_back_twice(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """While an order is under way its replica goes, and its room is given back; then the answer says: not ours."""
    service.ddm.add_dataset(SET, some(1))
    stage = service.ddm.stage

    async def stage_late(
        rse: str, files: Sequence[File], *, source: str | None = None
    ) -> list[Staging | NotNow | Refused]:
        await stage(rse, files)
        async with service.database.transaction("test") as tx:
            (replica,) = await tx.replicas.find(DISK, [files[0].did])
            for event in (ReplicaEvent.RECALLED, ReplicaEvent.RELEASED):
                await tx.replicas.move(event, DISK, [replica.id])
            await tx.replicas.give_back(await tx.replicas.move(ReplicaEvent.DELETED, DISK, [replica.id]))
        return [Staging("theirs", ours=False)]

    monkeypatch.setattr(service.ddm, "stage", stage_late)
    await service.submit()
    assert await service.reserved() == 0


@pytest.mark.parametrize("is_gone", [False, True])
async def test_an_order_overtaken_by_the_deletion_is_taken_back(
    service: Service, monkeypatch: pytest.MonkeyPatch, is_gone: bool
) -> None:
    service.ddm.add_dataset(SET, some(1))
    did, stage = Did("data", "f0"), service.ddm.stage

    async def stage_late(
        rse: str, files: Sequence[File], *, source: str | None = None
    ) -> list[Staging | NotNow | Refused]:
        async with service.database.transaction("test") as tx:
            (replica,) = await tx.replicas.find(DISK, [did])
            for event in (ReplicaEvent.RECALLED, ReplicaEvent.RELEASED, ReplicaEvent.DELETED)[: 2 + is_gone]:
                await tx.replicas.move(event, DISK, [replica.id])
        return await stage(rse, files)

    monkeypatch.setattr(service.ddm, "stage", stage_late)
    await service.submit()
    assert (await service.ddm.residency(DISK, [did]))[did].where is Where.STAGING
    assert await service.residencies.releasing.step() == 1
    assert (await service.ddm.residency(DISK, [did]))[did].where in (Where.DELETING, Where.ABSENT)


async def test_what_an_agent_saw_before_it_was_stopped_counts_no_more(service: Service) -> None:
    """It saw a file absent while that was deleted; when it goes on, the file is there again and goes once more."""
    service.ddm.add_dataset(SET, some(1))
    await service.submit()
    did = Did("data", "f0")
    async with service.database.snapshot() as tx:
        (seen,) = await tx.replicas.in_motion()
    service.clock.advance(1)
    async with service.database.transaction("test") as tx:
        for event in ("released", "deleted"):
            await tx.replicas.move(event, DISK, [seen.id])  # type: ignore[arg-type]
        await tx.replicas.admit(DISK, some(1), None)
        await tx.replicas.move("recalled", DISK, [seen.id])  # type: ignore[arg-type]
    service.ddm.then = {did: Residency(Where.PRESENT, "/gone")}
    await service.residencies.arrivals._look_on(DISK, [seen])
    assert (await service.replica())[0] is ReplicaStatus.STAGING
    assert [status for _, _, status in await service.contents()] == [ContentStatus.NEW]

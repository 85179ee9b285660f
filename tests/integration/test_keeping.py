"""Rules that are kept, files that vanish, rules that nothing knows of: what the carrier sees to now and then."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from idds.domain.files import File
from idds.domain.identifiers import Did, RequestId
from idds.domain.statuses import ContentStatus, EffectKind, ReplicaStatus
from idds.engine.retry import backoff
from idds.engine.transitions import ContentEvent
from idds.ports.ddm import Residency, Where
from idds.runtime.wakeups import LocalWakeups
from idds.services.announcing import follow
from idds.services.delivery import Delivery
from idds.services.keeping import INTERVAL, Keeping
from idds.services.orders import LEASE
from idds.services.staging import Residencies
from idds.services.surveying import SETTLED
from idds.services.tidying import Tidying
from idds.store.carousel import Carousel
from idds.store.contents import pinned_to
from idds.store.database import Database
from idds.store.upgrade import upgrade
from idds.store.waits import Waits
from idds.testing.clock import ManualClock
from tests.integration.surveys import survey
from tests.integration.test_residencies import DISK, SET, Service, some

FILE = Did("data", "f0")
PATIENCE = 600_000_000


class Kept(Service):
    def __init__(self, database: Database, clock: ManualClock) -> None:
        super().__init__(database, clock)
        self.keeping = Keeping(database, self.ddm)
        self.tidying = Tidying(database, self.ddm, clock, PATIENCE)

    async def land(self) -> None:
        """Have all arrive that is on its way."""
        while (await self.replica())[0] is not ReplicaStatus.PRESENT:
            self.ddm.tick()
            await self.survey()

    async def look(self) -> int:
        """Look at what was hinted at, and at nothing else."""
        return await survey(self.residencies, everything=False)

    async def rule(self) -> str:
        async with self.database.snapshot() as tx:
            (replica,) = await tx.replicas.find(DISK, [FILE])
        assert replica.rule_id is not None
        return replica.rule_id

    async def give_up(self) -> None:
        """Nobody wants the file any more."""
        async with self.database.transaction("test") as tx:
            (replica,) = await tx.replicas.find(DISK, [FILE])
            pinning = pinned_to([replica.id])
            await tx.requests.lock(await tx.contents.pinning([replica.id]))
            await follow(tx, await tx.contents.move(ContentEvent.CANCELLED, pinning))

    async def statuses(self) -> list[ContentStatus]:
        return [status for _, _, status in await self.contents()]


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Kept]:
    clock = ManualClock()
    database = Database(database_url, clock=clock)
    await upgrade(database)
    async with database.transaction("test") as tx:
        await tx.windows.declare("rse", DISK, limit_bytes=100, limit_files=None)
    yield Kept(database, clock)
    await database.close()


async def test_rules_are_kept_now_and_then_while_they_are_needed(service: Kept) -> None:
    service.ddm.add_dataset(SET, some(3))
    await service.submit()
    assert await service.keeping.step() == 0
    service.clock.advance(INTERVAL)
    assert await service.keeping.step() == 3
    assert len(service.ddm.kept) == 3
    assert await service.keeping.step() == 0
    service.ddm.kept.clear()
    await service.land()
    service.clock.advance(INTERVAL)
    assert await service.keeping.step() == 3
    assert len(service.ddm.kept) == 3
    assert await service.look() == 0


async def test_a_file_that_vanished_is_taken_back_and_recalled_again(service: Kept) -> None:
    service.ddm.add_dataset(SET, some(1))
    await service.submit()
    await service.land()
    assert await service.statuses() == [ContentStatus.AVAILABLE]
    before = await service.rule()
    service.ddm.take(DISK, FILE)
    service.clock.advance(INTERVAL)
    await service.keeping.step()
    assert await service.look() == 1
    assert await service.statuses() == [ContentStatus.NEW]
    assert await service.reserved() == 10
    await service.advance()
    await service.land()
    assert await service.statuses() == [ContentStatus.AVAILABLE]
    assert await service.rule() != before
    async with service.database.snapshot() as tx:
        told = [move.event for move in await tx.moves.of(["collection:1"])]
        why = [move.reason for move in await tx.moves.of([f"rse:{DISK}"]) if move.event == "vanished"]
    assert told[-3:] == ["landed", "withdrawn", "landed"]
    assert why == ["the data management has it on disk no more"]


async def test_a_file_that_vanished_for_good_fails_and_its_room_comes_back(service: Kept) -> None:
    service.ddm.add_dataset(SET, some(1))
    await service.submit()
    await service.land()
    service.ddm.take(DISK, FILE)
    service.ddm.refused.add(FILE)
    service.clock.advance(INTERVAL)
    await service.keeping.step()
    await service.look()
    await service.advance()
    assert await service.statuses() == [ContentStatus.FAILED]
    while await service.reserved():
        await service.residencies.releasing.step()
        await service.survey()


async def test_what_somebody_else_kept_and_is_gone_is_admitted_anew(service: Kept) -> None:
    service.ddm.add_dataset(SET, some(1))
    service.ddm.put(DISK, FILE)
    await service.submit()
    await service.land()
    assert await service.replica() == (ReplicaStatus.PRESENT, False)
    service.ddm.take(DISK, FILE)
    service.clock.advance(INTERVAL)
    await service.keeping.step()
    assert await service.look() == 1
    await service.advance()
    assert await service.replica() == (ReplicaStatus.STAGING, True)
    assert await service.reserved() == 10
    assert await service.statuses() == [ContentStatus.NEW]


@pytest.mark.parametrize("is_ours", [True, False])
async def test_what_comes_back_while_its_file_is_away_waits_for_it(service: Kept, is_ours: bool) -> None:
    """Whoever leased it went away, too: nobody else is to be given what is not there."""
    service.ddm.add_dataset(SET, some(1))
    if not is_ours:
        service.ddm.put(DISK, FILE)
    await service.submit()
    await service.land()
    async with service.database.transaction("test") as tx:
        (replica,) = await tx.replicas.find(DISK, [FILE])
        leased = {"lessee": "somebody", "lease_until": tx.now + 2 * INTERVAL, "attempt": 1}
        await tx.contents.move(ContentEvent.LEASED, pinned_to([replica.id]), values=leased)
    service.ddm.take(DISK, FILE)
    service.clock.advance(INTERVAL)
    await service.keeping.step()
    await service.look()
    assert await service.statuses() == [ContentStatus.LEASED]
    service.clock.advance(INTERVAL)
    assert await Delivery(service.database).end_leases() == 1
    assert await service.statuses() == [ContentStatus.NEW]
    async with service.database.snapshot() as tx:
        of_request = await tx.messages.of_request(RequestId(1), after=0, limit=100)
    assert sum(message.topic.endswith("contents/available") for message in of_request) == 1
    await service.advance()
    await service.land()
    assert await service.statuses() == [ContentStatus.AVAILABLE]
    assert await service.replica() == (ReplicaStatus.PRESENT, True)
    assert await service.reserved() == 10


async def test_what_a_rule_of_somebody_else_brought_and_is_gone_is_admitted_anew(service: Kept) -> None:
    """It was never ordered here: that it vanished is noticed all the same."""
    service.ddm.add_dataset(SET, [])
    request = await service.submit()
    service.ddm.add_dataset(SET, some(1))
    service.ddm.bring(DISK, FILE, "his")
    async with service.database.transaction("test") as tx:
        await tx.replicas.await_others(DISK, some(1), "his", request)
    await service.submit()
    await service.land()
    assert await service.replica() == (ReplicaStatus.PRESENT, False)
    service.ddm.take(DISK, FILE)
    service.clock.advance(INTERVAL)
    assert await service.keeping.step() == 1
    assert await service.look() == 1
    await service.advance()
    assert await service.replica() == (ReplicaStatus.STAGING, True)


async def test_what_just_landed_is_not_looked_at_again_for_its_own_echo(service: Kept) -> None:
    service.ddm.add_dataset(SET, some(1))
    await service.submit()
    await service.land()
    service.ddm.take(DISK, FILE)
    service.residencies.hint(DISK, [FILE])
    assert await service.look() == 0
    service.clock.advance(SETTLED)
    service.residencies.hint(DISK, [FILE])
    assert await service.look() == 1


async def test_a_deletion_that_is_told_of_what_just_landed_is_looked_at_when_it_has_settled(service: Kept) -> None:
    service.ddm.add_dataset(SET, some(1))
    await service.submit()
    await service.land()
    service.ddm.take(DISK, FILE)
    async with service.database.transaction("test") as tx:
        await tx.hints.add([(DISK, FILE)], deleted={(DISK, FILE)})
        await tx.hints.add([(DISK, FILE)])
    assert await service.look() == 0
    pause = await service.residencies.arrivals.due_in()
    assert pause == SETTLED
    service.clock.advance(pause)
    assert await service.look() == 1
    await service.advance()
    assert await service.replica() == (ReplicaStatus.STAGING, True)
    assert await service.residencies.arrivals.due_in() is None


async def test_a_landing_counts_that_was_seen_while_the_recall_was_found_stalled(service: Kept) -> None:
    service.ddm.add_dataset(SET, some(1))
    await service.submit()
    async with service.database.transaction("test") as tx:
        (seen,) = await tx.replicas.find(DISK, [FILE])
        await Carousel(tx).note_stalled([seen.id], counted=True)
    service.ddm.put(DISK, FILE)
    assert await service.residencies.arrivals._look_on(DISK, [seen]) == 1
    assert await service.replica() == (ReplicaStatus.PRESENT, True)


async def test_a_carrier_that_was_stopped_before_its_deletion_harms_no_later_recall(
    service: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on when another one has carried that deletion out, and the file was recalled for another request."""
    service.ddm.add_dataset(SET, some(1))
    await service.submit()
    await service.land()
    await service.give_up()
    release = service.ddm.release

    async def stopped(rse: str, released: Mapping[Did, str | None]) -> None:
        monkeypatch.setattr(service.ddm, "release", release)
        service.clock.advance(LEASE + 1)
        other = Residencies(service.database, service.ddm, LocalWakeups(), "other")
        assert await other.releasing.step() == 1
        while (await service.replica())[0] is not ReplicaStatus.GONE:
            service.ddm.tick()
            await service.survey()
        await service.submit()
        await service.land()
        await release(rse, released)

    monkeypatch.setattr(service.ddm, "release", stopped)
    await service.residencies.releasing.step()
    await service.survey()
    assert (await service.replica())[0] is ReplicaStatus.PRESENT
    found = (await service.ddm.residency(DISK, [FILE]))[FILE]
    assert (found.where, found.rule_id) == (Where.PRESENT, await service.rule())


@pytest.mark.parametrize("is_known", [False, True])
async def test_a_deletion_learns_of_the_rule_before_it_ends_it(service: Kept, is_known: bool) -> None:
    """Of an order that broke it is not known whether anything came of it."""
    service.ddm.add_dataset(SET, some(1))
    await service.submit()
    if not is_known:
        service.ddm.take(DISK, FILE)
    async with service.database.transaction("test") as tx:
        (replica,) = await tx.replicas.find(DISK, [FILE])
        await tx.replicas.note_rules([(replica.id, None, True)])  # type: ignore[list-item]
    rules = [rule.rule_id for rule in await service.ddm.rules()]
    await service.give_up()
    assert await service.residencies.releasing.step() == 1
    assert await service.ddm.rules() == []
    if is_known:
        assert [await service.rule()] == rules
    while await service.reserved():
        service.ddm.tick()
        await service.survey()


async def test_a_deletion_that_asks_late_for_the_rule_harms_no_later_recall(
    service: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it asks, the file is found to be gone, and is recalled for another request."""
    service.ddm.add_dataset(SET, some(1))
    await service.submit()
    service.ddm.take(DISK, FILE)
    async with service.database.transaction("test") as tx:
        (replica,) = await tx.replicas.find(DISK, [FILE])
        await tx.replicas.note_rules([(replica.id, None, True)])  # type: ignore[list-item]
    await service.give_up()
    residency = service.ddm.residency

    async def late(rse: str, dids: Sequence[Did]) -> dict[Did, Residency]:
        monkeypatch.setattr(service.ddm, "residency", residency)
        await service.survey()
        await service.submit()
        return await residency(rse, dids)

    monkeypatch.setattr(service.ddm, "residency", late)
    await service.residencies.releasing.step()
    assert [rule.rule_id for rule in await service.ddm.rules()] == [await service.rule()]
    assert await service.replica() == (ReplicaStatus.STAGING, True)


async def test_a_deletion_never_ends_the_rule_of_somebody_else(service: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recall is ordered once more and given up at the same time, and by then somebody else keeps the file."""
    service.ddm.add_dataset(SET, some(1))
    await service.submit()
    service.ddm.lose(FILE)
    await survey(service.residencies, everything=True)
    service.ddm.put(DISK, FILE)
    stage, ended = service.ddm.stage, list[Mapping[Did, str | None]]()

    async def given_up(rse: str, files: Sequence[File], *, source: str | None = None) -> list[Any]:
        await service.give_up()
        return await stage(rse, files, source=source)

    async def release(rse: str, released: Mapping[Did, str | None]) -> None:
        ended.append(released)

    monkeypatch.setattr(service.ddm, "stage", given_up)
    monkeypatch.setattr(service.ddm, "release", release)
    await service.residencies.recalling.step()
    assert await service.replica() == (ReplicaStatus.DELETING, False)
    await service.residencies.releasing.step()
    assert ended == []
    await service.survey()
    assert await service.replica() == (ReplicaStatus.GONE, False)
    assert await service.reserved() == 0


async def test_rules_that_nothing_knows_of_are_ended_after_a_while(service: Kept) -> None:
    """As a carrier leaves them that was stopped between ordering and recording, and overtaken."""
    service.ddm.add_dataset(SET, some(3))
    await service.submit()
    orphan = File(Did("data", "orphan"), 10)
    await service.ddm.stage(DISK, [orphan])
    assert await service.tidying.step() == 0
    service.clock.advance(PATIENCE - 1)
    assert await service.tidying.step() == 0
    service.clock.advance(1)
    assert await service.tidying.step() == 1
    known = {rule.did for rule in await service.ddm.rules()}
    assert known == {file.did for file in some(3)}
    service.clock.advance(PATIENCE)
    assert await service.tidying.step() == 0
    async with service.database.snapshot() as tx:
        (told,) = [move for move in await tx.moves.of([f"rse:{DISK}"]) if move.event == "tidied"]
    assert told.reason is not None
    assert "orphan" in told.reason


async def test_a_rule_whose_order_is_recorded_in_time_is_no_orphan(service: Kept) -> None:
    service.ddm.add_dataset(SET, some(1))
    await service.ddm.stage(DISK, some(1))
    assert await service.tidying.step() == 0
    await service.submit()
    service.clock.advance(PATIENCE)
    assert await service.tidying.step() == 0
    assert len(await service.ddm.rules()) == 1


async def test_what_landed_is_known_by_the_rule_that_it_is_there_under(service: Kept) -> None:
    """Two orders of it were under way, and the one that was ended is the one recorded last."""
    service.ddm.add_dataset(SET, some(1))
    await service.submit()
    rule = await service.rule()
    async with service.database.transaction("test") as tx:
        (replica,) = await tx.replicas.find(DISK, [FILE])
        await tx.replicas.note_rules([(replica.id, "ended", True)])
    await service.land()
    assert await service.rule() == rule
    await service.tidying.step()
    service.clock.advance(PATIENCE)
    assert await service.tidying.step() == 0


async def test_the_rule_of_a_replica_that_is_gone_is_an_orphan(service: Kept) -> None:
    service.ddm.add_dataset(SET, some(1))
    await service.submit()
    await service.land()
    await service.give_up()
    while (await service.replica())[0] is not ReplicaStatus.GONE:
        await service.residencies.releasing.step()
        service.ddm.tick()
        await service.survey()
    await service.ddm.stage(DISK, some(1))
    await service.tidying.step()
    service.clock.advance(PATIENCE)
    assert await service.tidying.step() == 1
    assert await service.ddm.rules() == []


async def test_what_does_not_go_now_waits_alone_with_its_reason_and_keeps_its_room(service: Kept) -> None:
    service.ddm.add_dataset(SET, some(3))
    service.ddm.not_now.add(FILE)
    await service.submit()
    assert await service.replica() == (ReplicaStatus.ADMITTED, True)
    assert await service.reserved() == 30
    assert {did.name for did in service.ddm.replicas(DISK)} == {"f1", "f2"}
    async with service.database.snapshot() as tx:
        (replica,) = await tx.replicas.find(DISK, [FILE])
        (waits,) = await Waits(tx).pending([f"replica:{replica.id}"])
    assert (waits.kind, waits.error) == (EffectKind.STAGE, "there is no room")
    await service.advance()
    assert len(service.ddm.staged) == 2
    service.ddm.not_now.clear()
    service.clock.advance(backoff(3))
    await service.advance()
    assert await service.replica() == (ReplicaStatus.STAGING, True)


@pytest.mark.parametrize("others", [0, 2])
async def test_what_does_not_go_now_and_nobody_wants_any_more_gives_its_room_back(service: Kept, others: int) -> None:
    """Whatever hinders it may last for days: others need the room."""
    service.ddm.add_dataset(SET, some(1 + others))
    service.ddm.not_now.add(FILE)
    await service.submit()
    await service.give_up()
    # At once, however long the order would have waited.
    await service.residencies.recalling.step()
    assert await service.replica() == (ReplicaStatus.DELETING, True)
    while (await service.replica())[0] is not ReplicaStatus.GONE:
        await service.residencies.releasing.step()
        service.ddm.tick()
        await service.survey()
    assert await service.reserved() == 10 * others
    async with service.database.snapshot() as tx:
        (replica,) = await tx.replicas.find(DISK, [FILE])
        assert await Waits(tx).pending([f"replica:{replica.id}"]) == []


async def test_what_nobody_wants_any_more_when_it_is_not_ordered_gives_its_room_back(
    service: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of several that were ordered together, given up meanwhile."""
    service.ddm.add_dataset(SET, some(3))
    service.ddm.not_now.add(FILE)
    stage = service.ddm.stage

    async def given_up(rse: str, files: Sequence[File], *, source: str | None = None) -> list[Any]:
        await service.give_up()
        return await stage(rse, files, source=source)

    monkeypatch.setattr(service.ddm, "stage", given_up)
    await service.submit()
    assert (await service.replica())[0] is ReplicaStatus.DELETING
    while await service.reserved() > 20:
        await service.residencies.releasing.step()
        service.ddm.tick()
        await service.survey()

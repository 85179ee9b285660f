"""Files cut into ranges of events: given or counted, each event once, each file once on disk."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from random import Random

import pytest
from sqlalchemy import select

from idds.domain.collection import Collection
from idds.domain.content import Content, Move, Outcome
from idds.domain.errors import Unavailable
from idds.domain.files import File
from idds.domain.identifiers import CollectionId, Did, RequestId
from idds.domain.statuses import ContentStatus, Intent, Relation, Status
from idds.domain.workflow import Input, Output, Payload, Ranges, WindowLimits, Work, Workflow
from idds.engine import ranges as engine
from idds.engine.ranges import Piece
from idds.engine.transitions import ContentEvent
from idds.ports.ddm import Where
from idds.services.delivery import Delivered
from idds.services.explanation import Explanation
from idds.services.ranges import register
from idds.store.database import Database, Transaction
from idds.store.schema import replicas
from idds.store.upgrade import upgrade
from idds.testing.clock import ManualClock
from tests.integration.simulation.world import DISK, OWNER, World

SET = Did("data", "set")


class Site(World):
    """A world without faults, stepped until nothing moves."""

    def fill(self, *events: int | None, size: int = 100) -> list[File]:
        """The dataset: a file on tape for each number of events."""
        files = [File(Did("data", f"f{n}"), size, None, number) for n, number in enumerate(events)]
        self.ddm.add_dataset(SET, files)
        return files

    async def submit(self, *works: Work) -> RequestId:
        request, _ = await self.submission.submit(OWNER, Workflow(name="ranges", works=works))
        await self.run()
        return request.id

    async def run(self) -> None:
        """Go on as far as it goes without anybody outside."""
        still = 0
        for _ in range(200):
            moved = [await duty() for duty in self.duties[: len(self.duties) // 2]]
            files = await self.ddm.residency(DISK, sorted(self.ddm.replicas(DISK)))
            self.ddm.tick()
            self.provider.tick()
            self.clock.advance(1_000_000)
            on_its_way = any(file.where in (Where.STAGING, Where.DELETING) for file in files.values())
            still = 0 if any(moved) or on_its_way else still + 1
            if still == 3:
                return
        raise AssertionError("it does not come to rest")

    async def inputs(self, request: RequestId) -> list[CollectionId]:
        async with self.database.snapshot() as tx:
            found = await tx.collections.of_request(request)
        return [each.id for each in found if each.relation is Relation.INPUT]

    async def lease(self, collection: CollectionId, count: int = 100) -> list[Delivered]:
        return await self.delivery.lease(OWNER, collection, count=count, ttl=3600_000_000, lessee="me")

    async def report(
        self, collection: CollectionId, leased: Sequence[Delivered], *, done: bool = True, events: int | None = None
    ) -> list[str]:
        outcomes = [Outcome(d.content.id, d.content.attempt, done, "bad", retry=False, events=events) for d in leased]
        return [receipt.verdict for receipt in await self.delivery.report(OWNER, collection, outcomes)]

    async def contents(self, collection: CollectionId) -> list[Content]:
        async with self.database.snapshot() as tx:
            return await tx.contents.page(collection, status=None, after=0, limit=100_000)

    async def spans(self, collection: CollectionId) -> list[tuple[str, int, int]]:
        return [(each.name, each.min_id, each.max_id) for each in await self.contents(collection)]

    async def statuses(self, collection: CollectionId) -> Counter[ContentStatus]:
        return Counter(each.status for each in await self.contents(collection))

    async def status(self, request: RequestId) -> Status:
        async with self.database.snapshot() as tx:
            found = await tx.requests.get(request)
        assert found is not None
        return found.status

    async def on_disk(self) -> set[str]:
        async with self.database.snapshot() as tx:
            live = select(replicas.c.name).where(replicas.c.rse == DISK, replicas.c.status != "gone")
            return {row.name for row in await tx.connection.execute(live)}


@pytest.fixture
async def site(database_url: str) -> AsyncIterator[Site]:
    clock = ManualClock()
    database = Database(database_url, clock=clock)
    try:
        await upgrade(database)
        made = Site(database, clock, Random(1), 0.0)
        made.provider.failing = made.provider.losing = made.provider.spoiled = 0.0
        await made.start()
        yield made
    finally:
        await database.close()


def ranges(events: int, **more: object) -> Work:
    return Work(name="run", input=Input(dataset=str(SET), ranges=Ranges(events=events), **more))  # type: ignore[arg-type]


async def test_files_are_cut_and_each_range_is_leased_alone(site: Site) -> None:
    site.fill(1000, 3, size=400)
    request = await site.submit(ranges(400))
    (collection,) = await site.inputs(request)
    assert await site.spans(collection) == [("f0", 1, 400), ("f0", 401, 800), ("f0", 801, 1000), ("f1", 1, 3)]
    leased = await site.lease(collection, 2)
    assert [(d.content.min_id, d.content.max_id) for d in leased] == [(1, 400), (401, 800)]
    assert {d.path for d in leased} == {f"/{DISK}/data:f0"}
    assert await site.report(collection, leased) == ["accepted", "accepted"]
    await site.run()
    assert await site.on_disk() == {"f0", "f1"}, "its last range is not done"
    await site.report(collection, await site.lease(collection))
    await site.run()
    assert await site.on_disk() == set()
    assert await site.status(request) is Status.FINISHED
    await site.check()


async def test_a_counted_file_stays_on_disk_for_its_ranges(site: Site) -> None:
    site.fill(None, None, size=100)
    counting = Work(name="count", input=Input(dataset=str(SET), window=WindowLimits(files=1)))
    request = await site.submit(counting, Work(name="run", input=Input(ranges=Ranges(events=10, counted_by="count"))))
    counted, cut = await site.inputs(request)
    assert await site.report(counted, await site.lease(counted), events=25) == ["accepted"]
    await site.run()
    assert await site.spans(cut) == [("f0", 1, 10), ("f0", 11, 20), ("f0", 21, 25)]
    assert not await site.lease(counted), "the window has room for one file, which is not given back"
    assert (await site.on_disk(), site.ddm.staged) == ({"f0"}, [Did("data", "f0")])
    leased = await site.lease(cut)
    assert {d.path for d in leased} == {f"/{DISK}/data:f0"}
    await site.report(cut, leased)
    await site.run()
    assert await site.on_disk() == {"f1"}
    await site.report(counted, await site.lease(counted), events=1)
    await site.report(cut, await site.lease(cut))
    await site.run()
    assert await site.status(request) is Status.FINISHED
    assert len(site.ddm.staged) == 2, "each file was recalled once"
    assert await site.on_disk() == set()
    await site.check()


async def test_what_is_given_back_counts_as_no_attempt(site: Site) -> None:
    site.fill(4)
    request = await site.submit(
        Work(name="run", input=Input(dataset=str(SET), ranges=Ranges(events=2)), attempts=2),
    )
    (collection,) = await site.inputs(request)
    for attempt in range(1, 6):
        first, second = await site.lease(collection)
        assert first.content.attempt == attempt
        held = {first.content.id: attempt, second.content.id: attempt + 1}
        assert await site.delivery.give_back(OWNER, collection, held) == {first.content.id}
        assert await site.report(collection, [first]) == ["stale"], "what was given back is somebody else's"
        assert await site.delivery.give_back(OWNER, collection, {first.content.id: attempt}) == set()
        assert await site.delivery.give_back(OWNER, collection, {second.content.id: attempt}) == {second.content.id}
    (first, second) = await site.lease(collection)
    outcome = Outcome(first.content.id, first.content.attempt, done=False, reason="no")
    assert [r.verdict for r in await site.delivery.report(OWNER, collection, [outcome])] == ["again"]
    (first,) = await site.lease(collection)
    outcome = Outcome(first.content.id, first.content.attempt, done=False, reason="no")
    assert [r.verdict for r in await site.delivery.report(OWNER, collection, [outcome])] == ["accepted"]
    assert (await site.statuses(collection))[ContentStatus.FAILED] == 1


PAYLOAD, OUT = Payload(argv=("/do",)), Output(dataset="data:out")


async def test_a_batch_counts_files_and_has_all_their_ranges(site: Site) -> None:
    site.fill(25, 25, 5, 25, size=100)
    request = await site.submit(
        Work(name="run", input=Input(dataset=str(SET), ranges=Ranges(events=10), batch=2), payload=PAYLOAD, output=OUT)
    )
    (collection,) = await site.inputs(request)
    groups = {(each.group_no, each.name): each.lessee for each in await site.contents(collection)}
    assert sorted(groups) == [(0, "f0"), (0, "f1"), (1, "f2"), (1, "f3")]
    async with site.database.snapshot() as tx:
        processings = await tx.processings.of_request(request, after=0, limit=100)
    assert sorted((each.group_no, each.done) for each in processings) == [(0, 6), (1, 4)]
    assert await site.status(request) is Status.FINISHED
    await site.check()


async def test_a_window_that_is_smaller_than_the_dataset_is_never_exceeded(site: Site) -> None:
    """Five files of 400 bytes: of the 1000 of the disk two are there at a time, whatever their ranges are."""
    site.fill(*[30] * 5, size=400)
    request = await site.submit(ranges(10))
    (collection,) = await site.inputs(request)
    seen: set[frozenset[str]] = set()
    while leased := await site.lease(collection, 1):
        await site.report(collection, leased)
        on_disk = await site.on_disk()
        seen.add(frozenset(on_disk))
        assert leased[0].content.name in on_disk or leased[0].content.max_id == 30
        await site.run()
        await site.check()
    assert max(map(len, seen)) == 2
    assert len(site.ddm.staged) == 5, "each is recalled once"
    assert await site.status(request) is Status.FINISHED


async def test_a_file_that_cannot_be_cut_ends_alone_and_says_why(site: Site) -> None:
    site.fill(None, 0, 10**9 + 1, 10**7 + 1, 4)
    request = await site.submit(ranges(2))
    (collection,) = await site.inputs(request)
    found = {each.name: each for each in await site.contents(collection) if each.max_id == 0}
    assert {name: each.status for name, each in found.items()} == {
        "f0": ContentStatus.FAILED,
        "f1": ContentStatus.DONE,
        "f2": ContentStatus.FAILED,
        "f3": ContentStatus.FAILED,
    }
    assert "set its `events` in the data management" in (found["f0"].reason or "")
    assert "no events" in (found["f1"].reason or "")
    assert "1,000,000,000 at most" in (found["f2"].reason or "")
    assert "make them longer" in (found["f3"].reason or "")
    await site.report(collection, await site.lease(collection))
    await site.run()
    assert await site.status(request) is Status.SUBFINISHED
    assert site.ddm.staged == [Did("data", "f4")], "only what is cut is recalled"
    await site.check()


async def test_ranges_may_stand_before_what_counts_them(site: Site) -> None:
    site.fill(None, None)
    request = await site.submit(
        Work(name="run", input=Input(ranges=Ranges(events=10, counted_by="count"))),
        Work(name="count", input=Input(dataset=str(SET))),
    )
    counted, cut = await site.inputs(request)
    await site.report(counted, await site.lease(counted, 1), events=10)
    assert await site.report(cut, await site.lease(cut)) == ["accepted"]
    await site.run()
    await site.report(counted, await site.lease(counted), done=False)
    await site.run()
    assert await site.status(request) is Status.SUBFINISHED, "nothing more will be counted"


async def test_counted_files_that_cannot_be_cut_are_given_back(site: Site) -> None:
    site.fill(None, None, None)
    request = await site.submit(
        Work(name="count", input=Input(dataset=str(SET))),
        Work(name="run", input=Input(ranges=Ranges(events=10, counted_by="count"))),
    )
    counted, cut = await site.inputs(request)
    first, second, third = await site.lease(counted)
    await site.report(counted, [first])
    await site.report(counted, [second], events=0)
    await site.report(counted, [third], events=10**12)
    await site.run()
    assert await site.on_disk() == set()
    statuses = {each.name: (each.status, (each.reason or "")[:30]) for each in await site.contents(cut)}
    assert statuses == {
        "f0": (ContentStatus.FAILED, "it was reported done without h"),
        "f1": (ContentStatus.DONE, "it has no events: there was no"),
        "f2": (ContentStatus.FAILED, "it is said to have 1,000,000,0"),
    }
    assert await site.status(request) is Status.SUBFINISHED
    await site.check()


async def test_a_payload_counts_and_its_files_are_cut_when_its_job_has_ended(site: Site) -> None:
    site.fill(None, None, None)
    site.provider.event_counts = {"f0": 25, "f1": 10, "f2": 1}
    request = await site.submit(
        Work(name="count", input=Input(dataset=str(SET), batch=2), payload=PAYLOAD, output=OUT),
        Work(name="run", input=Input(ranges=Ranges(events=10, counted_by="count")), payload=PAYLOAD, output=OUT),
        Work(name="after", after=("run",), payload=PAYLOAD, output=OUT),
    )
    _, cut = await site.inputs(request)
    assert sorted(await site.spans(cut)) == [
        ("f0", 1, 10), ("f0", 11, 20), ("f0", 21, 25), ("f1", 1, 10), ("f2", 1, 1)
    ]  # fmt: skip
    assert await site.status(request) is Status.FINISHED
    assert len(site.ddm.staged) == 3
    assert await site.on_disk() == set()
    await site.check()


async def test_a_count_of_a_lease_that_has_ended_cuts_nothing(site: Site) -> None:
    site.fill(None)
    request = await site.submit(
        Work(name="count", input=Input(dataset=str(SET))),
        Work(name="run", input=Input(ranges=Ranges(events=10, counted_by="count"))),
    )
    counted, cut = await site.inputs(request)
    late = await site.delivery.lease(OWNER, counted, count=1, ttl=1_000_000, lessee="late")
    await site.run()
    now = await site.lease(counted)
    assert await site.report(counted, late, events=1000) == ["stale"]
    assert await site.contents(cut) == []
    assert await site.report(counted, now, events=10) == ["accepted"]
    assert await site.report(counted, now, events=1000) == ["duplicate"]
    assert await site.report(counted, late, events=1000) == ["stale"]
    assert await site.spans(cut) == [("f0", 1, 10)]
    ranges_of = await site.lease(cut)
    await site.submission.order(OWNER, request, Intent.CANCEL)
    await site.run()
    assert await site.report(cut, ranges_of) == ["accepted"], "it is held until it is reported"


@pytest.mark.parametrize("order", [Intent.CANCEL, Intent.FINISH])
async def test_what_is_ended_in_the_middle_gives_back_its_files(site: Site, order: Intent) -> None:
    site.fill(30, 30, 30, size=400)
    request = await site.submit(ranges(10))
    (collection,) = await site.inputs(request)
    leased = await site.lease(collection, 4)
    assert {d.content.name for d in leased} == {"f0", "f1"}
    await site.report(collection, leased[:1])
    await site.submission.order(OWNER, request, order)
    await site.run()
    assert await site.on_disk() == {"f0", "f1"}, "somebody reads them"
    await site.report(collection, leased[1:])
    await site.run()
    assert await site.on_disk() == set()
    assert await site.statuses(collection) == {ContentStatus.DONE: 4, ContentStatus.CANCELLED: 5}
    assert (await site.status(request)).is_terminal
    await site.check()


async def test_a_suspended_request_goes_on_with_its_ranges(site: Site) -> None:
    site.fill(20, 20, size=600)
    request = await site.submit(ranges(10))
    (collection,) = await site.inputs(request)
    await site.submission.order(OWNER, request, Intent.SUSPEND)
    await site.run()
    assert not await site.lease(collection)
    await site.submission.order(OWNER, request, Intent.RUN)
    await site.run()
    for _ in range(2):
        await site.report(collection, await site.lease(collection))
        await site.run()
    assert await site.status(request) is Status.FINISHED
    await site.check()


async def test_a_recall_that_fails_fails_all_ranges_of_its_file_and_a_retry_brings_them_back(site: Site) -> None:
    files = site.fill(20, 20)
    site.ddm.unreadable.add(files[0].did)
    request = await site.submit(ranges(10))
    (collection,) = await site.inputs(request)
    await site.report(collection, await site.lease(collection, 1), done=False)
    await site.report(collection, await site.lease(collection))
    await site.run()
    assert await site.status(request) is Status.SUBFINISHED
    failed = [each for each in await site.contents(collection) if each.status is ContentStatus.FAILED]
    assert [(each.name, each.min_id) for each in failed] == [("f0", 1), ("f0", 11), ("f1", 1)]
    site.ddm.unreadable.clear()
    await site.submission.retry(OWNER, request)
    await site.run()
    leased = await site.lease(collection)
    assert [(d.content.name, d.content.min_id) for d in leased] == [("f0", 1), ("f0", 11), ("f1", 1)]
    await site.report(collection, leased)
    await site.run()
    assert await site.status(request) is Status.FINISHED
    assert await site.on_disk() == set()
    await site.check()


async def test_files_counted_while_nobody_took_their_ranges_are_cut_by_a_retry(site: Site) -> None:
    site.fill(None, None, None)
    request = await site.submit(
        Work(name="count", input=Input(dataset=str(SET))),
        Work(name="run", input=Input(ranges=Ranges(events=10, counted_by="count"))),
    )
    counted, cut = await site.inputs(request)
    first, second, third = await site.lease(counted)
    await site.report(counted, [first], events=20)
    await site.submission.order(OWNER, request, Intent.CANCEL)
    await site.run()
    await site.report(counted, [second], events=20)
    await site.report(counted, [third], done=False)
    await site.run()
    assert await site.on_disk() == set()
    assert await site.spans(cut) == [("f0", 1, 10), ("f0", 11, 20)]
    await site.submission.retry(OWNER, request)
    await site.run()
    await site.report(counted, await site.lease(counted), events=5)
    await site.run()
    leased = await site.lease(cut)
    assert [(d.content.name, d.content.min_id) for d in leased] == [
        ("f0", 1), ("f0", 11), ("f1", 1), ("f1", 11), ("f2", 1)
    ]  # fmt: skip
    await site.report(cut, leased)
    await site.run()
    assert await site.status(request) is Status.FINISHED
    assert await site.on_disk() == set()
    await site.check()


async def test_a_file_in_many_ranges_is_listed_by_pieces_and_gone_on_with(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "AT_ONCE", 3)
    site.fill(2, 10, None, 7, 0, size=100)
    request, _ = await site.submission.submit(OWNER, Workflow(name="w", works=(ranges(1, batch=2),)))
    (progress, *_), listing = site.duties, site.duties[3]
    await progress()
    registered: list[Piece] = []

    async def break_down(
        tx: Transaction, collection: Collection, piece: Piece, event: ContentEvent, **more: str | None
    ) -> list[Move]:
        registered.append(piece)
        if len(registered) % 3 == 0:
            raise Unavailable("the database went away")
        return await register(tx, collection, piece, event, listed_to=more["listed_to"])

    monkeypatch.setattr("idds.services.listing.register", break_down)
    (collection,) = await site.inputs(request.id)
    closed = False
    while not closed:
        with suppress(Unavailable):
            await listing()
        site.clock.advance(60_000_000)
        async with site.database.snapshot() as tx:
            found = await tx.collections.get(collection)
        assert found is not None
        closed = found.is_closed
    assert len(registered) > 8
    whole = [("f0", 2), ("f1", 10), ("f3", 7)]
    assert sorted(await site.spans(collection)) == sorted(
        [(name, n, n) for name, events in whole for n in range(1, events + 1)] + [("f2", 0, 0), ("f4", 0, 0)]
    )
    contents = await site.contents(collection)
    assert {(each.name, each.group_no) for each in contents} == {("f0", 0), ("f1", 0), ("f2", 1), ("f3", 1), ("f4", 2)}
    assert found.next_no == 5
    await site.run()
    while leased := await site.lease(collection):
        await site.report(collection, leased)
        await site.run()
    assert (await site.statuses(collection)) == {ContentStatus.DONE: 20, ContentStatus.FAILED: 1}
    await site.check()


async def test_why_speaks_of_ranges(site: Site) -> None:
    site.fill(30, 30, 30, size=900)
    request = await site.submit(ranges(10))
    answer = await Explanation(site.database).why(OWNER, request)
    said = " / ".join(sentence.text for each in answer.transforms for sentence in each.sentences)
    assert "6 ranges waiting for admission" in said
    assert "the next takes 900" in said, "once, not for each of its ranges"
    counting = await site.submit(
        Work(name="count", input=Input(dataset=str(SET))),
        Work(name="run", input=Input(ranges=Ranges(events=10, counted_by="count"))),
    )
    answer = await Explanation(site.database).why(OWNER, counting)
    assert "takes files as work 'count' counts their events" in " / ".join(
        sentence.text for each in answer.transforms for sentence in each.sentences
    )

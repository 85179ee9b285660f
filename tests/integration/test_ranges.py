"""Files cut into ranges of events: given or counted, each event once, each file once on disk."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from random import Random

import pytest
from sqlalchemy import select

from idds.domain.content import Content, Outcome
from idds.domain.files import File
from idds.domain.identifiers import CollectionId, Did, RequestId
from idds.domain.statuses import ContentStatus, Relation, Status
from idds.domain.workflow import Input, Payload, Ranges, WindowLimits, Work, Workflow
from idds.services.delivery import Delivered
from idds.store.database import Database
from idds.store.schema import contents, replicas
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
        for _ in range(12):
            for duty in self.duties:
                await duty()
            self.ddm.tick()
            self.provider.tick()
            self.clock.advance(2_000_000)

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
    assert await site.lease(counted) == [], "the window has room for one file, which is not given back"
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

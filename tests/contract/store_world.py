"""A database with a clock that is moved by hand, and short ways to put things into it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from sqlalchemy import func, select

from idds.domain.collection import Collection
from idds.domain.content import NewContent
from idds.domain.files import File
from idds.domain.identifiers import CollectionId, ContentId, Did, RequestId, TransformId
from idds.domain.request import Principal, Request
from idds.domain.statuses import ContentStatus, Relation, SourceKind
from idds.domain.workflow import Input, Payload, Work, Workflow
from idds.engine.transitions import ContentEvent
from idds.store.contents import of_ids
from idds.store.database import Database, Transaction
from idds.store.schema import contents
from idds.store.upgrade import upgrade
from idds.testing.clock import ManualClock

RSE = "DISK"
ALICE = Principal("alice", "atlas")
WORK = Work(name="work", input=Input(dataset="data:set"), payload=Payload(argv=("run",)))


class World:
    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database = database
        self.clock = clock

    @property
    def now(self) -> int:
        return self.clock.now()

    def transaction(self, agent: str = "test") -> AbstractAsyncContextManager[Transaction]:
        return self.database.transaction(agent)

    async def submit(self, *works: Work, principal: Principal = ALICE, key: str | None = None) -> Request:
        workflow = Workflow(name="example", works=works or (WORK,))
        async with self.transaction() as tx:
            request = await tx.requests.add(workflow, principal, idempotency_key=key)
            assert request is not None
            return request

    async def transform(self, request: Request, work: str = "work") -> TransformId:
        async with self.transaction() as tx:
            await tx.transforms.add(request.id, [work])
            return next(t.id for t in await tx.transforms.of_request(request.id) if t.work == work)

    async def collection(
        self,
        request: Request | None = None,
        *,
        batch: int = 1,
        source: SourceKind = SourceKind.DATASET,
        principal: Principal = ALICE,
    ) -> Collection:
        """An open input of a new transform, of a new request unless one is given."""
        request = request or await self.submit(principal=principal)
        transform = await self.transform(request, f"work-{batch}-{source}")
        async with self.transaction() as tx:
            made = await tx.collections.add(
                request.id, transform, Relation.INPUT, source=(source, None), rse=RSE, batch=batch
            )
        return await self.fresh(made)

    async def fresh(self, collection: Collection | CollectionId) -> Collection:
        async with self.database.snapshot() as tx:
            found = await tx.collections.get(collection.id if isinstance(collection, Collection) else collection)
        assert found is not None
        return found

    async def close(self, collection: Collection) -> Collection:
        async with self.transaction() as tx:
            await tx.collections.close(collection)
        return await self.fresh(collection)

    async def fill(
        self, collection: Collection, number: int, *, size: int = 10, event: ContentEvent = ContentEvent.LISTED
    ) -> list[ContentId]:
        """Register so many more files, numbered on from those that are there."""
        collection = await self.fresh(collection)
        new = [a_file(collection, no, size) for no in range(collection.next_no, collection.next_no + number)]
        async with self.transaction() as tx:
            await tx.contents.register(collection, new, event)
            page = await tx.contents.page(collection.id, status=None, after=0, limit=1_000_000)
        return [content.id for content in page][-number:]

    async def move(self, event: ContentEvent, ids: Sequence[int]) -> None:
        async with self.transaction() as tx:
            await tx.contents.move(event, of_ids(ids))

    async def counts(self, collection: Collection) -> tuple[dict[ContentStatus, int], dict[ContentStatus, int]]:
        """What the counters say, and what is there."""
        folded = {status: n for status, n in (await self.fresh(collection)).counts.items() if n}
        query = select(contents.c.status, func.count()).where(contents.c.collection_id == collection.id)
        async with self.database.snapshot() as tx:
            rows = await tx.connection.execute(query.group_by(contents.c.status))
            return folded, {ContentStatus(status): n for status, n in rows}

    async def request(self, identifier: RequestId) -> Request:
        async with self.database.snapshot() as tx:
            found = await tx.requests.get(identifier)
        assert found is not None
        return found


@asynccontextmanager
async def world_of(url: str) -> AsyncIterator[World]:
    clock = ManualClock()
    database = Database(url, clock=clock)
    try:
        await upgrade(database)
        yield World(database, clock)
    finally:
        await database.close()


def a_file(collection: Collection, number: int, size: int = 10) -> NewContent:
    group = number // collection.batch if collection.batch else 0
    return NewContent(name=f"f{number:06d}", group_no=group, scope="data", bytes=size, adler32="00000001")


def the_file(number: int, size: int = 10) -> File:
    return File(Did("data", f"f{number:06d}"), size, "00000001")

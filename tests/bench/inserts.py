"""100,000 contents in bulk, over COPY and executemany into the very same table, and how memory grows."""

import resource
import time
from collections.abc import Awaitable, Callable

import asyncpg
from sqlalchemy import insert

from idds.domain.collection import Collection
from idds.domain.content import NewContent
from idds.domain.statuses import Relation, SourceKind
from idds.domain.workflow import Input, Samples, Work, Workflow
from idds.engine.transitions import ContentEvent
from idds.store.database import Database
from idds.store.requests import NO_TERMS
from idds.store.schema import contents
from idds.store.upgrade import upgrade
from tests.bench.service import OWNER

ROWS = 100_000
CHUNK = 1000
ROUNDS = 3
COLUMNS = (
    "request_id",
    "collection_id",
    "scope",
    "name",
    "min_id",
    "max_id",
    "bytes",
    "adler32",
    "group_no",
    "status",
    "changed_at",
)


def _new(first: int, count: int) -> list[NewContent]:
    return [
        NewContent(name=f"file.{n:08d}", scope="data18", group_no=n // 10, bytes=2_000_000_000, adler32="0a1b2c3d")
        for n in range(first, first + count)
    ]


async def _collection(database: Database) -> Collection:
    """A fresh, empty one."""
    work = Work(name="w", input=Input(samples=Samples(space={}, sampler="random", count=1)))
    async with database.transaction("bench") as tx:
        request = await tx.requests.add(Workflow(name="bench", works=(work,)), OWNER, NO_TERMS, idempotency_key=None)
        assert request is not None
        await tx.transforms.add(request.id, ["w"])
        transform = (await tx.transforms.of_request(request.id))[0]
        source = (SourceKind.DATASET, None)
        made = await tx.collections.add(request.id, transform.id, Relation.INPUT, source=source, batch=10)
        found = await tx.collections.get(made)
    assert found is not None
    return found


def _rows(collection: Collection, first: int, count: int) -> list[tuple[object, ...]]:
    return [
        (collection.request_id, collection.id, c.scope, c.name, 0, 0, c.bytes, c.adler32, c.group_no, "new", 1)
        for c in _new(first, count)
    ]


async def _register(database: Database, collection: Collection) -> None:
    """As the service does it: pages, counters and history with them."""
    for first in range(0, ROWS, CHUNK):
        async with database.transaction("bench") as tx:
            await tx.contents.register(collection, _new(first, CHUNK), ContentEvent.LISTED, listed_to=str(first))


async def _copy(database: Database, collection: Collection) -> None:
    url = database.url.set(drivername="postgresql")
    connection = await asyncpg.connect(url.render_as_string(hide_password=False))
    try:
        await connection.copy_records_to_table("contents", records=_rows(collection, 0, ROWS), columns=COLUMNS)
    finally:
        await connection.close()


async def _core_executemany(database: Database, collection: Collection) -> None:
    for first in range(0, ROWS, CHUNK):
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in _rows(collection, first, CHUNK)]
        async with database.transaction("bench") as tx:
            await tx.connection.execute(insert(contents), rows)


async def _driver_executemany(database: Database, collection: Collection) -> None:
    statement = f"INSERT INTO contents ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
    async with database.transaction("bench") as tx:
        await tx.connection.driver(statement, _rows(collection, 0, ROWS))


async def _rate(database: Database, way: Callable[[Database, Collection], Awaitable[None]]) -> float:
    """Rows a second, the best of a few rounds."""
    rates = []
    for _ in range(ROUNDS):
        collection = await _collection(database)
        begun = time.perf_counter()
        await way(database, collection)
        rates.append(ROWS / (time.perf_counter() - begun))
    return max(rates)


async def measure(database_url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, against)."""
    database = Database(database_url)
    try:
        await upgrade(database)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ours = await _rate(database, _register)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        found = [(f"register {ROWS:,} contents, by {CHUNK:,}", f"{ours:,.0f} rows/s", f"memory grew by {grown:.0f} MB")]
        bars = [("SQLAlchemy Core executemany", _core_executemany)]
        bars.append(
            ("sqlite3 executemany, one transaction", _driver_executemany) if database.is_sqlite else ("COPY", _copy)
        )
        for name, way in bars:
            rate = await _rate(database, way)
            found.append((f"{name} of the same rows", f"{rate:,.0f} rows/s", f"ours is {ours / rate:.2f} of it"))
    finally:
        await database.close()
    return found

"""What a plan costs with a carousel full of work: 10 million files that wait in 50 requests for one disk.

The last ones want the same files as the first ones, and begin at the other end.
"""

import os
import statistics
import time
from collections.abc import Awaitable, Callable

from sqlalchemy import text, update

from idds.domain.identifiers import CollectionId, Did
from idds.domain.request import Principal, Terms
from idds.domain.statuses import ContentStatus, Relation, SourceKind, Status
from idds.domain.workflow import Input, Work, Workflow
from idds.engine.planner import plan
from idds.services.planning import HEADS, Planning
from idds.services.standing import Rules, read_standing
from idds.store.database import Database
from idds.store.schema import requests, transforms
from idds.store.upgrade import upgrade

REQUESTS, LATECOMERS = 50, 10
FILES = int(os.environ.get("IDDS_BENCH_FILES", "10000000")) // REQUESTS * REQUESTS
TIMES = 20
OWNER = Principal("bench", "vo")

_FILLING = """
INSERT INTO contents (request_id, collection_id, scope, name, min_id, max_id, bytes, adler32, group_no, status,
                      attempt, spent, changed_at)
SELECT {request}, {collection}, 'data', 'set{dataset}.' || {file}, 0, 0, 2000000000, '0a1b2c3d', n, 'new', 0, 0, 1
  FROM {numbers}
"""
_COUNTED = "generate_series(0, {last}) AS numbers (n)"
_COUNTED_ON_SQLITE = """(
WITH RECURSIVE counted(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counted WHERE n < {last}) SELECT n FROM counted)"""


async def _fill(database: Database, number: int) -> None:
    """One more request, all of whose files wait."""
    each, dataset = FILES // REQUESTS, number % (REQUESTS - LATECOMERS)
    file = "n" if number == dataset else f"({each} - 1 - n)"
    workflow = Workflow(name=f"r{number}", works=(Work(name="w", input=Input(dataset="data:set")),))
    async with database.transaction("bench") as tx:
        request = await tx.requests.add(workflow, OWNER, Terms(share=f"s{number % 5}"), idempotency_key=f"r{number}")
        assert request is not None
        await tx.transforms.add(request.id, ["w"])
        (transform,) = await tx.transforms.of_request(request.id)
        await tx.connection.execute(update(transforms).values(status=Status.RUNNING))
        await tx.connection.execute(update(requests).values(status=Status.RUNNING, due_at=None))
        did, source = Did("data", f"set{number}"), (SourceKind.DATASET, None)
        made = await tx.collections.add(request.id, transform.id, Relation.INPUT, did=did, source=source, rse="DISK")
        collection = await tx.collections.get(made)
        assert collection is not None
        await tx.collections.close(collection)
        await tx.windows.add("collection", str(made), limit_bytes=None, limit_files=None, share=request.share)
        numbers = (_COUNTED_ON_SQLITE if tx.is_sqlite else _COUNTED).format(last=each - 1)
        filling = _FILLING.format(request=request.id, collection=made, dataset=dataset, file=file, numbers=numbers)
        await tx.connection.execute(text(filling))
        await tx.collections.count(CollectionId(made), {ContentStatus.NEW: each}, added=each, unadmitted=each)


async def _median_ms(step: Callable[[], Awaitable[object]]) -> float:
    took = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        await step()
        took.append(1000 * (time.perf_counter() - begun))
    return statistics.median(took)


async def measure(database_url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, against)."""
    database, rules = Database(database_url), Rules()
    try:
        await upgrade(database)
        for number in range(REQUESTS):
            await _fill(database, number)
        async with database.transaction("bench") as tx:
            await tx.connection.execute(text("ANALYZE"))
            await tx.windows.declare("rse", "DISK", limit_bytes=2000 * 2_000_000_000, limit_files=None)

        async def look() -> None:
            async with database.snapshot() as tx:
                await read_standing(tx, "DISK", rules, heads=HEADS)

        async with database.snapshot() as tx:
            standing, now = await read_standing(tx, "DISK", rules, heads=HEADS), tx.now

        async def think() -> None:
            plan(standing, rules.policy, now)

        looking, thinking = await _median_ms(look), await _median_ms(think)
        planning, begun = Planning(database, rules), time.perf_counter()
        while await planning.step():
            pass
        filling = time.perf_counter() - begun
        full = await _median_ms(planning.step)
    finally:
        await database.close()
    return [
        (f"{FILES:,} files wait in {REQUESTS} requests: looking at the heads of their queues", f"{looking:.0f} ms", ""),
        ("planning over them", f"{thinking:.1f} ms", ""),
        ("a window of 2,000 files filled", f"{filling:.2f} s", ""),
        ("a plan while it is full", f"{full:.0f} ms", ""),
    ]

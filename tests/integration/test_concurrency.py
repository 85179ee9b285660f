"""Landing, admission, reports and orders at once on PostgreSQL: nobody waits in a circle, every count is exact."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from random import Random

import pytest
from sqlalchemy import event, func, select

from idds.domain.content import Outcome
from idds.domain.errors import Conflict
from idds.domain.files import File
from idds.domain.identifiers import CollectionId, Did
from idds.domain.request import Request
from idds.domain.statuses import Intent, ReplicaStatus
from idds.domain.workflow import Input, Output, Payload, WindowLimits, Work, Workflow
from idds.store.database import Database
from idds.store.schema import collections, replicas, windows
from idds.store.upgrade import upgrade
from idds.testing.clock import ManualClock
from tests.integration.simulation.world import DISK, OWNER, WINDOW, World

PAYLOAD = Payload(argv=("/do",))
TASKS, STEPS = 6, 45
POOL = 40
"""Datasets overlap: their files are drawn from so many."""


class Crowd(World):
    """A world that several tasks work on at once."""

    _requests: list[Request]

    async def submit(self, number: int) -> None:
        random, self._requests = self.random, []
        pool = [File(Did("data", f"f{n}"), 10 + 7 * (n % 20)) for n in range(POOL)]
        for file in random.sample(pool, 4):
            self.ddm.put(DISK, file.did)
        for index in range(number):
            names = [f"set{index}.{part}" for part in range(3)]
            for name in names:
                self.ddm.add_dataset(Did("data", name), random.sample(pool, random.randint(5, 25)))
            request, _ = await self.submission.submit(OWNER, self._workflow(names))
            self._requests.append(request)

    def _workflow(self, names: Sequence[str]) -> Workflow:
        batch, window = self.random.randint(1, 3), WindowLimits(bytes=700)
        one, two, three = (f"data:{name}" for name in names)
        works = (
            Work(name="batches", input=Input(dataset=one, batch=batch), payload=PAYLOAD, output=Output(dataset="o:o")),
            Work(name="announced", input=Input(dataset=two, window=window)),
            Work(name="singles", input=Input(dataset=three, window=window), payload=PAYLOAD),
            Work(name="merge", input=Input(outputs="batches", batch="all"), payload=PAYLOAD),
        )
        return Workflow(name="crowd", works=works)

    async def live(self) -> None:
        """Everybody at once."""
        async with asyncio.TaskGroup() as group:
            for _ in range(TASKS):
                group.create_task(self._work())
            group.create_task(self._watch())

    async def _work(self) -> None:
        for _ in range(STEPS):
            await self.step()
            if self.random.random() < 0.04:
                await self._order()

    async def _watch(self) -> None:
        """Never above a limit, whenever one looks."""
        for _ in range(STEPS):
            async with self.database.snapshot() as tx:
                for window in await tx.windows.all():
                    assert window.reserved_bytes >= 0
                    assert window.limit_bytes is None or window.reserved_bytes <= window.limit_bytes
            await asyncio.sleep(0)

    async def _order(self) -> None:
        intent = self.random.choice([Intent.SUSPEND, Intent.RUN, Intent.RUN, Intent.FINISH, Intent.CANCEL])
        with suppress(Conflict):
            await self.submission.order(OWNER, self.random.choice(self._requests).id, intent)

    async def _consume(self) -> None:
        """Lease what is announced, and report on it, rightly or not."""
        async with self.database.snapshot() as tx:
            query = select(collections.c.id).where(collections.c.n_available > 0, collections.c.source == "dataset")
            ids = [CollectionId(row.id) for row in await tx.connection.execute(query)]
        delivery, random = self.delivery, self.random
        for collection in random.sample(ids, min(len(ids), 2)):
            with suppress(Conflict):
                leased = await delivery.lease(OWNER, collection, count=3, ttl=10_000_000, lessee="me")
                outcomes = [
                    Outcome(one.content.id, one.content.attempt - (random.random() < 0.1), random.random() < 0.9, "bad")
                    for one in leased
                    if random.random() < 0.9
                ]
                await delivery.report(OWNER, collection, outcomes)

    async def settle(self) -> None:
        for request in self._requests:
            with suppress(Conflict):
                await self.submission.order(OWNER, request.id, Intent.RUN)
        await super().settle()

    async def check(self) -> None:
        await super().check()
        async with self.database.snapshot() as tx:
            live = select(func.coalesce(func.sum(replicas.c.bytes), 0)).where(
                replicas.c.ours, replicas.c.status != ReplicaStatus.GONE, replicas.c.window_id == windows.c.id
            )
            query = select(windows.c.reserved_bytes, live.scalar_subquery()).where(windows.c.kind == "collection")
            assert all(reserved == held for reserved, held in await tx.connection.execute(query))


@pytest.mark.parametrize("seed", range(3))
async def test_all_at_once(postgres_url: str, seed: int) -> None:
    clock = ManualClock()
    database = Database(postgres_url, clock=clock)
    # The service would go on after a deadlock: here there is none.
    errors: list[str] = []
    event.listen(database.sync_engine, "handle_error", lambda context: errors.append(str(context.original_exception)))
    try:
        await upgrade(database)
        crowd = Crowd(database, clock, Random(seed), rate=0.0)
        await crowd.start()
        await crowd.submit(4)
        await crowd.live()
        await crowd.check()
        await crowd.settle()
        await crowd.check()
        async with database.snapshot() as tx:
            assert all(window.reserved_bytes == 0 for window in await tx.windows.all() if window.limit_bytes)
        assert crowd.ddm.highest.get(DISK, 0) <= WINDOW
        assert await crowd.doubled() == []
        assert errors == []
    finally:
        await database.close()

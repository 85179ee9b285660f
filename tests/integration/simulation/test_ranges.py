"""Ranges of events where everything goes wrong: in the end each event of each file was in one range that is done."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import select

from idds.domain.content import Outcome
from idds.domain.errors import Conflict
from idds.domain.files import File
from idds.domain.identifiers import CollectionId, Did, RequestId
from idds.domain.statuses import Intent, Relation
from idds.domain.workflow import Input, Output, Payload, Ranges, WindowLimits, Work, Workflow
from idds.engine import ranges
from idds.store.database import Database
from idds.store.schema import collections, contents, requests
from idds.store.upgrade import upgrade
from idds.testing.clock import ManualClock
from tests.integration.simulation.world import OWNER, World

SEEDS = int(os.environ.get("IDDS_SIMULATIONS", "12")) // 3
PAYLOAD, OUT = Payload(argv=("/do",)), Output(dataset="data:out")


class Site(World):
    """Its datasets have events, its consumers and jobs count them."""

    def events_of(self, name: str) -> int:
        """Of a file, by its name."""
        return sum(map(ord, name)) % 40

    def with_events(self, name: str, *, told: bool) -> str:
        """A dataset of small files with events, which the data management is `told` of or not."""
        names = [f"{name}.{n}" for n in range(self.random.randint(0, 12))]
        told_of = {each: self.events_of(each) if told else None for each in names}
        files = [File(Did("data", n), self.random.randint(1, 200), None, told_of[n]) for n in names]
        self.ddm.add_dataset(Did("data", name), files)
        self.provider.event_counts = {**self.provider.event_counts, **{each: self.events_of(each) for each in names}}
        return f"data:{name}"

    async def _consume(self) -> None:
        async with self.database.snapshot() as tx:
            query = select(collections.c.id).where(collections.c.relation == Relation.INPUT)
            ids = [row.id for row in await tx.connection.execute(query)]
        if not ids:
            return
        at = CollectionId(self.random.choice(ids))
        with suppress(Conflict):
            for delivered in await self.delivery.lease(OWNER, at, count=10, ttl=10_000_000, lessee="pilot"):
                self.leased.append((at, delivered))
        while self.leased and self.random.random() < 0.9:
            at, held = self.leased.pop(self.random.randrange(len(self.leased)))
            luck = self.random.random()
            if luck < 0.1:
                continue  # it died
            if luck < 0.2:
                await self.delivery.give_back(OWNER, at, {held.content.id: held.content.attempt})
                continue
            outcome = Outcome(
                held.content.id,
                held.content.attempt,
                done=luck < 0.95,
                reason="x",
                events=self.events_of(held.content.name) if held.content.max_id == 0 else None,
            )
            await self.delivery.report(OWNER, at, [outcome] * self.random.choice((1, 2)))

    async def check(self) -> None:
        await super().check()
        for name, spans in (await self.spans()).items():
            ends = [0, *(max_id for _, max_id, _ in spans)]
            assert [min_id for min_id, _, _ in spans] == [end + 1 for end in ends[:-1]], f"{name} has holes: {spans}"

    async def spans(self) -> dict[tuple[int, str], list[tuple[int, int, str]]]:
        """Of each file of each collection that is cut: its ranges in order, with their statuses."""
        found: dict[tuple[int, str], list[tuple[int, int, str]]] = {}
        async with self.database.snapshot() as tx:
            query = select(contents).join(collections, collections.c.id == contents.c.collection_id)
            query = query.where(collections.c.range_events.is_not(None), contents.c.max_id > 0)
            for row in await tx.connection.execute(query.order_by(contents.c.min_id)):
                found.setdefault((row.collection_id, row.name), []).append((row.min_id, row.max_id, row.status))
        return found


def given(site: Site, name: str, payload: Payload | None) -> Workflow:
    random = site.random
    source = Input(
        dataset=site.with_events(name, told=True),
        ranges=Ranges(events=random.randint(1, 25)),
        batch=random.choice((1, 2, 3)),
        window=WindowLimits(files=random.choice((None, 3))),
    )
    work = Work(name="read", input=source, payload=payload, output=OUT if payload else None, attempts=5)
    return Workflow(name=name, works=(work,))


def counted(site: Site, name: str, counting: Payload | None, reading: Payload | None) -> Workflow:
    source = Input(dataset=site.with_events(name, told=False), window=WindowLimits(files=4), batch=2)
    taken = Input(ranges=Ranges(events=site.random.randint(1, 25), counted_by="count"))
    count = Work(name="count", input=source, payload=counting, output=OUT if counting else None, attempts=5)
    read = Work(name="read", input=taken, payload=reading, output=OUT if reading else None, attempts=5)
    return Workflow(name=name, works=(read, count, Work(name="after", after=("count",), payload=PAYLOAD, output=OUT)))


@asynccontextmanager
async def site_at(url: str, seed: int) -> AsyncIterator[Site]:
    clock = ManualClock()
    database = Database(url, clock=clock)
    try:
        await upgrade(database)
        made = Site(database, clock, Random(seed), rate=0.1)
        await made.start()
        yield made
    finally:
        await database.close()


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_whatever_goes_wrong(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "AT_ONCE", 7)
    async with site_at(f"sqlite:///{tmp_path}/idds.sqlite", seed) as site:
        await _live(site, steps=250)


@pytest.mark.parametrize("seed", range(100, 101))
async def test_whatever_goes_wrong_on_postgresql(postgres_url: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "AT_ONCE", 7)
    async with site_at(postgres_url, seed) as site:
        await _live(site, steps=150)


async def _live(site: Site, steps: int) -> None:
    random = site.random
    workflows = [
        given(site, "alone", None),
        given(site, "batched", PAYLOAD),
        counted(site, "leased", None, None),
        counted(site, "jobs", PAYLOAD, None),
        counted(site, "all", PAYLOAD, PAYLOAD),
    ]
    submitted: list[RequestId] = []
    for number in range(steps):
        if workflows and random.random() < 0.2:
            request, _ = await site.submission.submit(OWNER, workflows.pop())
            submitted.append(request.id)
        if submitted and random.random() < 0.03:
            with suppress(Conflict):
                intent = random.choice((Intent.CANCEL, Intent.FINISH, Intent.SUSPEND, Intent.RUN))
                await site.submission.order(OWNER, random.choice(submitted), intent)
        if submitted and random.random() < 0.03:
            with suppress(Conflict):
                await site.retry(random.choice(submitted))
        await site.step()
        if number % 10 == 0:
            await site.check()
    for request_id in submitted:
        with suppress(Conflict):
            await site.submission.order(OWNER, request_id, Intent.RUN)
    await site.settle()
    await _finish(site, submitted)


async def _finish(site: Site, submitted: list[RequestId]) -> None:
    """Tried again until all is done: each event of each file, once."""
    for _ in range(6):
        await site.check()
        for request_id in submitted:
            with suppress(Conflict):
                await site.retry(request_id)
        await site.settle()
    assert await site.doubled() == []
    found = await site.spans()
    for (collection, name), spans in found.items():
        assert {status for _, _, status in spans} == {"done"}, (collection, name, spans)
        assert spans[-1][1] == site.events_of(name)
    async with site.database.snapshot() as tx:
        undone = select(contents.c.name, contents.c.status).where(contents.c.status != "done")
        undone = undone.join(collections, collections.c.id == contents.c.collection_id)
        undone = undone.where(collections.c.relation == Relation.INPUT)
        assert list(await tx.connection.execute(undone)) == []
        names = [row.name for row in await tx.connection.execute(select(requests.c.name))]
    cut = {name for _, name in found}
    for name in names:
        assert {f.did.name for f in site.ddm.files(Did("data", name)) if site.events_of(f.did.name)} <= cut

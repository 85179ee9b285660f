"""Reading studies, for who may see them. No answer costs more the longer a study is, but for what is remembered."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import fields
from typing import Any

from idds.domain.errors import NotFound
from idds.domain.identifiers import CollectionId, ContentId, RequestId
from idds.domain.request import Principal, Request
from idds.domain.statuses import ContentStatus
from idds.domain.study import Origin, Rate, Sample, SampleStory, Study, StudySummary
from idds.domain.workflow import Samples
from idds.engine.front import Result, join_front
from idds.services.remembering import Remembered
from idds.services.studies import definition, submitted
from idds.store.database import Database, Transaction
from idds.store.study_listings import EVERY, SampleFilter, SamplePage, SampleRow, StudyListings, StudyRow

RATE_SPAN = 600_000_000
FRONT_TOLD = 100
FRONT_KEPT = 1000
"""Of three objectives and more a front may be most of all results, and then it takes long to find: it is thinned."""
READ_AT_ONCE = 5000
STEPS_TOLD = 10_000


class StudyCatalogue:
    """What the API does for who reads studies. All raise NotFound for what is not there or not the caller's to see."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._fronts: Remembered[CollectionId, tuple[Result, ...]] = Remembered(self._find_front)

    async def studies(
        self, principal: Principal, *, request: RequestId | None = None, before: int | None = None, limit: int = 100
    ) -> Sequence[StudySummary]:
        """Studies, newest first, with ids below `before`; of all requests, or of one."""
        async with self._database.snapshot(timeless=True) as tx:
            rows = await StudyListings(tx).studies(principal, request=request, before=before, limit=limit)
            requests = await tx.requests.get_all({row.collection.request_id for row in rows})
        return [_summary(row, requests[row.collection.request_id]) for row in rows]

    async def study(self, principal: Principal, identifier: CollectionId) -> Study:
        """A study with what it found."""
        async with self._database.snapshot() as tx:
            row, request = await _find(tx, principal, identifier)
            store, defined = StudyListings(tx), (await definition(tx, row.collection)).samples
            origins, pruned = await store.origins(identifier), await store.pruned(identifier)
            ended, since = await store.ended_since(identifier, max(row.created_at, tx.now - RATE_SPAN))
            now = tx.now
        n_best, best = await self._best(identifier, defined, FRONT_TOLD if len(defined.directions) > 1 else 1)
        total = row.collection.total
        span_s = max(1, now - since) / 1e6
        return Study(
            **_fields(_summary(row, request)),
            definition=defined,
            origins={Origin.SAMPLER: total - sum(origins.values()), **origins},
            fallback_share=origins.get(Origin.FALLBACK, 0) / total if total else 0.0,
            pruned=pruned,
            best=best,
            n_best=n_best,
            rate=Rate(span_s, ended, ended / span_s),
            at=now,
        )

    async def samples(
        self,
        principal: Principal,
        identifier: CollectionId,
        wanted: SampleFilter = EVERY,
        *,
        after: int = -1,
        limit: int = 1000,
    ) -> SamplePage:
        """Samples in the order of their numbers, above `after`; those of a status or of a version of the study."""
        async with self._database.snapshot(timeless=True) as tx:
            await _find(tx, principal, identifier)
            return await StudyListings(tx).samples(identifier, wanted, after=after, limit=limit)

    async def stream(
        self,
        principal: Principal,
        identifier: CollectionId,
        wanted: SampleFilter = EVERY,
        *,
        after: int = -1,
    ) -> AsyncGenerator[Sequence[SampleRow]]:
        """All samples with numbers above `after`, page by page, in flat memory: each is read while the last is sent."""

        async def read(after: int) -> SamplePage:
            return await self.samples(principal, identifier, wanted, after=after, limit=READ_AT_ONCE)

        reading = asyncio.create_task(read(after), name="samples read ahead")
        try:
            while True:
                page = await reading
                if page.next is not None:
                    reading = asyncio.create_task(read(page.next), name="samples read ahead")
                if page.samples:
                    yield page.samples
                if page.next is None:
                    return
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def sample(self, principal: Principal, identifier: CollectionId, number: int) -> SampleStory:
        """A sample, and what was said of it on its way."""
        async with self._database.snapshot(timeless=True) as tx:
            await _find(tx, principal, identifier)
            store = StudyListings(tx)
            found = await store.sample(identifier, number)
            if found is None:
                raise NotFound(f"study {identifier} has no sample {number}")
            return SampleStory(_sample(found), tuple(await store.intermediates(found.id, STEPS_TOLD)))

    async def best(self, principal: Principal, identifier: CollectionId, limit: int) -> tuple[Sample, ...]:
        """Of one objective the samples with the best values, of several the first of the Pareto front."""
        async with self._database.snapshot(timeless=True) as tx:
            row, request = await _find(tx, principal, identifier)
        return (await self._best(identifier, _samples(request, row.work), limit))[1]

    async def _best(self, identifier: CollectionId, definition: Samples, limit: int) -> tuple[int, tuple[Sample, ...]]:
        """How many there are, and the first of them; of one objective one is the best."""
        if len(definition.directions) == 1:
            async with self._database.snapshot(timeless=True) as tx:
                rows = await StudyListings(tx).best(identifier, definition.directions[0], limit)
            return min(1, len(rows)), tuple(map(_sample, rows))
        front = await self._fronts.get(identifier)
        async with self._database.snapshot(timeless=True) as tx:
            rows = await StudyListings(tx).numbered(identifier, [number for number, _ in front[:limit]])
        return len(front), tuple(map(_sample, rows))

    async def _find_front(self, identifier: CollectionId) -> tuple[Result, ...]:
        """Over all results there are, a page in memory at a time."""
        async with self._database.snapshot(timeless=True) as tx:
            collection = await tx.collections.get(identifier)
            assert collection is not None
            directions = (await submitted(tx, collection)).directions
        front: list[Result] = []
        after = -1
        while True:
            async with self._database.snapshot(timeless=True) as tx:
                page = await StudyListings(tx).feasible(identifier, after, READ_AT_ONCE)
            if not page:
                return tuple(front)
            front, after = await asyncio.to_thread(join_front, front, page, directions), page[-1][0]
            if len(directions) > 2 and len(front) > FRONT_KEPT:
                front = front[:: -(-len(front) // FRONT_KEPT)]


async def _find(tx: Transaction, principal: Principal, identifier: CollectionId) -> tuple[StudyRow, Request]:
    row = await StudyListings(tx).study(principal, identifier)
    request = None if row is None else await tx.requests.get(row.collection.request_id)
    if row is None or request is None:
        raise NotFound(f"there is no study {identifier}")
    return row, request


def _samples(request: Request, work: str) -> Samples:
    source = request.workflow.work(work).input
    assert source is not None
    assert source.samples is not None
    return source.samples


def _summary(row: StudyRow, request: Request) -> StudySummary:
    samples = _samples(request, row.work)
    return StudySummary(
        id=row.collection.id,
        request=row.collection.request_id,
        name=request.name,
        work=row.work,
        iteration=row.iteration,
        owner=request.owner,
        status=row.status,
        reason=row.reason,
        sampler=samples.sampler,
        directions=samples.directions,
        wanted=samples.count,
        version=row.version,
        is_closed=row.collection.is_closed,
        counts=row.collection.counts,
        created_at=row.created_at,
        ended_at=row.changed_at if row.status.is_terminal else None,
    )


def _fields(summary: StudySummary) -> dict[str, Any]:
    return {field.name: getattr(summary, field.name) for field in fields(summary)}


def _sample(row: SampleRow) -> Sample:
    return Sample(
        number=row.number,
        id=ContentId(row.id),
        version=row.version,
        status=ContentStatus(row.status),
        origin=Origin(row.origin),
        parameters=json.loads(row.parameters),
        objective_values=_values(row.objective_values),
        constraint_values=_values(row.constraint_values),
        is_pruned=row.is_pruned,
        attempt=row.attempt,
        lessee=row.lessee,
        lease_until=row.lease_until,
        reason=row.reason,
        changed_at=row.changed_at,
    )


def _values(stored: str | None) -> tuple[float, ...] | None:
    return None if stored is None else tuple(json.loads(stored))

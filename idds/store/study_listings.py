"""Studies and their samples as they are read: plain rows, each answer of a bounded number of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import TextClause, bindparam, func, select, text

from idds.domain.collection import Collection
from idds.domain.identifiers import CollectionId, RequestId
from idds.domain.request import Principal
from idds.domain.statuses import CONTENT_TERMINAL, ContentStatus, SourceKind, Status
from idds.domain.study import Origin, StepValue
from idds.store.collections import read_collection
from idds.store.noun import Noun
from idds.store.schema import collections, intermediates, moves, requests, samples, study_versions, transforms
from idds.store.sets import is_status
from idds.store.visibility import visible

LOOKED_THROUGH = 20_000
"""So many samples are looked through for a page of those of a status, or of a version."""
LAST_MOVES = 1000


@dataclass(frozen=True, slots=True)
class StudyRow:
    """A study: its collection, its transform and its newest version."""

    collection: Collection
    work: str
    iteration: int
    status: Status
    reason: str | None
    changed_at: int
    created_at: int
    version: int


@dataclass(frozen=True, slots=True)
class SampleFilter:
    """Samples in a status, of a version; None: of all."""

    status: ContentStatus | None = None
    version: int | None = None


EVERY = SampleFilter()


class SampleRow(NamedTuple):
    """A sample; `parameters`, `objective_values` and `constraint_values` are JSON, as it is stored."""

    number: int
    id: int
    version: int
    status: str
    origin: str
    parameters: str
    objective_values: str | None
    constraint_values: str | None
    is_pruned: bool
    attempt: int
    lessee: str | None
    lease_until: int | None
    reason: str | None
    changed_at: int


@dataclass(frozen=True, slots=True)
class SamplePage:
    """Samples, and the number after which the following page begins: None at the end."""

    samples: Sequence[SampleRow]
    next: int | None


_VERSION = (
    select(func.max(study_versions.c.version)).where(study_versions.c.study_id == collections.c.id).scalar_subquery()
)
_STUDIES = (
    select(collections)
    .add_columns(transforms.c.work, transforms.c.iteration, transforms.c.status, transforms.c.changed_at)
    .add_columns(transforms.c.reason, func.coalesce(_VERSION, 1).label("version"))
    .join(requests, requests.c.id == collections.c.request_id)
    .join(transforms, transforms.c.id == collections.c.transform_id)
    .where(is_status(collections.c.source, SourceKind.SAMPLES))
)

# JSON is not read, but goes out as it lies there.
_SAMPLE = """
SELECT s.number, s.content_id, s.version, c.status, s.origin, CAST(c.payload -> 'parameters' AS text),
       CAST(s.objective_values AS text), CAST(s.constraint_values AS text), s.is_pruned, c.attempt, c.lessee,
       c.lease_until, c.reason, c.changed_at
  FROM samples s JOIN contents c ON c.id = s.content_id WHERE s.study_id = :study
"""
_BY_SCORE = " AND s.score IS NOT NULL ORDER BY s.study_id, s.score {order}, s.number LIMIT :most"
_BEST = {
    way: text(_SAMPLE + _BY_SCORE.format(order=order)) for way, order in (("minimize", "ASC"), ("maximize", "DESC"))
}
_ONE = text(f"{_SAMPLE} AND s.number = :number")
_NUMBERED = text(f"{_SAMPLE} AND s.number IN :numbers").bindparams(bindparam("numbers", expanding=True))
_SCORED = text("""
SELECT number, objective_values FROM samples
 WHERE study_id = :study AND number > :after AND score IS NOT NULL ORDER BY study_id, number LIMIT :most
""").columns(samples.c.number, samples.c.objective_values)


@cache
def _page(status: ContentStatus | None, is_of_version: bool) -> TextClause:
    conditions = " AND s.number > :after AND s.number <= :until"
    if status is not None:
        conditions += f" AND c.status = '{status}'"
    if is_of_version:
        conditions += " AND s.version = :version"
    return text(f"{_SAMPLE}{conditions} ORDER BY s.study_id, s.number LIMIT :most")


class StudyListings(Noun):
    async def studies(
        self, principal: Principal, *, request: RequestId | None, before: int | None, limit: int
    ) -> list[StudyRow]:
        """Studies that the principal may see, newest first, with ids below `before`; of all requests, or of one."""
        query = visible(_STUDIES, principal)
        if request is not None:
            query = query.where(collections.c.request_id == request)
        if before is not None:
            query = query.where(collections.c.id < before)
        return [_study(row) for row in await self._execute(query.order_by(collections.c.id.desc()).limit(limit))]

    async def study(self, principal: Principal, study: CollectionId) -> StudyRow | None:
        """A study, if it is there and the principal may see it."""
        found = (await self._execute(visible(_STUDIES, principal).where(collections.c.id == study))).first()
        return None if found is None else _study(found)

    async def samples(
        self,
        study: CollectionId,
        wanted: SampleFilter = EVERY,
        *,
        after: int = -1,
        limit: int,
    ) -> SamplePage:
        """Samples in the order of their numbers, above `after`.

        Those of a status or version are looked for among so many only: a page may have fewer, and yet a next one.
        """
        until = after + (limit + 1 if wanted == EVERY else max(LOOKED_THROUGH, limit))
        bound: dict[str, Any] = {"study": study, "after": after, "until": until, "most": limit + 1}
        if wanted.version is not None:
            bound["version"] = wanted.version
        rows = await self._execute(_page(wanted.status, wanted.version is not None), bound)
        found = list(map(_sample, rows))
        if len(found) > limit:
            return SamplePage(found[:limit], found[limit - 1].number)
        last = (await self._execute(select(func.max(samples.c.number)).where(samples.c.study_id == study))).scalar()
        return SamplePage(found, until if last is not None and last > until else None)

    async def sample(self, study: CollectionId, number: int) -> SampleRow | None:
        row = (await self._execute(_ONE, {"study": study, "number": number})).first()
        return None if row is None else _sample(row)

    async def numbered(self, study: CollectionId, numbers: Sequence[int]) -> list[SampleRow]:
        """The samples with these numbers, in that order."""
        if not numbers:
            return []
        rows = {row[0]: _sample(row) for row in await self._execute(_NUMBERED, {"study": study, "numbers": [*numbers]})}
        return [rows[number] for number in numbers if number in rows]

    async def intermediates(self, content: int, limit: int) -> list[StepValue]:
        """What was said of a sample on its way, by steps; the first `limit` of them."""
        query = select(intermediates.c.step, intermediates.c.value, intermediates.c.at)
        query = query.where(intermediates.c.content_id == content).order_by(intermediates.c.step).limit(limit)
        return [StepValue(row.step, row.value, row.at) for row in await self._execute(query)]

    async def best(self, study: CollectionId, direction: str, limit: int) -> list[SampleRow]:
        """The samples with the best feasible values of the first objective, best first."""
        return list(map(_sample, await self._execute(_BEST[direction], {"study": study, "most": limit})))

    async def feasible(self, study: CollectionId, after: int, limit: int) -> list[tuple[int, tuple[float, ...]]]:
        """Numbers and objective values of feasible results, in the order of their numbers, above `after`."""
        rows = await self._execute(_SCORED, {"study": study, "after": after, "most": limit})
        return [(row.number, tuple(row.objective_values)) for row in rows]

    async def origins(self, study: CollectionId) -> dict[Origin, int]:
        """How many samples came from elsewhere than the sampler."""
        query = select(samples.c.origin, func.count().label("n")).where(
            samples.c.study_id == study, text("samples.origin <> 'sampler'")
        )
        return {Origin(row.origin): row.n for row in await self._execute(query.group_by(samples.c.origin))}

    async def pruned(self, study: CollectionId) -> int:
        """How many samples were stopped on their way."""
        query = select(func.count()).where(samples.c.study_id == study, text("samples.is_pruned"))
        return int((await self._execute(query)).scalar_one())

    async def ended_since(self, study: CollectionId, since: int) -> tuple[int, int]:
        """How many samples ended since then, and since when that is known: of a busy study, since a moment later."""
        newest = select(moves.c.to_status, moves.c.n, moves.c.at).where(moves.c.entity == f"collection:{study}")
        last = newest.order_by(moves.c.id.desc()).limit(LAST_MOVES).subquery("last")
        ended = func.sum(last.c.n).filter(is_status(last.c.to_status, *sorted(CONTENT_TERMINAL)))
        query = select(func.coalesce(ended, 0).label("ended"), func.count().label("looked"))
        query = query.add_columns(func.min(last.c.at).label("first")).where(last.c.at > since)
        row = (await self._execute(query)).one()
        return int(row.ended), row.first if row.looked == LAST_MOVES else since


def _study(row: Any) -> StudyRow:
    return StudyRow(
        collection=read_collection(row),
        work=row.work,
        iteration=row.iteration,
        status=Status(row.status),
        reason=row.reason,
        changed_at=row.changed_at,
        created_at=row.created_at,
        version=row.version,
    )


def _sample(row: Any) -> SampleRow:
    return SampleRow._make((*row[:8], bool(row[8]), *row[9:]))

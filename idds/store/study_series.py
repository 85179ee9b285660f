"""What a study found, cut down to what charts have room for by the database: no answer grows with the study."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Row, Select, case, func, literal_column, select

from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.statuses import ContentStatus
from idds.domain.study_series import RunningSample, Setback, StudyCurve, StudyPoint
from idds.engine.transitions import ContentEvent
from idds.store.noun import Noun
from idds.store.schema import contents, intermediates, moves, samples
from idds.store.sets import among, is_status

_GOLDEN, _CIRCLE = 2654435769, 2**32
"""2 ** 32 divided by the golden ratio: its multiples are spread evenly over the circle, and in step with nothing."""


MOVES, SAMPLES = 5000, 5000
"""So many of a study are looked through, the newest: for setbacks, and for those of which something was said."""
NAMED = 10
"""So many samples of a setback are named."""


class Best(NamedTuple):
    """Until `at`, when so many samples had `finished` since the last of these, the best value of each objective."""

    at: int
    finished: int
    values: tuple[float, ...]


class StudySeries(Noun):
    async def finished(self, study: CollectionId) -> int:
        """How many samples came back with feasible values."""
        query = select(func.count()).select_from(samples).where(*_scored(study))
        return int((await self._execute(query)).scalar_one())

    async def best(self, study: CollectionId, directions: Sequence[str], every: int) -> list[Best]:
        """The best of each `every` finished samples, in the order in which they came back."""
        order = func.row_number().over(order_by=(contents.c.changed_at, contents.c.id)) - 1
        values = [_value(n).label(f"value_{n}") for n in range(len(directions))]
        each = select((order // _literal(every)).label("bin"), contents.c.changed_at, *values)
        found = each.join_from(samples, contents, contents.c.id == samples.c.content_id).where(*_scored(study))
        rows = found.subquery("each")
        least = [
            (func.min if direction == "minimize" else func.max)(rows.c[f"value_{n}"])
            for n, direction in enumerate(directions)
        ]
        told: list[ColumnElement[Any]] = [func.max(rows.c.changed_at), func.count(), *least]
        query = select(*told).group_by(rows.c.bin).order_by(rows.c.bin)
        return [
            Best(int(at), int(n), tuple(map(float, values)))
            for at, n, *values in map(tuple, await self._execute(query))
        ]

    async def chosen(self, study: CollectionId, parts: int, limit: int) -> list[StudyPoint]:
        """About one of `parts` finished samples, spread evenly over their numbers; `limit` at most.

        Of twice as many parts, it is about half of the same ones.
        """
        query = _points(study).where((samples.c.number * _literal(_GOLDEN)) % _literal(_CIRCLE) < _CIRCLE // parts)
        return [_point(row) for row in await self._execute(query.order_by(samples.c.number.desc()).limit(limit))]

    async def foremost(self, study: CollectionId, objective: int, direction: str, limit: int) -> list[StudyPoint]:
        """The finished samples that are best in an objective."""
        value = _value(objective)
        query = _points(study).order_by(value if direction == "minimize" else value.desc(), samples.c.number)
        return [_point(row) for row in await self._execute(query.limit(limit))]

    async def running(self, study: CollectionId, limit: int) -> list[RunningSample]:
        """The samples that are leased, those that are it the longest first."""
        last = select(intermediates.c.step).where(intermediates.c.content_id == contents.c.id)
        last = last.order_by(intermediates.c.step.desc()).limit(1)
        value = last.with_only_columns(intermediates.c.value).scalar_subquery().label("value")
        query = select(contents, samples.c.number, samples.c.version, last.scalar_subquery().label("step"), value)
        query = query.join_from(contents, samples, samples.c.content_id == contents.c.id)
        # Compared as an expression: else a plan may read all that the study ever had for it.
        of_study = contents.c.collection_id + _literal(0) == study
        query = query.where(of_study, is_status(contents.c.status, ContentStatus.LEASED))
        return [_running(row) for row in await self._execute(query.order_by(contents.c.changed_at).limit(limit))]

    async def setbacks(self, study: CollectionId, limit: int) -> list[Setback]:
        """What came back without a result among the last moves of a study, the newest first."""
        newest = select(moves.c.id, moves.c.event).where(moves.c.entity == f"collection:{study}")
        last = newest.order_by(moves.c.id.desc()).limit(MOVES).subquery("last")
        bad = is_status(last.c.event, ContentEvent.RETURNED, ContentEvent.FAILED)
        query = select(moves.c.at, moves.c.event, moves.c.n, moves.c.reason, moves.c.ids)
        query = query.join_from(last, moves, moves.c.id == last.c.id).where(bad).order_by(last.c.id.desc())
        rows = list(await self._execute(query.limit(limit)))
        named = [[ContentId(each) for each in (row.ids or ())[:NAMED]] for row in rows]
        numbers = await self._numbers([content for contents in named for content in contents])
        return [
            Setback(row.at, row.event, row.n, row.reason, tuple(numbers[each] for each in of_row if each in numbers))
            for row, of_row in zip(rows, named, strict=True)
        ]

    async def _numbers(self, ids: Sequence[ContentId]) -> dict[ContentId, int]:
        query = select(samples.c.content_id, samples.c.number).where(among(samples.c.content_id, ids))
        return {ContentId(row.content_id): row.number for row in await self._execute(query)}

    async def curves(self, study: CollectionId, limit: int, steps: int) -> list[StudyCurve]:
        """The newest samples of which something was said on the way, each at `steps` or so many more at most."""
        newest = select(samples.c.content_id, samples.c.number, samples.c.is_pruned).where(samples.c.study_id == study)
        last = newest.order_by(samples.c.number.desc()).limit(SAMPLES).subquery("last")
        said = select(intermediates.c.content_id).where(intermediates.c.content_id == last.c.content_id).exists()
        query = select(last, contents.c.status).join_from(last, contents, contents.c.id == last.c.content_id)
        rows = await self._execute(query.where(said).order_by(last.c.number.desc()).limit(limit))
        found = {row.content_id: row for row in rows}
        values = await self._values(sorted(found), steps)
        return [_curve(found[content], rows) for content, rows in values.items()]

    async def _values(self, ids: Sequence[int], steps: int) -> dict[int, list[Row[Any]]]:
        step, content = intermediates.c.step, intermediates.c.content_id
        place = func.row_number().over(partition_by=content, order_by=step).label("place")
        count = func.count().over(partition_by=content).label("said")
        each = select(content, step, intermediates.c.value, place, count)
        rows = each.where(among(content, ids)).subquery("each")
        every = case((rows.c.said <= _literal(steps), 1), else_=rows.c.said // _literal(steps))
        query = select(rows).where(((rows.c.place - 1) % every == 0) | (rows.c.place == rows.c.said))
        found: dict[int, list[Row[Any]]] = {}
        for row in await self._execute(query.order_by(rows.c.content_id, rows.c.step)):
            found.setdefault(row.content_id, []).append(row)
        return found


def _scored(study: CollectionId) -> tuple[ColumnElement[bool], ...]:
    return samples.c.study_id == study, samples.c.score.is_not(None)


def _points(study: CollectionId) -> Select[Any]:
    query = select(samples.c.content_id, samples.c.number, samples.c.version, samples.c.objective_values)
    query = query.add_columns(contents.c.changed_at, contents.c.payload)
    return query.join_from(samples, contents, contents.c.id == samples.c.content_id).where(*_scored(study))


def _point(row: Row[Any]) -> StudyPoint:
    values = tuple(map(float, row.objective_values))
    parameters = row.payload["parameters"]
    return StudyPoint(ContentId(row.content_id), row.number, row.version, row.changed_at, values, parameters)


def _running(row: Row[Any]) -> RunningSample:
    return RunningSample(
        content=ContentId(row.id),
        number=row.number,
        version=row.version,
        lessee=row.lessee,
        attempt=row.attempt,
        since=row.changed_at,
        lease_until=row.lease_until,
        step=row.step,
        value=row.value,
    )


def _curve(sample: Row[Any], rows: Sequence[Row[Any]]) -> StudyCurve:
    return StudyCurve(
        ContentId(sample.content_id),
        sample.number,
        ContentStatus(sample.status),
        sample.is_pruned,
        rows[0].said,
        tuple(int(row.step) for row in rows),
        tuple(float(row.value) for row in rows),
    )


def _value(objective: int) -> ColumnElement[Any]:
    return samples.c.objective_values[objective].as_float() if objective else samples.c.score


def _literal(number: int) -> ColumnElement[int]:
    # PostgreSQL takes the same parameter bound twice for two expressions, and refuses to group by them.
    return literal_column(str(number), BigInteger)

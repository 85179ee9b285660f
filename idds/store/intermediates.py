"""What payloads say of samples on their way, and how the samples of a study stand beside each other there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Double, and_, bindparam, func, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from idds.domain.content import Intermediate
from idds.domain.identifiers import CollectionId, ContentId
from idds.engine.pruning import COMPARED, Progress, Standing
from idds.store.noun import Noun
from idds.store.schema import intermediates, rungs, samples
from idds.store.sets import among_bound


@dataclass(frozen=True, slots=True)
class Numbered:
    """A sample by its number in its study, and how far it is."""

    number: int
    progress: Progress


@dataclass(frozen=True, slots=True)
class OnRung:
    """A sample that has come to a rung of a bracket with a value."""

    content: ContentId
    bracket: int
    rung: int
    value: float


def _noted(insert: "postgresql.Insert | sqlite.Insert") -> "postgresql.Insert | sqlite.Insert":
    """Said again, the last word counts: an evaluation that was lost begins anew."""
    said = {"value": insert.excluded.value, "at": insert.excluded.at}
    return insert.on_conflict_do_update(index_elements=["content_id", "step"], set_=said)


_NOTE = {True: _noted(sqlite.insert(intermediates)), False: _noted(postgresql.insert(intermediates))}
_PROGRESS = select(
    samples.c.content_id,
    samples.c.number,
    samples.c.last_step,
    samples.c.best_value,
    samples.c.best_step,
    samples.c.rung,
    samples.c.stop_reason,
).where(among_bound(samples.c.content_id, "ids"))
_SAVE = (
    update(samples)
    .where(samples.c.content_id == bindparam("content"))
    .values(
        last_step=bindparam("last"),
        best_value=bindparam("best"),
        best_step=bindparam("best_at"),
        rung=bindparam("on_rung"),
        stop_reason=bindparam("stop"),
    )
)
_STOPPED = select(samples.c.content_id, samples.c.stop_reason).where(
    among_bound(samples.c.content_id, "ids"), samples.c.stop_reason.is_not(None)
)
_COMPLETE = (
    select(samples.c.content_id)
    .where(samples.c.study_id == bindparam("study"), text("objective_values IS NOT NULL AND NOT is_pruned"))
    .order_by(samples.c.number.desc())
    .limit(COMPARED)
    .subquery("complete")
)
_COUNT_COMPLETE = select(func.count()).select_from(_COMPLETE)
_RANKED = (
    select(
        intermediates.c.step,
        intermediates.c.value,
        func.row_number().over(partition_by=intermediates.c.step, order_by=intermediates.c.value).label("place"),
        func.count().over(partition_by=intermediates.c.step).label("number"),
    )
    .join(
        _COMPLETE,
        and_(intermediates.c.content_id == _COMPLETE.c.content_id, among_bound(intermediates.c.step, "steps")),
    )
    .subquery("ranked")
)
_BEFORE = (_RANKED.c.number - 1) * bindparam("share", type_=Double)
_STANDINGS = (
    select(_RANKED.c.step, _RANKED.c.number, _RANKED.c.value)
    .where(_RANKED.c.place > _BEFORE, _RANKED.c.place <= _BEFORE + 2)
    .order_by(_RANKED.c.step, _RANKED.c.place)
)
_ON_RUNGS = """
SELECT given.id, count(*) AS others,
       sum(CASE WHEN given.sign > 0 AND rungs.value > given.value OR given.sign < 0 AND rungs.value < given.value
           THEN 1 ELSE 0 END) AS better
  FROM {given} JOIN rungs ON rungs.study_id = given.study AND rungs.bracket = given.bracket AND rungs.rung = given.rung
 GROUP BY given.id
"""
_ON_SQLITE = (
    "(SELECT value ->> 0 AS id, value ->> 1 AS study, value ->> 2 AS bracket, value ->> 3 AS rung,"
    " value ->> 4 AS value, value ->> 5 AS sign FROM json_each(?)) AS given"
)
_ON_POSTGRESQL = (
    "unnest($1::bigint[], $2::bigint[], $3::integer[], $4::integer[], $5::float8[], $6::integer[])"
    " AS given (id, study, bracket, rung, value, sign)"
)


class Intermediates(Noun):
    async def note(self, study: CollectionId, said: Sequence[Intermediate]) -> None:
        """Note finite values; of a sample at a step the last."""
        last = {(each.content_id, each.step): each.value for each in said}
        rows = [
            {"content_id": content, "step": step, "study_id": study, "value": value, "at": self._tx.now}
            for (content, step), value in sorted(last.items())
        ]
        if rows:
            await self._execute(_NOTE[self._is_sqlite], rows)

    async def progress(self, contents: Sequence[ContentId]) -> dict[ContentId, Numbered]:
        """How far these samples are."""
        return {
            ContentId(row.content_id): Numbered(
                row.number, Progress(row.last_step, row.best_value, row.best_step, row.rung, row.stop_reason)
            )
            for row in await self._execute(_PROGRESS, {"ids": list(contents)})
        }

    async def save(self, progress: Mapping[ContentId, Progress]) -> None:
        """Note how far these samples are."""
        rows = [
            {
                "content": content,
                "last": each.last_step,
                "best": each.best,
                "best_at": each.best_step,
                "on_rung": each.rung,
                "stop": each.stop_reason,
            }
            for content, each in sorted(progress.items())
        ]
        if rows:
            await self._execute(_SAVE, rows)

    async def stopped(self, contents: Sequence[int]) -> dict[ContentId, str]:
        """Of these samples those that are to stop, and why."""
        found = await self._execute(_STOPPED, {"ids": list(contents)}) if contents else ()
        return {ContentId(row.content_id): row.stop_reason for row in found}

    async def complete(self, study: CollectionId) -> int:
        """How many samples others are compared with."""
        return int((await self._execute(_COUNT_COMPLETE, {"study": study})).scalar_one())

    async def standings(self, study: CollectionId, steps: Sequence[int], share: float) -> dict[int, Standing]:
        """How the complete samples stood at each of these steps, around the value that a share of them is below."""
        found = await self._execute(_STANDINGS, {"study": study, "steps": sorted(set(steps)), "share": share})
        around: dict[int, tuple[int, list[float]]] = {}
        for row in found:
            around.setdefault(row.step, (row.number, []))[1].append(row.value)
        return {step: Standing(number, tuple(values)) for step, (number, values) in around.items()}

    async def others(
        self, study: CollectionId, arrived: Sequence[OnRung], *, maximize: bool
    ) -> dict[ContentId, tuple[int, int]]:
        """How many samples were on the rung of each of these before, and how many of them with better values."""
        sign = 1 if maximize else -1
        given = [(each.content, study, each.bracket, each.rung, each.value, sign) for each in arrived]
        if self._is_sqlite:
            rows = await self._driver(_ON_RUNGS.format(given=_ON_SQLITE), (json.dumps(given),))
        else:
            columns = tuple(list(column) for column in zip(*given, strict=True))
            rows = await self._driver(_ON_RUNGS.format(given=_ON_POSTGRESQL), columns)
        return {ContentId(row.id): (int(row.others), int(row.better)) for row in rows}

    async def note_rungs(self, study: CollectionId, arrived: Sequence[OnRung]) -> None:
        """Note where samples stood when they came to their rungs."""
        rows = [
            {"content_id": each.content, "rung": each.rung, "study_id": study, "bracket": each.bracket}
            | {"value": each.value}
            for each in arrived
        ]
        if rows:
            await self._execute(rungs.insert(), rows)

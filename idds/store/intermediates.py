"""What payloads say of samples on their way, and how the samples of a study stand beside each other there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, func, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from idds.domain.content import Intermediate
from idds.domain.identifiers import CollectionId, ContentId
from idds.engine import thinning
from idds.engine.pruning import COMPARED, ON_RUNG, Progress, Standing
from idds.engine.thinning import DENSE
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
_REPLACE = (
    update(intermediates)
    .where(intermediates.c.content_id == bindparam("content"), intermediates.c.step == bindparam("of"))
    .values(value=bindparam("said"), at=bindparam("now"))
)
_OF_SAMPLE = select(intermediates.c.step).where(intermediates.c.content_id == samples.c.content_id).limit(1)
_ENDS = select(
    samples.c.content_id,
    _OF_SAMPLE.order_by(intermediates.c.step).scalar_subquery().label("first"),
    _OF_SAMPLE.order_by(intermediates.c.step.desc()).scalar_subquery().label("last"),
).where(among_bound(samples.c.content_id, "ids"))
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
# A value is looked up for each sample and step, however few the table seems to hold.
_STANDINGS = """
WITH complete AS (
  SELECT content_id FROM samples WHERE study_id = {mark}1 AND objective_values IS NOT NULL AND NOT is_pruned
   ORDER BY number DESC LIMIT {compared}
), said AS MATERIALIZED (
  SELECT steps.step, (SELECT value FROM intermediates
                       WHERE content_id = complete.content_id AND step = steps.step) AS value
    FROM complete CROSS JOIN {steps}
), ranked AS (
  SELECT step, value, row_number() OVER (PARTITION BY step ORDER BY value) AS place,
         count(*) OVER (PARTITION BY step) AS number
    FROM said WHERE value IS NOT NULL
)
SELECT step, number, value FROM ranked
 WHERE place > (number - 1) * CAST({mark}3 AS DOUBLE PRECISION)
   AND place <= (number - 1) * CAST({mark}3 AS DOUBLE PRECISION) + 2
 ORDER BY step, place
"""
_STEPS_ON_SQLITE = "(SELECT value AS step FROM json_each(?2)) AS steps"
_STEPS_ON_POSTGRESQL = "unnest($2::bigint[]) AS steps (step)"
_ON_RUNGS = """
SELECT given.id, (SELECT count(*) FROM {there}) AS others,
       (SELECT count(*) FROM {there} WHERE newest.value {sign} given.value) AS better
  FROM {given}
"""
_THERE = f"""
(SELECT value FROM rungs
  WHERE rungs.study_id = given.study AND rungs.bracket = given.bracket AND rungs.rung = given.rung
  ORDER BY rungs.content_id DESC LIMIT {ON_RUNG}) AS newest
"""
_ON_SQLITE = (
    "(SELECT value ->> 0 AS id, value ->> 1 AS study, value ->> 2 AS bracket, value ->> 3 AS rung,"
    " value ->> 4 AS value FROM json_each(?)) AS given"
)
_ON_POSTGRESQL = (
    "unnest($1::bigint[], $2::bigint[], $3::integer[], $4::integer[], $5::float8[])"
    " AS given (id, study, bracket, rung, value)"
)


class Intermediates(Noun):
    async def note(self, said: Sequence[Intermediate]) -> frozenset[tuple[ContentId, int]]:
        """Note finite values, of a sample at a step the last, thinned out as `engine.thinning` tells; which were kept.

        Where none is far on its way nothing has to be looked up for that.
        """
        last = {(each.content_id, each.step): each.value for each in said}
        steps: dict[ContentId, list[int]] = {}
        for content, step in last:
            steps.setdefault(content, []).append(step)
        far = [content for content, its in steps.items() if max(its) >= DENSE]
        ends = {row.content_id: row for row in await self._execute(_ENDS, {"ids": far})} if far else {}
        new: list[tuple[ContentId, int]] = []
        again: list[tuple[ContentId, int]] = []
        for content, its in sorted(steps.items()):
            found = ends.get(content)
            if found is None:
                new += [(content, step) for step in sorted(its)]
                continue
            kept, replacing = thinning.kept(its, found.first, found.last)
            new += [(content, step) for step in kept]
            again += [(content, step) for step in replacing]
        if new:
            rows = [{"content_id": c, "step": n, "value": last[c, n], "at": self._tx.now} for c, n in new]
            await self._execute(_NOTE[self._is_sqlite], rows)
        if again:
            await self._execute(
                _REPLACE, [{"content": c, "of": n, "said": last[c, n], "now": self._tx.now} for c, n in again]
            )
        return frozenset(new)

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
        wanted = sorted(set(steps))
        if self._is_sqlite:
            statement = _STANDINGS.format(mark="?", compared=COMPARED, steps=_STEPS_ON_SQLITE)
            found = await self._driver(statement, (study, json.dumps(wanted), share))
        else:
            statement = _STANDINGS.format(mark="$", compared=COMPARED, steps=_STEPS_ON_POSTGRESQL)
            found = await self._driver(statement, (study, wanted, share))
        around: dict[int, tuple[int, list[float]]] = {}
        for row in found:
            around.setdefault(row.step, (row.number, []))[1].append(row.value)
        return {step: Standing(number, tuple(values)) for step, (number, values) in around.items()}

    async def others(
        self, study: CollectionId, arrived: Sequence[OnRung], *, maximize: bool
    ) -> dict[ContentId, tuple[int, int]]:
        """How many samples were on the rung of each of these before, of the newest, and how many of them are better."""
        given = [(each.content, study, each.bracket, each.rung, each.value) for each in arrived]
        named = _ON_SQLITE if self._is_sqlite else _ON_POSTGRESQL
        statement = _ON_RUNGS.format(given=named, there=_THERE, sign=">" if maximize else "<")
        if self._is_sqlite:
            rows = await self._driver(statement, (json.dumps(given),))
        else:
            rows = await self._driver(statement, tuple(list(column) for column in zip(*given, strict=True)))
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

"""Samples: what a study knows of its points. Their delivery stands in contents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Executable, Row, case, func, insert, select

from idds.domain.content import Outcome
from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.space import Point
from idds.domain.statuses import ContentStatus
from idds.ports.sampler import Known, Origin, State, Suggestion
from idds.store.connection import Rows
from idds.store.gathered import Gathered
from idds.store.noun import Noun
from idds.store.schema import contents, intermediates, moves, samples
from idds.store.sets import among

if TYPE_CHECKING:
    from idds.store.database import Transaction

TOLD_AT_ONCE = 5000
_OF_INTEREST = [status for status in ContentStatus if status not in (ContentStatus.NEW, ContentStatus.LEASED)]


def _last(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Of the last that was said of a pruned sample on its way."""
    said = select(column).where(intermediates.c.content_id == samples.c.content_id)
    last = said.order_by(intermediates.c.step.desc()).limit(1)
    return case((samples.c.is_pruned, last.correlate(samples).scalar_subquery()))


_KNOWN = (
    select(samples.c.number, samples.c.version, samples.c.objective_values, samples.c.origin, samples.c.notes)
    .add_columns(samples.c.constraint_values, samples.c.is_pruned)
    .add_columns(_last(intermediates.c.step).label("last_step"), _last(intermediates.c.value).label("last_value"))
    .add_columns(contents.c.status, contents.c.payload)
    .join(contents, contents.c.id == samples.c.content_id)
    .order_by(samples.c.number)
)


class Samples(Noun):
    """Results that are noted are written at the end of the transaction, and before any is read."""

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(transaction)
        self._noted: dict[ContentId, dict[str, Any]] = {}

    async def add(
        self, study: CollectionId, drawn: Sequence[tuple[ContentId, Suggestion]], *, version: int = 1
    ) -> None:
        """Note what the sampler said of contents that were just drawn, of a version of the study."""
        rows = [
            {
                "content_id": content,
                "study_id": study,
                "number": suggestion.number,
                "version": version,
                "origin": suggestion.origin,
                "notes": dict(suggestion.notes) or None,
            }
            for content, suggestion in drawn
        ]
        if rows:
            await self._execute(insert(samples), rows)

    async def news(self, study: CollectionId, heard: int | None) -> tuple[int, list[Known]]:
        """What changed of a study's samples since it was `heard` of (None: all of them), and up to where that is.

        The places are ids of moves. What changes while this is read may be told now and again the next time.
        """
        entity = f"collection:{study}"
        last: int = (await self._read(select(func.max(moves.c.id)).where(moves.c.entity == entity))).scalar() or 0
        if heard is None:
            return last, [_known(row) for row in await self._read(_KNOWN.where(samples.c.study_id == study))]
        changed = select(moves.c.ids).where(
            moves.c.entity == entity, moves.c.id > heard, moves.c.id <= last, moves.c.to_status.in_(_OF_INTEREST)
        )
        ids = sorted({each for row in await self._read(changed) for each in row.ids or ()})
        found: list[Known] = []
        for start in range(0, len(ids), TOLD_AT_ONCE):
            these = among(samples.c.content_id, ids[start : start + TOLD_AT_ONCE])
            found += [_known(row) for row in await self._read(_KNOWN.where(these))]
        return last, found

    async def best(self, study: CollectionId, direction: str, limit: int) -> list[tuple[int, Point]]:
        """The points with the best feasible values of the first objective, each with the version that it is of."""
        query = select(samples.c.version, contents.c.payload)
        query = query.join_from(samples, contents, contents.c.id == samples.c.content_id)
        query = query.where(samples.c.study_id == study, samples.c.score.is_not(None))
        order = samples.c.score if direction == "minimize" else samples.c.score.desc()
        rows = await self._read(query.order_by(order, samples.c.number).limit(limit))
        return [(row.version, row.payload["parameters"]) for row in rows]

    async def undrawn(self, study: CollectionId, below: int) -> list[range]:
        """The numbers below `below` that no sample of a study has."""
        number = samples.c.number
        following = func.lead(number, 1, below).over(order_by=number).label("following")
        each = select(number, following).where(samples.c.study_id == study, number < below).subquery("each")
        holes = select(each.c.number + 1, each.c.following).where(each.c.following > each.c.number + 1)
        first = select(func.min(number)).where(samples.c.study_id == study)
        start = (await self._read(first)).scalar()
        found = [range(below if start is None else min(int(start), below))]
        found += [range(*row) for row in await self._read(holes.order_by(each.c.number))]
        return [hole for hole in found if hole]

    def note_results(self, outcomes: Sequence[Outcome]) -> None:
        """Note what was reported of samples that are done: values, or that it was pruned.

        Only what is feasible has a score.
        """
        for outcome in outcomes:
            self._noted[outcome.content_id] = {
                "content": outcome.content_id,
                "reported": list(outcome.objective_values) or None,
                "constrained": list(outcome.constraint_values) or None,
                "pruned": outcome.is_pruned,
                "scored": _score(outcome),
            }

    def gathered(self) -> Gathered:
        """What was noted and is not written yet: the caller is about to."""
        noted, self._noted = self._noted, {}
        return {"results": list(noted.values())}

    async def _read(self, statement: Executable) -> Rows:
        await self._tx.write(self.gathered())
        return await self._execute(statement)


def _score(outcome: Outcome) -> float | None:
    is_feasible = all(value <= 0 for value in outcome.constraint_values)
    return outcome.objective_values[0] if outcome.objective_values and is_feasible else None


def _known(row: Row[Any]) -> Known:
    suggestion = Suggestion(row.number, row.payload["parameters"], Origin(row.origin), row.notes or {})
    match ContentStatus(row.status):
        case ContentStatus.DONE if row.is_pruned:
            on_the_way = {} if row.last_step is None else {int(row.last_step): float(row.last_value)}
            return Known(
                suggestion,
                State.PRUNED,
                constraints=tuple(row.constraint_values or ()),
                intermediates=on_the_way,
                version=row.version,
            )
        case ContentStatus.DONE if row.objective_values:
            values, constraints = tuple(row.objective_values), tuple(row.constraint_values or ())
            return Known(suggestion, State.DONE, values, constraints, version=row.version)
        case status if status.is_terminal:
            return Known(suggestion, State.FAILED, version=row.version)
        case _:
            return Known(suggestion, State.RUNNING, version=row.version)

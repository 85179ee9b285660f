"""Samples: what a study knows of its points. Their delivery stands in contents."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, bindparam, func, insert, select, update

from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.statuses import ContentStatus
from idds.ports.sampler import Known, Origin, State, Suggestion
from idds.store.noun import Noun
from idds.store.schema import contents, moves, samples
from idds.store.sets import among

TOLD_AT_ONCE = 5000
_OF_INTEREST = [status for status in ContentStatus if status not in (ContentStatus.NEW, ContentStatus.LEASED)]
_KNOWN = (
    select(samples.c.number, samples.c.version, samples.c.objective_values, samples.c.origin, samples.c.notes)
    .add_columns(contents.c.status, contents.c.payload)
    .join(contents, contents.c.id == samples.c.content_id)
    .order_by(samples.c.number)
)


class Samples(Noun):
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
        last: int = (await self._execute(select(func.max(moves.c.id)).where(moves.c.entity == entity))).scalar() or 0
        if heard is None:
            return last, [_known(row) for row in await self._execute(_KNOWN.where(samples.c.study_id == study))]
        changed = select(moves.c.ids).where(
            moves.c.entity == entity, moves.c.id > heard, moves.c.id <= last, moves.c.to_status.in_(_OF_INTEREST)
        )
        ids = sorted({each for row in await self._execute(changed) for each in row.ids or ()})
        found: list[Known] = []
        for start in range(0, len(ids), TOLD_AT_ONCE):
            these = among(samples.c.content_id, ids[start : start + TOLD_AT_ONCE])
            found += [_known(row) for row in await self._execute(_KNOWN.where(these))]
        return last, found

    async def undrawn(self, study: CollectionId, below: int) -> list[range]:
        """The numbers below `below` that no sample of a study has."""
        number = samples.c.number
        following = func.lead(number, 1, below).over(order_by=number).label("following")
        each = select(number, following).where(samples.c.study_id == study, number < below).subquery("each")
        holes = select(each.c.number + 1, each.c.following).where(each.c.following > each.c.number + 1)
        first = select(func.min(number)).where(samples.c.study_id == study)
        start = (await self._execute(first)).scalar()
        found = [range(below if start is None else min(int(start), below))]
        found += [range(*row) for row in await self._execute(holes.order_by(each.c.number))]
        return [hole for hole in found if hole]

    async def note_results(self, results: Sequence[tuple[ContentId, Sequence[float]]]) -> None:
        """Note the objective values that were reported."""
        if results:
            noted = update(samples).where(samples.c.content_id == bindparam("content"))
            noted = noted.values(objective_values=bindparam("reported"), score=bindparam("scored"))
            rows = [{"content": content, "reported": [*v], "scored": v[0] if v else None} for content, v in results]
            await self._execute(noted, rows)


def _known(row: Row[Any]) -> Known:
    suggestion = Suggestion(row.number, row.payload["parameters"], Origin(row.origin), row.notes or {})
    match ContentStatus(row.status):
        case ContentStatus.DONE if row.objective_values:
            return Known(suggestion, State.DONE, tuple(row.objective_values), version=row.version)
        case status if status.is_terminal:
            return Known(suggestion, State.FAILED, version=row.version)
        case _:
            return Known(suggestion, State.RUNNING, version=row.version)

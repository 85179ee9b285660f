"""Samples: what a study knows of its points. Their delivery stands in contents."""

from collections.abc import Sequence

from sqlalchemy import bindparam, func, insert, select, update

from idds.domain.identifiers import CollectionId, ContentId
from idds.store.noun import Noun
from idds.store.schema import samples


class Samples(Noun):
    async def add(self, study: CollectionId, numbered: Sequence[tuple[ContentId, int]]) -> None:
        """Note the numbers of contents that were just drawn."""
        rows = [{"content_id": content, "study_id": study, "number": number} for content, number in numbered]
        await self._execute(insert(samples), rows)

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
            noted = noted.values(objective_values=bindparam("reported"))
            await self._execute(noted, [{"content": content, "reported": list(v)} for content, v in results])

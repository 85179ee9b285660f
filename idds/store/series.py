"""What happened when, summed up in bins of time by the database: a row for each bin, not for each file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, case, func, literal_column, select

from idds.domain.identifiers import CollectionId, RequestId
from idds.store.noun import Noun
from idds.store.schema import landings, moves, turnover
from idds.store.sets import among_texts
from idds.store.turnover import UNKNOWN, Kind


@dataclass(frozen=True, slots=True)
class Bins:
    """`count` bins of time of `width` each, from `start` on (microseconds). What was before counts in the first."""

    start: int
    width: int
    count: int

    @property
    def ends(self) -> tuple[int, ...]:
        """When each ends."""
        return tuple(self.start + self.width * (number + 1) for number in range(self.count))

    def of(self, at: ColumnElement[Any]) -> ColumnElement[int]:
        """The number of the bin that a time falls in; what is after the last has a higher one."""
        # Literals: PostgreSQL takes the same parameter bound twice for two expressions, and refuses to group by them.
        start, width = (literal_column(str(each), BigInteger) for each in (self.start, self.width))
        return case((at < start, literal_column("0", BigInteger)), else_=(at - start) // width)


@dataclass(frozen=True, slots=True)
class Sum:
    """So many files, with so many bytes, in a bin. `kind` tells of what: an event, or a tape."""

    bin: int
    kind: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Turned:
    """So many files of ours, with so many bytes, that came for a request in a bin, were found there, or went.

    They took less than two to the power of `took` milliseconds from their order; None: that is not known.
    """

    bin: int
    kind: Kind
    took: int | None
    files: int
    bytes: int


class Series(Noun):
    async def moved(self, collections: Sequence[CollectionId], bins: Bins) -> list[Sum]:
        """How many contents of these collections moved, by event. Their bytes are not told."""
        entities = [f"collection:{collection}" for collection in collections]
        number = bins.of(moves.c.at).label("bin")
        query = select(number, moves.c.event, func.sum(moves.c.n).label("files"))
        query = query.where(among_texts(moves.c.entity, entities)).group_by(number, moves.c.event)
        return [Sum(int(row.bin), row.event, int(row.files), 0) for row in await self._execute(query)]

    async def turned(self, request: RequestId, bins: Bins) -> list[Turned]:
        """What came and went for a request, each replica once."""
        number = bins.of(turnover.c.at).label("bin")
        files, size = func.sum(turnover.c.files).label("files"), func.sum(turnover.c.bytes).label("bytes")
        query = select(number, turnover.c.kind, turnover.c.took, files, size)
        query = query.where(turnover.c.request_id == request).group_by(number, turnover.c.kind, turnover.c.took)
        return [
            Turned(int(r.bin), Kind(r.kind), None if r.took == UNKNOWN else r.took, int(r.files), int(r.bytes))
            for r in await self._execute(query)
        ]

    async def landings(self, bins: Bins) -> list[Sum]:
        """What landed everywhere since the bins begin, by source; the source is empty where it is not known."""
        number = bins.of(landings.c.at).label("bin")
        files, size = func.sum(landings.c.files).label("files"), func.sum(landings.c.bytes).label("bytes")
        query = select(number, landings.c.source_rse, files, size).where(landings.c.at >= bins.start)
        query = query.group_by(number, landings.c.source_rse)
        return [Sum(int(r.bin), r.source_rse, int(r.files), int(r.bytes)) for r in await self._execute(query)]

"""What happened when, summed up in bins of time by the database: a row for each bin, not for each file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, case, func, literal_column, select

from idds.domain.identifiers import CollectionId
from idds.domain.statuses import ReplicaStatus
from idds.store.noun import Noun
from idds.store.schema import contents, landings, moves, replicas
from idds.store.sets import among, among_selected, among_texts, is_status


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
class Stay:
    """So many files, with so many bytes, that landed in one bin and were gone in another; None: they are there.

    They took less than two to the power of `took` milliseconds from their order; None: that is not known.
    """

    landed: int
    gone: int | None
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

    async def replicas(self, collections: Sequence[CollectionId], bins: Bins) -> list[Stay]:
        """How long the files of these collections stayed that we had staged, each replica once."""
        gone = case((is_status(replicas.c.status, ReplicaStatus.GONE), bins.of(replicas.c.changed_at))).label("gone")
        landed, took = bins.of(replicas.c.landed_at).label("landed"), _power().label("took")
        wanted = select(contents.c.replica_id).where(among(contents.c.collection_id, collections))
        wanted = wanted.where(contents.c.replica_id.is_not(None))
        query = select(landed, gone, took, func.count().label("files"), func.sum(replicas.c.bytes).label("bytes"))
        query = query.where(among_selected(replicas.c.id, wanted), replicas.c.ours, replicas.c.landed_at.is_not(None))
        return [
            Stay(int(row.landed), None if row.gone is None else int(row.gone), row.took, int(row.files), int(row.bytes))
            for row in await self._execute(query.group_by(landed, gone, took))
        ]

    async def landings(self, bins: Bins) -> list[Sum]:
        """What landed everywhere since the bins begin, by source; the source is empty where it is not known."""
        number = bins.of(landings.c.at).label("bin")
        files, size = func.sum(landings.c.files).label("files"), func.sum(landings.c.bytes).label("bytes")
        query = select(number, landings.c.source_rse, files, size).where(landings.c.at >= bins.start)
        query = query.group_by(number, landings.c.source_rse)
        return [Sum(int(r.bin), r.source_rse, int(r.files), int(r.bytes)) for r in await self._execute(query)]


POWERS = tuple(range(31))
"""2 ** 30 ms are twelve days: what took longer is of one class."""


def _power() -> ColumnElement[int | None]:
    """The power of two of milliseconds that is more than a replica took from its order to the disk."""
    took = replicas.c.landed_at - replicas.c.ordered_at
    limits = {power: literal_column(str(1000 << power), BigInteger) for power in POWERS}
    classes: list[tuple[Any, Any]] = [(took < limit, literal_column(str(power))) for power, limit in limits.items()]
    return case((took.is_(None), None), *classes, else_=literal_column(str(len(POWERS))))

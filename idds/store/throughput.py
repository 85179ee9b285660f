"""What landed of late: how much from which tape to which disk, and how long each took.

It is counted, not listed: a row for each minute, source, destination and class of times, however many files there were.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, delete, func, select, text, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from idds.domain.identifiers import CollectionId
from idds.domain.statuses import ContentStatus, ReplicaStatus
from idds.engine.times import class_of
from idds.store.noun import Noun
from idds.store.schema import collections, landings, moves, replicas, requests
from idds.store.sets import among, is_status
from idds.store.visibility import pinned_in

MINUTE = 60_000_000
UNKNOWN = ""
"""The source of what came from a tape that nobody told of."""


@dataclass(frozen=True, slots=True)
class Landing:
    """Files of one class of times that landed within the minute that begins `at`. `source` is a tape, or unknown."""

    rse: str
    source: str
    at: int
    took: int
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class InFlight:
    """What is on its way from a tape to a disk. The first of them was ordered at `since`, None: none is by now."""

    rse: str
    source: str
    files: int
    bytes: int
    since: int | None


class Throughput(Noun):
    async def note_landed(self, ids: Sequence[int]) -> None:
        """Count these replicas of ours, which landed just now."""
        if not ids:
            return
        query = select(replicas.c.rse, replicas.c.source_rse, replicas.c.ordered_at, replicas.c.bytes)
        query = query.where(among(replicas.c.id, ids), replicas.c.ours, replicas.c.ordered_at.is_not(None))
        files: Counter[tuple[str, str, int]] = Counter()
        size: Counter[tuple[str, str, int]] = Counter()
        for row in await self._execute(query):
            key = (row.rse, row.source_rse or UNKNOWN, class_of(self._tx.now - row.ordered_at))
            files[key] += 1
            size[key] += row.bytes
        at = self._tx.now - self._tx.now % MINUTE
        rows = [
            {"rse": rse, "source_rse": source, "at": at, "took": took, "files": files[key], "bytes": size[key]}
            # In one order: else two that count the same could wait for each other in a circle.
            for key in sorted(files)
            for rse, source, took in [key]
        ]
        if rows:
            dialect = sqlite if self._is_sqlite else postgresql
            adding = dialect.insert(landings)
            more = {
                "files": landings.c.files + adding.excluded.files,
                "bytes": landings.c.bytes + adding.excluded.bytes,
            }
            key_columns = [landings.c.rse, landings.c.source_rse, landings.c.at, landings.c.took]
            await self._execute(adding.on_conflict_do_update(index_elements=key_columns, set_=more), rows)

    async def landed_since(self, at: int) -> list[Landing]:
        """What landed in the minutes from the one that holds `at` on."""
        query = select(landings).where(landings.c.at >= at - at % MINUTE).order_by(landings.c.at)
        return [
            Landing(row.rse, row.source_rse, row.at, row.took, row.files, row.bytes)
            for row in await self._execute(query)
        ]

    async def in_flight(self, vo: str | None = None) -> list[InFlight]:
        """What is being staged by us, by tape and disk; what of that something of a VO needs."""
        size, first = func.sum(replicas.c.bytes).label("size"), func.min(replicas.c.ordered_at).label("since")
        source = func.coalesce(replicas.c.source_rse, UNKNOWN).label("source")
        query = select(replicas.c.rse, source, func.count().label("files"), size, first)
        moving = and_(is_status(replicas.c.status, ReplicaStatus.STAGING, ReplicaStatus.ADMITTED), replicas.c.ours)
        query = query.where(moving if vo is None else and_(moving, pinned_in(vo)))
        rows = await self._execute(query.group_by(replicas.c.rse, source).order_by(replicas.c.rse, source))
        return [InFlight(row.rse, row.source, int(row.files), int(row.size), row.since) for row in rows]

    async def waiting(self, vo: str | None = None) -> dict[tuple[str, str], tuple[int, int]]:
        """How many inputs wait for admission, and with how many contents, by disk and tape; those of a VO."""
        source, waiting = func.coalesce(collections.c.source_rse, UNKNOWN).label("source"), collections.c.unadmitted
        query = select(collections.c.rse, source, func.count().label("inputs"), func.sum(waiting).label("contents"))
        query = query.where(text("collections.unadmitted > 0")).group_by(collections.c.rse, source)
        if vo is not None:
            query = query.join(requests, requests.c.id == collections.c.request_id).where(requests.c.vo == vo)
        return {(row.rse, row.source): (int(row.inputs), int(row.contents)) for row in await self._execute(query)}

    async def pairs(self, vo: str) -> frozenset[tuple[str, str]]:
        """From which tapes to which disks the inputs of a VO come, as far as that was settled for all of an input."""
        source = func.coalesce(collections.c.source_rse, UNKNOWN).label("source")
        query = select(source, collections.c.rse).join(requests, requests.c.id == collections.c.request_id)
        query = query.where(requests.c.vo == vo, collections.c.rse.is_not(None)).distinct()
        return frozenset((row.source, row.rse) for row in await self._execute(query))

    async def came(self, collection: CollectionId, limit: int) -> list[tuple[int, int]]:
        """When how many of a collection's contents became available, the last `limit` times of that, newest first."""
        query = select(moves.c.at, moves.c.n).where(
            moves.c.entity == f"collection:{collection}", moves.c.to_status == ContentStatus.AVAILABLE
        )
        rows = await self._execute(query.order_by(moves.c.id.desc()).limit(limit))
        return [(row.at, int(row.n)) for row in rows]

    async def first_came(self, collection: CollectionId) -> int | None:
        """When the first of a collection's contents became available."""
        query = select(moves.c.at).where(
            moves.c.entity == f"collection:{collection}", moves.c.to_status == ContentStatus.AVAILABLE
        )
        found: int | None = (await self._execute(query.order_by(moves.c.id).limit(1))).scalar()
        return found

    async def forget_before(self, at: int, *, limit: int) -> int:
        """Delete up to `limit` rows of what landed before; how many."""
        key = tuple_(landings.c.rse, landings.c.source_rse, landings.c.at, landings.c.took)
        old = select(landings.c.rse, landings.c.source_rse, landings.c.at, landings.c.took).where(landings.c.at < at)
        return (await self._execute(delete(landings).where(key.in_(old.order_by(landings.c.at).limit(limit))))).rowcount

"""What the carousel holds, as operators and their orders see it. No read goes through all of a collection."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Row, Select, and_, func, or_, select, text, update

from idds.domain.collection import Collection
from idds.domain.identifiers import CollectionId, ContentId, RequestId
from idds.domain.replica import Replica
from idds.domain.statuses import ContentStatus, ReplicaStatus
from idds.domain.workflow import Work
from idds.store.collections import read_collection
from idds.store.noun import Noun
from idds.store.replicas import COLUMNS, read_replica
from idds.store.schema import collections, contents, replicas, transforms
from idds.store.sets import among, among_selected, among_texts, is_status

_WAITS = text("collections.unadmitted > 0")  # as the index has it
_PRESENT = is_status(replicas.c.status, ReplicaStatus.PRESENT)
_STAGING = is_status(replicas.c.status, ReplicaStatus.STAGING)


class Carousel(Noun):
    async def waiting_for(self, rse: str) -> list[Collection]:
        """The collections with files to be admitted to a disk RSE."""
        return await self._collections(select(collections).where(collections.c.rse == rse, _WAITS))

    async def waiting_from(self, tapes: Iterable[str]) -> list[Collection]:
        """The collections with files to be admitted that come from one of these tape RSEs."""
        chosen = among_texts(collections.c.source_rse, tapes)
        return await self._collections(select(collections).where(chosen, _WAITS))

    async def _collections(self, query: Select[Any]) -> list[Collection]:
        return [read_collection(row) for row in await self._execute(query.order_by(collections.c.id))]

    async def work_of(self, collection: Collection) -> Work:
        """The work that a collection is of."""
        query = select(transforms.c.work).where(transforms.c.id == collection.transform_id)
        name: str = (await self._execute(query)).scalar_one()
        request = await self._tx.requests.get(collection.request_id)
        assert request is not None
        return request.workflow.work(name)

    async def restart_clocks(self, tapes: Iterable[str] | None, rse: str) -> None:
        """What is being staged from one of these tape RSEs (None: to this disk) has stalled for no time yet."""
        where = replicas.c.rse == rse if tapes is None else among_texts(replicas.c.source_rse, tapes)
        await self._execute(update(replicas).where(_STAGING, where).values(stalled_at=self._tx.now))

    async def awaited(self, inputs: Sequence[Collection], limit: int) -> list[Replica]:
        """Replicas that contents of these are admitted for, and that are not on disk yet."""
        found: dict[int, Replica] = {}
        for collection in inputs:
            number = collection.counts[ContentStatus.NEW] - collection.unadmitted
            if number <= 0:
                continue
            # Those that are admitted come first in this order, so that the limit ends the search.
            pinned = (
                select(contents.c.replica_id)
                .where(
                    contents.c.collection_id == collection.id,
                    is_status(contents.c.status, ContentStatus.NEW),
                    contents.c.replica_id.is_not(None),
                )
                .order_by(contents.c.group_no, contents.c.id)
                .limit(min(number, limit))
                .subquery()
            )
            query = select(*COLUMNS).join(pinned, pinned.c.replica_id == replicas.c.id)
            found |= {row.id: read_replica(row) for row in await self._execute(query)}
        return [found[number] for number in sorted(found)]

    async def note_source(self, ids: Iterable[int], source: str) -> None:
        """These replicas come from this RSE."""
        await self._execute(update(replicas).where(among(replicas.c.id, ids)).values(source_rse=source))

    async def sourced_by(self, ids: Iterable[int], source: str) -> list[tuple[CollectionId, RequestId]]:
        """The collections whose files are expected from `source` from now on, as these replicas of theirs are.

        Only those of which nothing was known. Each with its request.
        """
        pinning = and_(among(contents.c.replica_id, ids), is_status(contents.c.status, ContentStatus.NEW))
        pinned = select(contents.c.collection_id).where(pinning).distinct()
        unknown = update(collections).where(
            among_selected(collections.c.id, pinned), collections.c.source_rse.is_(None)
        )
        rows = await self._execute(
            unknown.values(source_rse=source).returning(collections.c.id, collections.c.request_id)
        )
        return sorted((CollectionId(row.id), RequestId(row.request_id)) for row in rows)

    async def untaken(self, ids: Iterable[int], limit: int) -> list[ContentId]:
        """Contents of these collections that are on disk and that nobody has taken."""
        query = select(contents.c.id).where(
            among(contents.c.collection_id, ids),
            is_status(contents.c.status, ContentStatus.AVAILABLE),
            contents.c.replica_id.is_not(None),
        )
        rows = await self._execute(query.order_by(contents.c.collection_id, contents.c.id).limit(limit))
        return [ContentId(row.id) for row in rows]

    async def replicas_of(self, content_ids: Iterable[int]) -> list[Replica]:
        """The replicas that these contents pin."""
        pinned = select(contents.c.replica_id).where(among(contents.c.id, content_ids))
        return await self._replicas(select(*COLUMNS).where(replicas.c.id.in_(pinned)))

    async def unused(self, rse: str, before: int, limit: int) -> list[Replica]:
        """Replicas of ours on this RSE that landed before, and that nobody has touched or begun to use since.

        Somebody uses it where a content of it is leased, is to come, or became available later.
        """
        pin = contents.alias("pin")
        used = or_(
            is_status(pin.c.status, ContentStatus.LEASED, ContentStatus.NEW),
            and_(is_status(pin.c.status, ContentStatus.AVAILABLE), pin.c.changed_at >= before),
        )
        user = select(pin.c.id).where(pin.c.replica_id == replicas.c.id, used)
        landed = func.coalesce(replicas.c.landed_at, replicas.c.changed_at)
        query = select(*COLUMNS).where(
            replicas.c.rse == rse, _PRESENT, replicas.c.ours, landed < before, ~user.exists()
        )
        return await self._replicas(query.limit(limit))

    async def stalled(self, source: str, rse: str, before: int, limit: int) -> list[Replica]:
        """Replicas that we are having staged from `source` since before, or found stalled before: the oldest first."""
        since = func.coalesce(replicas.c.stalled_at, replicas.c.ordered_at)
        query = select(*COLUMNS).where(_STAGING, replicas.c.rse == rse, replicas.c.ours, since < before)
        query = query.where(func.coalesce(replicas.c.source_rse, "") == source)
        return [read_replica(row) for row in await self._execute(query.order_by(since, replicas.c.id).limit(limit))]

    async def note_stalled(self, ids: Iterable[int], *, counted: bool) -> None:
        """The clock of these begins anew; `counted`, as something is done about them."""
        noted = update(replicas).where(among(replicas.c.id, ids))
        times = replicas.c.stalled_times + (1 if counted else 0)
        await self._execute(noted.values(stalled_at=self._tx.now, stalled_times=times))

    async def waiting_with(self, ids: Iterable[int]) -> dict[tuple[CollectionId, RequestId], list[int]]:
        """The contents that wait for these replicas, by collection and request."""
        query = select(contents.c.id, contents.c.collection_id, contents.c.request_id).where(
            among(contents.c.replica_id, ids), is_status(contents.c.status, ContentStatus.NEW)
        )
        found: dict[tuple[CollectionId, RequestId], list[int]] = {}
        for row in await self._execute(query.order_by(contents.c.id)):
            found.setdefault((CollectionId(row.collection_id), RequestId(row.request_id)), []).append(row.id)
        return found

    async def on_their_way(self, ids: Iterable[int]) -> set[ContentId]:
        """Those of these contents whose replica is on disk no more, and is being brought again."""
        query = select(contents.c.id).join(replicas, replicas.c.id == contents.c.replica_id)
        away = is_status(replicas.c.status, ReplicaStatus.ADMITTED, ReplicaStatus.STAGING)
        return {ContentId(row.id) for row in await self._execute(query.where(among(contents.c.id, ids), away))}

    async def lessees(self, ids: Iterable[int]) -> list[str]:
        """Who holds contents that pin these replicas."""
        held = and_(among(contents.c.replica_id, ids), is_status(contents.c.status, ContentStatus.LEASED))
        query = select(contents.c.lessee).where(held, contents.c.lessee.is_not(None)).distinct()
        return sorted(row.lessee for row in await self._execute(query))

    async def _replicas(self, query: Select[Any]) -> list[Replica]:
        rows: Sequence[Row[Any]] = (await self._execute(query.order_by(replicas.c.id))).all()
        return [read_replica(row) for row in rows]

"""What waits for admission, and what the planner has to know besides: the reads behind a plan."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Lateral, Subquery, and_, func, or_, select, text, true, tuple_

from idds.domain.collection import Collection
from idds.domain.identifiers import CollectionId, WindowId
from idds.domain.statuses import ContentStatus, Intent, ReplicaStatus, Status
from idds.store.collections import read_collection
from idds.store.contents import Unadmitted, as_files, read_unadmitted
from idds.store.noun import Noun
from idds.store.schema import collections, contents, replicas, requests, transforms, windows
from idds.store.sets import among, has_status, is_status

_CLAIM = text("SELECT pg_try_advisory_xact_lock(hashtext('idds.planning'), hashtext(:rse))")
# As the indexes have it.
_WAITS = text("collections.unadmitted > 0")
_PINNABLE = text("replicas.ours AND replicas.status IN ('admitted', 'staging', 'present')")

Position = tuple[int, int]
"""Among replicas in the order in which they last changed: when that was, and its id."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An input that may be admitted from, and in whose name. It waits `since` then, or was admitted from then."""

    collection: Collection
    share: str
    priority: int
    since: int


@dataclass(frozen=True, slots=True)
class Recalls:
    """Files on their way to a disk, from a tape (None: not known), paid for by a window (None: by the disk's alone)."""

    rse: str
    source_rse: str | None
    window_id: WindowId | None
    files: int
    bytes: int


class Demands(Noun):
    async def rses(self) -> Sequence[str]:
        """The disks that something waits for."""
        query = select(collections.c.rse).where(_WAITS, collections.c.rse.is_not(None)).distinct()
        return sorted(row.rse for row in await self._execute(query))

    async def claim(self, rse: str) -> bool:
        """Plan alone for a disk as long as this transaction lasts; False where somebody else does."""
        if self._is_sqlite:
            return True
        return bool((await self._execute(_CLAIM, {"rse": rse})).scalar_one())

    async def waiting(self, rse: str) -> Sequence[Waiting]:
        """The inputs that have files to be admitted to a disk, of requests that are to run."""
        query = (
            select(collections)
            .add_columns(requests.c.share, requests.c.priority)
            .add_columns(func.coalesce(collections.c.waiting_since, collections.c.created_at).label("since"))
            .join(requests, requests.c.id == collections.c.request_id)
            .join(transforms, transforms.c.id == collections.c.transform_id)
            .where(_WAITS, collections.c.rse == rse, collections.c.retried_to.is_(None))
            .where(requests.c.intent == Intent.RUN, transforms.c.status == Status.RUNNING)
            .order_by(collections.c.id)
        )
        rows = await self._execute(query)
        return [Waiting(read_collection(row), row.share, row.priority, row.since) for row in rows]

    async def heads(
        self, rse: str, inputs: Sequence[Collection], limit: int
    ) -> Mapping[CollectionId, list[Unadmitted]]:
        """The files of the next complete groups of each of these inputs, in order; all of them in one statement.

        Those of about `limit` contents of each; of one group at least, however large.
        """
        heads: dict[CollectionId, list[Unadmitted]] = {each.id: [] for each in inputs}
        batched = [each for each in inputs if each.batch]
        query = as_files(self._next(batched, limit + 1), rse)
        for row in await self._execute(query) if batched else ():
            heads[row.collection_id].append(read_unadmitted(row))
        for each in inputs:
            found = heads[each.id]
            if each.batch and sum(file.n for file in found) <= limit:
                continue
            # The last group may go on behind what was read; one of everything is read by itself.
            whole = [file for file in found if file.group_no != found[-1].group_no]
            heads[each.id] = whole or await self._tx.contents.unadmitted(each, limit)
        return heads

    def _next(self, inputs: Sequence[Collection], most: int) -> Subquery | Lateral:
        """Contents that wait in complete groups: so many of each input."""
        mine = among(collections.c.id, [each.id for each in inputs])
        ends = (contents.c.group_no + 1) * collections.c.batch
        waits = and_(
            contents.c.collection_id == collections.c.id,
            is_status(contents.c.status, ContentStatus.NEW),
            contents.c.replica_id.is_(None),
            or_(collections.c.is_closed, ends <= collections.c.next_no),
        )
        columns = [
            contents.c[name] for name in ("id", "collection_id", "group_no", "scope", "name", "bytes", "adler32")
        ]
        if not self._is_sqlite:
            some = select(*columns).where(waits).order_by(contents.c.group_no, contents.c.id).limit(most)
            each = some.correlate(collections).lateral("each_waiting")
            return select(*each.c).select_from(collections.join(each, true())).where(mine).subquery("waiting")
        some = select(contents.c.id).where(waits).order_by(contents.c.group_no, contents.c.id).limit(most)
        listed = contents.alias("listed")
        chosen = listed.c.id.in_(some.correlate(collections).scalar_subquery())
        named = [listed.c[column.name] for column in columns]
        return select(*named).select_from(collections.join(listed, chosen)).where(mine).subquery("waiting")

    async def pinnable(self, rse: str, since: Position, limit: int) -> list[Position]:
        """Replicas of ours that were admitted, ordered or landed since: they may be pinned by others who want them."""
        place = (replicas.c.changed_at, replicas.c.id)
        query = select(*place).where(replicas.c.rse == rse, _PINNABLE, tuple_(*place) >= tuple_(*since))
        rows = await self._execute(query.order_by(*place).limit(limit))
        return [(row.changed_at, row.id) for row in rows]

    async def wanting(
        self, replica_ids: Iterable[int], inputs: Iterable[int]
    ) -> Sequence[tuple[CollectionId, int, Position]]:
        """Which of these inputs wait for these replicas, and with which of their groups, in the order of replicas."""
        # Each is looked up by itself: as a join it may be made by reading all that waits.
        group = select(contents.c.group_no).where(
            contents.c.collection_id == collections.c.id,
            contents.c.scope == replicas.c.scope,
            contents.c.name == replicas.c.name,
            has_status(contents.c.status, ContentStatus.NEW),
            contents.c.replica_id.is_(None),
        )
        group = group.order_by(contents.c.min_id).limit(1).correlate(collections, replicas)
        columns = (collections.c.id.label("collection"), replicas.c.changed_at, replicas.c.id.label("replica"))
        each = select(*columns, group.scalar_subquery().label("group_no")).select_from(
            replicas.join(collections, among(collections.c.id, inputs))
        )
        looked_up = each.where(among(replicas.c.id, replica_ids)).subquery("looked_up")
        query = select(looked_up).where(looked_up.c.group_no.is_not(None))
        rows = await self._execute(query.order_by(looked_up.c.changed_at, looked_up.c.replica))
        return [(CollectionId(row.collection), row.group_no, (row.changed_at, row.replica)) for row in rows]

    async def recalls(self) -> Sequence[Recalls]:
        """What is on its way, everywhere: several disks may share a tape."""
        keys = (replicas.c.rse, replicas.c.source_rse, replicas.c.window_id)
        size = func.coalesce(func.sum(replicas.c.bytes), 0).label("size")
        under_way = is_status(replicas.c.status, ReplicaStatus.ADMITTED, ReplicaStatus.STAGING)
        query = select(*keys, func.count().label("files"), size).where(under_way).group_by(*keys)
        rows = await self._execute(query)
        return [Recalls(row.rse, row.source_rse, row.window_id, int(row.files), int(row.size)) for row in rows]

    async def held_by_shares(self) -> Mapping[str, int]:
        """Bytes that the inputs of each share have reserved, on all disks."""
        of_shares = (windows.c.kind == "collection") & windows.c.share.is_not(None)
        size = func.sum(windows.c.reserved_bytes).label("size")
        rows = await self._execute(select(windows.c.share, size).where(of_shares).group_by(windows.c.share))
        return {row.share: int(row.size) for row in rows}

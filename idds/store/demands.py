"""What waits for admission, and what the planner has to know besides: the reads behind a plan."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, text

from idds.domain.collection import Collection
from idds.domain.identifiers import WindowId
from idds.domain.statuses import Intent, ReplicaStatus, Status
from idds.store.collections import read_collection
from idds.store.noun import Noun
from idds.store.schema import collections, replicas, requests, transforms, windows
from idds.store.sets import is_status

_WAITS = text("collections.unadmitted > 0")  # as the index has it


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

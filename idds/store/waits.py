"""What stands in the way of a request: the reads behind `why`. None of them goes through all of a collection."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, case, func, literal, select

from idds.domain.collection import Collection
from idds.domain.identifiers import CollectionId, ReplicaId, RequestId, TransformId
from idds.domain.statuses import ContentStatus, EffectKind, ReplicaStatus, Status
from idds.store.noun import Noun
from idds.store.schema import contents, effects, moves, processings, replicas, requests
from idds.store.sets import among_texts

LOOKED_AT = 10_000
"""At most so many rows are looked at to sum something up."""


@dataclass(frozen=True, slots=True)
class Due:
    """When a request is to be advanced next, None where nothing calls for it; and how often that broke."""

    at: int | None
    tries: int


@dataclass(frozen=True, slots=True)
class Awaited:
    """A number of contents that wait for their replicas, which have this status, the first since `since`.

    `stalled` counts the recalls of them that made no progress so far, so that something was done about them.
    """

    status: ReplicaStatus
    n: int
    since: int
    replicas: tuple[ReplicaId, ...]
    stalled: int = 0


@dataclass(frozen=True, slots=True)
class Pending:
    """An effect that is not done yet. A claimed one is being tried; its `due_at` is when the claim ends.

    A steering command is run by an effect for each `attempt`; `before` is why the one before failed.
    """

    kind: EffectKind
    entity: str
    due_at: int
    is_claimed: bool
    tries: int
    error: str | None
    created_at: int
    attempt: int = 1
    before: str | None = None


@dataclass(frozen=True, slots=True)
class Open:
    """A number of processings of a transform on a provider that have not ended, the first since `since`."""

    status: Status
    provider: str
    n: int
    since: int


@dataclass(frozen=True, slots=True)
class Unsubmitted:
    """A processing that waits to be submitted. `reason` is why its attempt before this one failed.

    `tries` counts its attempts since the last retry of the request.
    """

    entity: str
    tries: int
    reason: str | None


class Waits(Noun):
    async def due(self, request: RequestId) -> Due:
        row = (await self._execute(select(requests.c.due_at, requests.c.tries).where(requests.c.id == request))).one()
        return Due(row.due_at, row.tries)

    async def awaited(self, collection: Collection) -> list[Awaited]:
        """Contents that are admitted, by the status of the replica they wait for."""
        number = collection.counts[ContentStatus.NEW] - collection.unadmitted
        if number <= 0:
            return []
        # Those that are admitted come first in this order, so that the limit ends the search.
        pinned = (
            select(contents.c.replica_id)
            .where(
                contents.c.collection_id == collection.id,
                contents.c.status == literal(ContentStatus.NEW, literal_execute=True),
                contents.c.replica_id.is_not(None),
            )
            .order_by(contents.c.group_no, contents.c.id)
            .limit(min(number, LOOKED_AT))
            .subquery()
        )
        query = select(replicas.c.id, replicas.c.status, replicas.c.changed_at, replicas.c.stalled_times)
        by_status: dict[ReplicaStatus, list[tuple[ReplicaId, int]]] = {}
        stalled: Counter[ReplicaStatus] = Counter()
        for row in await self._execute(query.join(pinned, pinned.c.replica_id == replicas.c.id)):
            by_status.setdefault(ReplicaStatus(row.status), []).append((ReplicaId(row.id), row.changed_at))
            stalled[ReplicaStatus(row.status)] += row.stalled_times > 0
        return [
            Awaited(
                status,
                len(found),
                min(at for _, at in found),
                tuple(sorted(replica for replica, _ in found)),
                stalled[status],
            )
            for status, found in sorted(by_status.items())
        ]

    async def last_remedy(self, collection: CollectionId) -> str | None:
        """What was last done about recalls of a collection that made no progress, of which there are some."""
        query = select(moves.c.reason).where(moves.c.entity == f"collection:{collection}", moves.c.event == "stalled")
        found: str | None = (await self._execute(query.order_by(moves.c.id.desc()).limit(1))).scalar()
        return found

    async def pending(self, entities: Sequence[str]) -> list[Pending]:
        """The effects of these entities that are not done, soonest first."""
        columns = (effects.c.kind, effects.c.entity, effects.c.due_at, effects.c.owner)
        # Others' payloads may be long.
        told = case((effects.c.kind == EffectKind.STEER, effects.c.payload)).label("told")
        query = select(*columns, effects.c.tries, effects.c.error, effects.c.created_at, told)
        query = query.where(among_texts(effects.c.entity, entities)).order_by(effects.c.due_at)
        return [
            Pending(
                EffectKind(row.kind),
                row.entity,
                row.due_at,
                row.owner is not None,
                row.tries,
                row.error,
                row.created_at,
                **_attempt(row.told),
            )
            for row in await self._execute(query)
        ]

    async def first_lease_end(self, collection: CollectionId) -> int | None:
        """When the first lease of this collection's contents ends."""
        query = select(contents.c.lease_until).where(
            contents.c.status == literal(ContentStatus.LEASED, literal_execute=True),
            contents.c.lease_until.is_not(None),
            contents.c.collection_id == collection,
        )
        found: int | None = (await self._execute(query.order_by(contents.c.lease_until).limit(1))).scalar()
        return found

    async def open_processings(self, transform: TransformId) -> list[Open]:
        """How many processings of a transform stand where."""
        status, provider = processings.c.status, processings.c.provider
        query = (
            select(status, provider, func.count().label("n"), func.min(processings.c.changed_at).label("since"))
            .where(processings.c.transform_id == transform, status.in_([Status.NEW, Status.READY, Status.RUNNING]))
            .group_by(status, provider)
            .order_by(status, provider)
        )
        return [Open(Status(row.status), row.provider, row.n, row.since) for row in await self._execute(query)]

    async def unsubmitted(self, transform: TransformId, limit: int) -> list[Unsubmitted]:
        """The next processings of a transform that wait to be submitted."""
        query = (
            select(processings.c.id, processings.c.attempt, processings.c.spent, processings.c.reason)
            .where(processings.c.transform_id == transform, processings.c.status == Status.NEW)
            .order_by(processings.c.transform_id, processings.c.group_no)
            .limit(limit)
        )
        return [
            Unsubmitted(f"processing:{row.id}", row.attempt - row.spent, row.reason)
            for row in await self._execute(query)
        ]

    async def failed_contents(self, collection: CollectionId, limit: int) -> list[tuple[str, int]]:
        """Why contents of a collection came to a bad end, from its last moves: the most frequent reasons."""
        last = (
            select(moves.c.to_status, moves.c.reason, moves.c.n)
            .where(moves.c.entity == f"collection:{collection}")
            .order_by(moves.c.id.desc())
            .limit(LOOKED_AT)
            .subquery()
        )
        bad = last.c.to_status.in_([ContentStatus.FAILED, ContentStatus.MISSING])
        n = func.sum(last.c.n).label("number")
        query = select(last.c.reason, n).where(and_(bad, last.c.reason.is_not(None))).group_by(last.c.reason)
        rows = await self._execute(query.order_by(n.desc(), last.c.reason).limit(limit))
        return [(row.reason, int(row.number)) for row in rows]

    async def last_moved(self, collection: CollectionId) -> int | None:
        """When something last changed in a collection."""
        query = select(moves.c.at).where(moves.c.entity == f"collection:{collection}")
        found: int | None = (await self._execute(query.order_by(moves.c.id.desc()).limit(1))).scalar()
        return found


def _attempt(payload: Mapping[str, Any] | None) -> dict[str, Any]:
    return {} if payload is None else {"attempt": payload["attempt"], "before": payload.get("before")}

"""What a request has had on disk: files and bytes as they came and went, counted as they do.

A row for each step of time, not for each file, and the steps grow with the request's age: what a chart shows of it
costs the same with a thousand files and with ten million. Which replicas are there for whom is kept while they are.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Row, delete, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from idds.domain.identifiers import ReplicaId, RequestId
from idds.domain.statuses import ReplicaStatus
from idds.store.noun import Noun
from idds.store.schema import replicas, requests, stays, turnover
from idds.store.sets import among, has_status

SECOND = 1_000_000
STEPS = 512
"""So many steps of time, at least half of them, are told apart in the age that a request has when something happens."""
LONGEST = 31
"""The class of what took longest from its order to the disk: two to the power of that many milliseconds, or more."""
UNKNOWN = -1


class Kind(StrEnum):
    """What happened to replicas of ours: they landed for a request, were there already for it, or went."""

    LANDED = "landed"
    FOUND = "found"
    GONE = "gone"


class Turnover(Noun):
    async def begin(self, request: RequestId, ids: Sequence[ReplicaId]) -> None:
        """These replicas are on disk, and contents of the request have just become available with them."""
        present = has_status(replicas.c.status, ReplicaStatus.PRESENT)
        found = await self._execute(select(replicas).where(among(replicas.c.id, ids), present))
        there = {row.id: row for row in found if row.ours}
        if not there:
            return
        dialect = sqlite if self._is_sqlite else postgresql
        named = select(replicas.c.id, literal(request, BigInteger)).where(among(replicas.c.id, there))
        noted = dialect.insert(stays).from_select([stays.c.replica_id, stays.c.request_id], named)
        rows = await self._execute(noted.on_conflict_do_nothing().returning(stays.c.replica_id))
        fresh = [there[row.replica_id] for row in rows]
        if fresh:
            counted: dict[tuple[Kind, int], list[int]] = defaultdict(list)
            for row in fresh:
                has_landed = row.landed_at == self._tx.now
                kind = (Kind.LANDED, _class(row)) if has_landed else (Kind.FOUND, UNKNOWN)
                counted[kind].append(row.bytes)
            await self._count({request: counted})

    async def end(self, ids: Sequence[ReplicaId]) -> None:
        """These replicas are on disk no more, or not ours any more."""
        size = select(replicas.c.bytes).where(replicas.c.id == stays.c.replica_id).scalar_subquery()
        ended = delete(stays).where(among(stays.c.replica_id, ids)).returning(stays.c.request_id, size.label("bytes"))
        counted: dict[RequestId, dict[tuple[Kind, int], list[int]]] = {}
        for row in await self._execute(ended):
            counted.setdefault(row.request_id, {}).setdefault((Kind.GONE, UNKNOWN), []).append(row.bytes)
        if counted:
            await self._count(counted)

    async def _count(self, counted: Mapping[RequestId, Mapping[tuple[Kind, int], Sequence[int]]]) -> None:
        # In one order: else two that count the same could wait for each other in a circle.
        created = select(requests.c.id, requests.c.created_at).where(among(requests.c.id, sorted(counted)))
        rows = [
            {
                "request_id": row.id,
                "at": self._tx.now - self._tx.now % _step(self._tx.now - row.created_at),
                "kind": kind,
                "took": took,
                "files": len(sizes),
                "bytes": sum(sizes),
            }
            for row in (await self._execute(created.order_by(requests.c.id))).all()
            for (kind, took), sizes in sorted(counted[row.id].items())
        ]
        adding = (sqlite if self._is_sqlite else postgresql).insert(turnover)
        more = {
            "files": turnover.c.files + adding.excluded.files,
            "bytes": turnover.c.bytes + adding.excluded.bytes,
        }
        await self._execute(adding.on_conflict_do_update(index_elements=list(turnover.primary_key), set_=more), rows)


def _step(age: int) -> int:
    """How long the steps of time are at this age of a request; both in microseconds."""
    step = SECOND
    while age > step * STEPS:
        step *= 2
    return step


def _class(replica: Row[Any]) -> int:
    """The power of two of milliseconds that is more than this took from its order to the disk."""
    if replica.ordered_at is None:
        return UNKNOWN
    took: int = replica.landed_at - replica.ordered_at
    return min((took // 1000).bit_length(), LONGEST)

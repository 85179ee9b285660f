"""The history: who moved what, when and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, func, select, text

from idds.domain.content import Move
from idds.domain.event import Event
from idds.domain.identifiers import MoveId, RequestId
from idds.domain.request import Principal
from idds.ports.wakeups import Channel
from idds.store.gathered import Gathered
from idds.store.noun import Noun
from idds.store.schema import moves, requests
from idds.store.visibility import visible

if TYPE_CHECKING:
    from idds.store.database import Transaction

_TOLD = [column for column in moves.c if column.name != "ids"]
_EVENTS = select(*_TOLD, requests.c.owner, requests.c.vo, requests.c.share).outerjoin(
    requests, requests.c.id == moves.c.request_id
)
# Who writes moves holds this lock from before the first gets its id until after the commit, or the rollback.
_WRITERS = text(
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND relation = 'moves'::regclass"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND mode = 'RowExclusiveLock' AND granted"
)


class Moves(Noun):
    """What is recorded is written at the end of the transaction, all at once."""

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(transaction)
        self._recorded: list[dict[str, Any]] = []

    def record(
        self,
        entity: str,
        event: str,
        change: tuple[str | None, str],
        *,
        request: RequestId | None,
        ids: Sequence[int] = (),
        n: int | None = None,
        reason: str | None = None,
    ) -> Move:
        """Record that `entity` (or the `ids` of it) went from `change[0]` to `change[1]`.

        The move gets its id when it is written; until then it is 0.
        """
        values: dict[str, Any] = {
            "request_id": request,
            "entity": entity,
            "event": event,
            "from_status": change[0],
            "to_status": change[1],
            "n": len(ids) or 1 if n is None else n,
            "ids": list(ids) or None,
            "agent": self._tx.agent,
            "reason": reason,
            "at": self._tx.now,
        }
        self._recorded.append(values)
        return Move(id=MoveId(0), **(values | {"ids": tuple(ids)}))

    def gathered(self) -> Gathered:
        """What was recorded and is not written yet: the caller is about to."""
        recorded, self._recorded = self._recorded, []
        if recorded:
            self._tx.wake(Channel.EVENTS)
        return {"moves": recorded}

    async def of(self, entities: Sequence[str], *, after: int = 0, limit: int = 1000) -> list[Move]:
        """The history of these entities, oldest first."""
        await self._tx.write_gathered()
        query = select(moves).where(moves.c.entity.in_(entities), moves.c.id > after)
        return [_move(row) for row in await self._execute(query.order_by(moves.c.id).limit(limit))]

    async def of_request(
        self, request: RequestId, *, entity: str | None = None, after: int = 0, limit: int = 1000
    ) -> list[Move]:
        """The history of a request and of all that belongs to it, or of one `entity` of that, oldest first."""
        await self._tx.write_gathered()
        query = select(moves).where(moves.c.request_id == request, moves.c.id > after)
        if entity is not None:
            query = query.where(moves.c.entity == entity)
        return [_move(row) for row in await self._execute(query.order_by(moves.c.id).limit(limit))]

    async def latest(self, request: RequestId, *, limit: int) -> list[Move]:
        """What happened last to a request and all that belongs to it, newest first, without ids."""
        query = select(*_TOLD).where(moves.c.request_id == request).order_by(moves.c.id.desc()).limit(limit)
        return [Move(**row._asdict(), ids=()) for row in await self._execute(query)]

    async def events(self, after: int, limit: int) -> list[Event]:
        """All events with ids above `after` that can be seen by now, in id order."""
        query = _EVENTS.where(moves.c.id > after).order_by(moves.c.id).limit(limit)
        return [_event(row) for row in await self._execute(query)]

    async def events_for(
        self,
        principal: Principal,
        *,
        after: int,
        until: int,
        limit: int,
        request: int | None = None,
        entity: str | None = None,
    ) -> list[Event]:
        """Events with ids above `after`, up to `until`, that the principal may see, in id order."""
        query = visible(_EVENTS.where(moves.c.id > after, moves.c.id <= until), principal)
        if request is not None:
            query = query.where(moves.c.request_id == request)
        if entity is not None:
            query = query.where(moves.c.entity == entity)
        return [_event(row) for row in await self._execute(query.order_by(moves.c.id).limit(limit))]

    async def last(self, request: RequestId | None = None) -> int:
        """The highest id that can be seen by now, of all or of a request; 0 where there is none."""
        query = select(func.max(moves.c.id))
        if request is not None:
            query = query.where(moves.c.request_id == request)
        return int((await self._execute(query)).scalar() or 0)

    async def writers(self) -> frozenset[str]:
        """The transactions that have written moves and have not ended. On SQLite nobody writes while others read."""
        if self._is_sqlite:
            return frozenset()
        return frozenset(row.virtualtransaction for row in await self._execute(_WRITERS))


def _event(row: Row[Any]) -> Event:
    values = row._asdict()
    owner, vo, share = values.pop("owner"), values.pop("vo"), values.pop("share")
    return Event(Move(**values, ids=()), owner, vo, share)


def _move(row: Row[Any]) -> Move:
    values = row._asdict()
    values["ids"] = tuple(values["ids"] or ())
    return Move(**values)

"""The history: who moved what, when and why."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, insert, select

from idds.domain.content import Move
from idds.domain.identifiers import MoveId, RequestId
from idds.store.noun import Noun
from idds.store.schema import moves


class Moves(Noun):
    async def record(
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
        """Record that `entity` (or the `ids` of it) went from `change[0]` to `change[1]`."""
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
        result = await self._execute(insert(moves).values(values).returning(moves.c.id))
        values["ids"] = tuple(ids)
        return Move(id=MoveId(result.scalar_one()), **values)

    async def of(self, entities: Sequence[str], *, after: int = 0, limit: int = 1000) -> list[Move]:
        """The history of these entities, oldest first."""
        query = select(moves).where(moves.c.entity.in_(entities), moves.c.id > after)
        return [_move(row) for row in await self._execute(query.order_by(moves.c.id).limit(limit))]

    async def of_request(self, request: RequestId, *, after: int = 0, limit: int = 1000) -> list[Move]:
        """The history of a request and of all that belongs to it, oldest first."""
        query = select(moves).where(moves.c.request_id == request, moves.c.id > after)
        return [_move(row) for row in await self._execute(query.order_by(moves.c.id).limit(limit))]


def _move(row: Row[Any]) -> Move:
    values = row._asdict()
    values["ids"] = tuple(values["ids"] or ())
    return Move(**values)

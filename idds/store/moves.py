"""The history: who moved what, when and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, insert, select

from idds.domain.content import Move
from idds.domain.identifiers import MoveId, RequestId
from idds.store.noun import Noun
from idds.store.schema import moves

if TYPE_CHECKING:
    from idds.store.database import Transaction


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

    async def flush(self) -> None:
        """Write what was recorded."""
        recorded, self._recorded = self._recorded, []
        if recorded:
            await self._execute(insert(moves), recorded)

    async def of(self, entities: Sequence[str], *, after: int = 0, limit: int = 1000) -> list[Move]:
        """The history of these entities, oldest first."""
        await self.flush()
        query = select(moves).where(moves.c.entity.in_(entities), moves.c.id > after)
        return [_move(row) for row in await self._execute(query.order_by(moves.c.id).limit(limit))]

    async def of_request(self, request: RequestId, *, after: int = 0, limit: int = 1000) -> list[Move]:
        """The history of a request and of all that belongs to it, oldest first."""
        await self.flush()
        query = select(moves).where(moves.c.request_id == request, moves.c.id > after)
        return [_move(row) for row in await self._execute(query.order_by(moves.c.id).limit(limit))]


def _move(row: Row[Any]) -> Move:
    values = row._asdict()
    values["ids"] = tuple(values["ids"] or ())
    return Move(**values)

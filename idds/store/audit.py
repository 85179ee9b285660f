"""The audit log: who ordered which change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select

from idds.domain.access import AuditEntry
from idds.domain.request import Principal, Role
from idds.store.gathered import Gathered
from idds.store.noun import Noun
from idds.store.schema import audit

if TYPE_CHECKING:
    from idds.store.database import Transaction

CALL: ContextVar[str | None] = ContextVar("call", default=None)
"""The id of the HTTP request that is being answered: whoever answers sets it, and each entry bears it."""


class Audit(Noun):
    """Entries are written at the end of the transaction that makes the change, so that neither is there alone.

    Whatever changes something because a principal ordered it records that, in the same transaction, once a call:

        tx.audit.record(principal, "cancel", f"request:{request_id}")
        tx.audit.record(principal, "register", f"collection:{collection_id}", {"registered": 1000})

    The action is the verb of the route. Leases, heartbeats and reports are not recorded: the history has them.
    """

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(transaction)
        self._recorded: list[dict[str, Any]] = []

    def record(self, principal: Principal, action: str, entity: str, details: Mapping[str, Any] | None = None) -> None:
        """Record that the principal did this to `entity` (as in `request:7`). No secret may stand in the details."""
        self._recorded.append(
            {
                "at": self._tx.now,
                "owner": principal.owner,
                "vo": principal.vo,
                "role": principal.role,
                "action": action,
                "entity": entity,
                "call": CALL.get(),
                "details": None if details is None else dict(details),
            }
        )

    def gathered(self) -> Gathered:
        """What was recorded and is not written yet: the caller is about to."""
        recorded, self._recorded = self._recorded, []
        return {"audit": recorded}

    async def page(
        self, *, entity: str | None = None, owner: str | None = None, after: int = 0, limit: int = 100
    ) -> Sequence[AuditEntry]:
        """Entries in the order of their ids, with ids above `after`; all, or of one entity, or of one owner."""
        await self._tx.write_gathered()
        query = select(audit).where(audit.c.id > after)
        if entity is not None:
            query = query.where(audit.c.entity == entity)
        if owner is not None:
            query = query.where(audit.c.owner == owner)
        rows = await self._execute(query.order_by(audit.c.id).limit(limit))
        return [AuditEntry(**(row._asdict() | {"role": Role(row.role)})) for row in rows]

    async def forget_before(self, at: int, *, limit: int) -> int:
        """Delete up to `limit` entries that are older; how many."""
        old = select(audit.c.id).where(audit.c.at < at).order_by(audit.c.at).limit(limit)
        return (await self._execute(delete(audit).where(audit.c.id.in_(old)))).rowcount

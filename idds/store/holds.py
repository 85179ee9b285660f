"""What is held: tapes that nothing is recalled from, disks that nothing is brought to."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from idds.domain.hold import Hold, HoldKind
from idds.store.noun import Noun
from idds.store.schema import holds


class Holds(Noun):
    async def add(self, kind: HoldKind, ref: str, *, reason: str, owner: str) -> Hold | None:
        """Hold it; None where it is held already: who holds it first says why."""
        values = {"kind": kind, "ref": ref, "reason": reason, "owner": owner, "at": self._tx.now}
        insert = sqlite.insert if self._is_sqlite else postgresql.insert
        added = insert(holds).values(values).on_conflict_do_nothing().returning(*holds.c)
        row = (await self._execute(added)).first()
        return None if row is None else _hold(row)

    async def remove(self, kind: HoldKind, ref: str) -> Hold | None:
        """Hold it no more; the hold that was, None where there was none."""
        ended = delete(holds).where(holds.c.kind == kind, holds.c.ref == ref).returning(*holds.c)
        row = (await self._execute(ended)).first()
        return None if row is None else _hold(row)

    async def all(self) -> Sequence[Hold]:
        return [_hold(row) for row in await self._execute(select(holds).order_by(holds.c.kind, holds.c.ref))]


def _hold(row: Row[Any]) -> Hold:
    return Hold(HoldKind(row.kind), row.ref, row.reason, row.owner, row.at)

"""Hints: files that data management says have changed, noted by whoever hears of it for whoever looks."""

import json
from collections.abc import Iterable, Mapping

from sqlalchemy import bindparam, delete, func, select, text
from sqlalchemy.dialects import postgresql, sqlite

from idds.domain.identifiers import Did
from idds.ports.wakeups import Channel
from idds.store.noun import Noun
from idds.store.schema import hints, replicas
from idds.store.sets import among_selected

_OURS = """
SELECT r.rse AS rse, r.scope AS scope, r.name AS name, value ->> 'id' AS id
  FROM {each} JOIN replicas r ON r.scope = value ->> 'scope' AND r.name = value ->> 'name' AND r.rse = value ->> 'rse'
 WHERE r.status <> 'gone'
"""
_HERE = text("replicas.status <> 'gone'")
_NEXT_RSE = select(func.min(replicas.c.rse)).where(_HERE, replicas.c.rse > bindparam("behind"))


class Hints(Noun):
    """Losing one costs the time until everything is looked at, never correctness."""

    async def ours(self, changes: Mapping[str, tuple[str | None, Did]]) -> dict[str, list[tuple[str, Did]]]:
        """Which of these changes, by their ids, are of replicas that we know of. An RSE of None stands for any."""
        rses = await self._rses()
        documents = [
            {"id": key, "rse": one, "scope": did.scope, "name": did.name}
            for key, (rse, did) in changes.items()
            for one in (rses if rse is None else [rse])
        ]
        each = "json_each(:all)" if self._is_sqlite else "jsonb_array_elements(CAST(:all AS jsonb)) AS each (value)"
        found: dict[str, list[tuple[str, Did]]] = {}
        for row in await self._execute(text(_OURS.format(each=each)), {"all": json.dumps(documents)}):
            found.setdefault(row.id, []).append((row.rse, Did(row.scope, row.name)))
        return found

    async def _rses(self) -> list[str]:
        """Where there are replicas: each found behind the one before, however many replicas there are."""
        found: list[str] = []
        while rse := (await self._execute(_NEXT_RSE, {"behind": found[-1] if found else ""})).scalar():
            found.append(rse)
        return found

    async def add(self, changed: Iterable[tuple[str, Did]]) -> None:
        """Have these files looked at, on these RSEs; what is hinted at already is so once."""
        # In one order: else two that hint at the same files could wait for each other in a circle.
        rows = [{"rse": rse, "scope": did.scope, "name": did.name} for rse, did in sorted(set(changed))]
        if rows:
            upsert = sqlite.insert(hints) if self._is_sqlite else postgresql.insert(hints)
            await self._execute(upsert.on_conflict_do_nothing(), rows)
            self._tx.wake(Channel.REPLICAS)

    async def any(self) -> bool:
        return (await self._execute(select(hints.c.id).limit(1))).first() is not None

    async def take(self, limit: int) -> dict[str, set[Did]]:
        """Up to `limit` files that were hinted at, by RSE: from now on it is the caller's to look at them."""
        some = select(hints.c.id).order_by(hints.c.id).limit(limit).with_for_update(skip_locked=True)
        taken = delete(hints).where(among_selected(hints.c.id, some))
        found: dict[str, set[Did]] = {}
        for row in await self._execute(taken.returning(hints.c.rse, hints.c.scope, hints.c.name)):
            found.setdefault(row.rse, set()).add(Did(row.scope, row.name))
        return found

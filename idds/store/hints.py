"""Hints: files that data management says have changed, noted by whoever hears of it for whoever looks."""

import json
from collections.abc import Container, Iterable, Mapping

from sqlalchemy import bindparam, delete, func, or_, select, text
from sqlalchemy.dialects import postgresql, sqlite

from idds.domain.identifiers import Did
from idds.domain.replica import Change
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

    async def ours(self, changes: Mapping[str, Change]) -> dict[str, list[tuple[str, Did]]]:
        """Which replicas that we know of each of these changes, by their ids, is of."""
        rses = await self._rses()
        documents = [
            {"id": key, "rse": one, "scope": change.did.scope, "name": change.did.name}
            for key, change in changes.items()
            for one in (rses if change.rse is None else [change.rse])
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

    async def add(self, changed: Iterable[tuple[str, Did]], *, deleted: Container[tuple[str, Did]] = ()) -> None:
        """Have these files looked at, on these RSEs; what is hinted at already is so once.

        Of those that are among `deleted` it was told that they are no more.
        """
        # In one order: else two that hint at the same files could wait for each other in a circle.
        rows = [
            {"rse": each[0], "scope": each[1].scope, "name": each[1].name, "is_deletion": each in deleted}
            for each in sorted(set(changed))
        ]
        if rows:
            adding = sqlite.insert(hints) if self._is_sqlite else postgresql.insert(hints)
            both = {"is_deletion": or_(hints.c.is_deletion, adding.excluded.is_deletion)}
            key = [hints.c.rse, hints.c.scope, hints.c.name]
            await self._execute(adding.on_conflict_do_update(index_elements=key, set_=both), rows)
            self._tx.wake(Channel.REPLICAS)

    async def any(self) -> bool:
        return (await self._execute(select(hints.c.id).limit(1))).first() is not None

    async def take(self, limit: int) -> dict[str, dict[Did, bool]]:
        """Up to `limit` files that were hinted at, by RSE, and whether deletions of them were told.

        From now on it is the caller's to look at them.
        """
        some = select(hints.c.id).order_by(hints.c.id).limit(limit).with_for_update(skip_locked=True)
        taken = delete(hints).where(among_selected(hints.c.id, some))
        found: dict[str, dict[Did, bool]] = {}
        columns = (hints.c.rse, hints.c.scope, hints.c.name, hints.c.is_deletion)
        for row in await self._execute(taken.returning(*columns)):
            found.setdefault(row.rse, {})[Did(row.scope, row.name)] = bool(row.is_deletion)
        return found

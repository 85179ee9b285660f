"""Somebody outside who fills open collections: twice at times, and never after they are closed."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from sqlalchemy import func, select

from idds.domain.errors import Conflict
from idds.domain.files import File
from idds.domain.identifiers import CollectionId
from idds.domain.request import Principal
from idds.domain.statuses import SourceKind
from idds.services.registration import Registration, check
from idds.store.database import Database
from idds.store.schema import collections, contents


@dataclass(frozen=True)
class Given:
    """A content as a caller gives it."""

    name: str
    scope: str = ""
    min_id: int = 0
    max_id: int = 0
    bytes: int | None = None
    adler32: str | None = None
    parameters: dict[str, Any] | None = None


class Filling:
    """`files` are what may be registered to be staged."""

    def __init__(self, database: Database, registration: Registration, principal: Principal, random: Random) -> None:
        self.files: list[File] = []
        self._database, self._registration = database, registration
        self._principal, self._random = principal, random
        self._registered: Counter[int] = Counter()

    async def step(self) -> None:
        """Register something somewhere; or close, at times."""
        if not (open_ := await self._open()):
            return
        collection, rse = self._random.choice(open_)
        if self._random.random() < 0.02:
            await self._registration.close(self._principal, collection)
            return
        given = [self._some(rse) for _ in range(self._random.randint(1, 8))]
        with suppress(Conflict):  # its request was cancelled, and the collection is not closed yet
            taken = await self._registration.register(self._principal, collection, check(given))
            self._registered[collection] += taken.registered
            assert taken.registered + taken.known == len(given)

    def _some(self, rse: str | None) -> Given:
        if rse is None:
            return Given(f"point-{self._random.randint(0, 40)}", parameters={"x": self._random.random()})
        file = self._random.choice(self.files)
        return Given(file.did.name, file.did.scope, bytes=file.bytes, adler32=file.adler32)

    async def close_all(self) -> None:
        for collection, _ in await self._open():
            await self._registration.close(self._principal, collection)

    async def check(self) -> None:
        """What was said to be registered is there, once; and the batches have no holes."""
        per_group = select(contents.c.group_no, func.count().label("n")).group_by(contents.c.group_no)
        async with self._database.snapshot() as tx:
            for row in await tx.connection.execute(_REGISTERED):
                groups = {
                    r.group_no: r.n
                    for r in await tx.connection.execute(per_group.where(contents.c.collection_id == row.id))
                }
                assert sum(groups.values()) == self._registered[row.id] == row.next_no
                assert sorted(groups) == list(range(len(groups)))
                if row.batch:
                    assert all(groups[number] == row.batch for number in sorted(groups)[:-1])

    async def _open(self) -> list[tuple[CollectionId, str | None]]:
        async with self._database.snapshot() as tx:
            rows = await tx.connection.execute(_REGISTERED.where(collections.c.is_closed.is_(False)))
            return [(CollectionId(row.id), row.rse) for row in rows]


_REGISTERED = select(collections).where(collections.c.source == SourceKind.REGISTERED).order_by(collections.c.id)

"""Leases of consumers outside: many in one statement, each with its own lessee and end."""

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Integer, Row, bindparam, select

from idds.domain.collection import Collection
from idds.domain.content import Content
from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.statuses import ContentStatus
from idds.engine.transitions import ContentEvent
from idds.store.contents import COLUMNS, read_content
from idds.store.noun import Noun
from idds.store.schema import contents, replicas
from idds.store.sets import is_status

MOST_CHARACTERS = 8_000_000
"""Of the parameters of all that is given at once, give or take a portion: an answer is held in memory as a whole."""
PORTION = 200
"""Contents: so many are given whatever their size."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Up to `count` contents, to be leased to one lessee until then; none of those `without`."""

    count: int
    lessee: str
    until: int
    without: frozenset[ContentId] = frozenset()


@dataclass(frozen=True, slots=True)
class Delivered:
    """A content, and where its file lies if it is one that is on disk."""

    content: Content
    path: str | None


_FREE = (
    select(*COLUMNS, replicas.c.path)
    .outerjoin(replicas, replicas.c.id == contents.c.replica_id)
    .where(
        contents.c.collection_id == bindparam("collection"),
        is_status(contents.c.status, ContentStatus.AVAILABLE),
    )
    .order_by(contents.c.collection_id, contents.c.id)
    .limit(bindparam("most", type_=Integer))
)
_FREE_AFTER = _FREE.where(contents.c.id > bindparam("after"))
# The status is compared as an expression: else a plan may read all that is available, or leased, for it.
_LEASE = """
UPDATE contents SET status = 'leased', attempt = attempt + 1, lessee = given.lessee, lease_until = given.until,
       changed_at = given.at
  FROM {given} WHERE contents.id = given.id AND contents.status || '' = 'available' RETURNING contents.id
"""
_EXTEND = """
UPDATE contents SET lease_until = given.until
  FROM {given} WHERE contents.id = given.id AND contents.status || '' = 'leased' RETURNING contents.id
"""
_ON_SQLITE = (
    "(SELECT value ->> 0 AS id, value ->> 1 AS until, value ->> 2 AS lessee, value ->> 3 AS at FROM json_each(?))"
    " AS given"
)
_ON_POSTGRESQL = "unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[]) AS given (id, until, lessee, at)"


class Leases(Noun):
    async def give(self, collection: Collection, wanted: Sequence[Wanted]) -> list[list[Delivered]]:
        """Lease what is available, oldest first, to one after the other; what each of them got.

        That is less than there is where it has many parameters, or long ones.
        """
        most = sum(one.count for one in wanted) + sum(len(one.without) for one in wanted)
        free = deque(await self._free(collection, most))
        taken = [(one, _take(free, one)) for one in wanted]
        given = [(row.id, one.until, one.lessee, self._tx.now) for one, rows in taken for row in rows]
        leased = await self._write(_LEASE, given)
        if leased:
            change = (ContentStatus.AVAILABLE, ContentStatus.LEASED)
            await self._tx.collections.count(collection.id, {change[0]: -len(leased), change[1]: len(leased)})
            entity, ids = f"collection:{collection.id}", sorted(leased)
            self._tx.moves.record(entity, ContentEvent.LEASED, change, request=collection.request_id, ids=ids)
        return [[self._leased(row, one) for row in rows if row.id in leased] for one, rows in taken]

    async def _free(self, collection: Collection, most: int) -> list[Row[Any]]:
        """What is available, oldest first: `most`, in portions, until they are large enough together."""
        portion, room = min(most, PORTION), MOST_CHARACTERS
        of = {"collection": collection.id}
        rows = list((await self._execute(_FREE, {**of, "most": portion})).all())
        last = rows
        while last and len(last) == portion and len(rows) < most:
            size = sum(len(json.dumps(row.payload)) for row in last)
            room -= size
            portion = min(most - len(rows), 10 * PORTION, room * len(last) // size)
            if portion <= 0:
                break
            last = list((await self._execute(_FREE_AFTER, {**of, "most": portion, "after": last[-1].id})).all())
            rows += last
        return rows

    def _leased(self, row: Row[Any], wanted: Wanted) -> Delivered:
        content = read_content(
            row,
            status=ContentStatus.LEASED,
            attempt=row.attempt + 1,
            lessee=wanted.lessee,
            lease_until=wanted.until,
            changed_at=self._tx.now,
        )
        return Delivered(content, row.path)

    async def holding(self, collection: CollectionId, held: Sequence[Mapping[int, int]]) -> list[set[ContentId]]:
        """Of leases given as content: attempt, for each of several lessees, those that still hold."""
        attempts = {
            content.id: content.attempt
            for content in await self._tx.contents.get([content for each in held for content in each])
            if content.collection_id == collection
            and content.status is ContentStatus.LEASED
            and content.lease_until is not None
        }
        return [{ContentId(i) for i, attempt in each.items() if attempts.get(ContentId(i)) == attempt} for each in held]

    async def extend(
        self, collection: CollectionId, held: Sequence[tuple[Mapping[int, int], int]]
    ) -> list[set[ContentId]]:
        """Have leases end at another time; of each lessee's, given as content: attempt, those that still held."""
        holding = await self.holding(collection, [each for each, _ in held])
        ends = {content: until for (_, until), still in zip(held, holding, strict=True) for content in still}
        await self._write(_EXTEND, [(content, until, "", 0) for content, until in sorted(ends.items())])
        return holding

    async def _write(self, statement: str, given: Sequence[tuple[int, int, str, int]]) -> set[ContentId]:
        """Do it with each content, given its end, its lessee and the time; those that it was done with."""
        if not given:
            return set()
        if self._is_sqlite:
            rows = await self._driver(statement.format(given=_ON_SQLITE), (json.dumps(given),))
        else:
            columns = tuple(list(column) for column in zip(*given, strict=True))
            rows = await self._driver(statement.format(given=_ON_POSTGRESQL), columns)
        return {ContentId(row.id) for row in rows}


def _take(free: deque[Row[Any]], wanted: Wanted) -> Sequence[Row[Any]]:
    """The first ones of what is left; what this one is to be without stays for others."""
    taken: list[Row[Any]] = []
    passed: list[Row[Any]] = []
    while free and len(taken) < wanted.count:
        row = free.popleft()
        (passed if row.id in wanted.without else taken).append(row)
    free.extendleft(reversed(passed))
    return taken

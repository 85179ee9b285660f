"""Contents coming into being: in bulk, one statement a set, numbered by their collection's counter."""

import json
from collections.abc import Sequence

from sqlalchemy import func, select, text

from idds.domain.collection import Collection
from idds.domain.content import Move, NewContent
from idds.domain.statuses import ContentStatus
from idds.engine.transitions import CONTENT, ContentEvent
from idds.store.noun import Noun
from idds.store.schema import contents

_FIXED = ("request_id", "collection_id", "status", "changed_at")
_NAMES = ("scope", "name", "min_id", "max_id", "bytes", "adler32", "replica_id", "payload", "group_no")
_TYPES = ("text", "text", "bigint", "bigint", "bigint", "text", "bigint", "text", "bigint")
_ARRAYS = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(_TYPES, len(_FIXED) + 1))
_ON_SQLITE = (
    f"INSERT INTO contents ({', '.join(_FIXED + _NAMES)}) VALUES ({', '.join('?' * len(_FIXED + _NAMES))})"
    " ON CONFLICT DO NOTHING"
)
# The rows are those of one function, in its order: so are the ids that they get.
_ON_POSTGRESQL = (
    f"INSERT INTO contents ({', '.join(_FIXED + _NAMES)})"
    f" SELECT $1::bigint, $2::bigint, $3::text, $4::bigint, {', '.join(_NAMES).replace('payload', 'payload::jsonb')}"
    f" FROM unnest({_ARRAYS}) AS fresh ({', '.join(_NAMES)}) ON CONFLICT DO NOTHING RETURNING id"
)
# Each is looked up by itself: as a join it may be made by reading the whole collection.
_KNOWN = """
SELECT no FROM {each} WHERE (
SELECT id FROM contents WHERE collection_id = :collection AND scope = value ->> 0 AND name = value ->> 1
   AND min_id = CAST(value ->> 2 AS bigint) AND max_id = CAST(value ->> 3 AS bigint) LIMIT 1) IS NOT NULL
"""
_EACH_ON_SQLITE = "(SELECT key AS no, value FROM json_each(:keys)) AS each"
_EACH_ON_POSTGRESQL = (
    "(SELECT n - 1 AS no, value"
    " FROM jsonb_array_elements(CAST(:keys AS jsonb)) WITH ORDINALITY AS listed (value, n)) AS each"
)

_Key = tuple[str, str, int, int]


class _Doubled(Exception):
    """Some were there already: their numbers are to be somebody else's."""


class Registering(Noun):
    async def register(
        self,
        collection: Collection,
        new: Sequence[NewContent],
        event: ContentEvent,
        *,
        listed_to: str | None = None,
        numbers: int | None = None,
    ) -> Move:
        """Insert contents, `new` or (landed) `available`; those that are there already stay as they are.

        The collection's counters follow; `listed_to` is where its source stands afterwards, `numbers` how many of its
        numbers this uses up (None: one each).
        """
        status = CONTENT[event].target
        ids = await self._insert(collection, new, [content.group_no for content in new], status)
        used = len(new) if numbers is None else numbers
        return await self._record(collection, event, ids, used=used, listed_to=listed_to)

    async def register_more(
        self, collection: Collection, new: Sequence[NewContent], event: ContentEvent
    ) -> tuple[Sequence[int], Sequence[NewContent]]:
        """Insert those that are not there yet, and number them on into the collection's batches; with their ids.

        What is there already stays as it is and uses up no number, so that no batch has holes. `group_no` of what is
        given says nothing.
        """
        status = CONTENT[event].target
        try:
            # Most often all are new: then nothing needs to be looked up.
            async with self._tx.savepoint():
                ids = await self._insert(collection, new, collection.groups_of_next(len(new)), status)
                if len(ids) < len(new):
                    raise _Doubled  # noqa: TRY301 -- this is how a savepoint is undone
        except _Doubled:
            new = await self._unknown(collection, new)
            ids = await self._insert(collection, new, collection.groups_of_next(len(new)), status)
        if ids:
            await self._record(collection, event, ids, used=len(ids))
        return ids, new

    async def _record(
        self,
        collection: Collection,
        event: ContentEvent,
        ids: Sequence[int],
        *,
        used: int,
        listed_to: str | None = None,
    ) -> Move:
        status = CONTENT[event].target
        n = len(ids)
        unadmitted = n if status is ContentStatus.NEW else 0
        await self._tx.collections.count(
            collection.id, {status: n}, added=used, unadmitted=unadmitted, listed_to=listed_to
        )
        told = () if status is ContentStatus.NEW else ids
        return self._tx.moves.record(
            f"collection:{collection.id}", event, (None, status), request=collection.request_id, ids=told, n=n
        )

    async def _insert(
        self, collection: Collection, new: Sequence[NewContent], groups: Sequence[int], status: ContentStatus
    ) -> Sequence[int]:
        """The ids of those that were not there yet, in their order."""
        if not new:
            return ()
        fixed = (collection.request_id, collection.id, str(status), self._tx.now)
        columns = _columns(new, groups)
        if not self._is_sqlite:
            return sorted(row[0] for row in await self._driver(_ON_POSTGRESQL, (*fixed, *columns)))
        last = (await self._execute(select(func.coalesce(func.max(contents.c.id), 0)))).scalar_one()
        rows = [(*fixed, *row) for row in zip(*columns, strict=True)]
        # SQLite's one writer takes the ids one after the other.
        return range(last + 1, last + 1 + (await self._driver(_ON_SQLITE, rows)).rowcount)

    async def _unknown(self, collection: Collection, new: Sequence[NewContent]) -> list[NewContent]:
        """Those that are not there yet, each once."""
        named: dict[_Key, NewContent] = {}
        for content in new:
            named.setdefault((content.scope, content.name, content.min_id, content.max_id), content)
        keys = list(named)
        each = _EACH_ON_SQLITE if self._is_sqlite else _EACH_ON_POSTGRESQL
        bound = {"collection": collection.id, "keys": json.dumps(keys)}
        known = {row.no for row in await self._execute(text(_KNOWN.format(each=each)), bound)}
        return [named[key] for number, key in enumerate(keys) if number not in known]


def _columns(new: Sequence[NewContent], groups: Sequence[int]) -> tuple[list[object], ...]:
    """As `_NAMES` has them."""
    return (
        [content.scope for content in new],
        [content.name for content in new],
        [content.min_id for content in new],
        [content.max_id for content in new],
        [content.bytes for content in new],
        [content.adler32 for content in new],
        [content.replica_id for content in new],
        [None if content.payload is None else json.dumps(content.payload) for content in new],
        list(groups),
    )

"""Contents coming into being: in bulk, as fast as the database takes them, each once."""

import json
from collections.abc import Callable, Sequence
from itertools import repeat

from sqlalchemy import func, select, text

from idds.domain.collection import Collection
from idds.domain.content import Move, NewContent
from idds.domain.statuses import ContentStatus
from idds.engine.transitions import CONTENT, ContentEvent
from idds.store.connection import Doubled
from idds.store.noun import Noun
from idds.store.schema import contents

_COLUMNS = ("id", "request_id", "collection_id", "status", "changed_at", *NewContent._fields)
_GROUP, _PAYLOAD = NewContent._fields.index("group_no"), NewContent._fields.index("payload")
_LAST_ID = select(func.max(contents.c.id))
_NEXT_IDS = text("SELECT array_agg(nextval('contents_id_seq')) FROM generate_series(1, :number)")
# Each is looked up by itself: as a join it may be made by reading the whole collection.
_KNOWN = """
SELECT no FROM {each} WHERE (
SELECT id FROM contents WHERE collection_id = :collection AND scope = value ->> 0 AND name = value ->> 1
   AND min_id = CAST(value ->> 2 AS bigint) AND max_id = CAST(value ->> 3 AS bigint) LIMIT 1) IS NOT NULL
"""
_KNOWN_ON_SQLITE = text(_KNOWN.format(each="(SELECT key AS no, value FROM json_each(:keys)) AS each"))
_KNOWN_ON_POSTGRESQL = text(
    _KNOWN.format(
        each="(SELECT n - 1 AS no, value"
        " FROM jsonb_array_elements(CAST(:keys AS jsonb)) WITH ORDINALITY AS listed (value, n)) AS each"
    )
)

_Numbering = Callable[[Sequence[NewContent]], Sequence[int]]


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
        ids, _ = await self._insert_unknown(collection, new, event, lambda those: [each.group_no for each in those])
        used = len(new) if numbers is None else numbers
        return await self._record(collection, event, ids, used=used, listed_to=listed_to)

    async def register_more(
        self,
        collection: Collection,
        new: Sequence[NewContent],
        event: ContentEvent,
        *,
        listed_to: str | None = None,
    ) -> tuple[Sequence[int], Sequence[NewContent]]:
        """Insert those that are not there yet, and number them on into the collection's batches; with their ids.

        What is there already stays as it is and uses up no number, so that no batch has holes. `group_no` of what is
        given says nothing; `listed_to` is where its source stands afterwards.
        """
        numbering: _Numbering = lambda those: collection.groups_of_next(len(those))  # noqa: E731
        ids, inserted = await self._insert_unknown(collection, new, event, numbering)
        if ids or listed_to is not None:
            await self._record(collection, event, ids, used=len(ids), listed_to=listed_to)
        return ids, inserted

    async def _record(
        self,
        collection: Collection,
        event: ContentEvent,
        ids: Sequence[int],
        *,
        used: int,
        listed_to: str | None = None,
    ) -> Move:
        status, n = CONTENT[event].target, len(ids)
        is_new = status is ContentStatus.NEW
        await self._tx.collections.count(
            collection.id, {status: n}, added=used, unadmitted=n if is_new else 0, listed_to=listed_to
        )
        entity, told = f"collection:{collection.id}", () if is_new else ids
        return self._tx.moves.record(entity, event, (None, status), request=collection.request_id, ids=told, n=n)

    async def _insert_unknown(
        self, collection: Collection, new: Sequence[NewContent], event: ContentEvent, numbering: _Numbering
    ) -> tuple[Sequence[int], Sequence[NewContent]]:
        """Those that were not there yet, and the ids that they have now."""
        status = CONTENT[event].target
        try:
            # Most often all are new: then nothing needs to be looked up.
            async with self._tx.savepoint():
                return await self._insert(collection, new, numbering(new), status), new
        except Doubled:
            unknown = await self._unknown(collection, new)
            return await self._insert(collection, unknown, numbering(unknown), status), unknown

    async def _insert(
        self, collection: Collection, new: Sequence[NewContent], groups: Sequence[int], status: ContentStatus
    ) -> Sequence[int]:
        """The ids of these, which ascend. Raises Doubled."""
        if not new:
            return ()
        ids = await self._next_ids(len(new))
        columns: list[Sequence[object]] = list(zip(*new, strict=True))
        columns[_GROUP] = groups
        columns[_PAYLOAD] = [None if payload is None else json.dumps(payload) for payload in columns[_PAYLOAD]]
        fixed = map(repeat, (collection.request_id, collection.id, str(status), self._tx.now))
        await self._tx.connection.insert("contents", _COLUMNS, zip(ids, *fixed, *columns))  # noqa: B905 -- endless ones
        return ids

    async def _next_ids(self, number: int) -> Sequence[int]:
        if not self._is_sqlite:
            found: list[int] = (await self._execute(_NEXT_IDS, {"number": number})).scalar_one()
            return found
        # Its one writer takes them one after the other.
        last = (await self._execute(_LAST_ID)).scalar() or 0
        return range(last + 1, last + 1 + number)

    async def _unknown(self, collection: Collection, new: Sequence[NewContent]) -> list[NewContent]:
        """Those that are not there yet, each once."""
        named: dict[tuple[str, str, int, int], NewContent] = {}
        for content in new:
            named.setdefault((content.scope, content.name, content.min_id, content.max_id), content)
        keys = list(named)
        bound = {"collection": collection.id, "keys": json.dumps(keys)}
        rows = await self._execute(_KNOWN_ON_SQLITE if self._is_sqlite else _KNOWN_ON_POSTGRESQL, bound)
        known = {row.no for row in rows}
        return [named[key] for number, key in enumerate(keys) if number not in known]

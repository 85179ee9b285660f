"""Contents: in sets only. Every move is one guarded statement a source status; what it returns is the move."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Lateral,
    Row,
    Select,
    Subquery,
    Text,
    and_,
    bindparam,
    cast,
    func,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.sql.dml import ReturningUpdate

from idds.domain.collection import Collection
from idds.domain.content import Content, Move
from idds.domain.identifiers import CollectionId, ContentId, ReplicaId, RequestId, TransformId
from idds.domain.statuses import ContentStatus, ReplicaStatus
from idds.engine.transitions import CONTENT, PINNABLE, PINNING, ContentEvent
from idds.store.registering import Registering
from idds.store.schema import contents, processings, replicas, samples
from idds.store.sets import among, among_bound, among_bound_texts, among_selected, among_texts, has_status, is_status

COLUMNS = tuple(contents.c[field.name] for field in fields(Content))
"""Of a content, in its order."""
_NUMBERS = {column.name: number for number, column in enumerate(COLUMNS)}
_STATUS = _NUMBERS["status"]


def _is(*statuses: ContentStatus) -> ColumnElement[bool]:
    return is_status(contents.c.status, *statuses)


@dataclass(frozen=True, slots=True)
class Unadmitted:
    """A file that waits for admission, and what stands in the way: the status of its replica, if there is one.

    It waits as `n` contents of a group, itself or ranges of its events; `id` is the first of them.
    """

    id: ContentId
    group_no: int
    scope: str
    name: str
    bytes: int
    adler32: str | None
    n: int
    replica_status: str | None
    replica_ours: bool | None
    replica_is_pinned: bool


_MOVED = (contents.c.id, contents.c.collection_id, contents.c.request_id, contents.c.replica_id)


@cache
def _moving(event: ContentEvent, source: ContentStatus, names: tuple[str, ...]) -> ReturningUpdate[Any]:
    given = {name: bindparam(f"to_{name}", type_=contents.c[name].type) for name in (*names, "changed_at")}
    changed = update(contents).where(has_status(contents.c.status, source), among_bound(contents.c.id, "ids"))
    return changed.values({**given, "status": CONTENT[event].target}).returning(*_MOVED)


_BY_ID = select(*COLUMNS).where(among_bound(contents.c.id, "ids")).order_by(contents.c.id)
_HELD_BY = (
    select(*COLUMNS)
    .where(among_bound_texts(contents.c.lessee, "lessees"), _is(ContentStatus.LEASED))
    .order_by(contents.c.id)
)


_EACH_NAME = "jsonb_array_elements_text(CAST(:names AS jsonb)) AS each (value)"
# Each is looked up by itself: of a file in a million ranges, the last one.
_KNOWN = """
SELECT name, last FROM (
SELECT value AS name, (
SELECT max_id FROM contents WHERE collection_id = :collection AND scope = :scope AND name = value
 ORDER BY min_id DESC, max_id DESC LIMIT 1) AS last
  FROM {each}) AS named WHERE last IS NOT NULL
"""


class Contents(Registering):
    async def move(
        self,
        event: ContentEvent,
        where: ColumnElement[bool],
        *,
        values: Mapping[str, Any] | None = None,
        sources: Sequence[ContentStatus] | None = None,
        reason: str | None = None,
    ) -> list[Move]:
        """Move all contents that match and may move; one Move a collection and status left, counters folded.

        `where` finds them by ids or by replicas, never by their status alone.
        """
        edge = CONTENT[event]
        moved: list[Move] = []
        for source in edge.sources if sources is None else sources:
            changed = (
                update(contents)
                .where(has_status(contents.c.status, source), where)
                .values({**(values or {}), "status": edge.target, "changed_at": self._tx.now})
            )
            if reason is not None:
                changed = changed.values(reason=reason)
            rows = (await self._execute(changed.returning(*_MOVED))).all()
            moved += await self._fold(event, source, edge.target, rows, reason)
        return moved

    async def move_these(
        self,
        event: ContentEvent,
        source: ContentStatus,
        ids: Sequence[int],
        *,
        values: Mapping[str, str | int | None],
        reason: str | None,
    ) -> list[Move]:
        """The same of ids whose status is known, with plain values: by a statement that stands ready."""
        names = (*values, *(("reason",) if reason is not None else ()))
        given = {f"to_{name}": value for name, value in values.items()}
        parameters = {"ids": list(ids), "to_changed_at": self._tx.now, **given}
        if reason is not None:
            parameters["to_reason"] = reason
        rows = (await self._execute(_moving(event, source, names), parameters)).all()
        return await self._fold(event, source, CONTENT[event].target, rows, reason)

    async def _fold(
        self,
        event: ContentEvent,
        source: ContentStatus,
        target: ContentStatus,
        rows: Sequence[Row[Any]],
        reason: str | None,
    ) -> list[Move]:
        sets: dict[tuple[CollectionId, RequestId], list[int]] = {}
        waiting: Counter[CollectionId] = Counter()
        if event is ContentEvent.LANDED:
            await self._count_turnover(rows)
        for row in sorted(rows, key=lambda row: row.id):
            sets.setdefault((row.collection_id, row.request_id), []).append(row.id)
            if row.replica_id is None:
                waiting[row.collection_id] += (target is ContentStatus.NEW) - (source is ContentStatus.NEW)
        moves = []
        for (collection, request), ids in sorted(sets.items()):
            changes = {source: -len(ids), target: len(ids)}
            await self._tx.collections.count(collection, changes, unadmitted=waiting[collection])
            entity = f"collection:{collection}"
            moves.append(
                self._tx.moves.record(entity, event, (source, target), request=request, ids=ids, reason=reason)
            )
        return moves

    async def _count_turnover(self, rows: Sequence[Row[Any]]) -> None:
        there: dict[RequestId, set[ReplicaId]] = {}
        for row in rows:
            if row.replica_id is not None:
                there.setdefault(row.request_id, set()).add(row.replica_id)
        for request, ids in sorted(there.items()):
            await self._tx.turnover.begin(request, sorted(ids))

    async def cancel_untaken(self, collection: CollectionId, limit: int) -> list[Move]:
        """Cancel contents that nobody has leased yet: up to `limit` of the new and of the available ones."""
        moves: list[Move] = []
        for source, order in (
            (ContentStatus.NEW, (contents.c.group_no, contents.c.id)),
            (ContentStatus.AVAILABLE, (contents.c.id,)),
        ):
            some = select(contents.c.id).where(contents.c.collection_id == collection, _is(source))
            some = some.order_by(contents.c.collection_id, *order).limit(limit)
            moves += await self.move(ContentEvent.CANCELLED, among_selected(contents.c.id, some), sources=(source,))
        return moves

    async def ended_badly(self, collection: Collection, after: int, limit: int) -> list[tuple[ContentId, int]]:
        """Contents that are not done, though they have ended, with ids above `after`; each with its group."""
        query = select(contents.c.id, contents.c.group_no).where(
            contents.c.collection_id == collection.id,
            contents.c.id > after,
            contents.c.status.in_(CONTENT[ContentEvent.RETRIED].sources),
        )
        if collection.range_events is not None:
            # A whole file among ranges could not be cut: that is not tried again.
            query = query.where(contents.c.max_id > 0)
        if collection.taken_back:
            was_taken_back = select(samples.c.content_id).where(samples.c.content_id == contents.c.id)
            query = query.where(~was_taken_back.where(samples.c.is_taken_back).exists())
        query = query.order_by(contents.c.collection_id, contents.c.id).limit(limit)
        return [(ContentId(row.id), row.group_no) for row in await self._execute(query)]

    async def retry(self, collection: Collection, ids: Sequence[int]) -> list[Move]:
        """Make contents that ended badly new again; available at once where they are not to be admitted to a disk.

        What was tried so far counts no more, and they hold no pin that is to be admitted anew.
        """
        fresh: dict[str, Any] = {"reason": None, "lessee": None, "lease_until": None, "spent": contents.c.attempt}
        if collection.rse is not None:
            return await self.move(ContentEvent.RETRIED, of_ids(ids), values={**fresh, "replica_id": None})
        moves = await self.move(ContentEvent.RETRIED, of_ids(ids), values=fresh)
        return [*moves, *await self.move(ContentEvent.LANDED, of_ids(ids))]

    async def unadmitted(self, collection: Collection, limit: int) -> list[Unadmitted]:
        """The files of the next complete groups that wait for admission to the collection's RSE, in order.

        Those of about `limit` contents; of one group at least, however large.
        """
        waiting = _unadmitted(collection)
        if not collection.is_closed:
            if not collection.batch:
                return []
            waiting = waiting.where((contents.c.group_no + 1) * collection.batch <= collection.next_no)
        if not collection.batch:
            return await self._files(collection, waiting)
        cut = max(limit, collection.batch)
        found = await self._files(collection, waiting.limit(cut + 1))
        if sum(file.n for file in found) <= cut:
            return found
        # The last group may go on behind what was read.
        last = found[-1].group_no
        whole = [file for file in found if file.group_no != last]
        return whole or await self._files(collection, waiting.where(contents.c.group_no == last))

    async def unadmitted_in(self, collection: Collection, groups: Sequence[int]) -> list[Unadmitted]:
        """The files of these groups that wait for admission, in order."""
        return await self._files(collection, _unadmitted(collection).where(among(contents.c.group_no, groups)))

    async def _files(self, collection: Collection, waiting: Select[Any]) -> list[Unadmitted]:
        assert collection.rse is not None
        query = as_files(waiting.subquery("waiting"), collection.rse)
        return [read_unadmitted(row) for row in await self._execute(query)]

    async def pin(self, collection: Collection, groups: Sequence[int]) -> bool:
        """Have what waits of these groups pin its replicas on the collection's RSE; False where one takes no pin now.

        The caller has locked the replicas; after False it takes all back.
        """
        replica = select(replicas.c.id).where(
            replicas.c.rse == collection.rse,
            replicas.c.scope == contents.c.scope,
            replicas.c.name == contents.c.name,
            is_status(replicas.c.status, *PINNABLE),
        )
        pinned = update(contents).where(waiting_in(collection.id, groups), replica.exists())
        number = (await self._execute(pinned.values(replica_id=replica.scalar_subquery()))).rowcount
        left = select(contents.c.id).where(waiting_in(collection.id, groups)).limit(1)
        if (await self._execute(left)).first() is not None:
            return False
        await self._tx.collections.count(collection.id, {}, unadmitted=-number)
        return True

    async def unpin(self, replica_ids: Sequence[int]) -> None:
        """Have contents that wait for these replicas be admitted anew."""
        waiting = and_(pinned_to(replica_ids), has_status(contents.c.status, ContentStatus.NEW))
        unpinned = update(contents).where(waiting).values(replica_id=None)
        rows = await self._execute(unpinned.returning(contents.c.collection_id))
        for collection, number in sorted(Counter(row.collection_id for row in rows).items()):
            await self._tx.collections.count(collection, {}, unadmitted=number)

    async def withdraw_absent(self, ids: Sequence[ContentId]) -> set[int]:
        """Have those of these contents wait whose replica is on disk no more: for that, or to be admitted anew."""
        if not ids:
            return set()
        query = select(contents.c.id, contents.c.replica_id, replicas.c.status)
        query = query.join(replicas, replicas.c.id == contents.c.replica_id).where(
            among(contents.c.id, ids), replicas.c.status != ReplicaStatus.PRESENT
        )
        away = (await self._execute(query)).all()
        absent = {int(row.id) for row in away}
        if away:
            await self.move(ContentEvent.WITHDRAWN, of_ids(sorted(absent)), reason=AWAY)
            await self.unpin(sorted({row.replica_id for row in away if row.status == ReplicaStatus.GONE}))
        return absent

    async def land_present(self, collection: Collection, groups: Sequence[int]) -> list[Move]:
        """Make the contents of these groups available whose replica is on disk."""
        present = select(replicas.c.id).where(
            replicas.c.id == contents.c.replica_id,
            is_status(replicas.c.status, ReplicaStatus.PRESENT),
        )
        return await self.move(ContentEvent.LANDED, and_(_new_in(collection.id, groups), present.exists()))

    async def ready_groups(self, collection: Collection, limit: int) -> dict[int, list[ContentId]]:
        """Groups that are complete, none of whose contents is still to come, by number: their available contents."""
        coming = contents.alias("coming")
        waits = select(coming.c.id).where(
            coming.c.collection_id == collection.id,
            coming.c.group_no == contents.c.group_no,
            is_status(coming.c.status, ContentStatus.NEW),
        )
        # Looked up for each that is available: as NOT EXISTS it may be joined with all that are still to come.
        none_comes = waits.limit(1).scalar_subquery().is_(None)
        query = select(contents.c.id, contents.c.group_no).where(
            contents.c.collection_id == collection.id, _is(ContentStatus.AVAILABLE), none_comes
        )
        if not collection.is_closed:
            if not collection.batch:
                return {}
            query = query.where((contents.c.group_no + 1) * collection.batch <= collection.next_no)
        query = query.order_by(contents.c.collection_id, contents.c.id)
        cut = max(limit, collection.batch)
        rows = (await self._execute(query.limit(cut + 1) if collection.batch else query)).all()
        groups: dict[int, list[ContentId]] = {}
        for row in rows:
            groups.setdefault(row.group_no, []).append(row.id)
        if collection.batch and len(rows) > cut:
            # The last group may go on behind what was read.
            last = rows[-1].group_no
            del groups[last]
            if not groups:
                whole = await self._execute(query.where(contents.c.group_no == last))
                groups[last] = [row.id for row in whole]
        return groups

    async def lease_to_processings(
        self, collection: Collection, transform: TransformId, ids: Sequence[int]
    ) -> list[Move]:
        """Each content is leased, without an end, by the processing of its group."""
        lessee = literal("processing:") + cast(processings.c.id, Text)
        processing = select(lessee).where(
            processings.c.transform_id == transform, processings.c.group_no == contents.c.group_no
        )
        return await self.move(
            ContentEvent.LEASED,
            among(contents.c.id, ids),
            values={
                "lessee": processing.scalar_subquery(),
                "lease_until": None,
                "attempt": contents.c.attempt + 1,
            },
        )

    async def get(self, ids: Sequence[int]) -> list[Content]:
        return [read_content(row) for row in await self._execute(_BY_ID, {"ids": list(ids)})] if ids else []

    async def held_by(self, lessees: Sequence[str]) -> dict[str, list[Content]]:
        """What each of these holds, by lessee; contents in id order."""
        held: dict[str, list[Content]] = {lessee: [] for lessee in lessees}
        for row in await self._execute(_HELD_BY, {"lessees": list(lessees)}):
            held[row.lessee].append(read_content(row))
        return held

    async def ended_leases(self, limit: int) -> list[Content]:
        """Contents whose lease has ended."""
        query = select(*COLUMNS).where(_is(ContentStatus.LEASED), contents.c.lease_until <= self._tx.now)
        return [read_content(row) for row in await self._execute(query.order_by(contents.c.lease_until).limit(limit))]

    async def next_lease_end(self) -> int | None:
        query = select(func.min(contents.c.lease_until)).where(
            _is(ContentStatus.LEASED), contents.c.lease_until.is_not(None)
        )
        found: int | None = (await self._execute(query)).scalar()
        return found

    async def pinning(self, replica_ids: Iterable[int]) -> set[RequestId]:
        """The requests whose contents pin these replicas."""
        query = select(contents.c.request_id).distinct().where(pinned_to(replica_ids))
        return {row.request_id for row in await self._execute(query)}

    async def known(self, collection: CollectionId, scope: str, names: Sequence[str]) -> dict[str, int]:
        """Those of these names that are registered already, and up to which event; 0 where it is the whole file."""
        each = "json_each(:names)" if self._is_sqlite else _EACH_NAME
        bound = {"collection": collection, "scope": scope, "names": json.dumps(names)}
        return {row.name: row.last for row in await self._execute(text(_KNOWN.format(each=each)), bound)}

    async def note_events(self, counted: Mapping[ContentId, int]) -> None:
        """Note how many events these files turned out to have."""
        if counted:
            noted = update(contents).where(contents.c.id == bindparam("content")).values(events=bindparam("number"))
            await self._execute(noted, [{"content": content, "number": n} for content, n in counted.items()])

    async def page(
        self, collection: CollectionId, *, status: ContentStatus | None, after: int, limit: int
    ) -> list[Content]:
        """Contents in id order, with ids above `after`."""
        query = select(*COLUMNS).where(contents.c.collection_id == collection, contents.c.id > after)
        if status is not None:
            query = query.where(_is(status))
        query = query.order_by(contents.c.collection_id, contents.c.id).limit(limit)
        return [read_content(row) for row in await self._execute(query)]

    async def paths(self, ids: Sequence[int]) -> dict[ContentId, str | None]:
        """Where the replica of each content lies, for those that pin one."""
        if not ids:
            return {}
        query = (
            select(contents.c.id, replicas.c.path)
            .join(replicas, replicas.c.id == contents.c.replica_id)
            .where(among(contents.c.id, ids))
        )
        return {ContentId(row.id): row.path for row in await self._execute(query)}

    async def stream(self, collection: CollectionId, *, after: int, limit: int) -> AsyncIterator[list[Content]]:
        """All contents above `after`, page by page, in flat memory."""
        while page := await self.page(collection, status=None, after=after, limit=limit):
            yield page
            after = page[-1].id


def as_files(waiting: Subquery | Lateral, rse: str) -> Select[Any]:
    """The files that these contents are, each once a group and in order, with their replicas on a disk."""
    keys = (waiting.c.collection_id, waiting.c.group_no, waiting.c.scope, waiting.c.name)
    size, adler32 = func.max(waiting.c.bytes).label("bytes"), func.max(waiting.c.adler32).label("adler32")
    first, n = func.min(waiting.c.id).label("id"), func.count().label("n")
    files = select(first, *keys, size, adler32, n).group_by(*keys).subquery("files")
    pin = contents.alias("pin")
    pinned = select(pin.c.id).where(pin.c.replica_id == replicas.c.id, is_status(pin.c.status, *PINNING))
    there = and_(replicas.c.rse == rse, replicas.c.scope == files.c.scope, replicas.c.name == files.c.name)
    told = (replicas.c.status.label("replica_status"), replicas.c.ours.label("replica_ours"))
    query = select(*files.c, *told, pinned.exists().label("replica_is_pinned"))
    query = query.select_from(files.outerjoin(replicas, there))
    return query.order_by(files.c.collection_id, files.c.group_no, files.c.id)


def read_unadmitted(row: Row[Any]) -> Unadmitted:
    """Of a row of these files."""
    values = row._asdict()
    del values["collection_id"]
    return Unadmitted(**values)


AWAY = "its file is on disk no more"
NOT_TRIED = {"spent": contents.c.spent + 1}
"""Values of a move: the lease that ends with it counts as no attempt."""


def pinned_to(replica_ids: Iterable[int]) -> ColumnElement[bool]:
    """Contents that pin one of these replicas."""
    return and_(among(contents.c.replica_id, replica_ids), _is(*PINNING))


def _new_in(collection: CollectionId, groups: Sequence[int]) -> ColumnElement[bool]:
    in_groups = and_(contents.c.collection_id == collection, among(contents.c.group_no, groups))
    return and_(in_groups, _is(ContentStatus.NEW))


def waiting_in(collection: CollectionId, groups: Sequence[int]) -> ColumnElement[bool]:
    """Contents of these groups that wait for admission."""
    return and_(_new_in(collection, groups), contents.c.replica_id.is_(None))


def whole_files(collection: CollectionId, scope: str, names: Sequence[str]) -> ColumnElement[bool]:
    """The contents that are these files, and not ranges of them."""
    named = and_(contents.c.collection_id == collection, contents.c.scope == scope)
    return and_(named, among_texts(contents.c.name, names), contents.c.min_id == 0, contents.c.max_id == 0)


def _unadmitted(collection: Collection) -> Select[Any]:
    columns = (contents.c.id, contents.c.collection_id, contents.c.group_no, contents.c.scope, contents.c.name)
    query = select(*columns, contents.c.bytes, contents.c.adler32).order_by(contents.c.group_no, contents.c.id)
    waiting = and_(contents.c.collection_id == collection.id, _is(ContentStatus.NEW), contents.c.replica_id.is_(None))
    return query.where(waiting)


def of_ids(ids: Iterable[int]) -> ColumnElement[bool]:
    return among(contents.c.id, ids)


def read_content(row: Row[Any], **changed: Any) -> Content:
    """Of a row that begins with these columns, with what has changed since."""
    values = list(row[: len(COLUMNS)])
    values[_STATUS] = ContentStatus(values[_STATUS])
    for name, value in changed.items():
        values[_NUMBERS[name]] = value
    return Content(*values)

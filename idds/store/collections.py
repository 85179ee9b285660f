"""Collections, and the counters of what is in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Executable, Row, bindparam, insert, select, update

from idds.domain.collection import Collection
from idds.domain.identifiers import CollectionId, Did, RequestId, TransformId
from idds.domain.request import Principal
from idds.domain.statuses import ContentStatus, Intent, Relation, SourceKind, Status
from idds.domain.workflow import Work
from idds.ports.wakeups import Channel
from idds.store.clock import CLOCK
from idds.store.connection import Rows
from idds.store.gathered import Gathered
from idds.store.noun import Noun
from idds.store.schema import collections, requests, tasks, transforms
from idds.store.sets import among, among_bound
from idds.store.visibility import visible

if TYPE_CHECKING:
    from idds.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Address:
    """Where a collection belongs: what a message about its contents says besides them.

    One is counted where another work takes its files, cut into ranges, as they are done. `workload_id` is the number
    of the task that asked for its request, None where none did.
    """

    collection_id: CollectionId
    request_id: RequestId
    transform_id: TransformId
    vo: str
    work: str
    source: SourceKind | None
    is_counted: bool
    workload_id: int | None = None

    @property
    def is_study(self) -> bool:
        return self.source is SourceKind.SAMPLES


_counting = collections.alias("counting")
_OF_REQUEST = select(collections).where(collections.c.request_id == bindparam("request")).order_by(collections.c.id)
_OF_REQUESTS = select(collections).where(among_bound(collections.c.request_id, "ids")).order_by(collections.c.id)
# By its key, also where there are few of them: a join would read them all.
_WORKLOAD = (
    select(tasks.c.workload_id)
    .where(tasks.c.request_id == collections.c.request_id)
    .scalar_subquery()
    .label("workload_id")
)
_ADDRESSES = (
    select(collections.c.id, collections.c.request_id, collections.c.transform_id, collections.c.source)
    .add_columns(requests.c.vo, transforms.c.work, _WORKLOAD)
    .add_columns(
        select(_counting.c.id)
        .where(_counting.c.source_id == collections.c.id, _counting.c.source == SourceKind.COUNTED)
        .exists()
        .label("is_counted")
    )
    .join(requests, requests.c.id == collections.c.request_id)
    .join(transforms, transforms.c.id == collections.c.transform_id)
    .where(among_bound(collections.c.id, "ids"))
)


@dataclass(frozen=True, slots=True)
class Place:
    """A collection to be delivered from, and what a delivery has to know of whom it belongs to."""

    collection: Collection
    owner: str
    vo: str
    share: str
    intent: Intent
    status: Status
    """Of its transform."""
    work: Work
    address: Address

    @property
    def delivers_again(self) -> bool:
        """Whether what comes back is for somebody else; if not, nobody would take it."""
        return self.status is Status.RUNNING and not self.intent.is_ending


@dataclass(frozen=True, slots=True)
class Outlook:
    """A collection, the status of its transform, and what was ordered of its request."""

    collection: Collection
    status: Status
    intent: Intent


_LOCK = (
    select(requests.c.id)
    .where(
        requests.c.id
        == select(collections.c.request_id).where(collections.c.id == bindparam("collection")).scalar_subquery()
    )
    .with_for_update(key_share=True)
)
_PLACE = (
    select(collections)
    .add_columns(requests.c.owner, requests.c.vo, requests.c.share, requests.c.intent, requests.c.digest)
    .add_columns(requests.c.message_seq, transforms.c.status, transforms.c.work, _WORKLOAD)
    .join(requests, requests.c.id == collections.c.request_id)
    .join(transforms, transforms.c.id == collections.c.transform_id)
    .where(collections.c.id == bindparam("collection"))
)
_PLACE_AND_TIME = _PLACE.add_columns(CLOCK.label("now"))


class Collections(Noun):
    """What is counted of a `place` is written at the end of the transaction, and before a collection is read."""

    def __init__(self, transaction: Transaction) -> None:
        super().__init__(transaction)
        self._counted: dict[CollectionId, tuple[Counter[ContentStatus], int]] = {}
        self._unwritten: dict[CollectionId, dict[str, Any]] = {}

    async def place(self, collection: CollectionId) -> Place | None:
        """A collection to be delivered from, its request locked; None where there is none.

        A transaction that began without a time has that of the first place.
        """
        if not self._is_sqlite:
            await self._execute(_LOCK, {"collection": collection})
        # Read after that: as of when the lock was had.
        row = (await self._read(_PLACE if self._tx.now else _PLACE_AND_TIME, {"collection": collection})).first()
        if row is None:
            return None
        self._tx.now = self._tx.now or int(row.now)
        found = read_collection(row)
        self._counted[found.id] = (Counter(), 0)
        self._tx.messages.go_on_from(found.request_id, row.message_seq)
        workflow = await self._tx.requests.workflow(found.request_id, row.digest)
        # Told by the document, for a work that takes what is counted may be released just now.
        ranges = (work.input.ranges for work in workflow.works if work.input is not None)
        is_counted = any(each.counted_by == row.work for each in ranges if each is not None)
        address = Address(
            found.id,
            found.request_id,
            found.transform_id,
            row.vo,
            row.work,
            found.source,
            is_counted,
            row.workload_id,
        )
        intent, status, work = Intent(row.intent), Status(row.status), workflow.work(row.work)
        return Place(found, row.owner, row.vo, row.share, intent, status, work, address)

    async def add(
        self,
        request: RequestId,
        transform: TransformId,
        relation: Relation,
        *,
        did: Did | None = None,
        source: tuple[SourceKind, CollectionId | None] | None = None,
        rse: str | None = None,
        batch: int = 1,
        range_events: int | None = None,
    ) -> CollectionId:
        """Record an empty, open collection. `batch` 0 makes one batch of everything."""
        values = {
            "request_id": request,
            "transform_id": transform,
            "relation": relation,
            "source": source[0] if source else None,
            "source_id": source[1] if source else None,
            "scope": did.scope if did else "",
            "name": did.name if did else "",
            "rse": rse,
            "batch": batch,
            "range_events": range_events,
            "is_closed": False,
            "created_at": self._tx.now,
        }
        result = await self._execute(insert(collections).values(values).returning(collections.c.id))
        return CollectionId(result.scalar_one())

    async def outlook(self, collection: CollectionId) -> Outlook | None:
        """What tells whether anything will be delivered from it; nothing is locked."""
        row = (await self._read(_PLACE, {"collection": collection})).first()
        return None if row is None else Outlook(read_collection(row), Status(row.status), Intent(row.intent))

    async def get(self, collection: CollectionId, principal: Principal | None = None) -> Collection | None:
        """A collection, if it is there and the principal may see it."""
        query = select(collections).where(collections.c.id == collection)
        if principal is not None:
            query = visible(query.join(requests, requests.c.id == collections.c.request_id), principal)
        row = (await self._read(query)).first()
        return None if row is None else read_collection(row)

    async def get_all(self, ids: Iterable[int]) -> Sequence[Collection]:
        query = select(collections).where(among(collections.c.id, ids)).order_by(collections.c.id)
        return [read_collection(row) for row in await self._read(query)]

    async def of_request(self, request: RequestId) -> Sequence[Collection]:
        return [read_collection(row) for row in await self._read(_OF_REQUEST, {"request": request})]

    async def of_requests(self, requests: Iterable[RequestId]) -> dict[RequestId, list[Collection]]:
        """The collections of each of these requests."""
        found: dict[RequestId, list[Collection]] = {request: [] for request in requests}
        for row in await self._read(_OF_REQUESTS, {"ids": list(found)}):
            found[row.request_id].append(read_collection(row))
        return found

    async def outputs_of(self, of: Iterable[int]) -> Sequence[Collection]:
        """The output collections of these transforms."""
        mine = among(collections.c.transform_id, of) & (collections.c.relation == Relation.OUTPUT)
        return [read_collection(row) for row in await self._read(select(collections).where(mine))]

    async def addresses(self, ids: Iterable[int]) -> dict[CollectionId, Address]:
        """Where each of these belongs."""
        return {
            CollectionId(row.id): Address(
                row.id,
                row.request_id,
                row.transform_id,
                row.vo,
                row.work,
                SourceKind(row.source) if row.source else None,
                bool(row.is_counted),
                row.workload_id,
            )
            for row in await self._execute(_ADDRESSES, {"ids": list(ids)})
        }

    async def fed_by(self, source: CollectionId) -> Sequence[Collection]:
        """The open input collections whose contents are outputs in `source`, or files counted in it."""
        query = select(collections).where(collections.c.source_id == source, collections.c.is_closed.is_(False))
        return [read_collection(row) for row in await self._read(query.order_by(collections.c.id))]

    async def close(self, collection: Collection, reason: str | None = None, *, cut_off: bool = False) -> bool:
        """Let no more contents in; False when it was closed already. `cut_off`: its source may have more to tell."""
        closed = update(collections).where(collections.c.id == collection.id, collections.c.is_closed.is_(False))
        if (await self._execute(closed.values(is_closed=True, cut_off=cut_off))).rowcount != 1:
            return False
        if collection.unadmitted:
            self._tx.wake(Channel.PLANNING)  # its last batch is complete
        entity = f"collection:{collection.id}"
        self._tx.moves.record(entity, "closed", ("open", "closed"), request=collection.request_id, n=0, reason=reason)
        return True

    async def reopen(self, collection: Collection) -> None:
        """Let contents in again, if it is closed."""
        closed = update(collections).where(collections.c.id == collection.id, collections.c.is_closed)
        if (await self._execute(closed.values(is_closed=False, cut_off=False))).rowcount == 1:
            entity = f"collection:{collection.id}"
            self._tx.moves.record(entity, "reopened", ("closed", "open"), request=collection.request_id, n=0)

    async def note_retried(self, collection: CollectionId, to: int | None) -> None:
        """Note how far a retry has looked through its contents; None: to the end."""
        await self._execute(update(collections).where(collections.c.id == collection).values(retried_to=to))
        if to is None:
            self._tx.wake(Channel.PLANNING)

    async def note_source(self, ids: Iterable[int], source_rse: str) -> None:
        """Note from which tape their files are recalled from now on."""
        await self._execute(update(collections).where(among(collections.c.id, ids)).values(source_rse=source_rse))

    async def note_destination(self, ids: Iterable[int], rse: str) -> None:
        """Note to which disk those of their files are brought that are not admitted yet."""
        await self._execute(update(collections).where(among(collections.c.id, ids)).values(rse=rse))

    async def count_taken_back(self, collection: CollectionId, number: int) -> None:
        """Note that so many more of its samples were taken back."""
        counted = update(collections).where(collections.c.id == collection)
        await self._execute(counted.values(taken_back=collections.c.taken_back + number))

    async def note_demand(self, collection: CollectionId, number: int) -> None:
        """Note how many more of its contents consumers wait for."""
        await self._execute(update(collections).where(collections.c.id == collection).values(demand=number))

    async def force(self, ids: Iterable[int]) -> None:
        """Have their files admitted before those of others; who was forced first goes first."""
        forced = update(collections).where(among(collections.c.id, ids), collections.c.forced_at.is_(None))
        await self._execute(forced.values(forced_at=self._tx.now))

    def as_counted(self, collection: Collection) -> Collection:
        """The collection of a `place`, with all that was counted in this transaction since that was read."""
        changes, added = self._counted[collection.id]
        counts = {status: number + changes[status] for status, number in collection.counts.items()}
        return replace(collection, counts=counts, next_no=collection.next_no + added)

    async def count(
        self,
        collection: CollectionId,
        changes: Mapping[ContentStatus, int],
        *,
        added: int = 0,
        unadmitted: int = 0,
        listed_to: str | None = None,
    ) -> None:
        """Fold changes into the counters; `added` more numbers are used up, `listed_to` is where its source stands."""
        more = {f"more_{status}": changes.get(status, 0) for status in ContentStatus}
        if any(more.values()) or added or unadmitted or listed_to is not None:
            row = {**more, "more_no": added, "more_unadmitted": unadmitted, "now_at": listed_to}
            row |= {"collection": collection, "counted_at": self._tx.now}
            if collection not in self._counted:
                await self._tx.write({"counts": [row]})
            else:
                self._count_later(row, changes)
        if unadmitted > 0:
            self._tx.wake(Channel.PLANNING)

    def _count_later(self, row: dict[str, Any], changes: Mapping[ContentStatus, int]) -> None:
        collection = row["collection"]
        before, numbers = self._counted[collection]
        before.update(changes)
        self._counted[collection] = (before, numbers + row["more_no"])
        if (known := self._unwritten.pop(collection, None)) is not None:
            summed = {name: known[name] + value for name, value in row.items() if name.startswith("more_")}
            row |= summed | {"now_at": known["now_at"] if row["now_at"] is None else row["now_at"]}
        self._unwritten[collection] = row

    def gathered(self) -> Gathered:
        """What was counted and is not written yet: the caller is about to."""
        unwritten, self._unwritten = self._unwritten, {}
        return {"counts": list(unwritten.values())}

    async def _read(self, statement: Executable, parameters: Any = None) -> Rows:
        await self._tx.write(self.gathered())
        return await self._execute(statement, parameters)


def read_collection(row: Row[Any]) -> Collection:
    return Collection(
        id=CollectionId(row.id),
        request_id=RequestId(row.request_id),
        transform_id=TransformId(row.transform_id),
        relation=Relation(row.relation),
        source=SourceKind(row.source) if row.source else None,
        did=Did(row.scope, row.name) if row.name else None,
        rse=row.rse,
        batch=row.batch,
        is_closed=row.is_closed,
        listed_to=row.listed_to,
        next_no=row.next_no,
        unadmitted=row.unadmitted,
        counts=Counter({status: getattr(row, f"n_{status}") for status in ContentStatus}),
        range_events=row.range_events,
        cut_off=row.cut_off,
        retried_to=row.retried_to,
        source_rse=row.source_rse,
        forced_at=row.forced_at,
        taken_back=row.taken_back,
        demand=row.demand,
        created_at=row.created_at,
    )

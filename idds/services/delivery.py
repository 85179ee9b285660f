"""Delivering contents to consumers outside: leased or announced, and coming back with their outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from idds.domain.collection import Collection
from idds.domain.content import Content, Outcome, Verdict
from idds.domain.errors import Conflict, NotFound
from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.request import Principal, Role
from idds.domain.statuses import ContentStatus, Intent, Relation, SourceKind, Status
from idds.domain.workflow import Work
from idds.engine.reporting import judge
from idds.engine.transitions import ContentEvent
from idds.ports.wakeups import Channel
from idds.services.announcing import follow
from idds.store.contents import NOT_TRIED, of_ids
from idds.store.database import Database, Transaction

LEASES_ENDED_AT_ONCE = 1000
LOST = "its lease ended without a report, as often as it was delivered"
FREE = {"lessee": None, "lease_until": None}


@dataclass(frozen=True, slots=True)
class Delivered:
    """A content, and where its file lies if it is one that is on disk."""

    content: Content
    path: str | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of the report on one content."""

    content_id: ContentId
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class _Place:
    """A collection that is delivered to consumers outside."""

    collection: Collection
    work: Work
    intent: Intent
    is_running: bool


class Delivery:
    """What API, conductor and transformer do for consumers outside."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lease(
        self, principal: Principal, collection: CollectionId, *, count: int, ttl: int, lessee: str
    ) -> list[Delivered]:
        """Lease up to `count` contents for `ttl` microseconds; none where nothing is available now.

        Raises NotFound, and Conflict where the collection is not delivered this way.
        """
        async with self._database.transaction("api") as tx:
            place = await _place(tx, principal, collection)
            if not place.is_running or place.intent is not Intent.RUN:
                return []
            leased = await tx.contents.lease(place.collection, count, lessee=lessee, until=tx.now + ttl)
            if leased:
                tx.wake(Channel.LEASES)
            paths = await tx.contents.paths([content.id for content in leased if content.replica_id is not None])
            return [Delivered(content, paths.get(content.id)) for content in leased]

    async def heartbeat(
        self, principal: Principal, collection: CollectionId, *, held: Mapping[int, int], ttl: int
    ) -> set[ContentId]:
        """Extend leases (content: attempt) to `ttl` from now; those that still held. Raises as `lease` does."""
        async with self._database.transaction("api") as tx:
            await _place(tx, principal, collection)
            return await tx.contents.extend(collection, held, tx.now + ttl)

    async def give_back(
        self, principal: Principal, collection: CollectionId, held: Mapping[int, int]
    ) -> set[ContentId]:
        """End leases (content: attempt) of what was not begun; those that still held. Raises as `lease` does.

        Such a lease counts as no attempt; the next one has the next number all the same.
        """
        async with self._database.transaction("api") as tx:
            place = await _place(tx, principal, collection)
            contents = await tx.contents.get(list(held))
            holding = {
                content.id
                for content in contents
                if content.collection_id == collection
                and content.lease_until is not None
                and content.status is ContentStatus.LEASED
                and content.attempt == held[content.id]
            }
            await _return(tx, sorted(holding), place.is_running, tried=False)
            return holding

    async def report(
        self, principal: Principal, collection: CollectionId, outcomes: Sequence[Outcome]
    ) -> list[Receipt]:
        """Take in outcomes, a receipt each in order. Raises as `lease` does; one bad report harms no other."""
        async with self._database.transaction("api") as tx:
            place = await _place(tx, principal, collection)
            return await _take(tx, place, outcomes)

    async def acknowledge(self, vo: str, message_id: str, outcomes: Sequence[Outcome]) -> list[Receipt]:
        """Take in outcomes that came in a message of a VO's trusted service; none when it had come already."""
        async with self._database.transaction("conductor") as tx:
            if not await tx.messages.take_in(f"{vo}/{message_id}"):
                return []
            contents = {content.id: content for content in await tx.contents.get([o.content_id for o in outcomes])}
            by_collection: dict[CollectionId, list[Outcome]] = {}
            receipts = [Receipt(o.content_id, Verdict.UNKNOWN) for o in outcomes if o.content_id not in contents]
            for outcome in outcomes:
                if outcome.content_id in contents:
                    by_collection.setdefault(contents[outcome.content_id].collection_id, []).append(outcome)
            await tx.requests.lock({content.request_id for content in contents.values()})
            service = Principal(f"bus:{vo}", vo, Role.WFMS)
            for collection, of_one in sorted(by_collection.items()):
                try:
                    receipts += await _take(tx, await _place(tx, service, collection), of_one)
                except (NotFound, Conflict):
                    receipts += [Receipt(outcome.content_id, Verdict.UNKNOWN) for outcome in of_one]
            return receipts

    async def end_leases(self) -> int:
        """Take back what was leased and not reported in time: it is delivered again, or fails; how many."""
        async with self._database.snapshot() as tx:
            ended = await tx.contents.ended_leases(LEASES_ENDED_AT_ONCE)
        by_collection: dict[CollectionId, list[Content]] = {}
        for content in ended:
            by_collection.setdefault(content.collection_id, []).append(content)
        for collection in sorted(by_collection):
            contents = by_collection[collection]
            async with self._database.transaction("transformer") as tx:
                await tx.requests.lock([contents[0].request_id])
                still = await tx.contents.get([content.id for content in contents])
                expired = [c for c in still if c.lease_until is not None and c.lease_until <= tx.now]
                work, is_running = await _work(tx, collection)
                await _return(tx, [c.id for c in expired if c.tries < work.attempts], is_running)
                spent = [c.id for c in expired if c.tries >= work.attempts]
                await follow(tx, await tx.contents.move(ContentEvent.FAILED, of_ids(spent), values=FREE, reason=LOST))
        return len(ended)

    async def lease_ends_in(self) -> int | None:
        """In how many microseconds the next lease ends."""
        async with self._database.snapshot() as tx:
            return tx.distance(await tx.contents.next_lease_end())


async def _place(tx: Transaction, principal: Principal, identifier: CollectionId) -> _Place:
    found = await tx.collections.get(identifier, principal)
    if found is None:
        raise NotFound(f"there is no collection {identifier}")
    await tx.requests.lock([found.request_id])
    collection = await tx.collections.get(identifier, principal)
    assert collection is not None
    if collection.relation is not Relation.INPUT:
        raise Conflict(f"collection {identifier} holds outputs: they are not delivered, only listed")
    request = await tx.requests.get(collection.request_id)
    transform = await tx.transforms.get(collection.transform_id)
    assert request is not None
    assert transform is not None
    work = request.workflow.work(transform.work)
    if work.payload is not None:
        raise Conflict(f"collection {identifier} is delivered to the processings of work {work.name!r}, not leased")
    return _Place(collection, work, request.intent, transform.status is Status.RUNNING)


async def _work(tx: Transaction, identifier: CollectionId) -> tuple[Work, bool]:
    """The work that a collection belongs to, and whether its transform still runs."""
    collection = await tx.collections.get(identifier)
    assert collection is not None
    request = await tx.requests.get(collection.request_id)
    transform = await tx.transforms.get(collection.transform_id)
    assert request is not None
    assert transform is not None
    return request.workflow.work(transform.work), transform.status is Status.RUNNING


async def _take(tx: Transaction, place: _Place, outcomes: Sequence[Outcome]) -> list[Receipt]:
    """Judge each outcome, and move the contents of all that count, in sets."""
    contents = {c.id: c for c in await tx.contents.get([outcome.content_id for outcome in outcomes])}
    receipts: list[Receipt] = []
    done: list[Outcome] = []
    failed: dict[str, list[int]] = {}
    again: list[int] = []
    seen: set[int] = set()
    for outcome in outcomes:
        content = contents.get(outcome.content_id)
        if content is None or content.collection_id != place.collection.id:
            receipts.append(Receipt(outcome.content_id, Verdict.UNKNOWN))
            continue
        verdict = judge(content, outcome, place.collection.source, place.work.attempts)
        if outcome.content_id in seen and verdict in (Verdict.ACCEPTED, Verdict.AGAIN):
            verdict = Verdict.DUPLICATE
        seen.add(outcome.content_id)
        receipts.append(Receipt(outcome.content_id, verdict))
        match verdict:
            case Verdict.ACCEPTED if outcome.done:
                done.append(outcome)
            case Verdict.ACCEPTED:
                failed.setdefault(outcome.reason or "reported without a reason", []).append(outcome.content_id)
            case Verdict.AGAIN:
                again.append(outcome.content_id)
            case _:
                pass
    ids = [outcome.content_id for outcome in done]
    await tx.contents.note_events({o.content_id: o.events for o in done if o.events is not None})
    if place.collection.source is SourceKind.SAMPLES:
        await tx.samples.note_results([(outcome.content_id, outcome.objective_values) for outcome in done])
    if ids:
        await follow(tx, await tx.contents.move(ContentEvent.PROCESSED, of_ids(ids), values={"lease_until": None}))
    for reason, of_reason in sorted(failed.items()):
        moves = await tx.contents.move(ContentEvent.FAILED, of_ids(of_reason), values=FREE, reason=reason)
        await follow(tx, moves)
    await _return(tx, again, place.is_running)
    return receipts


async def _return(tx: Transaction, ids: Sequence[int], is_running: bool, *, tried: bool = True) -> None:
    """Deliver them again; or cancel them, where the transform has ended and nobody would take them any more."""
    if ids:
        event = ContentEvent.RETURNED if is_running else ContentEvent.CANCELLED
        values = FREE if tried else {**FREE, **NOT_TRIED}
        await follow(tx, await tx.contents.move(event, of_ids(ids), values=values))

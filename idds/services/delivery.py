"""Delivering contents to consumers outside: leased or announced, and coming back with their outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

from idds.domain.collection import Collection
from idds.domain.content import Advice, Content, Intermediate, Outcome, Verdict
from idds.domain.errors import Conflict, IddsError, InvalidInput, NotFound, Problem
from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.request import Principal, Role
from idds.domain.statuses import ContentStatus, Intent, Relation, Status
from idds.engine.reporting import misreported
from idds.engine.transitions import ContentEvent
from idds.ports.wakeups import Channel
from idds.services.advising import advise, stopping
from idds.services.announcing import follow
from idds.services.refilling import see_to_more
from idds.services.reporting import FREE, Receipt, give_again, take_in
from idds.store.collections import Place
from idds.store.contents import of_ids
from idds.store.database import Database, Transaction
from idds.store.leases import Delivered, Wanted
from idds.store.visibility import sees

__all__ = [
    "Delivered",
    "Delivery",
    "GiveBack",
    "Heartbeat",
    "Kept",
    "Lease",
    "Leased",
    "Order",
    "Receipt",
    "Report",
    "Reported",
    "Said",
]

LEASES_ENDED_AT_ONCE = 1000
MOST_OF_ONE = 50
"""Contents: who wants more counts as one who wants so many where it is said how many are waited for."""
BRIEF = 100
"""Contents: so many are leased, kept and reported in no time."""
SHORT = 60_000_000
"""Microseconds. Who ends leases looks for the ends of longer ones by itself, well before they come."""
LOST = "its lease ended without a report, as often as it was delivered"


@dataclass(frozen=True, slots=True)
class Lease:
    """Up to `count` contents, for `ttl` microseconds."""

    principal: Principal
    count: int
    ttl: int
    lessee: str

    @property
    def size(self) -> int:
        return self.count


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Leases (content: attempt) that are to hold `ttl` microseconds from now."""

    principal: Principal
    held: Mapping[int, int]
    ttl: int

    @property
    def size(self) -> int:
        return len(self.held)


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Leases (content: attempt) of what was not begun.

    Such a lease counts as no attempt; the next one has the next number all the same.
    """

    principal: Principal
    held: Mapping[int, int]

    @property
    def size(self) -> int:
        return len(self.held)


@dataclass(frozen=True, slots=True)
class Report:
    """What came of contents; and what is leased with it, after it. A report that is refused leases nothing."""

    principal: Principal
    outcomes: Sequence[Outcome]
    lease: Lease | None = None

    @property
    def size(self) -> int:
        return len(self.outcomes) + (self.lease.size if self.lease is not None else 0)


@dataclass(frozen=True, slots=True)
class Said:
    """What samples are on their way."""

    principal: Principal
    values: Sequence[Intermediate]

    @property
    def size(self) -> int:
        return len(self.values)


Order = Lease | Heartbeat | GiveBack | Report | Said


@dataclass(frozen=True, slots=True)
class Leased:
    """None where nothing is available now; `has_ended`: nothing will ever come again."""

    contents: Sequence[Delivered]
    has_ended: bool = False


@dataclass(frozen=True, slots=True)
class Reported:
    """A receipt for each outcome; and what was leased with the report, None where no lease was asked for."""

    receipts: Sequence[Receipt]
    leased: Leased | None = None

    @property
    def again(self) -> frozenset[ContentId]:
        """Failures that are delivered once more."""
        return frozenset(receipt.content_id for receipt in self.receipts if receipt.verdict is Verdict.AGAIN)


@dataclass(frozen=True, slots=True)
class Kept:
    """The leases that still held; and of these the samples that are to stop, and why."""

    held: set[ContentId]
    stop: Mapping[ContentId, str]


Answer = Leased | Kept | set[ContentId] | Reported | Sequence[Advice]
"""To a lease; to a heartbeat; to what is given back: those that still held; to a report; to what was said: advice on
each sample.
"""

O = TypeVar("O", Lease, Heartbeat, GiveBack, Report, Said)  # noqa: E741 -- an order


class Delivery:
    """What API, conductor and transformer do for consumers outside."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def serve(
        self, collection: CollectionId, orders: Sequence[Order], behind: int = 0
    ) -> list[Answer | IddsError]:
        """Serve consumers of a collection, all at once: first what they say, then what comes back, for it makes room.

        `behind` is how many contents are wanted by others, who wait: to them who reports does not go before.
        Each has an answer, or an error: NotFound, and Conflict where the collection is not delivered this way.
        """
        is_brief = sum(order.size for order in orders) <= BRIEF
        async with self._database.transaction("api", brief=is_brief, timeless=True) as tx:
            place = await tx.collections.place(collection)
            answers: dict[int, Answer | IddsError] = {}
            welcome: list[tuple[int, Order]] = []
            for number, order in enumerate(orders):
                refusal = _refusal(place, collection, order.principal) or _odd(place, order)
                if refusal is None:
                    welcome.append((number, order))
                else:
                    answers[number] = refusal
            if place is not None and welcome:
                await _Serving(tx, place, welcome, answers, behind).serve()
            return [answers[number] for number in range(len(orders))]

    async def look(self, collection: CollectionId) -> tuple[int, bool]:
        """How many contents are available now, and whether nothing will ever come again. Raises NotFound."""
        async with self._database.snapshot(timeless=True, brief=True) as tx:
            found = await tx.collections.outlook(collection)
        if found is None:
            raise NotFound(f"there is no collection {collection}")
        has_ended = _has_ended(found.status, found.intent, found.collection, found.collection.open)
        return found.collection.counts[ContentStatus.AVAILABLE], has_ended

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
                place = await tx.collections.place(collection)
                if place is None or _refusal(place, collection, service) is not None:
                    receipts += [Receipt(outcome.content_id, Verdict.UNKNOWN) for outcome in of_one]
                else:
                    receipts += await take_in(tx, place, of_one)
                    await see_to_more(tx, place)
            return receipts

    async def end_leases(self) -> int:
        """Take back what was leased and not reported in time: it is delivered again, or fails; how many."""
        async with self._database.snapshot() as tx:
            ended = await tx.contents.ended_leases(LEASES_ENDED_AT_ONCE)
        by_collection: dict[CollectionId, list[Content]] = {}
        for content in ended:
            by_collection.setdefault(content.collection_id, []).append(content)
        for collection in sorted(by_collection):
            async with self._database.transaction("transformer") as tx:
                place = await tx.collections.place(collection)
                assert place is not None
                still = await tx.contents.get([content.id for content in by_collection[collection]])
                expired = [c for c in still if c.lease_until is not None and c.lease_until <= tx.now]
                await give_again(tx, place, [c.id for c in expired if c.tries < place.work.attempts])
                spent = [c.id for c in expired if c.tries >= place.work.attempts]
                await follow(tx, await tx.contents.move(ContentEvent.FAILED, of_ids(spent), values=FREE, reason=LOST))
        return len(ended)

    async def lease_ends_in(self) -> int | None:
        """In how many microseconds the next lease ends."""
        async with self._database.snapshot() as tx:
            return tx.distance(await tx.contents.next_lease_end())


def _refusal(place: Place | None, collection: CollectionId, principal: Principal) -> IddsError | None:
    """Why this principal is not served here."""
    if place is None or not sees(principal, owner=place.owner, vo=place.vo, share=place.share):
        return NotFound(f"there is no collection {collection}")
    if place.collection.relation is not Relation.INPUT:
        return Conflict(f"collection {collection} holds outputs: they are not delivered, only listed")
    if place.work.payload is not None:
        name = place.work.name
        return Conflict(f"collection {collection} is delivered to the processings of work {name!r}, not leased")
    return None


def _odd(place: Place | None, order: Order) -> IddsError | None:
    """What of an order does not go with what is delivered here."""
    samples = place.work.samples if place is not None else None
    match order:
        case Report(outcomes=outcomes) if samples is not None:
            odd = [(number, misreported(samples, outcome)) for number, outcome in enumerate(outcomes)]
            found = [Problem(f"/reports/{number}/{why[0]}", why[1]) for number, why in odd if why is not None]
            return InvalidInput(found) if found else None
        case Said() if samples is None:
            return Conflict("what is delivered here are no samples: nothing is said of them on the way")
        case Said() if samples is not None and len(samples.directions) > 1:
            return Conflict("this study has several objectives: there is no one value on the way")
    return None


def _has_ended(status: Status, intent: Intent, collection: Collection, still_open: int) -> bool:
    """Whether nothing will ever be delivered again; `still_open` counts what has not come to its end."""
    if intent.is_ending:
        # What others still hold comes back to nobody.
        return True
    # A retried one, new again, is still to be looked through.
    is_complete = collection.is_closed and status is not Status.NEW and collection.retried_to is None
    return still_open == 0 and (status.is_terminal or is_complete)


class _Serving:
    """Orders of consumers being served in one transaction, which holds the lock of the request."""

    def __init__(
        self,
        tx: Transaction,
        place: Place,
        orders: Sequence[tuple[int, Order]],
        answers: dict[int, Answer | IddsError],
        behind: int,
    ) -> None:
        self._tx = tx
        self._place = place
        self._orders = orders
        self._answers = answers
        self._behind = behind

    def _of(self, kind: type[O]) -> list[tuple[int, O]]:
        return [(number, order) for number, order in self._orders if isinstance(order, kind)]

    async def serve(self) -> None:
        await self._hear()
        await self._take_reports()
        await self._take_back()
        await self._extend()
        taken, waited_for = await self._lease()
        await see_to_more(self._tx, self._place, taken=taken, waited_for=waited_for)

    async def _hear(self) -> None:
        orders = self._of(Said)
        samples = self._place.work.samples
        if orders and samples is not None:
            told = [order.values for _, order in orders]
            advice = await advise(self._tx, self._place, samples, told)
            self._answers.update({number: each for (number, _), each in zip(orders, advice, strict=True)})

    async def _take_reports(self) -> None:
        reports = self._of(Report)
        if not reports:
            return
        receipts = iter(
            await take_in(self._tx, self._place, [each for _, report in reports for each in report.outcomes])
        )
        for number, report in reports:
            self._answers[number] = Reported(list(islice(receipts, len(report.outcomes))))

    async def _take_back(self) -> None:
        orders = self._of(GiveBack)
        if not orders:
            return
        holding = await self._tx.leases.holding(self._place.collection.id, [order.held for _, order in orders])
        taken: set[ContentId] = set()
        for (number, _), held in zip(orders, holding, strict=True):
            self._answers[number] = held - taken
            taken |= held
        await give_again(self._tx, self._place, sorted(taken), tried=False)

    async def _extend(self) -> None:
        if heartbeats := self._of(Heartbeat):
            held = [(order.held, self._tx.now + order.ttl) for _, order in heartbeats]
            extended = await self._tx.leases.extend(self._place.collection.id, held)
            stop = await stopping(self._tx, self._place, [content for still in extended for content in still])
            for (number, _), still in zip(heartbeats, extended, strict=True):
                self._answers[number] = Kept(still, {content: stop[content] for content in still if content in stop})

    async def _lease(self) -> tuple[int, int | None]:
        """How many were taken, and how many more are waited for; None where nobody asked."""
        leases = [*self._of(Lease), *((n, report.lease) for n, report in self._of(Report) if report.lease is not None)]
        if not leases:
            return 0, None
        place = self._place
        given: Sequence[Sequence[Delivered]] = [()] * len(leases)
        if place.status is Status.RUNNING and place.intent is Intent.RUN:
            given = await self._tx.leases.give(place.collection, self._wanted(leases))
        still_open = self._tx.collections.as_counted(place.collection).open
        has_ended = _has_ended(place.status, place.intent, place.collection, still_open)
        for (number, order), contents in zip(leases, given, strict=True):
            if contents and order.ttl < SHORT:
                self._tx.wake(Channel.LEASES)
            leased = Leased(contents, has_ended and not contents)
            reported = self._answers.get(number)
            self._answers[number] = replace(reported, leased=leased) if isinstance(reported, Reported) else leased
        taken = sum(map(len, given))
        unmet = (order.count - len(contents) for (_, order), contents in zip(leases, given, strict=True))
        return taken, sum(min(each, MOST_OF_ONE) for each in unmet) + self._behind

    def _wanted(self, leases: Sequence[tuple[int, Lease]]) -> list[Wanted]:
        """What is to be given: who reports gets what those leave who only lease, or stand in line.

        And nothing that the same report gave again: whoever fails at once with all would have every attempt of it.
        """
        available = self._tx.collections.as_counted(self._place.collection).counts[ContentStatus.AVAILABLE]
        left = available - self._behind
        wanted: list[Wanted] = []
        for number, order in leases:
            reported = self._answers.get(number)
            count, again = order.count, frozenset[ContentId]()
            if isinstance(reported, Reported):
                count, again = max(0, min(count, left)) if self._behind else count, reported.again
            left -= count
            wanted.append(Wanted(count, order.lessee, self._tx.now + order.ttl, again))
        return wanted

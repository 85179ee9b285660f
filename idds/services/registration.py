"""Registering contents in collections that callers fill, and closing those."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Protocol

from idds.domain.collection import Collection
from idds.domain.content import NewContent
from idds.domain.errors import Conflict, InvalidInput, NotFound, Problem
from idds.domain.identifiers import CollectionId
from idds.domain.request import Principal
from idds.domain.statuses import Intent, SourceKind, Status
from idds.engine.transitions import ContentEvent
from idds.services.announcing import announce_registered, tell_collection_closed
from idds.store.collections import Place
from idds.store.database import Database, Transaction
from idds.store.visibility import sees

MAX_PROBLEMS = 100
_ADLER32 = re.compile("[0-9a-f]{8}")


class Entry(Protocol):
    """A content as its caller gives it. Events `min_id`..`max_id` of a file, from 1; 0..0 is all of it."""

    @property
    def name(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def min_id(self) -> int: ...
    @property
    def max_id(self) -> int: ...
    @property
    def bytes(self) -> int | None: ...
    @property
    def adler32(self) -> str | None: ...
    @property
    def parameters(self) -> Mapping[str, Any] | None: ...


@dataclass(frozen=True, slots=True)
class Checked:
    """Contents that can be registered; where files are to be staged, only without the `lacks`."""

    contents: Sequence[NewContent]
    lacks: Sequence[Problem]


def check(entries: Sequence[Entry]) -> Checked:
    """Raises InvalidInput with pointers `/NUMBER/field`."""
    if problems := list(islice(_problems(entries), MAX_PROBLEMS)):
        raise InvalidInput(problems)
    return Checked([_new(entry) for entry in entries], list(islice(_lacks(entries), MAX_PROBLEMS)))


@dataclass(frozen=True, slots=True)
class Taken:
    """How many contents are new to their collection, and how many it had already."""

    registered: int
    known: int


class Registration:
    """What the API does for who fills a collection."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(self, principal: Principal, collection: CollectionId, checked: Checked) -> Taken:
        """Register contents, all of these or none. What is there already stays as it is, whatever else is given now.

        Raises InvalidInput with pointers `/NUMBER/field`, NotFound, and Conflict where nothing can be registered.
        """
        async with self._database.transaction("api") as tx:
            place = await _place(tx, principal, collection)
            if refusal := _refusal(place):
                raise Conflict(f"nothing can be registered in collection {collection}: {refusal}")
            is_staged = place.collection.rse is not None
            if is_staged and checked.lacks:
                raise InvalidInput(checked.lacks)
            event = ContentEvent.LISTED if is_staged else ContentEvent.LANDED
            ids, registered = await tx.contents.register_more(place.collection, checked.contents, event)
            if not is_staged:
                await announce_registered(tx, collection, list(zip(ids, registered, strict=True)))
            if is_staged or place.work.payload is not None:
                tx.requests.mark_due([place.collection.request_id])
            taken = Taken(len(ids), len(checked.contents) - len(ids))
            tx.audit.record(principal, "register", f"collection:{collection}", asdict(taken))
            return taken

    async def close(self, principal: Principal, collection: CollectionId) -> Collection:
        """Say that nothing more will be registered. Saying it again changes nothing.

        Raises NotFound, and Conflict where it is not for callers to close.
        """
        async with self._database.transaction("api") as tx:
            place = await _place(tx, principal, collection)
            if place.collection.source is not SourceKind.REGISTERED:
                raise Conflict(f"collection {collection} is not closed by callers: {_OTHER}")
            if await tx.collections.close(place.collection):
                await tell_collection_closed(tx, collection)
                tx.audit.record(principal, "close", f"collection:{collection}")
                tx.requests.mark_due([place.collection.request_id])
            closed = await tx.collections.get(collection)
            assert closed is not None
            return closed


_OTHER = "only those of works whose input is `registered` are filled by callers"


async def _place(tx: Transaction, principal: Principal, identifier: CollectionId) -> Place:
    """With its request locked. Raises NotFound."""
    place = await tx.collections.place(identifier)
    if place is None or not sees(principal, owner=place.owner, vo=place.vo, share=place.share):
        raise NotFound(f"there is no collection {identifier}")
    return place


def _refusal(place: Place) -> str | None:
    """Why nothing can be registered there, and what to do."""
    if place.collection.source is not SourceKind.REGISTERED:
        return _OTHER
    if place.status is not Status.RUNNING:
        return f"work {place.work.name!r} ended {place.status}; submit another request"
    if place.intent not in (Intent.RUN, Intent.SUSPEND):
        return f"request {place.collection.request_id} is to {place.intent}; submit another one"
    if place.collection.is_closed:
        return "it is closed; submit another request for what is left"
    return None


def _problems(entries: Sequence[Entry]) -> Iterator[Problem]:
    for number, entry in enumerate(entries):
        if entry.adler32 is not None and not _ADLER32.fullmatch(entry.adler32):
            yield Problem(f"/{number}/adler32", "a checksum is eight hex digits, in lower case")
        if ":" in entry.scope:
            yield Problem(f"/{number}/scope", "a scope has no colon: that stands between scope and name")
        if entry.min_id == entry.max_id == 0:
            continue
        if entry.min_id == 0:
            yield Problem(f"/{number}/min_id", "events are counted from 1; 0 to 0 is all of a file")
        elif entry.max_id < entry.min_id:
            yield Problem(f"/{number}/max_id", f"it is before min_id, {entry.min_id}")


def _lacks(entries: Sequence[Entry]) -> Iterator[Problem]:
    for number, entry in enumerate(entries):
        if not entry.scope:
            yield Problem(f"/{number}/scope", "this is a file to be staged: its scope is required")
        if entry.bytes is None:
            yield Problem(f"/{number}/bytes", "this is a file to be staged: its size is required, for the window")


def _new(entry: Entry) -> NewContent:
    return NewContent(
        entry.name,
        0,
        entry.scope,
        entry.min_id,
        entry.max_id,
        entry.bytes or 0,
        entry.adler32,
        None,
        None if entry.parameters is None else {"parameters": entry.parameters},
    )

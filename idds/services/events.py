"""Events in the order of their ids: none missed, none twice, whenever their transactions were committed.

On PostgreSQL a move gets its id before the commit, so that a lower id may be seen later than a higher one. Where an
id is missing, whoever reads on stops before it until all who were writing moves at that time have ended: what is
missing then was rolled back.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from idds.domain.errors import NotFound
from idds.domain.event import Event
from idds.domain.identifiers import RequestId
from idds.domain.request import Principal
from idds.store.database import Database
from idds.store.visibility import sees

AT_ONCE = 1000
SPAN = 20_000
"""So many ids are looked through at once for what somebody may see."""
FIRST_LOOK_S = 0.01
LAST_LOOK_S = 0.25


@dataclass(frozen=True, slots=True)
class Interest:
    """Whose events somebody listens to, and which of them: of one request, of one entity, or all."""

    principal: Principal
    request: int | None = None
    entity: str | None = None

    def takes(self, event: Event) -> bool:
        """Whether it is one of them."""
        move = event.move
        return (
            (self.request is None or move.request_id == self.request)
            and (self.entity is None or move.entity == self.entity)
            and sees(self.principal, owner=event.owner, vo=event.vo, share=event.share)
        )


@dataclass(frozen=True, slots=True)
class _Doubt:
    """Up to this id some are missing, which `writers` may still bring."""

    until: int
    writers: frozenset[str]


class Tail:
    """Follows all events as they come. Up to its `place` all is settled: nothing will be seen there later."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.place = 0
        self._doubt: _Doubt | None = None
        self._looks = 0

    @property
    def look_again_s(self) -> float | None:
        """In how many seconds a look makes sense without being woken: a rollback wakes nobody."""
        if self._doubt is None:
            return None
        return min(LAST_LOOK_S, FIRST_LOOK_S * 2**self._looks) if self._doubt.writers else 0.0

    async def start(self) -> bool:
        """Go to the end of what is settled by now; False while somebody who writes may still bring a lower id."""
        if self._doubt is None:
            async with self._database.snapshot() as tx:
                self._doubt = _Doubt(await tx.moves.last(), await tx.moves.writers())
        if not await self._is_settled(self._doubt):
            return False
        self.place, self._doubt = self._doubt.until, None
        return True

    async def look(self) -> Sequence[Event]:
        """What has come, in order; to be called again at once where it is `AT_ONCE` events."""
        doubt, settled = self._doubt, 0
        if doubt is not None and await self._is_settled(doubt):
            settled = doubt.until
        async with self._database.snapshot() as tx:
            found = await tx.moves.events(self.place, AT_ONCE)
            sure = _in_order(found, self.place, settled)
            has_gap = len(sure) < len(found)
            if sure:
                self.place = sure[-1].move.id
            if doubt is not None and (self.place >= doubt.until or (settled and has_gap)):
                doubt = None
            if doubt is None and has_gap:
                # Asked after the events were read: who has brought a missing one by now is none of these.
                doubt, self._looks = _Doubt(found[-1].move.id, await tx.moves.writers()), 0
        self._doubt = doubt
        return sure

    async def _is_settled(self, doubt: _Doubt) -> bool:
        """Asked before the events are read: who has ended by then is seen, or was rolled back."""
        if not doubt.writers:
            return True
        self._looks += 1
        async with self._database.snapshot() as tx:
            return not doubt.writers & await tx.moves.writers()


def _in_order(found: Sequence[Event], place: int, settled: int) -> Sequence[Event]:
    """Those up to the first gap that may still be filled."""
    for number, event in enumerate(found):
        identifier = event.move.id
        if identifier != place + 1 and identifier - 1 > settled:
            return found[:number]
        place = identifier
    return found


class Events:
    """What the API does for who listens."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def tail(self) -> Tail:
        """To follow all events with."""
        return Tail(self._database)

    async def last(self) -> int:
        """The highest id of any event by now."""
        async with self._database.snapshot() as tx:
            return await tx.moves.last()

    async def page(self, interest: Interest, after: int, until: int) -> tuple[Sequence[Event], int]:
        """Events with ids above `after`, a part of those up to `until`; and up to which id these are all."""
        if interest.request is None and interest.entity is None:
            until = min(until, after + SPAN)
        async with self._database.snapshot() as tx:
            found = await tx.moves.events_for(
                interest.principal,
                after=after,
                until=until,
                limit=AT_ONCE,
                request=interest.request,
                entity=interest.entity,
            )
        return found, found[-1].move.id if len(found) == AT_ONCE else until

    async def end(self, principal: Principal, request: RequestId) -> int | None:
        """The id of the last event of a request that has ended; None while it goes on. Raises NotFound."""
        async with self._database.snapshot() as tx:
            found = await tx.requests.get(request, principal)
            if found is None:
                raise NotFound(f"there is no request {request}")
            return await tx.moves.last(request) if found.status.is_terminal else None

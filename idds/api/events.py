"""The stream of events: what happens, as it happens (server-sent events, as the HTML standard has them).

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import re
from dataclasses import dataclass
from functools import partial

import msgspec
from aiohttp import web

from idds.api.bodies import EventsQuery
from idds.api.listening import Listener
from idds.api.route import Call, Caller, Route
from idds.api.streams import cut_off, stream
from idds.domain.errors import IddsError, InvalidInput, Problem, Unavailable
from idds.domain.event import Event
from idds.domain.identifiers import MoveId, RequestId
from idds.services.events import Interest

SSE = "text/event-stream"
LAST_EVENT_ID = "Last-Event-ID"
_ID_FORM = re.compile(r"[0-9]{1,18}")
_RETRY = b"retry: 2000\n\n"
_END = b"event: end\ndata: {}\n\n"


@dataclass(frozen=True, slots=True)
class _Told:
    """A move as it is told. `request` is the one it belongs to."""

    id: MoveId
    request: RequestId | None
    entity: str
    event: str
    from_status: str | None
    to_status: str
    n: int
    agent: str
    reason: str | None
    at: int


def encode(event: Event) -> bytes:
    """An event as it is sent: once, for all who listen."""
    move = event.move
    told = _Told(
        move.id,
        move.request_id,
        move.entity,
        move.event,
        move.from_status,
        move.to_status,
        move.n,
        move.agent,
        move.reason,
        move.at,
    )
    return b"id: %d\nevent: move\ndata: %b\n\n" % (move.id, msgspec.json.encode(told))


async def listen(call: Call[EventsQuery, None]) -> web.StreamResponse:
    query = call.query
    if query.request is not None:
        await call.doors.catalogue.request(call.principal, RequestId(query.request))
    interest = Interest(call.principal, query.request, query.entity)
    return await _stream(call, interest, _given(call, query.after), until_end=False)


async def listen_to_request(call: Call[None, None]) -> web.StreamResponse:
    await call.doors.catalogue.request(call.principal, RequestId(call.number))
    return await _stream(call, Interest(call.principal, call.number), _given(call, None), until_end=True)


def _given(call: Call[EventsQuery, None] | Call[None, None], after: int | None) -> int | None:
    """Where to go on: the header goes before the query, as it is newer where a client comes back."""
    header = call.request.headers.get(LAST_EVENT_ID, "").strip()
    if not header:
        return after
    if not _ID_FORM.fullmatch(header):
        raise InvalidInput([Problem(LAST_EVENT_ID, "give the id of the last event that was received")])
    return int(header)


async def _stream(
    call: Call[EventsQuery, None] | Call[None, None], interest: Interest, after: int | None, *, until_end: bool
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": SSE, "X-Accel-Buffering": "no"})
    if call.request.method == "HEAD":
        return response

    with call.listeners.listener(interest, partial(cut_off, call.request)) as listener:
        place = await call.listeners.reach()
        if after is not None and after > place:
            # Another server's tail may be ahead of this one's.
            if after > await call.doors.events.last():
                raise InvalidInput([Problem(LAST_EVENT_ID, "there has been no event with this id")])
            await call.listeners.reach(after)
        told = _Stream(call, listener, response, place if after is None else after)
        # Whoever is cut off comes back, and goes on where it stood.
        await stream(call.request, response, partial(told.run, until_end=until_end))
        return response


class _Stream:
    """One stream: first what the store has, then what comes. All up to the id `after` has been sent."""

    def __init__(
        self,
        call: Call[EventsQuery, None] | Call[None, None],
        listener: Listener,
        response: web.StreamResponse,
        after: int,
    ) -> None:
        self._call = call
        self._listeners = call.listeners
        self._listener = listener
        self._response = response
        self._after = after
        self._beats = 0

    async def run(self, *, until_end: bool) -> None:
        """Send until the client goes, its token ends or the service stops; or the request has come to its end."""
        listener = self._listener
        await self._write(_RETRY + self._sign_of_life())
        await self._catch_up()
        may_have_ended = until_end
        while await self._may_go_on():
            if may_have_ended:
                end = await self._call.doors.events.end(self._call.principal, RequestId(self._call.number))
                if end is not None and self._after >= end:
                    await self._write(_END)
                    return
                may_have_ended = end is not None
            parcels = await listener.take()
            if parcels:
                self._after = parcels[-1].last
                await self._write(b"".join(parcel.text for parcel in parcels))
                may_have_ended |= until_end and any(parcel.has_end for parcel in parcels)
            else:
                await self._beat()

    async def _catch_up(self) -> None:
        """Send what the store has up to the tail's place; from there on be told, without a hole between."""
        while self._after < self._listeners.place and await self._may_go_on():
            events, self._after = await self._call.doors.events.page(
                self._listener.interest, self._after, self._listeners.place
            )
            if events:
                await self._write(b"".join(encode(event) for event in events))
        self._listeners.tell(self._listener)

    async def _beat(self) -> None:
        """Give a sign of life."""
        # Nothing was waiting: all up to there is sent, or not for this one.
        self._after = max(self._after, self._listeners.place)
        if await self._may_go_on():
            await self._write(self._sign_of_life())

    async def _may_go_on(self) -> bool:
        """Whether it is open, and its token good: asked once a beat, however much there is to send meanwhile."""
        listener = self._listener
        if not listener.is_closed and listener.beats != self._beats:
            self._beats = listener.beats
            if not await self._is_still_admitted():
                listener.close()
        return not listener.is_closed

    async def _is_still_admitted(self) -> bool:
        """Whether the token still gives what it gave."""
        try:
            return await self._call.identify() == self._call.grant
        except Unavailable:
            return True
        except IddsError:
            return False

    def _sign_of_life(self) -> bytes:
        """With an id, to go on from there also where nothing was to be told for long."""
        return b": \nid: %d\n\n" % self._after

    async def _write(self, text: bytes) -> None:
        with self._listener.writing():
            await self._response.write(text)


_LAST = {LAST_EVENT_ID: "The id of the last event that was received: the stream goes on after it."}

ROUTES = (
    Route(
        "GET",
        "/v1/events",
        "listenToEvents",
        "What happens, as it happens: all that the caller may see, or a request's or entity's part of it",
        Caller.READER,
        listen,
        query=EventsQuery,
        statuses=(200, 404, 429),
        also=SSE,
        headers=_LAST,
    ),
    Route(
        "GET",
        "/v1/requests/{id}/events",
        "listenToRequest",
        "What happens to a request, as it happens; an event `end` closes it when the request has ended",
        Caller.READER,
        listen_to_request,
        statuses=(200, 404, 429),
        also=SSE,
        headers=_LAST,
    ),
)

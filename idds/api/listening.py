"""Listening to events: one tail a process follows them while somebody listens, and tells each what it may see."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog

from idds.api.problems import TooMany
from idds.domain.errors import Unavailable
from idds.domain.event import Event
from idds.domain.request import Principal
from idds.domain.statuses import TERMINAL
from idds.ports.wakeups import Channel, Wakeups
from idds.runtime.settings import ApiSettings
from idds.services.events import AT_ONCE, Events, Interest, Tail

LOOK_AGAIN_S = 5.0
"""What a lost wake-up costs."""
LINGER_S, LINGER_EACH_S = 0.003, 20e-6
"""After events, so long others are waited for, and so much longer for each who listens: many small transactions are
told together, and telling takes half a core at most."""
RETRY_S = 1.0
_ENDED = frozenset(map(str, TERMINAL))

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Parcel:
    """Events as they are sent together. `last` is the highest id; `has_end` that a request ended among them."""

    text: bytes
    last: int
    has_end: bool


class Listener:
    """One who listens, on a connection that `abort` cuts. Who does not read is dropped."""

    def __init__(self, interest: Interest, abort: Callable[[], None], settings: ApiSettings) -> None:
        self.interest = interest
        self.is_closed = False
        self.was_dropped = False
        self.beats = 0
        """How often it has been time for a sign of life, also where there was enough else to send."""
        self._abort = abort
        self._beat_s = settings.event_beat_s
        self._room = settings.max_event_bytes
        self._parcels: deque[Parcel] = deque()
        self._size = 0
        self._woken = asyncio.Event()
        self._writing_since: float | None = None
        self._timer = asyncio.get_running_loop().call_later(self._beat_s, self._beat)

    async def take(self) -> Sequence[Parcel]:
        """What has come since; nothing where it is time for a sign of life, or closed."""
        await self._woken.wait()
        self._woken.clear()
        taken, self._parcels, self._size = self._parcels, deque(), 0
        return taken

    def give(self, parcel: Parcel) -> None:
        """Add what is to be sent; who has too much of it waiting is dropped."""
        self._size += len(parcel.text)
        self._parcels.append(parcel)
        self._woken.set()
        if self._size > self._room:
            self._drop()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """While something is sent: it may not take longer than from one sign of life to the next but one."""
        self._writing_since = time.monotonic()
        try:
            yield
        finally:
            self._writing_since = None

    def close(self) -> None:
        """Have it end: at once if it is not reading."""
        self.is_closed = True
        self._woken.set()
        if self._writing_since is not None:
            self._abort()

    def leave(self) -> None:
        self._timer.cancel()
        self._parcels.clear()

    def _beat(self) -> None:
        if self._writing_since is not None and time.monotonic() - self._writing_since >= self._beat_s:
            self._drop()
            return
        self.beats += 1
        self._woken.set()
        self._timer = asyncio.get_running_loop().call_later(self._beat_s, self._beat)

    def _drop(self) -> None:
        self.was_dropped = self.is_closed = True
        self._parcels.clear()
        self._abort()


@dataclass(slots=True)
class Tally:
    """What became of streams since the process began."""

    opened: int = 0
    dropped: int = 0
    told: int = 0


@dataclass(slots=True)
class _Following:
    """The tail that is followed, as long as somebody listens."""

    task: asyncio.Task[None]
    place: int = 0
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    has_started: bool = False


class Listeners:
    """All who listen in this process."""

    def __init__(
        self, events: Events, wakeups: Wakeups, settings: ApiSettings, encode: Callable[[Event], bytes]
    ) -> None:
        self.tally = Tally()
        self._events = events
        self._wakeups = wakeups
        self._settings = settings
        self._encode = encode
        self._all: set[Listener] = set()
        self._streams: Counter[tuple[str, str]] = Counter()
        self._live: dict[int | None, dict[Interest, set[Listener]]] = {}
        self._following: _Following | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def open(self) -> int:
        """How many listen."""
        return len(self._all)

    @property
    def place(self) -> int:
        """Up to this id all events have been told."""
        return self._following.place if self._following else 0

    @contextmanager
    def listener(self, interest: Interest, abort: Callable[[], None]) -> Iterator[Listener]:
        """A place among who listens. Raises TooMany and Unavailable where there is none left."""
        owner = _owner(interest.principal)
        if self._streams[owner] >= self._settings.max_streams_each:
            raise TooMany(f"{self._settings.max_streams_each} streams of events are open for {owner[0]} already")
        if len(self._all) >= self._settings.max_streams or self._closed:
            raise Unavailable("no more streams of events can be opened for now")
        listener = Listener(interest, abort, self._settings)
        self._streams[owner] += 1
        self._all.add(listener)
        self.tally.opened += 1
        if self._following is None:
            self._following = _Following(task := asyncio.create_task(self._follow(), name="events"))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            yield listener
        finally:
            self._leave(listener, owner)

    def _leave(self, listener: Listener, owner: tuple[str, str]) -> None:
        listener.leave()
        self.tally.dropped += listener.was_dropped
        self._all.remove(listener)
        self._streams[owner] -= 1
        if not self._streams[owner]:
            del self._streams[owner]
        of_request = self._live.get(listener.interest.request, {})
        if alike := of_request.get(listener.interest):
            alike.discard(listener)
            if not alike:
                del of_request[listener.interest]
        if not of_request:
            self._live.pop(listener.interest.request, None)
        if not self._all and self._following is not None:
            self._following.task.cancel()
            self._following = None

    async def reach(self, place: int | None = None) -> int:
        """Wait until all is told up to this id (None: until it is known what has happened by now); `place` then.

        Raises Unavailable when the service stops.
        """
        following = self._following
        assert following is not None
        while not following.has_started or following.place < (place or 0):
            if self._closed:
                raise Unavailable("the service stops")
            following.moved.clear()
            await following.moved.wait()
        return following.place

    def tell(self, listener: Listener) -> None:
        """From now on, tell it what comes after `place`."""
        self._live.setdefault(listener.interest.request, {}).setdefault(listener.interest, set()).add(listener)

    async def close(self) -> None:
        """Have all streams end: the service stops."""
        self._closed = True
        for listener in list(self._all):
            listener.close()
        if self._following is not None:
            self._following.moved.set()
            self._following.task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self) -> None:
        following, tail = self._following, self._events.tail()
        assert following is not None
        while True:
            seen = self._wakeups.count(Channel.EVENTS)
            try:
                pause = await self._look(following, tail)
            except Unavailable as error:
                log.warning("not available for now", listener="events", error=str(error))
                await asyncio.sleep(RETRY_S)
            except Exception:
                log.exception("following events broke")
                await asyncio.sleep(RETRY_S)
            else:
                await self._wakeups.wait(Channel.EVENTS, seen, pause)

    async def _look(self, following: _Following, tail: Tail) -> float:
        """Tell what has come; in how many seconds to look again without being woken."""
        if not following.has_started:
            following.has_started = await tail.start()
        events = await tail.look() if following.has_started else ()
        self._tell(events)
        following.place = tail.place
        following.moved.set()
        if len(events) == AT_ONCE:
            return 0.0
        if events:
            await asyncio.sleep(LINGER_S + LINGER_EACH_S * self.open)
        pause = tail.look_again_s
        return LOOK_AGAIN_S if pause is None else pause

    def _tell(self, events: Sequence[Event]) -> None:
        if not events or not self._live:
            return
        texts = [(event, self._encode(event)) for event in events]
        self.tally.told += len(events)
        by_request: dict[int | None, list[tuple[Event, bytes]]] = {None: texts}
        for event, text in texts:
            if event.move.request_id in self._live and event.move.request_id is not None:
                by_request.setdefault(event.move.request_id, []).append((event, text))
        for request, told in by_request.items():
            for interest, alike in self._live.get(request, {}).items():
                taken = [each for each in told if interest.takes(each[0])]
                if taken:
                    parcel = parcel_of(taken)
                    for listener in alike:
                        listener.give(parcel)


def parcel_of(taken: Sequence[tuple[Event, bytes]]) -> Parcel:
    """These events, to be sent together."""
    has_end = any(
        event.move.to_status in _ENDED and event.move.entity == f"request:{event.move.request_id}" for event, _ in taken
    )
    return Parcel(b"".join(text for _, text in taken), taken[-1][0].move.id, has_end)


def _owner(principal: Principal) -> tuple[str, str]:
    return principal.owner, principal.vo

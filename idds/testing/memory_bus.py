"""A message bus in memory, that fails on command."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from itertools import zip_longest

from idds.domain.errors import InvalidInput, Problem, Unavailable


class MemoryBroker:
    """What several `MemoryBus`es speak through. Set `is_up` to False, and all of them find it away.

    `published` holds everything it ever took, in order. What a consumer has subscribed to waits while it is away.
    """

    def __init__(self) -> None:
        self.is_up = True
        self.published: list[tuple[str, bytes]] = []
        self._sessions: dict[str, _Session] = {}
        self._changed = asyncio.Event()

    def bus(self, client_id: str = "idds") -> "MemoryBus":
        return MemoryBus(self, client_id)

    def stop(self) -> None:
        self.is_up = False
        self._wake()

    def start(self) -> None:
        self.is_up = True
        self._wake()

    def take(self, messages: Sequence[tuple[str, bytes]]) -> None:
        if messages and not self.is_up:
            raise Unavailable("the broker is away")
        for topic, body in messages:
            self.published.append((topic, body))
            for session in self._sessions.values():
                if any(matches(one, topic) for one in session.filters):
                    session.unacknowledged.append((topic, body))
        self._wake()

    def session(self, client_id: str, filters: Sequence[str]) -> "_Session":
        session = self._sessions.setdefault(client_id, _Session())
        session.filters = tuple(filters)
        return session

    async def change(self) -> None:
        """Return when something was published, or the broker went away or came back."""
        await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class _Session:
    def __init__(self) -> None:
        self.filters: tuple[str, ...] = ()
        self.unacknowledged: list[tuple[str, bytes] | None] = []
        """In order of arrival; None where it was acknowledged."""


class MemoryDelivery:
    """One that was not acknowledged comes again to who consumes next."""

    def __init__(self, session: _Session, place: int, topic: str, body: bytes) -> None:
        self.topic = topic
        self.body = body
        self._session = session
        self._place = place

    async def ack(self) -> None:
        self._session.unacknowledged[self._place] = None


class MemoryBus:
    """Fulfils `idds.ports.bus.Bus`."""

    def __init__(self, broker: MemoryBroker | None = None, client_id: str = "idds") -> None:
        self.broker = broker or MemoryBroker()
        self._client_id = client_id

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Nothing to do."""

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        problems = [
            Problem(f"/{i}/0", f"Invalid topic: {topic}")
            for i, (topic, _) in enumerate(messages)
            if not topic or "+" in topic or "#" in topic
        ]
        if problems:
            raise InvalidInput(problems)
        await asyncio.sleep(0)
        self.broker.take(messages)

    async def consume(self, topics: Sequence[str]) -> AsyncGenerator[MemoryDelivery, None]:
        session = self.broker.session(self._client_id, topics)
        place = 0
        while True:
            if not self.broker.is_up or place == len(session.unacknowledged):
                await self.broker.change()
            else:
                entry = session.unacknowledged[place]
                if entry is not None:
                    yield MemoryDelivery(session, place, *entry)
                place += 1


def matches(pattern: str, topic: str) -> bool:
    """Whether an MQTT filter takes a topic: `+` stands for one level, a `#` at the end for all that follow."""
    for wanted, level in zip_longest(pattern.split("/"), topic.split("/")):
        if wanted == "#":
            return True
        if level is None or wanted not in {level, "+"}:
            return False
    return True

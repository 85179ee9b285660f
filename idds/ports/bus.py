"""The message bus. The database is the truth, the bus never: what it lost can be published again."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol


class Delivery(Protocol):
    """A message that arrived. Until `ack` it is ours to lose: the broker sends it again to who comes back."""

    @property
    def topic(self) -> str: ...

    @property
    def body(self) -> bytes: ...

    async def ack(self) -> None:
        """Tell the broker that the message's effect is committed. Raises nothing.

        Acknowledged after its connection was lost, the message comes again all the same.
        """
        ...


class Bus(Protocol):
    """All methods may raise `errors.Unavailable` while the broker is away; the adapter connects again by itself."""

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish (topic, body) pairs; returns when the broker has taken all of them, in this order per topic.

        When it raises, some may have been taken: publishing all again keeps their order. Raises InvalidInput for a
        topic that is a filter.
        """
        ...

    def consume(self, topics: Sequence[str]) -> AsyncIterator[Delivery]:
        """Deliveries on topics (MQTT filters), at least once each. Ends never; goes on after a reconnect."""
        ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

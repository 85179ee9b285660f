"""What every message bus keeps to. Subclass `BusContract`, or `DurableBusContract`, and give it a fixture `broker`."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol

import pytest

from idds.domain.errors import InvalidInput, Unavailable
from idds.ports.bus import Bus, Delivery

DEADLINE_S = 30.0
LARGE = b'{"id":1234567,"scope":"scope","name":"file.00000000.root","min_id":0,"max_id":0,"bytes":1,"path":""},' * 3000


class BrokerUnderTest(Protocol):
    """A running broker of the test's own. Its buses are given back when the broker is."""

    async def bus(self, client_id: str) -> Bus:
        """A started bus. Under one client id there is one consumer at a time."""
        ...

    async def stop(self) -> None:
        """As brutally as it can be."""
        ...

    async def start(self) -> None:
        """Again, at the same address."""
        ...


class Listener:
    """Consumes in a task of its own, and keeps what came."""

    _probes = itertools.count()

    def __init__(self, bus: Bus, topics: Sequence[str], *, acknowledges: bool = True) -> None:
        self.deliveries: list[Delivery] = []
        self._acknowledges = acknowledges
        self._came = asyncio.Condition()
        self._task = asyncio.create_task(self._listen(bus, topics))

    @property
    def messages(self) -> list[tuple[str, bytes]]:
        return [(one.topic, one.body) for one in self.deliveries if not one.body.startswith(b"probe")]

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something holds of what came. Raises TimeoutError."""
        async with asyncio.timeout(DEADLINE_S), self._came:
            await self._came.wait_for(lambda: self._task.done() or true())
        if self._task.done():
            self._task.result()

    async def got(self, count: int) -> list[tuple[str, bytes]]:
        await self.until(lambda: len(self.messages) >= count)
        return self.messages

    async def reached_by(self, publisher: Bus, topic: str) -> None:
        """Return when what is published to `topic` comes here: the subscription stands."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                probe = b"probe %d" % next(self._probes)
                try:
                    await publisher.publish([(topic, probe)])
                    async with asyncio.timeout(0.5), self._came:
                        await self._came.wait_for(partial(self._has, probe))
                except (Unavailable, TimeoutError):
                    continue
                return

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _has(self, body: bytes) -> bool:
        return any(one.body == body for one in self.deliveries)

    async def _listen(self, bus: Bus, topics: Sequence[str]) -> None:
        async for delivery in bus.consume(topics):
            if self._acknowledges:
                await delivery.ack()
            async with self._came:
                self.deliveries.append(delivery)
                self._came.notify_all()


async def raises_unavailable(call: Callable[[], Awaitable[None]]) -> None:
    with pytest.raises(Unavailable):
        await call()


class BusContract:
    async def test_order_is_kept_per_topic(self, broker: BrokerUnderTest) -> None:
        publisher, consumer = await broker.bus("publisher"), await broker.bus("consumer")
        listener = Listener(consumer, ["order/+"])
        await listener.reached_by(publisher, "order/0")
        sent = [(f"order/{n % 3}", b"%d" % n) for n in range(300)]
        await publisher.publish(sent)
        came = await listener.got(len(sent))
        for topic in ("order/0", "order/1", "order/2"):
            assert [body for at, body in came if at == topic] == [body for at, body in sent if at == topic]
        await listener.close()

    async def test_a_large_body_comes_whole(self, broker: BrokerUnderTest) -> None:
        publisher, consumer = await broker.bus("publisher"), await broker.bus("consumer")
        listener = Listener(consumer, ["large"])
        await listener.reached_by(publisher, "large")
        await publisher.publish([("large", LARGE + b"%d" % n) for n in range(20)])
        assert await listener.got(20) == [("large", LARGE + b"%d" % n) for n in range(20)]
        await listener.close()

    async def test_wildcards(self, broker: BrokerUnderTest) -> None:
        publisher, consumer = await broker.bus("publisher"), await broker.bus("consumer")
        listener = Listener(consumer, ["idds/+/contents/#", "idds/atlas/acknowledgements"])
        await listener.reached_by(publisher, "idds/atlas/contents/done")
        await listener.reached_by(publisher, "idds/atlas/acknowledgements")
        topics = [
            "idds/atlas/contents/available",
            "idds/atlas/requests/finished",
            "idds/cms/contents",
            "idds/cms/acknowledgements",
            "other/atlas/contents/available",
            "idds/atlas/acknowledgements",
        ]
        await publisher.publish([(topic, b"") for topic in topics])
        wanted = {topics[0], topics[2], topics[5]}
        assert {topic for topic, _ in await listener.got(len(wanted))} == wanted
        await listener.close()

    async def test_every_consumer_gets_every_message(self, broker: BrokerUnderTest) -> None:
        publisher = await broker.bus("publisher")
        listeners = [Listener(await broker.bus(f"consumer-{n}"), ["all"]) for n in range(2)]
        for listener in listeners:
            await listener.reached_by(publisher, "all")
        await publisher.publish([("all", b"1"), ("all", b"2")])
        for listener in listeners:
            assert await listener.got(2) == [("all", b"1"), ("all", b"2")]
            await listener.close()

    async def test_what_was_acknowledged_never_comes_again(self, broker: BrokerUnderTest) -> None:
        publisher, consumer = await broker.bus("publisher"), await broker.bus("consumer")
        first = Listener(consumer, ["once"])
        await first.reached_by(publisher, "once")
        await publisher.publish([("once", b"before")])
        await first.got(1)
        await first.close()
        second = Listener(consumer, ["once"])
        await second.reached_by(publisher, "once")
        await publisher.publish([("once", b"after")])
        assert await second.got(1) == [("once", b"after")]
        await second.close()

    async def test_the_broker_goes_away_and_comes_back(self, broker: BrokerUnderTest) -> None:
        publisher, consumer = await broker.bus("publisher"), await broker.bus("consumer")
        listener = Listener(consumer, ["back"])
        await listener.reached_by(publisher, "back")
        await broker.stop()
        for _ in range(2):
            await raises_unavailable(lambda: publisher.publish([("back", b"lost")]))
        await broker.start()
        await listener.reached_by(publisher, "back")
        await publisher.publish([("back", b"found")])
        await listener.until(lambda: ("back", b"found") in listener.messages)
        await listener.close()

    async def test_a_bus_starts_while_the_broker_is_away(self, broker: BrokerUnderTest) -> None:
        await broker.stop()
        publisher, consumer = await broker.bus("publisher"), await broker.bus("consumer")
        listener = Listener(consumer, ["early"])
        await raises_unavailable(lambda: publisher.publish([("early", b"")]))
        await broker.start()
        await listener.reached_by(publisher, "early")
        await listener.close()

    async def test_publishing_nothing_needs_no_broker(self, broker: BrokerUnderTest) -> None:
        bus = await broker.bus("publisher")
        await broker.stop()
        await bus.publish([])

    async def test_a_topic_that_is_a_filter_is_refused(self, broker: BrokerUnderTest) -> None:
        publisher, consumer = await broker.bus("publisher"), await broker.bus("consumer")
        listener = Listener(consumer, ["fine"])
        await listener.reached_by(publisher, "fine")
        with pytest.raises(InvalidInput) as refused:
            await publisher.publish([("fine", b"unsent"), ("idds/+", b"")])
        assert [problem.pointer for problem in refused.value.problems] == ["/1/0"]
        await publisher.publish([("fine", b"sent")])
        assert await listener.got(1) == [("fine", b"sent")]
        await listener.close()


class DurableBusContract(BusContract):
    """Of a broker that keeps what it took, for consumers that it knows."""

    async def test_what_was_not_acknowledged_comes_again_first(self, broker: BrokerUnderTest) -> None:
        publisher, consumer = await broker.bus("publisher"), await broker.bus("consumer")
        first = Listener(consumer, ["again"], acknowledges=False)
        await first.reached_by(publisher, "again")
        await publisher.publish([("again", b"1"), ("again", b"2")])
        await first.got(2)
        await first.close()
        await publisher.publish([("again", b"3")])
        second = Listener(consumer, ["again"])
        assert await second.got(3) == [("again", b"1"), ("again", b"2"), ("again", b"3")]
        await second.close()

    async def test_what_was_taken_outlives_the_broker(self, broker: BrokerUnderTest) -> None:
        publisher, consumer = await broker.bus("publisher"), await broker.bus("consumer")
        first = Listener(consumer, ["kept"])
        await first.reached_by(publisher, "kept")
        await first.close()
        sent = [("kept", b"%d" % n) for n in range(200)]
        await publisher.publish(sent)
        await broker.stop()
        await broker.start()
        second = Listener(consumer, ["kept"])
        assert await second.got(len(sent)) == sent
        await second.close()

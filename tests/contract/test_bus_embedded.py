import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from idds.bus.embedded import EmbeddedBroker
from idds.bus.mqtt import MqttBus, MqttOptions
from idds.domain.errors import Unavailable
from idds.testing.bus_contract import BusContract

USERNAME = "idds"
PASSWORD = "correct horse"


class EmbeddedBrokerUnderTest:
    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.embedded = EmbeddedBroker(USERNAME, PASSWORD)

    async def bus(self, client_id: str) -> MqttBus:
        bus = MqttBus(MqttOptions(url=self.embedded.url, client_id=client_id, username=USERNAME), PASSWORD)
        await bus.start()
        self._stack.push_async_callback(bus.stop)
        return bus

    async def stop(self) -> None:
        await self.embedded.stop()

    async def start(self) -> None:
        await self.embedded.start()


@pytest.fixture
async def broker() -> AsyncIterator[EmbeddedBrokerUnderTest]:
    async with AsyncExitStack() as stack:
        under_test = EmbeddedBrokerUnderTest(stack)
        await under_test.start()
        stack.push_async_callback(under_test.stop)
        yield under_test


class TestMqttBusOnTheEmbeddedBroker(BusContract):
    pass


@pytest.mark.parametrize(("username", "password"), [(None, None), (USERNAME, None), (USERNAME, "x"), ("x", PASSWORD)])
async def test_strangers_are_refused(
    broker: EmbeddedBrokerUnderTest, username: str | None, password: str | None
) -> None:
    bus = MqttBus(MqttOptions(url=broker.embedded.url, username=username), password)
    with pytest.raises(Unavailable):
        await bus.publish([("idds", b"")])
    await bus.stop()


async def test_a_port_that_is_taken_is_an_error(broker: EmbeddedBrokerUnderTest) -> None:
    second = EmbeddedBroker(USERNAME, PASSWORD, broker.embedded.port)
    with pytest.raises(OSError, match="address already in use"):
        await second.start()


async def test_it_stops_with_clients_and_strangers_connected(broker: EmbeddedBrokerUnderTest) -> None:
    bus = await broker.bus("client")
    await bus.publish([("idds", b"")])
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.embedded.port)
    await broker.stop()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()

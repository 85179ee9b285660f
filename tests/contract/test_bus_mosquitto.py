import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from idds.bus.mqtt import MqttBus, MqttOptions
from idds.domain.errors import Unavailable
from idds.testing.bus_contract import DurableBusContract, Listener
from tests.servers.mosquitto import MosquittoServer


class MosquittoUnderTest:
    def __init__(self, stack: AsyncExitStack, server: MosquittoServer) -> None:
        self._stack = stack
        self.server = server

    async def bus(self, client_id: str) -> MqttBus:
        bus = MqttBus(MqttOptions(url=self.server.url, client_id=client_id))
        await bus.start()
        self._stack.push_async_callback(bus.stop)
        return bus

    async def stop(self) -> None:
        await asyncio.to_thread(self.server.save)
        self.server.kill()

    async def start(self) -> None:
        await asyncio.to_thread(self.server.start)


@pytest.fixture
async def broker(mosquitto: MosquittoServer) -> AsyncIterator[MosquittoUnderTest]:
    async with AsyncExitStack() as stack:
        yield MosquittoUnderTest(stack, mosquitto)


class TestMqttBusOnMosquitto(DurableBusContract):
    pass


CONSUMER = """
import asyncio, sys
from idds.bus.mqtt import MqttBus, MqttOptions

async def main() -> None:
    bus = MqttBus(MqttOptions(url=sys.argv[1], client_id="consumer"))
    async for delivery in bus.consume(["work"]):
        if delivery.body == b"acknowledged":
            await delivery.ack()
        print(delivery.body.decode(), flush=True)
        if delivery.body == b"handling":
            await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_consumer_killed_while_handling_gets_the_message_again(broker: MosquittoUnderTest) -> None:
    """Fails when the reach below aiomqtt stops working: aiomqtt alone acknowledges before the handler runs."""
    publisher = await broker.bus("publisher")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CONSUMER, broker.server.url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            while await _nothing_printed(process.stdout):
                await publisher.publish([("work", b"acknowledged")])
            await publisher.publish([("work", b"handling")])
            while await process.stdout.readline() != b"handling\n":
                pass
    finally:
        process.send_signal(signal.SIGKILL)
        await process.communicate()
    listener = Listener(await broker.bus("consumer"), ["work"])
    assert await listener.got(1) == [("work", b"handling")]
    await listener.close()


async def _nothing_printed(stdout: asyncio.StreamReader) -> bool:
    try:
        return not await asyncio.wait_for(stdout.readline(), 0.2)
    except TimeoutError:
        return True


async def test_what_a_former_subscription_brings_is_not_ours(broker: MosquittoUnderTest) -> None:
    publisher, consumer = await broker.bus("publisher"), await broker.bus("consumer")
    former = Listener(consumer, ["former"])
    await former.reached_by(publisher, "former")
    await former.close()
    listener = Listener(consumer, ["current"])
    await listener.reached_by(publisher, "current")
    await publisher.publish([("former", b""), ("current", b"")])
    assert await listener.got(1) == [("current", b"")]
    await listener.close()


async def test_the_password_is_taken_by_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = MosquittoServer(username="idds", password="correct horse")
    (tmp_path / "password").write_text("correct horse\n")
    monkeypatch.setitem(os.environ, "IDDS_TEST_MQTT_PASSWORD", "correct horse")
    try:
        server.start()
        for reference in ({"password_file": str(tmp_path / "password")}, {"password_env": "IDDS_TEST_MQTT_PASSWORD"}):
            bus = MqttBus(MqttOptions(url=server.url, username="idds", **reference))
            await bus.start()
            await bus.publish([("idds", b"")])
            await bus.stop()
        stranger = MqttBus(MqttOptions(url=server.url, username="idds"))
        with pytest.raises(Unavailable, match=r"[Nn]ot authori"):
            await stranger.publish([("idds", b"")])
    finally:
        server.remove()

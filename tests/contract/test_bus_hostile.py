"""Brokers that accept a connection and then do not do what they should."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import structlog

from idds.bus.mqtt import MqttBus, MqttOptions
from idds.domain.errors import Unavailable
from idds.testing.bus_contract import Listener

CONNACK = bytes([0x20, 2, 0, 0])
SUBSCRIBE = 0x82


@asynccontextmanager
async def broker(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], timeout_s: float = 10
) -> AsyncIterator[MqttBus]:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve(reader, writer)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        bus = MqttBus(MqttOptions(url=f"mqtt://127.0.0.1:{port}", timeout_s=timeout_s))
        yield bus
        await bus.stop()


async def test_one_that_says_nothing_is_unavailable() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...

    async with broker(silent, timeout_s=0.2) as bus:
        with pytest.raises(Unavailable, match="does not answer"):
            await bus.publish([("idds", b"")])


async def test_one_that_acknowledges_nothing_is_unavailable() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(CONNACK)

    async with broker(mute, timeout_s=0.5) as bus:
        with pytest.raises(Unavailable, match="did not take all"):
            await bus.publish([("idds", b"%d" % n) for n in range(200)])


async def test_cancelled_while_connecting_it_leaves_nothing() -> None:
    connected = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()

    async with broker(silent, timeout_s=0.5) as bus:
        publishing = asyncio.create_task(bus.publish([("idds", b"")]))
        await connected.wait()
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing


async def test_a_refused_subscription_is_told_and_tried_again() -> None:
    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await packet(reader)
        writer.write(CONNACK)
        kind, content = await packet(reader)
        assert kind == SUBSCRIBE
        writer.write(bytes([0x90, 4, *content[:2], 1, 0x80]))

    async with broker(refusing) as bus:
        with structlog.testing.capture_logs() as logs:
            listener = Listener(bus, ["open/#", "secret/#"])
            async with asyncio.timeout(30):
                while sum(entry["event"] == "bus.refused" for entry in logs) < 2:
                    await asyncio.sleep(0.01)
            await listener.close()
    assert logs[0] == {"event": "bus.refused", "filters": ["secret/#"], "client_id": "idds", "log_level": "error"}


async def packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    kind, length = await reader.readexactly(2)
    return kind, await reader.readexactly(length)

"""One connection to an MQTT broker: aiomqtt's client, and what it keeps to itself.

aiomqtt acknowledges a message before anybody handled it, does not notice a lost connection while it publishes, and
leaves the socket open where a broker accepts and then says nothing. paho below it can do better: this is the one
place that reaches down to it, and `tests/contract/test_bus_mosquitto.py` fails when the reach stops working.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import aiomqtt
import structlog

from idds.domain.errors import Unavailable

IN_FLIGHT = 50
"""So many messages are on their way to the broker at once."""

KEEPALIVE_S = 30
"""A broker that says nothing for one and a half of this is gone."""

REFUSED = 0x80

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Address:
    """How to reach the broker. `timeout_s` bounds the connecting and each message's acknowledgement."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    timeout_s: float = 10.0


class Connection(aiomqtt.Client):
    """Open it once, close it once. With an `identifier` the broker keeps the session while it is away."""

    def __init__(self, address: Address, identifier: str | None = None) -> None:
        super().__init__(
            address.host,
            address.port,
            username=address.username,
            password=address.password,
            tls_context=address.tls,
            identifier=identifier,
            clean_session=identifier is None,
            keepalive=KEEPALIVE_S,
            timeout=address.timeout_s,
            max_inflight_messages=IN_FLIGHT,
        )
        self.pending_calls_threshold = 100 * IN_FLIGHT
        self._client.connect_timeout = address.timeout_s
        self._client.manual_ack_set(True)

    @property
    def is_lost(self) -> bool:
        return self._disconnected.done()

    async def open(self) -> None:
        """Raises Unavailable. Cancelled, it waits for the thread that connects, so that no socket is left open."""
        opening = asyncio.ensure_future(self.__aenter__())
        try:
            await asyncio.shield(opening)
        except aiomqtt.MqttError as error:
            await self.close()
            raise Unavailable(f"the broker at {self._hostname}:{self._port} does not answer: {error}") from error
        except asyncio.CancelledError:
            await asyncio.wait([opening])
            if not opening.cancelled():
                opening.exception()
            await self.close()
            raise

    async def close(self) -> None:
        """Say goodbye where the connection still stands. What was not acknowledged stays with the broker."""
        if self._connected.done() and not self._connected.cancelled() and self._connected.exception() is None:
            with contextlib.suppress(aiomqtt.MqttError):
                await self.__aexit__(None, None, None)
        if self._disconnected.done():
            # An exception that nobody asks for is logged when it is collected.
            self._disconnected.exception()
        if isinstance(sock := self._client.socket(), socket.socket):
            # The loop reads the end of the stream then, and paho lets go of the socket.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        if self._misc_task is not None:
            await asyncio.wait([self._misc_task])

    async def publish_all(self, messages: Sequence[tuple[str, bytes]], slots: asyncio.Semaphore) -> None:
        """Publish with QoS 1, in order, no more at once than there are `slots`. Raises Unavailable when one failed."""
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._raise_when_lost())
                sending = []
                for topic, body in messages:
                    await slots.acquire()
                    task = group.create_task(self.publish(topic, body, qos=1))
                    task.add_done_callback(lambda _: slots.release())
                    sending.append(task)
                await asyncio.wait(sending)
                watch.cancel()
        except* aiomqtt.MqttError as errors:
            failure = errors.exceptions[0]
        else:
            return
        raise Unavailable(f"the broker at {self._hostname}:{self._port} did not take all: {failure}")

    async def subscribe_all(self, filters: Sequence[str]) -> None:
        """Subscribe with QoS 1. Where the broker refuses, the connection ends."""
        codes = await self.subscribe([(one, 1) for one in filters], timeout=float("inf"))
        refused = [one for one, code in zip(filters, codes, strict=True) if code == REFUSED]
        if refused:
            log.error("bus.refused", filters=refused, client_id=self.identifier)
            self._client.disconnect()

    def acknowledge(self, message: aiomqtt.Message) -> None:
        """Of a message that came on this very connection; on a lost one nothing happens, and the broker sends again."""
        self._client.ack(message.mid, message.qos)

    async def _raise_when_lost(self) -> NoReturn:
        await asyncio.wait([self._disconnected])
        raise aiomqtt.MqttError("the connection was lost")

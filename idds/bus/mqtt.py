"""The message bus over an MQTT 3.1.1 broker, at least once in both directions."""

import asyncio
import os
import random
import ssl
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiomqtt
import structlog

from idds.bus.connection import IN_FLIGHT, Address, Connection
from idds.domain.errors import InvalidInput, Problem, Unavailable

PORTS = {"mqtt": 1883, "mqtts": 8883}
FIRST_DELAY_S = 0.1
LAST_DELAY_S = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttOptions:
    """Where the broker is, and who we are there.

    `url` is `mqtt://host:port`, or `mqtts://` for TLS. `client_id` is under which the broker keeps what we have not
    acknowledged: the same over restarts, and another one for each consumer. The password stands here by reference
    only: a file that holds it, or the name of an environment variable. Both, and the TLS files, are read anew at
    each connecting, so that they may be changed under way.
    """

    url: str = "mqtt://127.0.0.1:1883"
    client_id: str = "idds"
    username: str | None = None
    password_file: str | None = None
    password_env: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    timeout_s: float = 10.0

    def problems(self) -> list[Problem]:
        found = []
        try:
            url = urlsplit(self.url)
            # The URL itself is not repeated: where it is wrong, it may hold a password.
            if url.scheme not in PORTS or not url.hostname or url.port == 0 or url.path not in {"", "/"}:
                found.append(Problem("/url", "write mqtt://host:port, or mqtts://host:port for TLS"))
            if url.username or url.password:
                found.append(Problem("/url", "takes no credentials: use username and password_file or password_env"))
        except ValueError:
            found.append(Problem("/url", "is no URL"))
        if not self.client_id:
            found.append(Problem("/client_id", "must not be empty"))
        if self.password_file and self.password_env:
            found.append(Problem("/password_env", "is one too many beside password_file"))
        if self.key_file and not self.cert_file:
            found.append(Problem("/cert_file", "is missing beside key_file"))
        return found


class MqttDelivery:
    """A message that came. Acknowledged after its connection was lost, it comes again all the same."""

    __slots__ = ("_connection", "_message", "body", "topic")

    def __init__(self, connection: Connection, message: aiomqtt.Message) -> None:
        self.topic = str(message.topic)
        self.body = bytes(message.payload)
        self._message: aiomqtt.Message | None = message
        self._connection = connection

    async def ack(self) -> None:
        # Once only: the broker gives the message's number to another one soon.
        if self._message is not None:
            self._connection.acknowledge(self._message)
            self._message = None


class MqttBus:
    """Fulfils `idds.ports.bus.Bus`.

    Publishing and consuming use connections of their own. One `consume` at a time: the broker knows it by the client
    id and shuts out the one before. Once the broker is reached, a consumer's subscription outlives it: what is
    published while it is away waits. A `publish` that fails may have sent some of its messages; sending all of them
    again keeps their order. `password` is for a broker in this process; it goes before the options' reference.
    """

    def __init__(self, options: MqttOptions, password: str | None = None) -> None:
        if problems := options.problems():
            raise InvalidInput(problems)
        self._options = options
        self._password = password
        self._publisher: Connection | None = None
        self._connecting = asyncio.Lock()
        self._slots = asyncio.Semaphore(IN_FLIGHT)

    async def start(self) -> None:
        """Raises InvalidInput when a password or TLS file cannot be read; that the broker is away is no error."""
        await asyncio.to_thread(self._address)

    async def stop(self) -> None:
        async with self._connecting:
            publisher, self._publisher = self._publisher, None
        if publisher is not None:
            await publisher.close()

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Raises Unavailable when the broker was not reached or did not take all of them; InvalidInput for a topic
        that cannot be published to, and nothing is sent then."""
        if problems := [problem for i, (topic, _) in enumerate(messages) for problem in _topic_problems(i, topic)]:
            raise InvalidInput(problems)
        if not messages:
            return
        connection = await self._connected_publisher()
        try:
            await connection.publish_all(messages, self._slots)
        except Unavailable:
            if self._publisher is connection:
                self._publisher = None
            await connection.close()
            raise

    async def consume(self, topics: Sequence[str]) -> AsyncGenerator[MqttDelivery, None]:
        filters = [aiomqtt.Wildcard(topic) for topic in topics]
        delay = FIRST_DELAY_S
        while True:
            began = asyncio.get_running_loop().time()
            try:
                connection = await self._connect(self._options.client_id)
            except Unavailable as error:
                log.warning("bus.unavailable", reason=str(error), retry_s=round(delay, 1))
            else:
                subscribing = asyncio.create_task(connection.subscribe_all(topics))
                try:
                    async for message in connection.messages:
                        delivery = MqttDelivery(connection, message)
                        if any(message.topic.matches(one) for one in filters):
                            yield delivery
                        else:
                            # Of a subscription that this client id once had.
                            await delivery.ack()
                except aiomqtt.MqttError as error:
                    log.warning("bus.lost", reason=str(error), retry_s=round(delay, 1))
                finally:
                    subscribing.cancel()
                    await asyncio.gather(subscribing, return_exceptions=True)
                    await connection.close()
            if asyncio.get_running_loop().time() - began > LAST_DELAY_S:
                delay = FIRST_DELAY_S
            await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311
            delay = min(2 * delay, LAST_DELAY_S)

    async def _connected_publisher(self) -> Connection:
        async with self._connecting:
            if self._publisher is not None and self._publisher.is_lost:
                await self._publisher.close()
                self._publisher = None
            if self._publisher is None:
                self._publisher = await self._connect(None)
            return self._publisher

    async def _connect(self, identifier: str | None) -> Connection:
        try:
            address = await asyncio.to_thread(self._address)
        except InvalidInput as error:
            # It could be read at the start: somebody is about to change it.
            raise Unavailable(str(error)) from error
        connection = Connection(address, identifier)
        await connection.open()
        return connection

    def _address(self) -> Address:
        url = urlsplit(self._options.url)
        return Address(
            host=url.hostname or "",
            port=url.port or PORTS[url.scheme],
            username=self._options.username,
            password=self._password or _read_password(self._options),
            tls=_tls_context(self._options) if url.scheme == "mqtts" else None,
            timeout_s=self._options.timeout_s,
        )


def _read_password(options: MqttOptions) -> str | None:
    if options.password_file is not None:
        try:
            return Path(options.password_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise InvalidInput([Problem("/password_file", f"cannot be read: {error}")]) from error
    if options.password_env is not None:
        if options.password_env not in os.environ:
            raise InvalidInput([Problem("/password_env", f"the environment has no {options.password_env}")])
        return os.environ[options.password_env]
    return None


def _tls_context(options: MqttOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
        if options.cert_file is not None:
            context.load_cert_chain(options.cert_file, options.key_file)
    except OSError as error:
        where = "/cert_file" if options.cert_file is not None else "/ca_file"
        raise InvalidInput([Problem(where, f"cannot be used: {error}")]) from error
    return context


def _topic_problems(index: int, topic: str) -> list[Problem]:
    try:
        aiomqtt.Topic(topic)
    except ValueError as error:
        return [Problem(f"/{index}/0", str(error))]
    return []

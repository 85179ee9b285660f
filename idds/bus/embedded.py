"""An MQTT broker inside this process, for `idds serve` and the demo: nothing to install, nothing to keep running."""

import asyncio
import hmac
import logging
from dataclasses import dataclass, field

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType
from amqtt.plugins.base import BaseAuthPlugin
from amqtt.session import Session

HOST = "127.0.0.1"
STOP_S = 10.0


class PasswordPlugin(BaseAuthPlugin):  # type: ignore[misc]
    """Lets in one user. amqtt's own keeps argon2 hashes in a file: a fifth of a second of the loop per connection,
    to protect a random password that never leaves this process's memory."""

    @dataclass
    class Config:
        username: str
        password: str = field(repr=False)

    async def authenticate(self, *, session: Session) -> bool:
        username_fits = hmac.compare_digest((session.username or "").encode(), self.config.username.encode())
        password_fits = hmac.compare_digest((session.password or "").encode(), self.config.password.encode())
        return username_fits and password_fits


class EmbeddedBroker:
    """amqtt on the loopback, for one user; anonymous clients are refused.

    It keeps everything in memory, and forgets what it has sent to a subscriber that died, or that does not
    acknowledge within five seconds. Nothing is lost for good: the database is the truth, and acknowledgements can be
    given by HTTP as well. What must last needs a broker like Mosquitto. `port` 0 takes a free one.
    """

    def __init__(self, username: str, password: str, port: int = 0) -> None:
        self._plugins = {f"{__name__}.{PasswordPlugin.__name__}": {"username": username, "password": password}}
        self._asked_port = port
        self._broker: Broker | None = None
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def port(self) -> int:
        """Where it listens, once started; the same after `stop` and `start`."""
        return self._asked_port

    @property
    def url(self) -> str:
        return f"mqtt://{HOST}:{self.port}"

    async def start(self) -> None:
        """Raises OSError when the port is taken."""
        # It logs each client that goes away as a warning or an error, and packets with all their content below that.
        logging.getLogger("amqtt").setLevel(logging.CRITICAL)
        logging.getLogger("transitions").setLevel(logging.CRITICAL)
        listener = ListenerConfig(type=ListenerType.EXTERNAL, bind=f"{HOST}:{self._asked_port}")
        self._broker = Broker(BrokerConfig(listeners={"default": listener}, plugins=self._plugins))
        await self._broker.start()
        try:
            self._server = await asyncio.start_server(self._serve, HOST, self._asked_port)
        except OSError:
            await self.stop()
            raise
        self._asked_port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        server, self._server = self._server, None
        broker, self._broker = self._broker, None
        if server is not None:
            server.close()
        # amqtt would cancel its readers and wait for them for ever where a packet came at that very moment, because
        # `asyncio.wait_for` swallowed the cancellation until Python 3.12. Readers that see the end need no cancelling.
        clients = dict(self._clients)
        for writer in clients.values():
            writer.transport.abort()
        if clients:
            _, stuck = await asyncio.wait(clients, timeout=STOP_S)
            for client in stuck:
                client.cancel()
        if broker is not None:
            await broker.shutdown()
        if server is not None:
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if self._broker is None or task is None:
            writer.transport.abort()
            return
        self._clients[task] = writer
        try:
            await self._broker.external_connected(StreamReaderAdapter(reader), StreamWriterAdapter(writer), "default")
        finally:
            del self._clients[task]
            writer.close()

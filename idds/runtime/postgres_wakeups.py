"""Wake-ups between all processes on one PostgreSQL, by LISTEN and NOTIFY."""

import asyncio
import contextlib

import asyncpg
import structlog
from sqlalchemy import URL

from idds.ports.wakeups import Channel
from idds.runtime.wakeups import LocalWakeups

log = structlog.get_logger()


class PostgresWakeups(LocalWakeups):
    """Between all processes on one PostgreSQL, by LISTEN and NOTIFY, coalesced: one NOTIFY for whatever came together.

    A NOTIFY inside each commit would cost two thirds of the commits a second. While the connection is away wake-ups
    are lost, and who waits falls back to its interval.
    """

    _NOTIFIED = "idds"
    _RETRY_S = 1.0
    _PAUSE_S = 0.005

    def __init__(self, url: URL) -> None:
        super().__init__()
        self._dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._pending: set[Channel] = set()
        self._something = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def wake(self, channel: Channel) -> None:
        super().wake(channel)
        self._pending.add(channel)
        self._something.set()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="wakeups")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                await self._connected()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("wake-ups between processes are away", error=type(error).__name__)
                await asyncio.sleep(self._RETRY_S)

    async def _connected(self) -> None:
        connection = await asyncpg.connect(self._dsn, command_timeout=10, timeout=10)
        try:
            # A NOTIFY is a commit, too. It need not wait for the disk: after a crash nobody listens who did before.
            await connection.execute("SET synchronous_commit = off")
            await connection.add_listener(self._NOTIFIED, self._notified)
            # What happened while the connection was away is not known: everybody looks.
            for channel in Channel:
                super().wake(channel)
            while True:
                await self._something.wait()
                self._something.clear()
                pending, self._pending = self._pending, set()
                await connection.execute("SELECT pg_notify($1, $2)", self._NOTIFIED, ",".join(sorted(pending)))
                await asyncio.sleep(self._PAUSE_S)
        finally:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                await connection.close(timeout=2)

    def _notified(self, connection: object, sender: int, _channel: str, payload: str) -> None:
        if isinstance(connection, asyncpg.Connection) and sender == connection.get_server_pid():
            return  # our own: heard already
        for name in payload.split(","):
            with contextlib.suppress(ValueError):
                super().wake(Channel(name))

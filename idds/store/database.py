"""The database: where transactions come from.

A write transaction locks rows in one order, so that two can never wait for each other in a circle: its requests by
id, then replicas by id, then windows by id; all else belongs to a request that it has locked.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from functools import cached_property
from typing import Any

from sqlalchemy import event, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from idds.domain.errors import Unavailable
from idds.ports.clock import Clock
from idds.ports.wakeups import Channel, Wakeups
from idds.store.collections import Collections
from idds.store.contents import Contents
from idds.store.effects import Effects
from idds.store.messages import Messages
from idds.store.moves import Moves
from idds.store.processings import Processings
from idds.store.replicas import Replicas
from idds.store.requests import Requests
from idds.store.samples import Samples
from idds.store.tokens import Tokens
from idds.store.transforms import Transforms
from idds.store.windows import Windows

COMMAND_TIMEOUT_S = 60.0


class Transaction:
    """One transaction and, noun by noun, what can be done in it. `now` is its time, `agent` who acts."""

    def __init__(self, connection: AsyncConnection, now: int, agent: str) -> None:
        self.connection = connection
        self.now = now
        self.agent = agent
        self.woken: set[Channel] = set()

    def wake(self, *channels: Channel) -> None:
        """Wake these after the commit."""
        self.woken.update(channels)

    async def flush(self) -> None:
        """Write what the nouns have gathered."""
        for noun in ("transforms", "messages", "moves", "effects", "requests"):
            if noun in self.__dict__:
                await getattr(self, noun).flush()

    @cached_property
    def requests(self) -> Requests:
        return Requests(self)

    @cached_property
    def transforms(self) -> Transforms:
        return Transforms(self)

    @cached_property
    def processings(self) -> Processings:
        return Processings(self)

    @cached_property
    def collections(self) -> Collections:
        return Collections(self)

    @cached_property
    def contents(self) -> Contents:
        return Contents(self)

    @cached_property
    def samples(self) -> Samples:
        return Samples(self)

    @cached_property
    def replicas(self) -> Replicas:
        return Replicas(self)

    @cached_property
    def windows(self) -> Windows:
        return Windows(self)

    @cached_property
    def effects(self) -> Effects:
        return Effects(self)

    @cached_property
    def moves(self) -> Moves:
        return Moves(self)

    @cached_property
    def messages(self) -> Messages:
        return Messages(self)

    @cached_property
    def tokens(self) -> Tokens:
        return Tokens(self)


class Database:
    """SQLite or PostgreSQL behind one URL (`sqlite+aiosqlite:///FILE` or `postgresql+asyncpg://...`).

    Time is the database's own on PostgreSQL and this machine's on SQLite, unless a `clock` is given.
    """

    def __init__(self, url: str, *, wakeups: Wakeups | None = None, clock: Clock | None = None) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._wakeups = wakeups
        self._clock = clock
        # SQLite has one writer: who waits for it waits here, in turn, and not in a retry loop inside the database.
        self._writer = asyncio.Lock() if self.is_sqlite else nullcontext()
        self.engine = _sqlite_engine(url) if self.is_sqlite else _postgresql_engine(url)

    @asynccontextmanager
    async def transaction(self, agent: str) -> AsyncIterator[Transaction]:
        """A transaction that writes: committed at the end, rolled back by an exception. Raises Unavailable."""
        async with self._writer:
            with _translated():
                async with self.engine.connect() as connection:
                    if self.is_sqlite:
                        await connection.execution_options(idds_begin="BEGIN IMMEDIATE")
                    async with connection.begin():
                        transaction = Transaction(connection, await self._now(connection), agent)
                        yield transaction
                        await transaction.flush()
        if self._wakeups is not None:
            for channel in transaction.woken:
                self._wakeups.wake(channel)

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Transaction]:
        """A transaction that only reads, and never waits for a writer. Raises Unavailable."""
        with _translated():
            async with self.engine.connect() as connection, connection.begin():
                yield Transaction(connection, await self._now(connection), "reader")

    async def _now(self, connection: AsyncConnection) -> int:
        if self._clock is not None:
            return self._clock.now()
        if self.is_sqlite:
            return time.time_ns() // 1000
        result = await connection.execute(text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"))
        return int(result.scalar_one())

    async def close(self) -> None:
        await self.engine.dispose()


def _sqlite_engine(url: str) -> AsyncEngine:
    engine = create_async_engine(url, connect_args={"timeout": COMMAND_TIMEOUT_S})

    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver's guess
        cursor = connection.cursor()
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "cache_size = -65536"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begun(connection: Any) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("idds_begin", "BEGIN"))

    event.listen(engine.sync_engine, "connect", connected)
    event.listen(engine.sync_engine, "begin", begun)
    return engine


def _postgresql_engine(url: str) -> AsyncEngine:
    return create_async_engine(
        url,
        connect_args={"command_timeout": COMMAND_TIMEOUT_S, "timeout": 10.0},
        pool_size=10,
        max_overflow=10,
        pool_pre_ping=False,
    )


class _translated:  # noqa: N801 -- used as a function
    """Errors of a database that is away, full or locked become Unavailable; all others are defects and pass."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DBAPIError) and (
            error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))
        ):
            raise Unavailable("the database does not answer for now") from error
        if isinstance(error, (ConnectionError, TimeoutError)):
            raise Unavailable("the database cannot be reached for now") from error

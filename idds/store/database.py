"""The database: where transactions come from.

A write transaction locks rows in one order, so that two can never wait for each other in a circle: its requests by
id, then replicas by id, then windows by id; all else belongs to a request that it has locked.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy import URL, Engine, create_engine, event, make_url, select, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import create_async_engine

from idds.domain.errors import Unavailable
from idds.ports.clock import Clock
from idds.ports.wakeups import Channel, Wakeups
from idds.store import gathered
from idds.store.agents import Agents, known_as
from idds.store.audit import Audit
from idds.store.claims import Claims
from idds.store.clock import CLOCK
from idds.store.collections import Collections
from idds.store.connection import AsyncpgConnection, Connection, SqliteConnection, Threads, at_once
from idds.store.contents import Contents
from idds.store.demands import Demands
from idds.store.effects import Effects
from idds.store.hints import Hints
from idds.store.holds import Holds
from idds.store.intermediates import Intermediates
from idds.store.leases import Leases
from idds.store.messages import Messages
from idds.store.moves import Moves
from idds.store.processings import Processings
from idds.store.replicas import Replicas
from idds.store.requests import Requests
from idds.store.samples import Samples
from idds.store.series import Series
from idds.store.studies import Studies
from idds.store.study_series import StudySeries
from idds.store.tasks import Tasks
from idds.store.throughput import Throughput
from idds.store.tokens import Tokens
from idds.store.transforms import Transforms
from idds.store.turnover import Turnover
from idds.store.windows import Windows

COMMAND_TIMEOUT_S = 60.0
SQLITE_THREADS = 4
SQLITE_CONNECTIONS = 12
POSTGRESQL_CONNECTIONS = 20
PREPARED_STATEMENTS = 500

T = TypeVar("T")


class Transaction:
    """One transaction and, noun by noun, what can be done in it. `now` is its time, `agent` who acts."""

    def __init__(self, connection: Connection, now: int, agent: str, *, is_sqlite: bool) -> None:
        self.connection = connection
        self.is_sqlite = is_sqlite
        self.now = now
        self.agent = agent
        self.woken: set[Channel] = set()

    def distance(self, time: int | None) -> int | None:
        """How far away a time of this database is; below zero where it has passed, None where there is none."""
        return None if time is None else time - self.now

    def wake(self, *channels: Channel) -> None:
        """Wake these after the commit."""
        self.woken.update(channels)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """What is written inside is undone by an exception, and that alone."""
        await self.connection.execute(text("SAVEPOINT inside"))
        try:
            yield
        except BaseException:
            await self.connection.execute(text("ROLLBACK TO SAVEPOINT inside"))
            raise
        await self.connection.execute(text("RELEASE SAVEPOINT inside"))

    async def flush(self) -> None:
        """Write what the nouns have gathered."""
        if "transforms" in self.__dict__:
            await self.transforms.flush()
        told = await self.messages.gather() if "messages" in self.__dict__ else {}
        await self.write_gathered(told)
        for noun in ("requests", "windows"):
            if noun in self.__dict__:
                await getattr(self, noun).flush()

    async def write_gathered(self, more: gathered.Gathered = MappingProxyType({})) -> None:
        """Write all that was gathered so far, with nothing left to be found out, and this with it."""
        rows = dict(more)
        for noun in ("collections", "samples", "windows", "moves", "effects", "audit"):
            if noun in self.__dict__:
                rows |= getattr(self, noun).gathered()
        await self.write(rows)

    async def write(self, rows: gathered.Gathered) -> None:
        await gathered.write(self.connection, rows, is_sqlite=self.is_sqlite)

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
    def leases(self) -> Leases:
        return Leases(self)

    @cached_property
    def samples(self) -> Samples:
        return Samples(self)

    @cached_property
    def intermediates(self) -> Intermediates:
        return Intermediates(self)

    @cached_property
    def studies(self) -> Studies:
        return Studies(self)

    @cached_property
    def demands(self) -> Demands:
        return Demands(self)

    @cached_property
    def replicas(self) -> Replicas:
        return Replicas(self)

    @cached_property
    def hints(self) -> Hints:
        return Hints(self)

    @cached_property
    def windows(self) -> Windows:
        return Windows(self)

    @cached_property
    def holds(self) -> Holds:
        return Holds(self)

    @cached_property
    def throughput(self) -> Throughput:
        return Throughput(self)

    @cached_property
    def effects(self) -> Effects:
        return Effects(self)

    @cached_property
    def agents(self) -> Agents:
        return Agents(self)

    @cached_property
    def claims(self) -> Claims:
        return Claims(self)

    @cached_property
    def moves(self) -> Moves:
        return Moves(self)

    @cached_property
    def messages(self) -> Messages:
        return Messages(self)

    @cached_property
    def tasks(self) -> Tasks:
        return Tasks(self)

    @cached_property
    def series(self) -> Series:
        return Series(self)

    @cached_property
    def turnover(self) -> Turnover:
        return Turnover(self)

    @cached_property
    def study_series(self) -> StudySeries:
        return StudySeries(self)

    @cached_property
    def tokens(self) -> Tokens:
        return Tokens(self)

    @cached_property
    def audit(self) -> Audit:
        return Audit(self)


class Database:
    """SQLite or PostgreSQL behind one URL (`sqlite:///FILE` or `postgresql+asyncpg://...`).

    Time is the database's own on PostgreSQL and this machine's on SQLite, unless a `clock` is given. `name` is what
    PostgreSQL knows its connections by: whether the process of that name is there still, see `Agents.vanished`.
    """

    def __init__(
        self, url: str, *, wakeups: Wakeups | None = None, clock: Clock | None = None, name: str | None = None
    ) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._wakeups = wakeups
        self._clock = clock
        self._backend: _Sqlite | _Postgresql = _Sqlite(self.url) if self.is_sqlite else _Postgresql(self.url, name)

    @property
    def sync_engine(self) -> Engine:
        """For listeners to SQLAlchemy's events."""
        return self._backend.sync_engine

    @asynccontextmanager
    async def transaction(
        self, agent: str, *, brief: bool = False, timeless: bool = False
    ) -> AsyncIterator[Transaction]:
        """A transaction that writes: committed at the end, rolled back by an exception. Raises Unavailable.

        A `brief` one finds what it needs by keys and changes few rows: on SQLite its statements run on the event loop,
        where they take less time than a thread to hear of them. A `timeless` one begins with a place (`Collections`),
        which may tell the time, too.
        """
        with _translated():
            async with self._backend.connect(writes=True, brief=brief) as connection:
                now = 0 if timeless and self._clock is None and not self.is_sqlite else await self._now(connection)
                transaction = Transaction(connection, now, agent, is_sqlite=self.is_sqlite)
                yield transaction
                await transaction.flush()
        if self._wakeups is not None:
            for channel in transaction.woken:
                self._wakeups.wake(channel)

    @asynccontextmanager
    async def snapshot(self, *, timeless: bool = False, brief: bool = False) -> AsyncIterator[Transaction]:
        """A transaction that only reads, and never waits for a writer. Raises Unavailable.

        A `timeless` one spares a statement: its `now` is 0. A `brief` one is as `transaction` has it.
        """
        with _translated():
            async with self._backend.connect(writes=False, brief=brief) as connection:
                now = 0 if timeless else await self._now(connection)
                yield Transaction(connection, now, "reader", is_sqlite=self.is_sqlite)

    async def run(self, work: Callable[[sqlalchemy.Connection], T], *, writes: bool = True) -> T:
        """Do something with a plain connection, in a transaction: for alembic and the like. Raises Unavailable."""
        with _translated():
            return await self._backend.run(work, writes=writes)

    async def _now(self, connection: Connection) -> int:
        if self._clock is not None:
            return self._clock.now()
        if self.is_sqlite:
            return time.time_ns() // 1000
        result = await connection.execute(_NOW)
        return int(result.scalar_one())

    async def close(self) -> None:
        await self._backend.close()


_NOW = select(CLOCK)


class _Sqlite:
    def __init__(self, url: URL) -> None:
        arguments = {"timeout": COMMAND_TIMEOUT_S, "check_same_thread": False}
        self.sync_engine = create_engine(url.set(drivername="sqlite"), connect_args=arguments, hide_parameters=True)
        event.listen(self.sync_engine, "connect", _connected)
        event.listen(self.sync_engine, "begin", _begun)
        self._threads = Threads(SQLITE_THREADS)
        # Less than the pool holds: a thread that waits for a connection could keep another from giving one back.
        self._seats = asyncio.Semaphore(SQLITE_CONNECTIONS)
        # There is one writer: who waits for it waits here, in turn, and not in a retry loop inside the database.
        self._writer = asyncio.Lock()

    @asynccontextmanager
    async def connect(self, *, writes: bool, brief: bool) -> AsyncIterator[Connection]:
        async with self._writer if writes else nullcontext(), self._seats:
            connection = self._open_at_once(_begin(writes)) if brief else None
            if connection is None:
                opened = self._threads.run(lambda: self._open(_begin(writes)), undo=sqlalchemy.Connection.close)
                connection = await opened
            try:
                yield SqliteConnection(connection, at_once if brief else self._threads.run)
            except BaseException:
                await self._threads.run(connection.close)  # rolls back
                raise
            if writes or not brief:
                # A commit waits for the disk: not on the event loop.
                await self._threads.run(partial(_end, connection))
            else:
                _end(connection)

    def _open_at_once(self, begin: str) -> sqlalchemy.Connection | None:
        """None where another process is writing: that is to be waited for, but not on the event loop."""
        try:
            return self._open(begin, patience_s=0)
        except OperationalError as error:
            if not getattr(error.orig, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                raise
            return None

    def _open(self, begin: str, patience_s: float = COMMAND_TIMEOUT_S) -> sqlalchemy.Connection:
        connection = self.sync_engine.connect()
        try:
            _wait_for(connection, patience_s)
            try:
                connection.execution_options(idds_begin=begin).begin()
            finally:
                # Also where it did not begin: the next one to have this connection from the pool is to wait.
                _wait_for(connection, COMMAND_TIMEOUT_S)
        except BaseException:
            connection.close()
            raise
        return connection

    async def run(self, work: Callable[[sqlalchemy.Connection], T], *, writes: bool) -> T:
        def whole() -> T:
            with self.sync_engine.connect() as connection:
                connection.execution_options(idds_begin=_begin(writes))
                with connection.begin():
                    return work(connection)

        async with self._writer if writes else nullcontext(), self._seats:
            return await self._threads.run(whole)

    async def close(self) -> None:
        await self._threads.run(self.sync_engine.dispose)
        self._threads.stop()


def _wait_for(connection: sqlalchemy.Connection, patience_s: float) -> None:
    """How long statements wait for another process."""
    driver: Any = connection.connection.driver_connection
    driver.execute(f"PRAGMA busy_timeout = {patience_s * 1000:.0f}").close()


def _end(connection: sqlalchemy.Connection) -> None:
    with connection:
        connection.commit()


def _connected(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver's guess
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "cache_size = -65536"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(writes: bool) -> str:
    return "BEGIN IMMEDIATE" if writes else "BEGIN"


def _begun(connection: sqlalchemy.Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("idds_begin", "BEGIN IMMEDIATE"))


class _Postgresql:
    def __init__(self, url: URL, name: str | None) -> None:
        self._engine = create_async_engine(
            url,
            connect_args={
                "command_timeout": COMMAND_TIMEOUT_S,
                "timeout": 10.0,
                "prepared_statement_cache_size": PREPARED_STATEMENTS,
                "server_settings": {"application_name": known_as(name)} if name else {},
            },
            # All are kept: one opened for a crowd and closed after it costs more than what is done on it.
            pool_size=POSTGRESQL_CONNECTIONS,
            max_overflow=0,
            # The one used last has the statements prepared, and the others may rest.
            pool_use_lifo=True,
            hide_parameters=True,
        )
        self.sync_engine = self._engine.sync_engine

    @asynccontextmanager
    async def connect(self, *, writes: bool, brief: bool) -> AsyncIterator[Connection]:
        async with self._engine.connect() as connection:
            if not writes:
                # All that a reader sees is of one moment.
                await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            async with connection.begin():
                yield AsyncpgConnection(connection)

    async def run(self, work: Callable[[sqlalchemy.Connection], T], *, writes: bool) -> T:
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        await self._engine.dispose()


# Classes of SQLSTATE: connections, deadlocks and the like, disk or memory full, locks, shut down, system errors.
_FOR_NOW = ("08", "40", "53", "55", "57", "58")


class _translated:  # noqa: N801 -- used as a function
    """Errors of a database that is away, full or locked become Unavailable; all others are defects and pass."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # Of asyncpg's own errors, too: it raises them while a connection is made.
        original = error.orig if isinstance(error, DBAPIError) else error
        if str(getattr(original, "sqlstate", None) or "").startswith(_FOR_NOW):
            raise Unavailable("the database does not take this for now") from error
        if isinstance(error, DBAPIError) and (
            error.connection_invalidated or isinstance(error, (OperationalError, InterfaceError))
        ):
            raise Unavailable("the database does not answer for now") from error
        if isinstance(error, (ConnectionError, TimeoutError, PoolTimeout)):
            raise Unavailable("the database cannot be reached for now") from error

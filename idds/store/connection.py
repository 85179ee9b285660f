"""Connections: one statement is one await, and its rows come at once.

On PostgreSQL it is SQLAlchemy's asyncio connection. On SQLite it is a plain connection whose calls run in threads, a
statement a call, or on the event loop where a transaction is brief: the asyncio driver takes five hops between threads
for each (docs/adr/0006).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

import sqlalchemy
from sqlalchemy import CursorResult, Executable, Row
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

T = TypeVar("T")

_OF_UNIQUE_KEYS = ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY")


class Rows(list[Row[Any]]):
    """The rows of a statement; `rowcount` is how many it changed."""

    def __init__(self, result: CursorResult[Any]) -> None:
        super().__init__(result.all() if result.returns_rows else ())
        self.rowcount = result.rowcount

    def all(self) -> Sequence[Row[Any]]:
        return self

    def first(self) -> Row[Any] | None:
        return self[0] if self else None

    def one(self) -> Row[Any]:
        """The only row. Raises LookupError when there is another number of rows."""
        if len(self) != 1:
            raise LookupError(f"one row was expected, {len(self)} came")
        return self[0]

    def scalar(self) -> Any:
        """The first column of the first row, None where there is no row."""
        return self[0][0] if self else None

    def scalar_one(self) -> Any:
        """The first column of the only row. Raises LookupError when there is another number of rows."""
        return self.one()[0]


class Doubled(Exception):
    """A row has the unique key of another one."""


class Connection(Protocol):
    async def execute(self, statement: Executable, parameters: Any = None) -> Rows: ...

    async def driver(self, statement: str, parameters: Any) -> Rows:
        """Run SQL as the driver takes it."""
        ...

    async def insert(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        """Insert rows in the fastest way there is. Raises Doubled, leaving it to the caller's savepoint to undo."""
        ...


class AsyncpgConnection:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def execute(self, statement: Executable, parameters: Any = None) -> Rows:
        return Rows(await self._connection.execute(statement, parameters))

    async def driver(self, statement: str, parameters: Any) -> Rows:
        return Rows(await self._connection.exec_driver_sql(statement, parameters))

    async def insert(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        from asyncpg import UniqueViolationError

        driver = (await self._connection.get_raw_connection()).driver_connection
        assert driver is not None
        try:
            await driver.copy_records_to_table(table, columns=columns, records=rows)
        except UniqueViolationError as error:
            raise Doubled(table) from error


async def at_once(work: Callable[[], Rows]) -> Rows:
    """Do it right here, on the event loop."""
    return work()


class SqliteConnection:
    """`run` does a statement: in a thread, or at once."""

    def __init__(self, connection: sqlalchemy.Connection, run: Callable[[Callable[[], Rows]], Awaitable[Rows]]) -> None:
        self._connection = connection
        self._run = run

    async def execute(self, statement: Executable, parameters: Any = None) -> Rows:
        return await self._run(lambda: Rows(self._connection.execute(statement, parameters)))

    async def driver(self, statement: str, parameters: Any) -> Rows:
        return await self._run(lambda: Rows(self._connection.exec_driver_sql(statement, parameters)))

    async def insert(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        try:
            await self.driver(statement, list(rows))
        except IntegrityError as error:
            if getattr(error.orig, "sqlite_errorname", "") not in _OF_UNIQUE_KEYS:
                raise
            raise Doubled(table) from error


class Threads:
    """A few threads for a database that blocks."""

    def __init__(self, number: int) -> None:
        self._executor = ThreadPoolExecutor(number, "sqlite")

    async def run(self, work: Callable[[], T], *, undo: Callable[[T], object] | None = None) -> T:
        """Do it in a thread. When cancelled it waits for the end all the same: what follows needs the connection.

        What came of it, and nobody gets then, is left to `undo`.
        """
        future = asyncio.get_running_loop().run_in_executor(self._executor, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await _end_of(future)
            if future.exception() is None and undo is not None:
                await self.run(partial(undo, future.result()))
            raise

    def stop(self) -> None:
        self._executor.shutdown(wait=True)


async def _end_of(future: asyncio.Future[T]) -> None:
    """Wait for it, also when cancelled again and again: a transaction that nobody ends would keep all others out."""
    while not future.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({future})

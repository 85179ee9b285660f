"""The catalogue: one SQLite file that holds what a data management server would remember."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from idds.domain.errors import Unavailable
from idds.domain.identifiers import Did

P = ParamSpec("P")
T = TypeVar("T")

BUSY_S = 10.0
"""How long a statement waits for the writer of another process."""

SCHEMA = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS datasets (
  id INTEGER PRIMARY KEY, scope TEXT NOT NULL, name TEXT NOT NULL, is_open INTEGER NOT NULL, UNIQUE (scope, name)
) STRICT;
CREATE TABLE IF NOT EXISTS files (
  scope TEXT NOT NULL, name TEXT NOT NULL, bytes INTEGER NOT NULL, adler32 TEXT NOT NULL, events INTEGER,
  PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attachments (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, dataset_id INTEGER NOT NULL REFERENCES datasets,
  scope TEXT NOT NULL, name TEXT NOT NULL,
  off_tape INTEGER NOT NULL, cartridge TEXT NOT NULL, position INTEGER NOT NULL,
  UNIQUE (dataset_id, scope, name)
) STRICT;
CREATE INDEX IF NOT EXISTS attachments_in_tape_order ON attachments (dataset_id, off_tape, cartridge, position, seq);
CREATE INDEX IF NOT EXISTS attachments_as_attached ON attachments (dataset_id, seq);
CREATE TABLE IF NOT EXISTS tape_copies (
  rse TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL, cartridge TEXT NOT NULL, position INTEGER NOT NULL,
  PRIMARY KEY (scope, name, rse), UNIQUE (rse, cartridge, position)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rules (
  rse TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL, rule_id TEXT NOT NULL UNIQUE, ours INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('staging', 'present', 'failed', 'deleting')),
  next_rule_id TEXT, reason TEXT, seen TEXT, source TEXT,
  PRIMARY KEY (rse, scope, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rules_unfinished ON rules (state) WHERE state IN ('staging', 'deleting');
CREATE TABLE IF NOT EXISTS changes (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, rse TEXT NOT NULL, scope TEXT NOT NULL, name TEXT NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS rule_made AFTER INSERT ON rules
  BEGIN INSERT INTO changes (rse, scope, name) VALUES (new.rse, new.scope, new.name); END;
CREATE TRIGGER IF NOT EXISTS rule_moved AFTER UPDATE OF state, next_rule_id ON rules
  BEGIN INSERT INTO changes (rse, scope, name) VALUES (new.rse, new.scope, new.name); END;
CREATE TRIGGER IF NOT EXISTS rule_ended AFTER DELETE ON rules
  BEGIN INSERT INTO changes (rse, scope, name) VALUES (old.rse, old.scope, old.name); END;
COMMIT;
"""
WANTED = """
WITH wanted AS (
  SELECT key AS no, json_extract(value, '$[0]') AS scope, json_extract(value, '$[1]') AS name FROM json_each(?)
)
"""
"""In front of a statement whose first parameter is `wanted(dids)`."""


def wanted(dids: Iterable[Did]) -> str:
    """A set of DIDs as one parameter of a statement."""
    return json.dumps([(did.scope, did.name) for did in dids])


class Catalogue:
    """One connection, used by one thread: a statement never meets another one of this process.

    What is run is a function that takes the connection first; it is one transaction, which it may end by raising.
    """

    def __init__(self, path: Path, on_commit: Callable[[], None]) -> None:
        self._path = path
        self._on_commit = on_commit
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def start(self) -> None:
        """Raises Unavailable when the file cannot be opened as a catalogue."""
        self._thread = ThreadPoolExecutor(1, "ddm-catalogue")
        try:
            self._connection = await asyncio.get_running_loop().run_in_executor(self._thread, self._open)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        thread, connection = self._thread, self._connection
        self._thread = self._connection = None
        if thread is None:
            return
        if connection is not None:
            await asyncio.get_running_loop().run_in_executor(thread, connection.close)
        thread.shutdown()

    async def read(
        self, statement: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Raises Unavailable, as `write` does."""
        return await self._run("BEGIN", lambda db: statement(db, *args, **kwargs))

    async def write(
        self, statement: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        result = await self._run("BEGIN IMMEDIATE", lambda db: statement(db, *args, **kwargs))
        self._on_commit()
        return result

    async def _run(self, begin: str, statement: Callable[[sqlite3.Connection], T]) -> T:
        thread, connection = self._thread, self._connection
        if thread is None or connection is None:
            raise Unavailable("the data management is not started")
        return await asyncio.get_running_loop().run_in_executor(thread, _transaction, connection, begin, statement)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.executescript(SCHEMA)
            _know_later_columns(connection)
        except sqlite3.DatabaseError as error:
            connection.close()
            raise Unavailable(f"the catalogue of data management cannot be opened: {error}") from error
        return connection


def _know_later_columns(connection: sqlite3.Connection) -> None:
    """A catalogue of before files had a number of events, or rules a source, gets the column for it."""
    connection.execute("BEGIN IMMEDIATE")
    for table, column, kind in (("files", "events", "INTEGER"), ("rules", "source", "TEXT")):
        if column not in {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
    connection.execute("COMMIT")


def _transaction(connection: sqlite3.Connection, begin: str, statement: Callable[[sqlite3.Connection], T]) -> T:
    try:
        connection.execute(begin)
        result = statement(connection)
        connection.execute("COMMIT")
    except BaseException as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.OperationalError):
            raise Unavailable(f"the catalogue of data management: {error}") from error
        raise
    return result

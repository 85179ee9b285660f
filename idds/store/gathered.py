"""What a transaction has gathered for its end: one statement on PostgreSQL, where each costs a round trip."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Boolean, Double, Executable, Table, Text, TextClause, bindparam, insert, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine

from idds.domain.statuses import ContentStatus
from idds.store.connection import Connection
from idds.store.schema import Json, audit, effects, messages, moves

Rows = Sequence[Mapping[str, Any]]
Gathered = Mapping[str, Rows]
"""Rows by what is done with them, see `write`."""

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class _Update:
    """Of one row of a table for each that is given: what its columns become, where in `{}` stands what is given.

    `key` are the table's column and what is given that it is found by; `also` is true of the rows that are meant.
    """

    table: str
    key: tuple[str, str]
    becomes: Mapping[str, str]
    given: Mapping[str, TypeEngine[Any]]
    also: str = ""

    def all(self, name: str) -> str:
        """Done with each row of a JSON array of this name."""
        column, key = self.key
        # Of a function's rows PostgreSQL expects a hundred, and may read all of a table for them; of an array's, ten.
        each = (
            f"SELECT CAST(each ->> '{key}' AS {_type(self.given[key])}) FROM jsonb_array_elements({_json(name)}) each"
        )
        found = f"{column} = ANY (ARRAY({each})) AND {column} = given.{key}{self.also}"
        return f"{self._changed('given.')} FROM {_rows(name, self.given)} WHERE {found}"

    def each(self) -> TextClause:
        """Done with one."""
        column, key = self.key
        statement = text(f"{self._changed(':')} WHERE {column} = :{key}{self.also}")
        return statement.bindparams(*(bindparam(name, type_=type_) for name, type_ in self.given.items()))

    def _changed(self, prefix: str) -> str:
        names = {name: prefix + name for name in self.given}
        changes = (f"{column} = {value.format(**names)}" for column, value in self.becomes.items())
        return f"UPDATE {self.table} SET {', '.join(changes)}"


def _json(name: str) -> str:
    return f"CAST(:{name} AS jsonb)"


def _type(type_: TypeEngine[Any]) -> str:
    return type_.compile(_DIALECT)


def _rows(name: str, columns: Mapping[str, TypeEngine[Any]]) -> str:
    types = ", ".join(f"{column} {_type(type_)}" for column, type_ in columns.items())
    return f"jsonb_to_recordset({_json(name)}) AS given ({types})"


_UPDATES: Mapping[str, _Update] = {
    "counts": _Update(
        "collections",
        ("collections.id", "collection"),
        {
            **{f"n_{status}": f"n_{status} + {{more_{status}}}" for status in ContentStatus},
            "next_no": "next_no + {more_no}",
            "unadmitted": "unadmitted + {more_unadmitted}",
            # It waits from when there is something to wait for, and anew whenever something of it is admitted.
            "waiting_since": "CASE WHEN {more_unadmitted} < 0 OR {more_unadmitted} > 0 AND unadmitted = 0"
            " THEN {counted_at} ELSE waiting_since END",
            "listed_to": "coalesce({now_at}, listed_to)",
        },
        {
            **{f"more_{status}": BigInteger() for status in ContentStatus},
            "more_no": BigInteger(),
            "more_unadmitted": BigInteger(),
            "counted_at": BigInteger(),
            "now_at": Text(),
            "collection": BigInteger(),
        },
    ),
    "numbers": _Update(
        "requests",
        ("requests.id", "request"),
        {"message_seq": "{last}"},
        {"request": BigInteger(), "last": BigInteger()},
    ),
    "results": _Update(
        "samples",
        ("samples.content_id", "content"),
        {
            "objective_values": "{reported}",
            "constraint_values": "{constrained}",
            "is_pruned": "{pruned}",
            "score": "{scored}",
        },
        {"content": BigInteger(), "reported": Json, "constrained": Json, "pruned": Boolean(), "scored": Double()},
    ),
    "places": _Update(
        "windows",
        ("windows.ref", "study"),
        {"reserved_files": "reserved_files - {number}"},
        {"study": Text(), "number": BigInteger()},
        also=" AND kind = 'collection'",
    ),
}
_INSERTS: Mapping[str, Table] = {table.name: table for table in (messages, moves, effects, audit)}


async def write(connection: Connection, gathered: Gathered, *, is_sqlite: bool) -> None:
    """Write these rows: new ones by the name of their table, in their order; and what changes of others.

    An effect whose key is known stays as it is. `counts` are of collections, each once; `numbers` the last that a
    request has given to a message; `results` of samples; `places` those that are given back to a study's window.
    """
    some = {name: rows for name, rows in gathered.items() if rows}
    if not is_sqlite and len(some) > 1:
        documents = {name: _document(rows) for name, rows in some.items()}
        await connection.execute(_all(tuple(sorted(some))), documents)
        return
    for name, rows in some.items():
        await connection.execute(_each(name, is_sqlite=is_sqlite), rows)


@cache
def _all(names: Iterable[str]) -> TextClause:
    parts = ", ".join(f"written_{name} AS ({_part(name)})" for name in names)
    return text(f"WITH {parts} SELECT 1").bindparams(*(bindparam(name) for name in names))


def _part(name: str) -> str:
    """Of the statement: done with each row of a JSON array."""
    if name in _UPDATES:
        return _UPDATES[name].all(name)
    table = _INSERTS[name]
    columns = {column.name: column.type for column in _written(table)}
    names = ", ".join(columns)
    known = " ON CONFLICT DO NOTHING" if table is effects else ""
    return f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {_rows(name, columns)}{known}"


def _written(table: Table) -> list[Any]:
    return [column for column in table.columns if column.name != "id" and column.server_default is None]


@cache
def _each(name: str, *, is_sqlite: bool) -> Executable:
    if name in _UPDATES:
        return _UPDATES[name].each()
    if name == "effects":
        if is_sqlite:
            return sqlite.insert(effects).on_conflict_do_nothing()
        return postgresql.insert(effects).on_conflict_do_nothing()
    return insert(_INSERTS[name])


def _document(rows: Rows) -> str:
    """What is None is left out: as JSON's null it would stay one in a column of JSON."""
    named = [{name: value for name, value in row.items() if value is not None} for row in rows]
    return json.dumps(named, separators=(",", ":"))

"""What a transaction has gathered for its end: one statement on PostgreSQL, where each costs a round trip."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Table, bindparam, insert, text
from sqlalchemy.dialects import postgresql, sqlite

from idds.store.connection import Connection
from idds.store.schema import audit, effects, moves

Rows = Sequence[Mapping[str, Any]]

_TABLES = (moves, effects, audit)
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def _filled(table: Table) -> str:
    """A part of the statement: rows of a JSON array into this table."""
    columns = [column for column in table.columns if column.name != "id" and column.server_default is None]
    names = ", ".join(column.name for column in columns)
    types = ", ".join(f"{column.name} {column.type.compile(_DIALECT)}" for column in columns)
    rows = f"jsonb_to_recordset(CAST(:{table.name} AS jsonb)) AS given ({types})"
    known = " ON CONFLICT DO NOTHING" if table is effects else ""
    return f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {rows}{known}"


_ALL = text(
    "WITH " + ", ".join(f"filled_{table.name} AS ({_filled(table)})" for table in _TABLES) + " SELECT 1"
).bindparams(*(bindparam(table.name) for table in _TABLES))
_EACH = {
    is_sqlite: {
        "moves": insert(moves),
        "effects": (sqlite if is_sqlite else postgresql).insert(effects).on_conflict_do_nothing(),
        "audit": insert(audit),
    }
    for is_sqlite in (True, False)
}


async def write(connection: Connection, gathered: Mapping[str, Rows], *, is_sqlite: bool) -> None:
    """Insert these rows, by the name of their table, in their order; an effect whose key is known stays as it is."""
    if not is_sqlite and len(gathered) > 1:
        await connection.execute(_ALL, {table.name: _document(gathered.get(table.name, ())) for table in _TABLES})
        return
    for name, rows in gathered.items():
        await connection.execute(_EACH[is_sqlite][name], rows)


def _document(rows: Rows) -> str:
    """What is None is left out: as JSON's null it would stay one in a column of JSON."""
    named = [{name: value for name, value in row.items() if value is not None} for row in rows]
    return json.dumps(named, separators=(",", ":"))

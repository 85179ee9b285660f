"""How a database would carry out a statement."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from sqlalchemy import event

from idds.store.database import Database


@dataclass(frozen=True)
class Access:
    """One way a plan goes at a table; `index` is None for reading all of it."""

    table: str
    index: str | None


@dataclass(frozen=True)
class Statement:
    sql: str
    parameters: Any


@contextmanager
def captured(database: Database) -> Iterator[list[Statement]]:
    """The statements sent inside, but for plain inserts."""
    found: list[Statement] = []

    def sent(_connection: Any, _cursor: Any, sql: str, parameters: Any, _context: Any, many: bool) -> None:
        if re.match(r"\s*(WITH|SELECT|UPDATE|DELETE)\b", sql):
            found.append(Statement(sql, parameters[0] if many else parameters))

    event.listen(database.sync_engine, "before_cursor_execute", sent)
    try:
        yield found
    finally:
        event.remove(database.sync_engine, "before_cursor_execute", sent)


class Plans:
    """What a database would do."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._names = count()

    async def of(self, statement: Statement) -> list[tuple[str, list[Access]]]:
        """The accesses of each plan that may be made for a statement, by the sort of plan."""
        async with self._database.snapshot() as tx:
            if self._database.is_sqlite:
                rows = await tx.connection.driver(f"EXPLAIN QUERY PLAN {statement.sql}", statement.parameters)
                return [("plan", [a for row in rows if (a := _of_sqlite(row[3]))])]
            custom = await tx.connection.driver(f"EXPLAIN (FORMAT JSON) {statement.sql}", statement.parameters)
            plans = [("custom", list(_of_postgresql(custom.scalar_one()[0]["Plan"])))]
            name = f"hot_{next(self._names)}"
            await tx.connection.driver(f"PREPARE {name} AS {statement.sql}", ())
            await tx.connection.driver("SET LOCAL plan_cache_mode = force_generic_plan", ())
            nothing = ", ".join(["NULL"] * len(statement.parameters))
            execute = f"EXECUTE {name}({nothing})" if nothing else f"EXECUTE {name}"
            generic = await tx.connection.driver(f"EXPLAIN (FORMAT JSON) {execute}", ())
            await tx.connection.driver(f"DEALLOCATE {name}", ())
            return [*plans, ("generic", list(_of_postgresql(generic.scalar_one()[0]["Plan"])))]


def _of_postgresql(node: Mapping[str, Any]) -> Iterator[Access]:
    kind = node["Node Type"]
    if kind == "Seq Scan":
        yield Access(node["Relation Name"], None)
    elif kind in ("Index Scan", "Index Only Scan"):
        yield Access(node["Relation Name"], node["Index Name"])
    elif kind == "Bitmap Heap Scan":
        yield from (Access(node["Relation Name"], name) for name in _bitmap(node))
    for child in node.get("Plans", ()):
        yield from _of_postgresql(child)


def _bitmap(node: Mapping[str, Any]) -> Iterator[str]:
    if node["Node Type"] == "Bitmap Index Scan":
        yield node["Index Name"]
    for child in node.get("Plans", ()):
        if child["Node Type"].startswith("Bitmap"):
            yield from _bitmap(child)


def _of_sqlite(detail: str) -> Access | None:
    found = re.match(r"(SCAN|SEARCH) (\w+)(?: AS \w+)?(.*)", detail)
    if found is None or "VIRTUAL TABLE" in detail or "CONSTANT ROW" in detail:
        return None
    how = found[3]
    if index := re.search(r"USING (?:COVERING )?INDEX (\w+)", how):
        return Access(found[2], index[1])
    # A search without a word more goes to the end of the table for the largest key.
    is_by_key = "PRIMARY KEY" in how or (found[1] == "SEARCH" and not how)
    return Access(found[2], "primary key" if is_by_key else None)

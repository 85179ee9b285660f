"""What was written under one version is all there under the next, and after the way back."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from alembic import command
from sqlalchemy import JSON, Boolean, Column, Connection, Integer, MetaData, Table, insert, inspect, select, text

from idds.domain.identifiers import RequestId
from idds.domain.request import Principal, Role
from idds.store.database import Database
from idds.store.upgrade import configuration, upgrade

ROWS = 3
OPERATORS = (False, True, False)
"""Which of the tokens are an operator's."""

WORKFLOW = {
    "works": [
        {
            "name": "count",
            "after": [],
            "input": {
                "dataset": "data:set",
                "outputs": None,
                "samples": None,
                "rse": None,
                "window": {"bytes": None, "files": None},
                "batch": 2,
            },
            "payload": {"argv": ["true"], "environment": {}},
            "output": {"dataset": "user:out", "rse": None},
            "resources": {"cores": 1, "memory_bytes": None, "walltime_s": 3600},
            "provider": None,
            "attempts": 3,
        },
        {
            "name": "scan",
            "after": ["count"],
            "input": {
                "dataset": None,
                "outputs": None,
                "samples": {
                    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0, "log": False, "choices": []}},
                    "count": 6,
                    "sampler": "random",
                    "seed": 0,
                },
                "rse": None,
                "window": {"bytes": None, "files": None},
                "batch": 1,
            },
            "payload": None,
            "output": None,
            "resources": {"cores": 1, "memory_bytes": None, "walltime_s": 3600},
            "provider": None,
            "attempts": 3,
        },
    ],
    "version": 1,
}
"""A document as 0001's service stored it."""

Rows = Mapping[str, list[dict[str, Any]]]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


def tables(connection: Connection) -> list[Table]:
    """As they are in the database, each after those that it refers to."""
    found = MetaData()
    found.reflect(connection)
    return [table for table in found.sorted_tables if table.name != "alembic_version"]


def value(table: Table, column: Column[Any], number: int) -> Any:
    """Unlike that of any other column and row, where it can be; a reference leads to the row of this number."""
    name = f"{table.name}.{column.name}"
    if column.foreign_keys or (column.primary_key and isinstance(column.type, Integer)):
        return number
    if name == "tokens.is_operator":
        return OPERATORS[number - 1]
    if name in ("requests.status", "collections.relation"):
        return {"requests.status": "running", "collections.relation": "input"}[name]
    if name == "requests.intent":
        return "run"
    if name == "requests.workflow":
        return {**WORKFLOW, "name": f"w{number}"}
    if isinstance(column.type, Boolean):
        return number % 2 == 0
    if isinstance(column.type, JSON):
        return {"of": name, "number": number}
    if isinstance(column.type, Integer):
        return sum(map(ord, name)) * 10 + number
    return f"{name} {number}"


def fill(connection: Connection) -> None:
    """Some rows in every table there is, every column of them given."""
    for table in tables(connection):
        rows = [{c.name: value(table, c, number) for c in table.columns} for number in range(1, ROWS + 1)]
        connection.execute(insert(table), rows)


def read(connection: Connection) -> Rows:
    """All rows of all tables, in one order."""
    found = {}
    for table in tables(connection):
        rows = connection.execute(select(table).order_by(*table.primary_key.columns))
        found[table.name] = [dict(row._mapping) for row in rows]
    return found


def narrowed(rows: Rows, old: Rows) -> dict[str, list[dict[str, Any]]]:
    """Of tables and columns that are in both, those of `rows`."""
    return {
        table: [{name: row[name] for name in row if name in old[table][0]} for row in found]
        for table, found in rows.items()
        if table in old
    }


async def test_all_that_was_written_before_is_there_after(database: Database) -> None:
    await upgrade(database, "0001")
    await database.run(fill)
    old = await database.run(read)
    assert {name: len(rows) for name, rows in old.items()} == dict.fromkeys(old, ROWS)
    assert len(old) >= 13

    await upgrade(database)
    new = await database.run(read)
    assert old.keys() <= new.keys()
    assert narrowed(new, old) == narrowed(old, new)
    assert [row["role"] for row in new["tokens"]] == [
        "operator" if is_operator else "user" for is_operator in OPERATORS
    ]
    assert {(row["shares"], row["revoked_at"], row["last_used_at"]) for row in new["tokens"]} == {(None, None, None)}
    await _is_read_by_the_store(database)

    await database.run(lambda connection: command.downgrade(configuration(connection), "0001"))
    assert await database.run(read) == old
    assert await database.run(lambda connection: set(inspect(connection).get_table_names())) == {
        *old,
        "alembic_version",
    }


async def test_what_runs_holds_room_in_the_name_of_its_share_after(database: Database) -> None:
    """Else it would take from a quota, and never give back."""

    def running(connection: Connection) -> None:
        fill(connection)
        connection.execute(text("UPDATE transforms SET status = 'running' WHERE id < 3"))
        if not database.is_sqlite:
            connection.execute(text(f"SELECT setval(pg_get_serial_sequence('windows', 'id'), {ROWS})"))
        connection.execute(text("UPDATE windows SET kind = 'collection', ref = '1' WHERE id = 1"))

    await upgrade(database, "0002")
    await database.run(running)
    await upgrade(database)
    rows = await database.run(read)
    shares = {row["ref"]: row["share"] for row in rows["windows"] if row["kind"] == "collection"}
    assert shares == {"1": rows["requests"][0]["share"], "2": rows["requests"][1]["share"]}
    assert len(rows["windows"]) == ROWS + 1


async def test_charts_tell_of_what_came_and_went_before(database: Database) -> None:
    def stage(connection: Connection) -> None:
        connection.execute(text("UPDATE contents SET request_id = 1, replica_id = id"))
        connection.execute(
            text(
                "UPDATE replicas SET ours = true, bytes = 10 * id, landed_at = 60000000 * id + 5,"
                " status = CASE id WHEN 1 THEN 'gone' ELSE 'present' END, changed_at = 300000000 + id"
            )
        )

    def told(connection: Connection) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        counted = connection.execute(text("SELECT at, kind, took, files, bytes FROM turnover ORDER BY at"))
        there = connection.execute(text("SELECT replica_id, request_id FROM stays ORDER BY replica_id"))
        return [tuple(row) for row in counted], [tuple(row) for row in there]

    await upgrade(database, "0003")
    await database.run(fill)
    await database.run(stage)
    await upgrade(database)
    counted, there = await database.run(told)
    landed = [(60_000_000 * number, "landed", -1, 1, 10 * number) for number in (1, 2, 3)]
    assert counted == [*landed, (300_000_000, "gone", -1, 1, 10)]
    assert there == [(2, 1), (3, 1)]


async def _is_read_by_the_store(database: Database) -> None:
    operator = Principal("operator", "local", Role.OPERATOR)
    async with database.snapshot() as tx:
        for number in range(1, ROWS + 1):
            request = await tx.requests.get(RequestId(number), operator)
            assert request is not None
            assert (request.workflow.name, request.retries, request.expires_at) == (f"w{number}", 0, None)
            assert [work.name for work in request.workflow.works] == ["count", "scan"]
        assert len(await tx.tokens.list(operator)) == ROWS


async def test_who_would_be_let_in_to_more_is_left_out_on_the_way_back(database: Database) -> None:
    """The version before knows neither readers nor shares, nor tokens that were revoked."""
    await upgrade(database)
    async with database.transaction("test") as tx:
        for name, role, shares in [
            ("user", Role.USER, None),
            ("reader", Role.READER, None),
            ("held", Role.USER, frozenset({"a"})),
            ("robot", Role.WFMS, None),
            ("operator", Role.OPERATOR, None),
        ]:
            await tx.tokens.add(name, Principal(name, "vo", role, shares))
        revoked = await tx.tokens.add("revoked", Principal("revoked", "vo"))
        await tx.tokens.revoke(revoked.id)
    await database.run(lambda connection: command.downgrade(configuration(connection), "0001"))
    rows = (await database.run(read))["tokens"]
    assert [(row["owner"], row["is_operator"]) for row in rows] == [("user", False), ("operator", True)]

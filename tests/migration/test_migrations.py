"""Migrations lead from nothing to the tables that the code describes, and back."""

from collections.abc import AsyncIterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from idds.domain.request import Principal
from idds.domain.workflow import Payload, Work, Workflow
from idds.store.database import Database
from idds.store.schema import metadata
from idds.store.upgrade import configuration, is_current, upgrade


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


async def downgrade(database: Database) -> None:
    await database.run(lambda connection: command.downgrade(configuration(connection), "base"))


async def tables(database: Database) -> set[str]:
    return await database.run(lambda connection: set(inspect(connection).get_table_names()))


async def definitions(database: Database) -> dict[str, str]:
    """Columns, and indexes in the database's own words: alembic compares no defaults and no partial indexes."""
    query = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    if database.is_sqlite:
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"

    def read(connection: Connection) -> dict[str, str]:
        found = {name: " ".join(sql.split()) for name, sql in connection.execute(text(query))}
        for table in metadata.tables:
            for column in inspect(connection).get_columns(table):
                found[f"{table}.{column['name']}"] = f"{column['type']!r} {column['nullable']} {column['default']}"
        return {name: what for name, what in found.items() if not name.startswith("alembic")}

    return await database.run(read)


async def test_upgrading_makes_the_tables_that_the_code_describes(database: Database) -> None:
    await upgrade(database)

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": False})
        return compare_metadata(context, metadata)

    assert await database.run(differences) == []
    upgraded = await definitions(database)
    await downgrade(database)
    await database.run(metadata.create_all)
    assert upgraded == await definitions(database)


async def test_it_goes_down_and_up_again(database: Database) -> None:
    assert not await is_current(database)
    await upgrade(database)
    assert await is_current(database)
    assert await tables(database) == {*metadata.tables, "alembic_version"}
    await downgrade(database)
    assert not await is_current(database)
    assert await tables(database) == {"alembic_version"}
    await upgrade(database)
    assert await is_current(database)


async def test_upgrading_again_changes_nothing(database: Database) -> None:
    await upgrade(database)
    workflow = Workflow(name="w", works=(Work(name="a", payload=Payload(argv=("x",))),))
    async with database.transaction("test") as tx:
        request = await tx.requests.add(workflow, Principal("a", "b"))
        assert request is not None
    await upgrade(database)
    async with database.snapshot() as tx:
        assert await tx.requests.get(request.id) == request


async def test_ids_of_effects_are_never_given_again(database: Database) -> None:
    """A stale claim names its effect by id: a new effect under an old id would be finished by it."""
    await upgrade(database)

    def add(connection: Connection) -> int:
        names = "kind, entity, attempt, payload, due_at, created_at"
        row = f"INSERT INTO effects ({names}) VALUES ('list', 'c', 0, '{{}}', 0, 0) RETURNING id"
        return int(connection.execute(text(row)).scalar_one())

    def remove(connection: Connection) -> None:
        connection.execute(text("DELETE FROM effects"))

    first = await database.run(add)
    await database.run(remove)
    assert await database.run(add) > first

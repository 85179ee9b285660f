"""Bringing a database to the tables that this version needs."""

import asyncio
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from idds.store.database import Database


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    if connection is not None:
        config.attributes["connection"] = connection
    return config


async def upgrade(database: Database, revision: str = "head") -> None:
    """Upgrade to a revision, the newest by default; does nothing where that is reached."""

    def run(connection: Connection) -> None:
        command.upgrade(configuration(connection), revision)

    await database.run(run)


async def is_current(database: Database) -> bool:
    """Whether the tables are those of this version."""

    def run(connection: Connection) -> Any:
        return MigrationContext.configure(connection).get_current_revision()

    head = await asyncio.to_thread(_head)
    return bool(await database.run(run, writes=False) == head)


@cache
def _head() -> str | None:
    return ScriptDirectory.from_config(configuration()).get_current_head()

"""Bringing a database to the tables of this version."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer


def upgrade(
    settings_file: Annotated[Path | None, typer.Option("--settings", help="TOML file; see config/idds.toml.")] = None,
) -> None:
    """Bring the database of the settings to the tables of this version. Run it once, before a new version starts."""
    from pydantic import ValidationError

    from idds.domain.errors import IddsError
    from idds.runtime.settings import read_settings

    try:
        asyncio.run(_upgrade(read_settings(settings_file).database_url))
    except (IddsError, FileNotFoundError, ValidationError) as error:
        sys.stderr.write(f"idds upgrade: {error}\n")
        raise typer.Exit(1) from None


async def _upgrade(url: str) -> None:
    from idds.store.database import Database
    from idds.store.upgrade import upgrade as upgrade_tables

    database = Database(url)
    try:
        await upgrade_tables(database)
    finally:
        await database.close()

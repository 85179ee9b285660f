"""Commands about the database: upgraded, checked, backed up."""

import asyncio
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import sqlalchemy
import typer

from idds.cli.exits import Exit
from idds.cli.output import plain, write, write_json
from idds.cli.session import AsJson
from idds.cli.settings import SettingsFile, told
from idds.domain.errors import NotFound
from idds.runtime.lock import hold
from idds.runtime.settings import read_settings
from idds.store.backup import back_up
from idds.store.database import Database
from idds.store.integrity import damages, disagreements, version
from idds.store.upgrade import is_current
from idds.store.upgrade import upgrade as upgrade_tables


def upgrade(settings_file: SettingsFile = None) -> None:
    """Bring the database of the settings to the tables of this version. Run it once, before a new version starts."""
    with told():
        asyncio.run(_upgrade(read_settings(settings_file).database_url))
    write("the database has the tables of this version")


async def _upgrade(url: str) -> None:
    database = Database(url)
    alone: AbstractContextManager[None] = hold(f"{database.url.database}.lock") if database.is_sqlite else nullcontext()
    try:
        with alone:
            await upgrade_tables(database)
    finally:
        await database.close()


@dataclass(frozen=True, slots=True)
class Findings:
    """What a check found; all is well where `damages` and `disagreements` are empty and the tables are `current`."""

    url: str
    version: str
    current: bool
    damages: tuple[str, ...] = ()
    disagreements: tuple[str, ...] = ()

    @property
    def are_good(self) -> bool:
        return self.current and not self.damages and not self.disagreements


def check(settings_file: SettingsFile = None, as_json: AsJson = False) -> None:
    """Whether the database holds together: its file, its tables, and all that is counted against what is there.

    It only reads, also while the service runs. On a large database it takes as long as reading it once.
    """
    with told():
        url = sqlalchemy.make_url(read_settings(settings_file).database_url)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").is_file():
            raise NotFound(f"there is no database {url.database}: `idds serve` makes one")
        findings = asyncio.run(_check(url))
    if as_json:
        write_json(asdict(findings))
    else:
        _tell(findings)
    raise typer.Exit(Exit.DONE if findings.are_good else Exit.NOT_FINISHED)


async def _check(url: sqlalchemy.URL) -> Findings:
    shown = url.render_as_string(hide_password=True)
    database = Database(url.render_as_string(hide_password=False))
    try:
        named = await database.run(version, writes=False)
        if not await is_current(database):
            return Findings(shown, named, current=False)
        return await database.run(lambda connection: _findings(connection, shown, named), writes=False)
    finally:
        await database.close()


def _findings(connection: sqlalchemy.Connection, url: str, named: str) -> Findings:
    if connection.dialect.name == "postgresql":
        # All that is compared is of one moment.
        connection.execute(sqlalchemy.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    counted = tuple(map(str, disagreements(connection)))
    return Findings(url, named, current=True, damages=tuple(damages(connection)), disagreements=counted)


def _tell(findings: Findings) -> None:
    write(f"database   {plain(findings.url)}, {findings.version}")
    another = "of another version; bring them to this one with: idds db upgrade"
    write(f"tables     {'of this version' if findings.current else another}")
    if not findings.current:
        return
    write(f"file       {_number(findings.damages, 'damages')}")
    write(f"counters   {_number(findings.disagreements, 'disagreements')}")
    for line in (*findings.damages, *findings.disagreements):
        write(f"  {plain(line)}")


def _number(found: tuple[str, ...], noun: str) -> str:
    return f"{len(found)} {noun}" if found else f"no {noun}"


def backup(
    file: Annotated[Path, typer.Argument(help="Where the copy is to be; nothing may be there yet.")],
    settings_file: SettingsFile = None,
) -> None:
    """Copy the database of the settings into a file, as of one moment, while the service runs.

    SQLite gives a database that a service can be started on. PostgreSQL gives an archive for pg_restore, made by
    pg_dump. The copy holds what the database holds: keep it as well.
    """
    with told():
        asyncio.run(_backup(read_settings(settings_file).database_url, file))
    write(f"{plain(str(file))}: {file.stat().st_size} bytes")


async def _backup(url: str, file: Path) -> None:
    await back_up(sqlalchemy.make_url(url), file)

"""A copy of the whole database, as of one moment, while it is in use."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from sqlalchemy import URL

from idds.domain.errors import Conflict, InvalidInput, NotFound, Problem, Unavailable

MAX_DETAIL = 2000


async def back_up(url: URL, file: Path) -> None:
    """Write a copy into `file`, which must not be there: all of it, or nothing.

    Of SQLite it is a database that can be opened; of PostgreSQL an archive for pg_restore. Raises Conflict when the
    file is there, NotFound when the database is not, and Unavailable when the copy does not come about.
    """
    _check_place(file)
    if url.get_backend_name() == "sqlite":
        await asyncio.to_thread(_of_sqlite, Path(url.database or ""), file)
    else:
        await _of_postgresql(url, file)


def _check_place(file: Path) -> None:
    if file.exists():
        raise Conflict(f"{file} is there already: name another file")
    if not file.absolute().parent.is_dir():
        raise InvalidInput([Problem("", f"there is no folder {file.absolute().parent}")])


@contextmanager
def _whole(file: Path) -> Iterator[Path]:
    """A file beside it, readable by nobody else, that takes its name when it is complete."""
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        yield part
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(part, file)
        except FileExistsError:
            raise Conflict(f"{file} is there already: name another file") from None
    finally:
        part.unlink(missing_ok=True)


def _of_sqlite(database: Path, file: Path) -> None:
    if not database.is_file():
        raise NotFound(f"there is no database {database}")
    with (
        _whole(file) as part,
        contextlib.closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as source,
    ):
        try:
            # One read transaction: writers go on, and what they write is not in it.
            source.execute("VACUUM INTO ?", (str(part),))
        except sqlite3.Error as error:
            raise Unavailable(f"the copy broke off: {error}") from None


async def _of_postgresql(url: URL, file: Path) -> None:
    program = shutil.which("pg_dump")
    if program is None:
        raise Unavailable(
            "PostgreSQL is backed up by its own pg_dump, which is not here: install PostgreSQL's client programs,"
            " of the server's version or a later one"
        )
    with _whole(file) as part:
        async with _running(program, "--format=custom", f"--file={part}", "--no-password", url=url) as process:
            _, said = await process.communicate()
        if process.returncode != 0:
            raise Unavailable(
                f"pg_dump ended with {process.returncode}: {said.decode(errors='replace')[:MAX_DETAIL].strip()}"
            )


@asynccontextmanager
async def _running(*command: str, url: URL) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program of PostgreSQL's that finds the database, and the password, in its environment; ended with the block."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **_environment(url)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _environment(url: URL) -> dict[str, str]:
    """As libpq reads it: https://www.postgresql.org/docs/current/libpq-envars.html"""
    query = {name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()}
    given = {
        "PGHOST": url.host or query.get("host"),
        "PGPORT": str(url.port) if url.port else query.get("port"),
        "PGUSER": url.username,
        "PGPASSWORD": url.password,
        "PGDATABASE": url.database,
        "PGSSLMODE": query.get("ssl") or query.get("sslmode"),
    }
    return {name: str(value) for name, value in given.items() if value}

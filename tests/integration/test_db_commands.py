"""The commands about the database: upgraded, checked against itself, backed up while somebody writes."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from idds.cli.exits import Exit
from idds.cli.main import app
from idds.domain.statuses import Status
from idds.store.backup import back_up
from idds.store.database import Database
from idds.store.integrity import disagreements
from idds.store.upgrade import upgrade
from tests.integration.api import Api, api_on
from tests.servers.postgres import PostgresServer


async def idds(url: str, *arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["db", *arguments], env={"IDDS_STORE__URL": url})


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with api_on(database_url) as api:
        yield api


async def _half_done(api: Api) -> int:
    """A study of which one sample is done, one leased and some available; its request's number."""
    request = await api.submit()
    collection = f"/v1/collections/{await api.input_of(request)}"
    leased = (await api.post(f"{collection}/contents:lease", {"lessee": "a", "count": 2}))["contents"]
    report = {"id": leased[0]["id"], "attempt": 1, "status": "done", "objective_values": [1.0]}
    await api.post(f"{collection}/contents:report", {"reports": [report]})
    return request


async def test_a_database_in_use_agrees_with_itself(api: Api, database_url: str) -> None:
    await _half_done(api)
    found = await idds(database_url, "check")
    assert found.exit_code == Exit.DONE, found.output
    assert "no disagreements" in found.stdout
    assert "idds:" not in found.stdout or "***" in found.stdout, "no password is shown"


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("UPDATE collections SET n_done = n_done + 1", "collection 1: n_done is recorded as 2, and is 1"),
        ("UPDATE collections SET unadmitted = 7", "collection 1: unadmitted is recorded as 7, and is 0"),
        ("UPDATE transforms SET open_processings = 3", "transform 1: open_processings is recorded as 3, and is 0"),
        ("UPDATE windows SET reserved_files = 1", "window 1: reserved_files is recorded as 1, and is 3"),
        ("DELETE FROM contents WHERE status = 'leased'", "collection 1: n_leased is recorded as 1, and is 0"),
        (
            "INSERT INTO windows (kind, ref, reserved_bytes, reserved_files) VALUES ('rse', 'DISK', 5, 1)",
            "window 2: reserved_bytes is recorded as 5, and is 0",
        ),
        (
            "INSERT INTO replicas (rse, scope, name, bytes, status, ours, window_id, changed_at)"
            " SELECT 'DISK', 's', 'n', 9, 'gone', false, NULL, 0;"
            "UPDATE contents SET replica_id = (SELECT max(id) FROM replicas) WHERE status = 'leased'",
            "replica 1: pins on what is being deleted is recorded as 0, and is 1",
        ),
    ],
)
async def test_what_does_not_agree_is_told(api: Api, database_url: str, broken: str, told: str) -> None:
    await _half_done(api)
    async with api.database.transaction("test") as tx:
        for statement in broken.split(";"):
            await tx.connection.execute(text(statement))
    found = await idds(database_url, "check")
    assert found.exit_code == Exit.NOT_FINISHED
    assert told in found.stdout
    assert await idds(database_url, "check", "--json")


async def test_a_database_without_tables_is_told_from_one_that_is_not_there(sqlite_url: str, postgres_url: str) -> None:
    nowhere = await idds(sqlite_url, "check")
    assert nowhere.exit_code == Exit.NOT_FOUND
    assert not Path(sqlite_url.removeprefix("sqlite:///")).exists(), "looking makes none"
    empty = await idds(postgres_url, "check")
    assert empty.exit_code == Exit.NOT_FINISHED
    assert "idds db upgrade" in empty.stdout
    assert (await idds(postgres_url, "upgrade")).exit_code == Exit.DONE
    assert (await idds(postgres_url, "check")).exit_code == Exit.DONE


async def test_a_database_that_is_away(tmp_path: Path) -> None:
    away = await idds("postgresql+asyncpg://me:a-secret@127.0.0.1:1/idds", "check")
    assert away.exit_code == Exit.UNAVAILABLE
    assert "a-secret" not in away.output
    assert "Traceback" not in away.output


async def test_a_damaged_file_is_told(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        await _half_done(api)
        async with api.database.transaction("test") as tx:
            await tx.connection.execute(text("PRAGMA defer_foreign_keys = ON"))
            await tx.connection.execute(text("UPDATE contents SET replica_id = NULL"))
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    pages = bytearray(path.read_bytes())
    for at in range(20 * 4096, len(pages), 4096):
        pages[at : at + 64] = b"\xff" * 64
    path.write_bytes(pages)
    found = await idds(sqlite_url, "check")
    assert found.exit_code in (Exit.NOT_FINISHED, Exit.UNAVAILABLE), found.output
    assert "Traceback" not in found.output


async def test_a_copy_of_sqlite_is_whole_and_of_one_moment(sqlite_url: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    async with api_on(sqlite_url) as api:
        request = await _half_done(api)
        written = 0

        async def write() -> None:
            nonlocal written
            while True:
                await api.submit()
                written += 1

        writing = asyncio.create_task(write())
        while written < 3:
            await asyncio.sleep(0)
        made = await idds(sqlite_url, "backup", str(copy))
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    assert made.exit_code == Exit.DONE, made.output
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []
    database = Database(f"sqlite:///{copy}")
    try:
        assert await database.run(disagreements, writes=False) == []
        async with database.snapshot() as tx:
            found = await tx.requests.get(request)  # type: ignore[arg-type]
        assert found is not None
        assert found.status is Status.RUNNING
    finally:
        await database.close()
    again = await idds(sqlite_url, "backup", str(copy))
    assert again.exit_code == Exit.CONFLICT
    assert "name another file" in again.stderr


@pytest.mark.parametrize(("arguments", "code"), [(("nowhere/copy",), Exit.REFUSED), (("copy",), Exit.NOT_FOUND)])
async def test_a_copy_that_cannot_be(tmp_path: Path, arguments: tuple[str, ...], code: Exit) -> None:
    found = await idds(f"sqlite:///{tmp_path}/none.sqlite", "backup", str(tmp_path / arguments[0]))
    assert found.exit_code == code
    assert list(tmp_path.iterdir()) == []


async def test_a_copy_of_postgresql(
    postgres: PostgresServer, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.dump"
    database = Database(postgres_url)
    try:
        await upgrade(database)
    finally:
        await database.close()
    without = await idds(postgres_url, "backup", str(copy)) if _without_pg_dump(monkeypatch) else None
    assert without is not None
    assert without.exit_code == Exit.UNAVAILABLE
    assert "pg_dump" in without.stderr
    monkeypatch.setenv("PATH", f"{postgres._bin}{os.pathsep}/usr/bin{os.pathsep}/bin")
    made = await idds(postgres_url, "backup", str(copy))
    assert made.exit_code == Exit.DONE, made.output
    assert copy.read_bytes()[:5] == b"PGDMP"
    wrong = await idds(postgres_url.replace("postgres:", "postgres:not-", 1), "backup", str(tmp_path / "other"))
    assert wrong.exit_code == Exit.UNAVAILABLE
    assert "pg_dump ended with 1" in wrong.stderr
    assert not (tmp_path / "other").exists()


def _without_pg_dump(monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setenv("PATH", "/nowhere")
    return True


async def test_a_copy_given_up_leaves_nothing(
    postgres: PostgresServer, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "pg_dump"
    program.parent.mkdir()
    started = tmp_path / "started"
    program.write_text(f'#!/bin/sh\necho "$@" > {started}.part && mv {started}.part {started}\nexec sleep 600\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    from sqlalchemy import make_url

    url = make_url(postgres_url)
    copying = asyncio.create_task(back_up(url, tmp_path / "copy"))
    async with asyncio.timeout(20):
        while not started.exists():
            await asyncio.sleep(0.01)
    assert str(url.password) not in started.read_text()
    copying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copying
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "started"]

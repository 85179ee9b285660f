"""PostgreSQL is killed and comes back, SQLite is written to by another process: agents go on by themselves, and nothing
that was answered is lost.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

import agents.carrier
import agents.transformer
from idds.domain.errors import Unavailable
from idds.domain.identifiers import RequestId
from idds.domain.request import Principal
from idds.domain.statuses import Status
from idds.domain.transform import Transform
from idds.domain.workflow import Payload, Work, Workflow
from idds.runtime.looper import Looper
from idds.runtime.settings import BusSettings, StoreSettings, read_settings
from idds.runtime.wiring import Wired, wired
from idds.store.database import COMMAND_TIMEOUT_S, Database
from idds.store.upgrade import upgrade
from tests.servers.postgres import PostgresServer

OWNER = Principal("alice", "atlas")
PATIENCE_S = 60.0


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """One of our own, to be killed."""
    made = PostgresServer()
    made.start()
    yield made
    made.stop()
    made.remove()


@asynccontextmanager
async def _service(state: Path, url: str) -> AsyncIterator[Wired]:
    database = Database(url)
    await upgrade(database)
    await database.close()
    settings = read_settings(None, state=state, store=StoreSettings(url=url), bus=BusSettings(kind="none"))
    async with wired(settings, outside=True, bus=False) as parts:
        looper = Looper(parts.wakeups)
        task = asyncio.create_task(looper.run([agents.transformer.agent(parts), agents.carrier.agent(parts)]))
        try:
            yield parts
        finally:
            looper.stop()
            async with asyncio.timeout(PATIENCE_S):
                await task


async def _status(parts: Wired, request: RequestId) -> Status | None:
    try:
        return (await parts.doors.catalogue.request(OWNER, request)).status
    except Unavailable:
        return None


async def test_a_chain_goes_on_after_the_database_was_killed(tmp_path: Path, server: PostgresServer) -> None:
    works = [
        Work(name=f"w{n}", after=(f"w{n - 1}",) if n else (), payload=Payload(argv=("/bin/sleep", "0.1")))
        for n in range(20)
    ]
    async with _service(tmp_path, server.url()) as parts:
        request, _ = await parts.doors.submission.submit(OWNER, Workflow(name="chain", works=tuple(works)))
        while sum(t.status is Status.FINISHED for t in await _transforms(parts, request.id)) < 5:
            await asyncio.sleep(0.05)
        await asyncio.to_thread(server.kill)
        assert await _status(parts, request.id) is None, "it says so, and does not hang"
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(PATIENCE_S):
            while (status := await _status(parts, request.id)) is None or not status.is_terminal:
                await asyncio.sleep(0.1)
        assert status is Status.FINISHED
        found = await parts.doors.catalogue.processings(OWNER, request.id)
    assert len(found) == len(works)
    assert {processing.attempt for processing in found} == {1}, "no job was run again"


async def _transforms(parts: Wired, request: RequestId) -> list[Transform]:
    return list((await parts.doors.catalogue.overview(OWNER, request)).transforms)


async def test_a_brief_transaction_waits_for_another_process_and_holds_nobody_up_meanwhile(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    await upgrade(database)

    async def write() -> None:
        async with database.transaction("t", brief=True) as tx:
            tx.moves.record("agent:1", "seen", (None, "here"), request=None)

    other = sqlite3.connect(str(database.url.database), isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(write())
        for _ in range(3):
            done, _ = await asyncio.wait([writing], timeout=0.05)
            assert not done
        other.execute("COMMIT")
        await writing
    finally:
        other.close()
    async with database.snapshot() as tx:
        assert [move.event for move in await tx.moves.of(["agent:1"])] == ["seen"]
    await database.close()


async def test_a_brief_transaction_that_could_not_begin_at_once_leaves_connections_that_wait(
    sqlite_url: str,
) -> None:
    database = Database(sqlite_url)
    await upgrade(database)
    together = asyncio.Barrier(3)

    async def read() -> None:
        async with database.snapshot():
            await together.wait()

    async def write() -> None:
        async with database.transaction("t", brief=True):
            pass

    def patience_ms(connection: Connection) -> int:
        return int(connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one())

    await asyncio.gather(*(read() for _ in range(together.parties)))
    other = sqlite3.connect(str(database.url.database), isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(write())
        await asyncio.wait([writing], timeout=0.05)
        other.execute("COMMIT")
        await writing
    finally:
        other.close()
    # The pool gives them in turn.
    found = {await database.run(patience_ms, writes=False) for _ in range(together.parties)}
    assert found == {COMMAND_TIMEOUT_S * 1000}
    await database.close()

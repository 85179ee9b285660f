"""The carousel on a real Rucio: a thousand files through room for fifty, each read and reported as soon as it comes.

IDDS_BENCH_FILES in the environment says for how many files instead.
"""

import asyncio
import math
import os
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

import asyncpg
from sqlalchemy import Connection, select

from idds.sdk.client import Client
from idds.sdk.views import LeasedContent
from idds.store.database import Database
from idds.store.schema import inbox, replicas
from tests.acceptance.service import service
from tests.faults.carousel import EVENTS_SECRET, SIZE, Disk, Tape, Told, collection_of, settings, until
from tests.servers.loopback import free_port
from tests.servers.postgres import PostgresServer
from tests.servers.rucio.server import Rse, RucioServer

FILES = int(os.environ.get("IDDS_BENCH_FILES", "1000"))
ROOM = 50
AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class _Times:
    """When a file's last byte was on disk, when Rucio wrote that it is there, when its hermes told us, when it was
    announced, and when leased; seconds since 1970."""

    written: float
    said: float
    told: float
    announced: float
    leased: float


async def measure(database_url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, against).

    Latency is from a file's last byte on disk, as the file system has it, to its lease with who waits for it; most of
    it is Rucio's, whose daemons look every half second. Ours is what comes after Rucio wrote that the rule is satisfied
    (RULE_OK), with the time that hermes takes to tell of it. Calls are those that Rucio's server got from the service.
    """
    postgres = PostgresServer()
    await asyncio.to_thread(postgres.start)
    try:
        await postgres.execute("CREATE DATABASE rucio")
        url, port = postgres.url("rucio"), free_port()
        events = f"http://hermes:{EVENTS_SECRET}@127.0.0.1:{port}/v1/rucio/events"
        rucio = RucioServer(url, {"TAPE": Rse(is_tape=True), "DISK": Rse()}, events=events)
        try:
            await asyncio.to_thread(rucio.start)
            return await _measure(rucio, url, port, database_url)
        finally:
            await asyncio.to_thread(rucio.stop)
            rucio.remove()
    finally:
        await asyncio.to_thread(postgres.stop)
        postgres.remove()


async def _measure(rucio: RucioServer, rucio_url: str, port: int, database_url: str) -> list[tuple[str, str, str]]:
    names = [f"bench.{n:04}" for n in range(FILES)]
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        tape = stack.enter_context(closing(Tape(rucio)))
        await asyncio.to_thread(tape.write, names, SIZE)
        dataset = await asyncio.to_thread(tape.dataset, "bench", names)
        path = settings(rucio, folder, ROOM * SIZE)
        options, environment = ("--settings", str(path), "--port", str(port)), {"IDDS_STORE__URL": database_url}
        running = await stack.enter_async_context(service(folder / "state", *options, environment=environment))
        client = await stack.enter_async_context(running.client())
        disk = await stack.enter_async_context(Disk(rucio.prefix("DISK")).watched())
        begun = time.monotonic()
        request = await Told(client, tape, running.url).submit(dataset)
        leased = await _consume(client, await collection_of(client, request))
        await client.wait(request)
        took = time.monotonic() - begun
        await until(lambda: not disk.bytes() and not tape.rules())
        said, (told, announced) = await _said(rucio_url), await _heard(database_url)
        calls = rucio.calls()
    assert len(leased) == FILES
    times = [
        _Times(written, said[name][1], told.get(said[name][0], math.inf), announced[name], at)
        for name, (written, at) in leased.items()
    ]
    return _rows(times, took, disk, calls)


async def _consume(client: Client, collection: int) -> dict[str, tuple[float, float]]:
    """By each file's name when its last byte was written, and when it was leased."""
    leased: dict[str, tuple[float, float]] = {}
    ended = False
    while not ended:
        lease = await client.lease(collection, count=AT_ONCE, wait_s=30)
        now, ended = time.time(), lease.ended
        leased |= {content.name: (_written_at(content), now) for content in lease.contents}
        await client.report(collection, [content.done() for content in lease.contents])
    return leased


async def _said(url: str) -> dict[str, tuple[str, float]]:
    """By each file's name the event with which Rucio says that its rule is satisfied: its id, and when it was made."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        # hermes leaves the payload as Python would print it.
        name = r"substring(payload FROM 'bench\.[0-9]+')"
        query = f"SELECT {name}, id, created_at FROM messages_history WHERE upper(event_type) = 'RULE_OK'"
        rows = await connection.fetch(query)
    finally:
        await connection.close()
    return {row[0]: (row[1].hex, row[2].replace(tzinfo=UTC).timestamp()) for row in rows}


async def _heard(url: str) -> tuple[dict[str, float], dict[str, float]]:
    """When the service was told of each event, by its id; and when it announced each file, by its name."""

    def read(connection: Connection) -> tuple[dict[str, float], dict[str, float]]:
        events = connection.execute(select(inbox.c.id, inbox.c.received_at))
        landed = connection.execute(select(replicas.c.name, replicas.c.landed_at))
        told = {row.id.removeprefix("rucio "): row.received_at / 1e6 for row in events}
        return told, {row.name: row.landed_at / 1e6 for row in landed}

    database = Database(url)
    try:
        return await database.run(read, writes=False)
    finally:
        await database.close()


def _written_at(content: LeasedContent) -> float:
    assert content.path is not None
    return Path(content.path).stat().st_mtime


def _rows(times: list[_Times], took: float, disk: Disk, calls: Counter[str]) -> list[tuple[str, str, str]]:
    spans = {
        "from the last byte to the lease": [each.leased - each.written for each in times],
        "of that until Rucio says that it is there": [each.said - each.written for each in times],
        "from there until Rucio's hermes tells it": [each.told - each.said for each in times],
        "from there until it is announced": [each.announced - each.told for each in times],
        "from what Rucio says to the lease": [each.leased - each.said for each in times],
    }
    most = ", ".join(f"{call} {n / FILES:.2f}" for call, n in calls.most_common(5))
    return [
        (f"{FILES:,} files through room for {ROOM}", f"{took:.0f} s", f"{FILES / took:.1f} files a second"),
        *(
            (what, f"p50 {_quantile(span, 0.5):.2f} s", f"p99 {_quantile(span, 0.99):.2f} s")
            for what, span in spans.items()
        ),
        ("most bytes on disk at once", f"{disk.highest:,}", f"{ROOM * SIZE:,} allowed"),
        ("calls of Rucio, a file", f"{calls.total() / FILES:.2f}", most),
    ]


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]

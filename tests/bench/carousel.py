"""The carousel on a real Rucio: a thousand files through room for fifty, each read and reported as soon as it comes."""

import asyncio
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack, closing
from pathlib import Path

from idds.sdk.client import Client
from idds.sdk.views import LeasedContent
from tests.acceptance.service import service
from tests.faults.carousel import SIZE, Disk, Tape, Told, collection_of, settings, until
from tests.servers.postgres import PostgresServer
from tests.servers.rucio.server import Rse, RucioServer

FILES = 1000
ROOM = 50
AT_ONCE = 50


async def measure(database_url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, against).

    Latency is from a file's last byte on disk, as the file system has it, to its lease with who waits for it; most of
    it is Rucio's, whose daemons look every half second. Calls are those that Rucio's server got from the service.
    """
    postgres = PostgresServer()
    await asyncio.to_thread(postgres.start)
    try:
        await postgres.execute("CREATE DATABASE rucio")
        rucio = RucioServer(postgres.url("rucio"), {"TAPE": Rse(is_tape=True), "DISK": Rse()})
        try:
            await asyncio.to_thread(rucio.start)
            return await _measure(rucio, database_url)
        finally:
            await asyncio.to_thread(rucio.stop)
            rucio.remove()
    finally:
        await asyncio.to_thread(postgres.stop)
        postgres.remove()


async def _measure(rucio: RucioServer, database_url: str) -> list[tuple[str, str, str]]:
    names = [f"bench.{n:04}" for n in range(FILES)]
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        tape = stack.enter_context(closing(Tape(rucio)))
        await asyncio.to_thread(tape.write, names, SIZE)
        dataset = await asyncio.to_thread(tape.dataset, "bench", names)
        path = settings(rucio, folder, ROOM * SIZE)
        started = service(folder / "state", "--settings", str(path), environment={"IDDS_STORE__URL": database_url})
        running = await stack.enter_async_context(started)
        client = await stack.enter_async_context(running.client())
        disk = await stack.enter_async_context(Disk(rucio.prefix("DISK")).watched())
        begun = time.monotonic()
        request = await Told(client, tape, running.url).submit(dataset)
        latencies = await _consume(client, await collection_of(client, request))
        await client.wait(request)
        took = time.monotonic() - begun
        await until(lambda: not disk.bytes() and not tape.rules())
        calls = rucio.calls()
    assert len(latencies) == FILES
    return _rows(sorted(latencies), took, disk, calls)


async def _consume(client: Client, collection: int) -> list[float]:
    """Seconds from each file's last byte to its lease."""
    latencies: list[float] = []
    ended = False
    while not ended:
        lease = await client.lease(collection, count=AT_ONCE, wait_s=30)
        now, ended = time.time(), lease.ended
        latencies += [now - _written_at(content) for content in lease.contents]
        await client.report(collection, [content.done() for content in lease.contents])
    return latencies


def _written_at(content: LeasedContent) -> float:
    assert content.path is not None
    return Path(content.path).stat().st_mtime


def _rows(latencies: list[float], took: float, disk: Disk, calls: Counter[str]) -> list[tuple[str, str, str]]:
    quantiles = {name: latencies[int(share * (len(latencies) - 1))] for name, share in (("p50", 0.5), ("p99", 0.99))}
    most = ", ".join(f"{call} {n / FILES:.2f}" for call, n in calls.most_common(5))
    return [
        (f"{FILES:,} files through room for {ROOM}", f"{took:.0f} s", f"{FILES / took:.1f} files a second"),
        *((f"from the last byte to the lease, {name}", f"{s:.2f} s", "") for name, s in quantiles.items()),
        ("most bytes on disk at once", f"{disk.highest:,}", f"{ROOM * SIZE:,} allowed"),
        ("calls of Rucio, a file", f"{calls.total() / FILES:.2f}", most),
    ]

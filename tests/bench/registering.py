"""100,000 contents through HTTP, over the same rows put straight into the same table; a million, and their memory."""

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from tests.bench.calling import Target, ours
from tests.bench.leases import collection
from tests.bench.rows import documents, lines, put_in

ROWS = 100_000
CHUNK = 5000
IN_FLIGHT = 2
ROUNDS = 3
MANY = 1_000_000
LINES = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}


async def _as_lines(session: aiohttp.ClientSession, number: int) -> None:
    await _register(session, number, lines(0, ROWS), LINES)


async def _as_json(session: aiohttp.ClientSession, number: int) -> None:
    turn = asyncio.Semaphore(IN_FLIGHT)

    async def send(body: bytes) -> None:
        async with turn:
            await _register(session, number, body, JSON)

    bodies = [json.dumps({"contents": list(documents(n, CHUNK))}).encode() for n in range(0, ROWS, CHUNK)]
    async with asyncio.TaskGroup() as group:
        for body in bodies:
            group.create_task(send(body))


async def _register(session: aiohttp.ClientSession, number: int, body: object, headers: dict[str, str]) -> None:
    path, patience = f"/v1/collections/{number}/contents", aiohttp.ClientTimeout(None)
    async with session.post(path, data=body, headers=headers, timeout=patience) as response:
        assert response.status == 200, await response.text()
        assert (await response.json())["known"] == 0


async def _round(target: Target, database_url: str) -> dict[str, float]:
    """Seconds, each way."""
    took: dict[str, float] = {}
    async with target.client(IN_FLIGHT) as session:
        for name, way in (("lines", _as_lines), ("json", _as_json)):
            number = await collection(target, 0)
            begun = time.perf_counter()
            await way(session, number)
            took[name] = time.perf_counter() - begun
    took["straight"] = await put_in(database_url, await collection(target, 0), ROWS)
    return took


async def _million(target: Target) -> tuple[float, float]:
    """Seconds, and by how many MB the service grew."""

    async def body() -> AsyncIterator[bytes]:
        for first in range(0, MANY, CHUNK):
            yield lines(first, CHUNK)

    number = await collection(target, 0)
    before = most = target.process.memory_info().rss
    begun = time.perf_counter()
    async with target.client(1) as session:
        sending = asyncio.create_task(_register(session, number, body(), LINES))
        while not sending.done():
            await asyncio.wait({sending}, timeout=0.2)
            most = max(most, target.process.memory_info().rss)
        await sending
    return time.perf_counter() - begun, (most - before) / 2**20


async def measure(database_url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, against)."""
    with tempfile.TemporaryDirectory() as folder:
        async with ours(database_url, Path(folder)) as target:
            rounds = [await _round(target, database_url) for _ in range(ROUNDS)]
            million_s, grown = await _million(target)
    best = {name: min(took[name] for took in rounds) for name in rounds[0]}
    how = "executemany in one transaction" if database_url.startswith("sqlite") else "COPY"
    return [
        (f"{ROWS:,} contents, one body of lines", *_against(best, "lines")),
        (f"{ROWS:,} contents, JSON by {CHUNK:,}, {IN_FLIGHT} calls in flight", *_against(best, "json")),
        (f"{how} of the same rows into the same table", f"{ROWS / best['straight']:,.0f} rows/s", ""),
        (f"{MANY:,} contents, one body of lines", f"{MANY / million_s:,.0f} rows/s", f"memory grew by {grown:.0f} MB"),
    ]


def _against(best: dict[str, float], name: str) -> tuple[str, str]:
    return f"{ROWS / best[name]:,.0f} rows/s", f"{best[name] / best['straight']:.1f} times as long as below (aim 2)"

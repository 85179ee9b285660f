"""Bare servers to be compared with: aiohttp and the driver, no callers known, nothing checked, nothing recorded.

`python -m tests.bench.bars` serves over the database of IDDS_BENCH_DATABASE until its input is closed, and says its
address first.
"""

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
from aiohttp import web

ROW = "CREATE TABLE IF NOT EXISTS bar (id bigint, name text, document text)"
_FREE = (
    "SELECT id FROM contents WHERE collection_id = {c} AND status = 'available' ORDER BY collection_id, id LIMIT {n}"
)
_LEASE = (
    "UPDATE contents SET status = 'leased', attempt = attempt + 1, lessee = 'me', lease_until = 0"
    " WHERE {ids} AND status || '' = 'available' RETURNING id"
)
_REPORT = "UPDATE contents SET status = 'done', lease_until = NULL WHERE {ids} AND status || '' = 'leased'"
_WORKFLOW = json.dumps({"name": "bar", "works": [{"name": "w", "input": {"registered": {}}}]})

Work = tuple[int, list[int], int]
"""A collection, what was reported of it, and how many are wanted."""
Do = Callable[[Work], Awaitable[list[int]]]


class Postgresql:
    def __init__(self, url: str) -> None:
        self._url = url.replace("+asyncpg", "")
        self._pool: Any = None

    async def open(self) -> None:
        self._pool = await asyncpg.create_pool(self._url, min_size=4, max_size=8)
        await self._pool.execute(ROW)

    async def flight(self, work: Work) -> list[int]:
        collection, done, wanted = work
        async with self._pool.acquire() as connection, connection.transaction():
            if done:
                await connection.execute(_REPORT.format(ids="id = ANY ($1::bigint[])"), done)
            if not wanted:
                return []
            free = f"ARRAY({_FREE.format(c='$1', n='$2')})"
            rows = await connection.fetch(_LEASE.format(ids=f"id = ANY ({free})"), collection, wanted)
            return [row["id"] for row in rows]

    async def row(self) -> None:
        await self._pool.execute("INSERT INTO bar VALUES ($1, $2, $3)", 1, "bar", _WORKFLOW)

    async def close(self) -> None:
        await self._pool.close()


class Sqlite:
    def __init__(self, url: str) -> None:
        self._connection = sqlite3.connect(url.removeprefix("sqlite:///"), check_same_thread=False, timeout=60)
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(ROW)

    async def flight(self, work: Work) -> list[int]:
        async with self._turn:
            return await asyncio.to_thread(self._flight, work)

    def _flight(self, work: Work) -> list[int]:
        collection, done, wanted = work
        with self._connection as connection:
            if done:
                ids = "id IN (SELECT value FROM json_each(?))"
                connection.execute(_REPORT.format(ids=ids), (json.dumps(done),))
            if not wanted:
                return []
            statement = _LEASE.format(ids=f"id IN ({_FREE.format(c='?', n='?')})")
            return [row[0] for row in connection.execute(statement, (collection, wanted))]

    async def row(self) -> None:
        async with self._turn:
            await asyncio.to_thread(self._row)

    def _row(self) -> None:
        with self._connection as connection:
            connection.execute("INSERT INTO bar VALUES (?, ?, ?)", (1, "bar", _WORKFLOW))

    async def close(self) -> None:
        self._connection.close()


class Groups:
    """Whatever came during the flight before goes with the next."""

    def __init__(self, do: Do) -> None:
        self._do = do
        self._waiting: dict[int, list[tuple[list[int], int, asyncio.Future[list[int]]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def order(self, collection: int, done: list[int], wanted: int) -> list[int]:
        answer: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        if collection not in self._waiting:
            self._waiting[collection] = []
            task = asyncio.create_task(self._fly(collection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._waiting[collection].append((done, wanted, answer))
        return await answer

    async def _fly(self, collection: int) -> None:
        while group := self._waiting[collection]:
            self._waiting[collection] = []
            done = [content for each, _, _ in group for content in each]
            leased = await self._do((collection, done, sum(wanted for _, wanted, _ in group)))
            for _, wanted, answer in group:
                answer.set_result(leased[:wanted])
                leased = leased[wanted:]
        del self._waiting[collection]


def application(store: Postgresql | Sqlite) -> web.Application:
    groups = Groups(store.flight)

    async def lease(request: web.Request) -> web.Response:
        count = json.loads(await request.read())["count"]
        leased = await groups.order(int(request.match_info["id"]), [], count)
        return web.json_response({"contents": [{"id": content, "attempt": 1} for content in leased]})

    async def report(request: web.Request) -> web.Response:
        reports = json.loads(await request.read())["reports"]
        await groups.order(int(request.match_info["id"]), [each["id"] for each in reports], 0)
        return web.json_response({"receipts": [{"id": each["id"], "verdict": "accepted"} for each in reports]})

    async def row(request: web.Request) -> web.Response:
        await request.read()
        await store.row()
        return web.json_response({"id": 1}, status=201)

    async def nothing(_request: web.Request) -> web.Response:
        return web.Response(text=_WORKFLOW, content_type="application/json")

    made = web.Application()
    made.router.add_post(r"/v1/collections/{id:\d+}/contents:lease", lease)
    made.router.add_post(r"/v1/collections/{id:\d+}/contents:report", report)
    made.router.add_post("/v1/requests", row)
    made.router.add_get(r"/v1/requests/{id:\d+}", nothing)
    return made


async def main(url: str) -> None:
    store = Sqlite(url) if url.startswith("sqlite") else Postgresql(url)
    await store.open()
    runner = web.AppRunner(application(store), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sys.stdout.write(f"http://127.0.0.1:{runner.addresses[0][1]}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
    finally:
        await runner.cleanup()
        await store.close()


if __name__ == "__main__":
    asyncio.run(main(os.environ["IDDS_BENCH_DATABASE"]))

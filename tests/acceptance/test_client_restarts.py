"""A client that listens outlives a service that is killed: each move once, in order, and the end is seen."""

import asyncio
from pathlib import Path

import pytest

from idds.sdk.client import Client
from idds.sdk.views import MoveView
from tests.acceptance.service import start

pytestmark = pytest.mark.timeout(180)
KILLS = 2
WORKFLOW = {"name": "open", "works": [{"name": "look", "input": {"registered": {}}}]}


async def test_events_and_waits_go_on_over_kills(tmp_path: Path) -> None:
    running = await start(tmp_path)
    port = running.url.rpartition(":")[2]
    heard: list[MoveView] = []

    async def listen(client: Client, request: int) -> None:
        async for move in client.events(request, after=0):
            heard.append(move)  # noqa: PERF401 -- it is looked at while it grows

    try:
        async with Client(running.url, running.token, patience_s=60) as client:
            request = (await client.submit(WORKFLOW)).id
            while not (found := (await client.request(request)).collections):
                await asyncio.sleep(0.05)
            collection = found[0].id
            listening = asyncio.create_task(listen(client, request))
            waiting = asyncio.create_task(client.wait(request))
            for kill in range(KILLS):
                await client.register(collection, [{"name": f"{kill}-{n}"} for n in range(10)])
                while sum(move.n for move in heard if move.event == "landed") < 10 * (kill + 1):
                    await asyncio.sleep(0.05)
                await running.kill()
                running = await start(tmp_path, "--port", port)
            await client.close_collection(collection)
            while not (lease := await client.lease(collection, count=100, wait_s=5)).ended:
                await client.report(collection, [content.done() for content in lease.contents])
            assert (await waiting).status == "finished"
            await listening
            history = [move async for move in client.history(request)]
    finally:
        if running.process.returncode is None:
            running.process.terminate()
            await running.process.wait()
    assert [move.id for move in heard] == [move.id for move in history]
    assert sum(move.n for move in heard if move.event == "processed") == 10 * KILLS

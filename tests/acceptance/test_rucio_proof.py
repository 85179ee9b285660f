"""What the carousel promises, kept under all that goes wrong at once, on a real Rucio.

200 files on tape, room for 20 on disk, two requests that share half of their files; FTS fails, spoils and loses at
random, the carrier is killed, Rucio dies and comes back.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import pytest

from idds.domain.statuses import ContentStatus, Status
from idds.domain.workflow import Input, Work, Workflow
from idds.sdk.client import Client
from tests.acceptance.service import PATIENCE_S, service
from tests.faults.carousel import Deliveries, Disk, Tape, collection_of, consume, settings, until
from tests.servers.mosquitto import MosquittoServer
from tests.servers.rucio.server import RucioServer

FILES = 200
SIZE = 10_000
ROOM = 20
EACH = 134
"""So many files has each request; half of them the other has too."""
DEADLINE_S = 540.0
"""Several times what it takes on two cores that have nothing else to do."""
SETTINGS = """
state = "{folder}/state"
log.level = "warning"
store.url = "{database}"
bus.kind = "mqtt"
bus.options.url = "{broker}"
"""


@asynccontextmanager
async def agent(name: str, path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """An agent that is a process of its own; it has ended well, or was killed, at the end."""
    command = (sys.executable, "-m", f"agents.{name}", str(path))
    process = await asyncio.create_subprocess_exec(*command, env={**os.environ, "IDDS_LOG__LEVEL": "error"})
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            code = await process.wait()
    assert code in (0, -signal.SIGKILL)


async def submit(client: Client, dataset: str) -> tuple[int, int]:
    """The request over a dataset, and its collection."""
    work = Work(name="read", input=Input(dataset=dataset))
    request = (await client.submit(Workflow(name=f"all of {dataset}", works=(work,)))).id
    return request, await collection_of(client, request)


@pytest.mark.timeout(600)
async def test_all_is_delivered_once_through_a_small_disk_whatever_goes_wrong(
    own_rucio: RucioServer, bare_postgres_url: str, mosquitto: MosquittoServer, tmp_path: Path
) -> None:
    names = [f"proof.{n:03}" for n in range(FILES)]
    halves = {"proof.first": names[:EACH], "proof.second": names[-EACH:]}
    assert len(set(names[:EACH]) & set(names[-EACH:])) >= EACH // 2
    more = SETTINGS.format(folder=tmp_path, database=bare_postgres_url, broker=mosquitto.url)
    path = settings(own_rucio, tmp_path, ROOM * SIZE, more)
    idds = str(Path(sys.executable).with_name("idds"))
    upgrade = await asyncio.create_subprocess_exec(idds, "db", "upgrade", "--settings", str(path))
    assert await upgrade.wait() == 0
    await own_rucio.order_faults(fail=0.04, spoil=0.02, lose=0.02, seed=4)
    with closing(Tape(own_rucio)) as tape:
        tape.write(names, SIZE)
        datasets = [tape.dataset(name, files) for name, files in halves.items()]
        delivered = [Deliveries(), Deliveries()]
        async with AsyncExitStack() as stack, asyncio.timeout(DEADLINE_S):
            disk = await stack.enter_async_context(Disk(own_rucio.prefix("DISK")).watched())
            running = await stack.enter_async_context(
                service(tmp_path / "state", "--settings", str(path), "--no-agents")
            )
            client = await stack.enter_async_context(running.client())
            for name in ("transformer", "conductor"):
                await stack.enter_async_context(agent(name, path))
            async with agent("carrier", path) as carrier, asyncio.TaskGroup() as consumers:
                requests = [await submit(client, dataset) for dataset in datasets]
                for (_, collection), into in zip(requests, delivered, strict=True):
                    consumers.create_task(consume(client, collection, into))
                await until(lambda: sum(each.times.total() for each in delivered) > FILES // 4, DEADLINE_S)
                carrier.kill()
                await carrier.wait()
                await stack.enter_async_context(agent("carrier", path))
                await until(lambda: sum(each.times.total() for each in delivered) > FILES // 2, DEADLINE_S)
                await asyncio.to_thread(own_rucio.kill_rucio)
                await asyncio.to_thread(own_rucio.start_rucio)
            ended = [await client.wait(request) for request, _ in requests]
            contents = [[each async for each in client.contents(collection)] for _, collection in requests]
            await until(lambda: not disk.bytes() and not tape.rules() and not tape.replicas(names))
        assert await own_rucio.faults(), "FTS did something wrong"
    assert [request.status for request in ended] == [Status.FINISHED] * 2
    for files, into, found in zip(halves.values(), delivered, contents, strict=True):
        assert into.times == dict.fromkeys(files, 1), "each file once"
        assert into.wrong == []
        assert {each.name for each in found if each.status is ContentStatus.DONE} == set(files)
    assert 0 < disk.highest <= ROOM * SIZE

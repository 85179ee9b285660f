"""Rucio tells of its own accord what happened: a file is announced because hermes said so, before anybody asks."""

import asyncio
import json
import secrets
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import ClientSession

from idds.domain.identifiers import Did
from idds.domain.statuses import Status
from idds.domain.workflow import Input, Payload, Work, Workflow
from idds.runtime.secret_file import leave_secret
from tests.acceptance.service import service
from tests.contract.rucio_site import RucioSite
from tests.servers.loopback import free_port
from tests.servers.postgres import PostgresServer
from tests.servers.rucio.server import Rse, RucioServer

FILES = 6
SIZE = 10_000
DATASET = Did("test", "events.acceptance")
DEADLINE_S = 240.0
PORT = free_port()
SECRET = secrets.token_urlsafe(24)


@pytest.fixture(scope="module")
def telling_rucio(postgres: PostgresServer) -> Iterator[RucioServer]:
    """A Rucio whose hermes posts to the service of this file."""
    name = f"rucio_{uuid4().hex}"
    asyncio.run(postgres.execute(f"CREATE DATABASE {name}"))
    events = f"http://hermes:{SECRET}@127.0.0.1:{PORT}/v1/rucio/events"
    server = RucioServer(postgres.url(name), {"TAPE": Rse(is_tape=True), "DISK": Rse()}, events=events)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.remove()


def settings(rucio: RucioServer, folder: Path) -> Path:
    """Rucio is not asked what changed: only its events tell, and the look at everything every few seconds."""
    leave_secret(folder / "secret", SECRET)
    options = rucio.ddm_options | {"changes_s": 3600.0}
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in options.items())
    path = folder / "idds.toml"
    access = f'[access]\nrucio_secret_file = "{folder / "secret"}"\n'
    window = f"[rses.DISK]\nwindow_bytes = {2 * SIZE}\n"
    path.write_text(f'{access}[ddm]\nplugin = "rucio"\n[ddm.options]\n{lines}\n{window}')
    return path


async def test_a_dataset_goes_through_on_what_hermes_tells(telling_rucio: RucioServer, tmp_path: Path) -> None:
    async with aclosing(RucioSite(telling_rucio)) as site:
        await site.create_dataset(DATASET)
        for number in range(FILES):
            name = f"{DATASET.name}.{number}"
            await site.write_tape(DATASET, Did("test", name), name.encode().ljust(SIZE, b"."))
    work = Work(name="read", input=Input(dataset=str(DATASET)), payload=Payload(argv=("/bin/true",)))
    options = ("--settings", str(settings(telling_rucio, tmp_path)), "--port", str(PORT))
    async with (
        service(tmp_path / "state", *options) as running,
        running.client() as client,
        asyncio.timeout(DEADLINE_S),
    ):
        request = await client.submit(Workflow(name="events", works=(work,)))
        request = await client.wait(request.id)
        assert request.status is Status.FINISHED
        taken = 0.0
        async with ClientSession(headers={"Authorization": f"Bearer {running.token}"}) as session:
            while not taken:
                async with session.get(f"{running.url}/metrics") as response:
                    taken = _taken(await response.text())
        assert taken >= 1


def _taken(metrics: str) -> float:
    """How many bodies of events were taken."""
    begin = 'idds_http_request_seconds_count{route="takeRucioEvents",status="200"}'
    return sum(float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if line.startswith(begin))

"""A dataset for which the workload manager has made a rule of its own already, on a real Rucio.

Its files are told of as Rucio has them on disk, also where Rucio's own events are all that tells of them; and neither
the rule nor the files are touched when the task is through.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiomqtt
import pytest
from rucio.client import Client

from idds.domain.identifiers import Did
from tests.acceptance.jedi import Jedi
from tests.acceptance.service import Running, service
from tests.contract.rucio_site import RucioSite
from tests.servers.idds_client import IddsClient
from tests.servers.loopback import free_port
from tests.servers.mosquitto import MosquittoServer
from tests.servers.postgres import PostgresServer
from tests.servers.rucio.server import Rse, RucioServer

FILES = 12
WINDOW = 3
TASK = 30_000_078
DATASET = Did("test", "ruled")
PATIENCE_S = 200
SETTINGS = """
bus.kind = "mqtt"
bus.options.url = "{broker}"
access.rucio_secret_file = "{secret}"
placement.disk = "OTHER"
placement.outputs = "OTHER"
rses.DISK.window_files = {window}
rses.OTHER.window_files = {window}

[ddm]
plugin = "rucio"
[ddm.options]
{options}
"""


@dataclass(frozen=True)
class Place:
    """A Rucio whose events are posted to where the service will listen."""

    rucio: RucioServer
    port: int
    secret: str


@pytest.fixture
def place(postgres: PostgresServer) -> Iterator[Place]:
    name, port, secret = f"rucio_{uuid4().hex}", free_port(), secrets.token_urlsafe(12)
    asyncio.run(postgres.execute(f"CREATE DATABASE {name}"))
    rses = {"TAPE": Rse(is_tape=True), "DISK": Rse(), "OTHER": Rse()}
    server = RucioServer(postgres.url(name), rses, events=f"http://hermes:{secret}@127.0.0.1:{port}/v1/rucio/events")
    try:
        server.start()
        yield Place(server, port, secret)
    finally:
        server.stop()
        server.remove()


def _files_on(place: Place, rse: str) -> set[str]:
    folder = place.rucio.prefix(rse)
    return {path.name for path in folder.rglob(f"{DATASET.name}.*")} if folder.exists() else set()


async def _write_tape(place: Place) -> None:
    async with aclosing(RucioSite(place.rucio)) as site:
        await site.create_dataset(DATASET)
        for number in range(FILES):
            name = f"{DATASET.name}.{number}"
            await site.write_tape(DATASET, Did("test", name), name.encode().ljust(1000, b"."))


@asynccontextmanager
async def _serving(place: Place, folder: Path, broker: MosquittoServer) -> AsyncIterator[Running]:
    secret = folder / "secret"
    secret.write_text(place.secret)
    options = "\n".join(f"{name} = {json.dumps(value)}" for name, value in place.rucio.ddm_options.items())
    settings = folder / "idds.toml"
    settings.write_text(SETTINGS.format(broker=broker.url, secret=secret, window=WINDOW, options=options))
    arguments = ("--settings", str(settings), "--port", str(place.port))
    async with service(folder / "state", *arguments) as running:
        yield running


async def test_the_files_of_another_ones_rule_are_told_of_and_left_alone(
    tmp_path: Path, place: Place, mosquitto: MosquittoServer
) -> None:
    await _write_tape(place)
    rucio = Client(**place.rucio.client_options)
    async with (
        asyncio.timeout(PATIENCE_S),
        _serving(place, tmp_path, mosquitto) as running,
        IddsClient(running.url, running.token) as client,
        aiomqtt.Client("127.0.0.1", mosquitto.port) as mqtt,
    ):
        jedi = Jedi(mqtt, "local", TASK)
        await jedi.subscribe()
        dids = [{"scope": DATASET.scope, "name": DATASET.name}]
        (rule,) = await asyncio.to_thread(rucio.add_replication_rule, dids, 1, "DISK")

        async def process(files: Sequence[dict[str, Any]]) -> None:
            assert {file["name"] for file in files} <= _files_on(place, "DISK")
            await jedi.say_processed([file["name"] for file in files])

        request = await client.call(
            "add_request",
            scope=DATASET.scope,
            name=DATASET.name,
            requester="panda",
            request_type="RequestType.StageIn",
            transform_tag=2,
            status="RequestStatus.New",
            priority=0,
            lifetime=30,
            request_metadata={"workload_id": TASK, "rule_id": rule},
        )
        await jedi.listen(process)
        status = ""
        while status != "RequestStatus.Finished":
            await asyncio.sleep(0.1)
            (row,) = await client.call("get_requests", request_id=request)
            status = row["status"]
    names = {f"{DATASET.name}.{number}" for number in range(FILES)}
    assert jedi.released == {("test", name): 1 for name in names}
    assert jedi.closed == [("test", DATASET.name)]
    assert _files_on(place, "DISK") == names, "they are not ours to delete"
    assert _files_on(place, "OTHER") == set()
    assert (await asyncio.to_thread(rucio.get_replication_rule, rule))["state"] == "OK"
    assert [row["id"] for row in await asyncio.to_thread(lambda: list(rucio.list_replication_rules()))] == [rule]
    rucio.session.close()

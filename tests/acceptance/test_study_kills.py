"""A study of two thousand samples while API, transformer and payloads are killed: none is lost, none counts twice.

Fifty payloads that know a URL and a token evaluate it, each a Python without packages that runs one file. Each of them
is killed at some moment, and another one takes its place; so are the API and one of two transformers, which leaves the
sampler's process without its master.
"""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from idds.domain.identifiers import CollectionId
from idds.domain.statuses import ContentStatus
from idds.domain.workflow import Input, Parameter, Refill, Samples, WindowLimits, Work, Workflow
from idds.sdk import study as sdk
from idds.sdk.client import Client
from idds.sdk.views import ContentView, MoveView
from idds.store.database import Database
from tests.acceptance.service import PATIENCE_S, Running, start

SAMPLES = 2000
PAYLOADS = 50
SPACE = {
    "x": Parameter(type="float", low=-5.0, high=5.0),
    "n": Parameter(type="int", low=1, high=64, log=True),
}
PAYLOAD = """
import random, sys, time
sys.path.insert(0, sys.argv[1])
from study import Study
for sample in Study(ttl=5, patience=60).samples():
    with sample:
        time.sleep(random.uniform(0, 0.2))
        sample.report((sample.parameters["x"] - 2) ** 2 + sample.parameters["n"] / 8)
    print(sample.id, sample.verdict, flush=True)
"""
SETTINGS = """
state = "{folder}/state"
log.level = "warning"
store.url = "{database}"
bus.kind = "none"

[ddm]
plugin = "posix"
options.root = "{folder}/rses"
options.rses.DISK.kind = "disk"
"""
Process = asyncio.subprocess.Process


@dataclass
class World:
    """The processes of a service, and of those that use it."""

    folder: Path
    settings: Path
    api: Running
    transformers: list[Process] = field(default_factory=list)
    payloads: list[Process] = field(default_factory=list)
    token: str = ""

    async def start_transformer(self) -> None:
        self.transformers.append(await _start(sys.executable, "-m", "agents.transformer", str(self.settings)))

    async def start_payload(self) -> None:
        with (self.folder / "said").open("a") as said:
            command = (sys.executable, "-I", "-S", "-c", PAYLOAD, str(self.folder))
            environment = {"IDDS_URL": self.api.url, "IDDS_TOKEN": self.token}
            self.payloads.append(await asyncio.create_subprocess_exec(*command, stdout=said, env=environment))

    async def replace_payload(self, number: int) -> None:
        """Kill it, wherever it stands."""
        await _end(self.payloads.pop(number), signal.SIGKILL)
        await self.start_payload()

    async def replace_transformer(self) -> None:
        await _end(self.transformers.pop(0), signal.SIGKILL)
        await self.start_transformer()

    async def replace_api(self) -> None:
        """Kill it, and start another one where it was."""
        await self.api.kill()
        self.api = await _api(self.settings, self.folder, self.api.url.rpartition(":")[2])

    async def end(self) -> None:
        for process in (*self.payloads, *self.transformers, self.api.process):
            if process.returncode is None:
                await _end(process, signal.SIGTERM)


async def _api(settings: Path, folder: Path, port: str = "0") -> Running:
    return await start(folder / "state", "--settings", str(settings), "--no-agents", "--port", port)


async def _start(*command: str) -> Process:
    return await asyncio.create_subprocess_exec(*command, env={**os.environ, "IDDS_LOG__LEVEL": "warning"})


async def _end(process: Process, number: signal.Signals) -> int:
    process.send_signal(number)
    async with asyncio.timeout(PATIENCE_S):
        return await process.wait()


async def _submit(client: Client) -> tuple[int, int]:
    """The request and the collection of a study; most of its points are drawn at random, for the sake of time."""
    refill = Refill(points=2 * PAYLOADS, below=PAYLOADS + PAYLOADS // 2)
    samples = Samples(space=SPACE, sampler="tpe", options={"startup": 1500}, count=SAMPLES, seed=7, refill=refill)
    source = Input(samples=samples, window=WindowLimits(files=4 * PAYLOADS))
    request = await client.submit(Workflow(name="kills", works=(Work(name="scan", input=source, attempts=20),)))
    async with asyncio.timeout(PATIENCE_S):
        while not (found := (await client.request(request.id)).collections):
            await asyncio.sleep(0.1)
    return request.id, found[0].id


async def _kill_all_along(world: World, client: Client, collection: int, chance: random.Random) -> None:
    """Each payload once, the API twice and a transformer twice, as the study goes on."""
    kills = [(done, world.replace_api) for done in (600, 1300)]
    kills += [(done, world.replace_transformer) for done in (400, 1600)]
    order = chance.sample(range(PAYLOADS), PAYLOADS)
    # The number of one that stays shifts down by each that goes before it: they are taken from the end.
    places = [number - sum(gone < number for gone in order[:turn]) for turn, number in enumerate(order)]
    moments = sorted(chance.sample(range(50, SAMPLES - 300), PAYLOADS))
    kills += [
        (done, lambda place=place: world.replace_payload(place)) for done, place in zip(moments, places, strict=True)
    ]
    for moment, kill in sorted(kills, key=lambda each: each[0]):
        while (await client.collection(collection)).counts[ContentStatus.DONE] < moment:
            await asyncio.sleep(0.2)
        await kill()


@pytest.mark.timeout(400)
async def test_none_is_lost_and_none_counts_twice(tmp_path: Path, bare_postgres_url: str) -> None:
    settings = tmp_path / "idds.toml"
    settings.write_text(SETTINGS.format(folder=tmp_path, database=bare_postgres_url))
    (tmp_path / "study.py").write_text(Path(sdk.__file__).read_text())
    idds = str(Path(sys.executable).with_name("idds"))
    assert await (await _start(idds, "db", "upgrade", "--settings", str(settings))).wait() == 0
    async with AsyncExitStack() as stack:
        world = World(tmp_path, settings, await _api(settings, tmp_path))
        stack.push_async_callback(world.end)
        client = await stack.enter_async_context(Client(world.api.url, world.api.token, patience_s=PATIENCE_S))
        for _ in range(2):
            await world.start_transformer()
        request, collection = await _submit(client)
        world.token = await client.payload_token(collection, 600)
        for _ in range(PAYLOADS):
            await world.start_payload()
        async with asyncio.timeout(300):
            await _kill_all_along(world, client, collection, random.Random(7))
            ended = await client.wait(request)
            codes = [await payload.wait() for payload in world.payloads]
        history = [move async for move in client.history(request)]
        contents = [content async for content in client.contents(collection)]
    assert ended.status == "finished"
    assert codes == [0] * PAYLOADS, "who was not killed ended well"
    _check_contents(contents)
    _check_history(history)
    _check_said((tmp_path / "said").read_text())
    await _check_what_the_sampler_knows(bare_postgres_url, collection)


def _check_contents(contents: list[ContentView]) -> None:
    assert Counter(content.status for content in contents) == {ContentStatus.DONE: SAMPLES}
    for content in contents:
        point = content.parameters
        assert point is not None
        assert content.objective_values == ((point["x"] - 2) ** 2 + point["n"] / 8,), "each has its own result"


def _check_history(history: list[MoveView]) -> None:
    moves = [move for move in history if move.entity.startswith("collection:")]
    assert sum(move.n for move in moves if move.event == "processed") == SAMPLES, "each ended once"
    assert sum(move.n for move in moves if move.event == "returned") >= 1, "what the killed ones held came back"


def _check_said(text: str) -> None:
    said = [line.split() for line in text.splitlines()]
    accepted = Counter(sample for sample, verdict in said if verdict == "accepted")
    assert max(accepted.values()) == 1
    assert len(accepted) <= SAMPLES


async def _check_what_the_sampler_knows(url: str, collection: int) -> None:
    """From the store, as a sampler that begins anew is told it."""
    database = Database(url)
    try:
        async with database.snapshot() as tx:
            _, known = await tx.samples.news(CollectionId(collection), None)
    finally:
        await database.close()
    assert [each.suggestion.number for each in known] == list(range(SAMPLES))
    assert {each.state for each in known} == {"done"}

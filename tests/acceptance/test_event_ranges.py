"""Ranges of events of ROOT files, read by pilots of which some are preempted and some are killed."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import numpy as np
import pytest
import uproot

from idds.ddm.posix import PosixDDM
from idds.domain.identifiers import Did
from idds.domain.statuses import ContentStatus, Status
from idds.domain.workflow import Input, Ranges, WindowLimits, Work, Workflow
from idds.sdk.client import Client
from tests.acceptance import read_events
from tests.acceptance.service import Running, service

pytestmark = pytest.mark.timeout(240)
PATIENCE_S = 200
SET = Did("mc", "events")
EVENTS = {"f0.root": 130, "f1.root": 90, "f2.root": 7, "f3.root": 200, "f4.root": 173}
LONGEST = 10
TTL_S = 3.0
RSES = {"DISK": {"kind": "disk"}, "TAPE": {"kind": "tape", "drives": 2}}


async def write_tape(state: Path, folder: Path) -> int:
    """The dataset, on tape before the service starts; the bytes of its largest file."""
    ddm = PosixDDM.from_options({"root": str(state / "rses"), "rses": RSES})
    await ddm.start()
    largest = first = 0
    await ddm.create_dataset(SET)
    for name, events in EVENTS.items():
        path = folder / name
        with uproot.recreate(path) as file:
            file["events"] = {"number": np.arange(first, first + events)}
        first += events
        largest = max(largest, path.stat().st_size)
        await ddm.write_tape("TAPE", SET, Did(SET.scope, name), path, "T1", events=events)
    await ddm.stop()
    return largest


@dataclass
class Fleet:
    """Pilots on one collection, each a process with a token that is good for that only."""

    running: Running
    collection: int
    token: str
    results: Path
    pilots: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def launch(self) -> None:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("idds")),
            *("pilot", "--collection", str(self.collection), "--count", "4", "--ttl-s", str(TTL_S)),
            *("--", sys.executable, str(Path(read_events.__file__)), str(self.results)),
            env={**os.environ, "IDDS_URL": self.running.url, "IDDS_TOKEN": self.token},
            stdout=asyncio.subprocess.PIPE,
        )
        self.pilots.append(process)

    async def end(self, process: asyncio.subprocess.Process, number: signal.Signals) -> None:
        """One that is told to end says what it did, unless it had hardly begun."""
        self.pilots.remove(process)
        process.send_signal(number)
        output, _ = await process.communicate()
        assert output.startswith(b"done") if process.returncode == 0 else process.returncode == -number


@asynccontextmanager
async def fleet(running: Running, client: Client, collection: int, results: Path) -> AsyncIterator[Fleet]:
    token = await client.payload_token(collection, 3600)
    made = Fleet(running, collection, token, results)
    try:
        yield made
    finally:
        for process in made.pilots:
            process.kill()
            await process.communicate()


async def test_each_event_is_read_once_whatever_becomes_of_the_pilots(tmp_path: Path) -> None:
    random, results = Random(4), tmp_path / "results"
    results.mkdir()
    window = WindowLimits(bytes=2 * await write_tape(tmp_path / "state", tmp_path))
    source = Input(dataset=str(SET), ranges=Ranges(events=LONGEST), window=window)
    async with service(tmp_path / "state") as running, running.client() as client, asyncio.timeout(PATIENCE_S):
        request = await client.submit(Workflow(name="events", works=(Work(name="read", input=source, attempts=20),)))
        while not (found := (await client.request(request.id)).collections):
            await asyncio.sleep(0.05)
        collection = found[0].id
        async with fleet(running, client, collection, results) as pilots:
            for _ in range(4):
                await pilots.launch()
            for number in (signal.SIGTERM, signal.SIGKILL) * 3:
                await progress(client, collection)
                await pilots.end(random.choice(pilots.pilots), number)
                await pilots.launch()
            ended = await client.wait(request.id)
            words = [(await process.communicate())[0].decode() for process in pilots.pilots]
            pilots.pilots.clear()
        assert all(said.startswith("done") for said in words), "they end well when nothing is left"
        while any(each.rse == "DISK" for each in await client.replicas()):
            await asyncio.sleep(0.05)
        contents = [content async for content in client.contents(collection)]
        processed = [move async for move in client.history(request.id) if move.event == "processed"]
    assert ended.status is Status.FINISHED
    assert {content.status for content in contents} == {ContentStatus.DONE}
    assert sum(move.n for move in processed) == len(contents), "each was accepted once"
    read = Counter(
        event
        for content in contents
        for event in json.loads((results / f"{content.id}-{content.attempt}.json").read_text())
    )
    assert read == Counter(range(sum(EVENTS.values()))), "each event by one accepted report"
    assert not [path for path in (tmp_path / "state" / "rses" / "DISK").rglob("*") if path.is_file()]


async def progress(client: Client, collection: int) -> None:
    """Wait until a few more ranges are done."""
    done = (await client.collection(collection)).counts[ContentStatus.DONE]
    while (await client.collection(collection)).counts[ContentStatus.DONE] < min(done + 5, 55):
        await asyncio.sleep(0.05)

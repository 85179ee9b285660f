"""Ranges of events of ROOT files, read by pilots of which some are preempted and some are killed."""

import asyncio
import json
import os
import re
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
        is_wound_up = process.returncode == 128 + number
        assert output.startswith(b"done") if is_wound_up else process.returncode == -number


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


PAGE = (Path(__file__).parents[2] / "docs" / "event-ranges.md").read_text()


def block(language: str, having: str) -> str:
    """The one code block of the page of this language with these words in it."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    [found] = [block for block in blocks if having in block]
    return str(found)


async def carry_out(folder: Path, running: Running, program: str, text: str) -> str:
    """Run a block of the page in a folder, against this service; what it printed."""
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "IDDS_URL": running.url}
    process = await asyncio.create_subprocess_exec(
        program, "-c", text, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE_S):
        output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def test_the_page_does_what_it_says(tmp_path: Path) -> None:
    async with service(tmp_path / "idds-state") as running, running.client() as client:
        await carry_out(tmp_path, running, sys.executable, block("python", "write_tape"))
        (tmp_path / "energies.json").write_text(block("json", "energies"))
        (tmp_path / "energy.py").write_text(block("python", "RESULTS"))
        commands = block("bash", "idds pilot")
        # A collection is there as soon as the request was advanced.
        first, then = commands.split("export")
        await carry_out(tmp_path, running, "bash", first)
        async with asyncio.timeout(PATIENCE_S):
            while not (await client.request(1)).collections:
                await asyncio.sleep(0.05)
        said = await carry_out(tmp_path, running, "bash", f"export{then}")
        assert said.strip() in PAGE
        assert (await client.wait(1)).status is Status.FINISHED
    energies = [json.loads(path.read_text()) for path in (tmp_path / "results").iterdir()]
    assert (len(energies), sum(energies)) == (30, 3 * sum(n % 7 for n in range(1000)))


async def test_the_page_counts(tmp_path: Path) -> None:
    async with service(tmp_path / "idds-state") as running, running.client() as client:
        await carry_out(tmp_path, running, sys.executable, block("python", "write_tape"))
        script = tmp_path / "count.py"
        script.write_text(block("python", "file.count"))
        text = block("json", "counted_by").replace('"python3", "count.py"', f'"{sys.executable}", "{script}"')
        request = await client.submit(json.loads(text))
        async with asyncio.timeout(PATIENCE_S):
            while len((await client.request(request.id)).collections) < 2:
                await asyncio.sleep(0.05)
            ranges = (await client.request(request.id)).collection("sum").id
            while not (await client.collection(ranges)).is_closed:
                await asyncio.sleep(0.05)
        contents = [content async for content in client.contents(ranges)]
        assert Counter(content.name for content in contents) == {f"file{n}": 10 for n in range(3)}
        await client.cancel(request.id)
        await client.wait(request.id)


async def progress(client: Client, collection: int) -> None:
    """Wait until a few more ranges are done."""
    done = (await client.collection(collection)).counts[ContentStatus.DONE]
    while (await client.collection(collection)).counts[ContentStatus.DONE] < min(done + 5, 55):
        await asyncio.sleep(0.05)

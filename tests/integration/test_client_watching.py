"""The client's calls of who watches, against the whole service: files from a tape, over time and one by one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from idds.cli.serve import serving
from idds.ddm.posix import PosixDDM
from idds.domain.content import Outcome
from idds.domain.errors import NotFound
from idds.domain.identifiers import Did
from idds.domain.statuses import ContentStatus, ReplicaStatus
from idds.domain.workflow import Input, WindowLimits, Work, Workflow
from idds.runtime.settings import read_settings
from idds.sdk.client import Client

pytestmark = pytest.mark.timeout(120)
FILES, SIZE = 6, 100
RSES = {"DISK": {"kind": "disk"}, "TAPE": {"kind": "tape"}}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    ddm = PosixDDM.from_options({"root": str(tmp_path / "rses"), "rses": RSES})
    await ddm.start()
    await ddm.create_dataset(Did("data", "raw"))
    for number in range(FILES):
        await ddm.write_tape("TAPE", Did("data", "raw"), Did("data", f"f{number}"), b"x" * SIZE, "C1")
    await ddm.close_dataset(Did("data", "raw"))
    await ddm.stop()
    settings = read_settings(
        None,
        state=tmp_path / "state",
        api={"port": 0},
        bus={"kind": "none"},
        ddm={"plugin": "posix", "options": {"root": str(tmp_path / "rses"), "rses": RSES}},
    )
    async with serving(settings) as running, Client(running.url, token_file=running.token_file) as client:
        yield client


async def test_what_happened_when_and_to_what(client: Client) -> None:
    window = WindowLimits(files=2)
    work = Work(name="read", input=Input(dataset="data:raw", window=window))
    request = await client.submit(Workflow(name="watched", works=(work,)))
    while not (found := (await client.request(request.id)).collections):
        await asyncio.sleep(0.02)
    collection, ended = found[0].id, False
    while not ended:
        lease = await client.lease(collection, count=2, wait_s=2)
        ended = lease.ended
        await client.report(
            collection,
            [Outcome(c.id, c.attempt, c.name != "f3", "it is torn", retry=False) for c in lease.contents],
        )
    await client.wait(request.id)

    troubles = await client.troubles(request.id)
    assert [(each.name, each.status, each.reason) for each in troubles.ended_badly] == [
        ("f3", ContentStatus.FAILED, "it is torn")
    ]
    assert troubles.on_their_way == ()
    async with asyncio.timeout(60):
        while (story := await client.content(troubles.ended_badly[0].id)).replica is None or (
            story.replica.status is not ReplicaStatus.GONE
        ):
            await asyncio.sleep(0.02)
    events = [move.event for move in story.moves]
    assert [event for event in events if event in ("admitted", "failed", "deleted")] == [
        "admitted",
        "failed",
        "deleted",
    ]
    async with asyncio.timeout(60):
        while (series := await client.series(request.id)).released[-1] < FILES:
            await asyncio.sleep(0.1)
    assert (series.staged[-1], series.processed[-1], series.failed[-1]) == (FILES, FILES - 1, 1)
    assert series.bytes_on_disk[-1] == 0
    assert max(series.bytes_on_disk) <= FILES * SIZE
    assert sum(took.files for took in series.took) == FILES
    landings = await client.landings(600)
    assert sum(sum(source.files) for source in landings.sources) == FILES
    for asked in (client.series(999), client.content(999), client.troubles(999)):
        with pytest.raises(NotFound):
            await asked

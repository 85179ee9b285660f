"""Real ROOT files through the carousel: one of them is broken, and fails alone, with its reason."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from idds.cli.demonstration.disk import DiskWatch, sights
from idds.cli.demonstration.record import Record
from idds.cli.serve import Serving, serving
from idds.ddm.posix import PosixDDM
from idds.domain.identifiers import Did
from idds.domain.statuses import ContentStatus, Relation, Status
from idds.domain.workflow import Input, Output, Payload, WindowLimits, Work, Workflow
from idds.runtime.settings import Settings, read_settings
from idds.sdk.client import Client
from idds.sdk.payload import Unprocessable
from idds.sdk.views import RequestView
from tests.acceptance import read_root
from tests.acceptance.coffea_samples import sample_files

DATASET = Did("coffea", "samples")
BROKEN = "bad_delphes.root"


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return sample_files(tmp_path_factory.mktemp("coffea"))


@pytest.fixture
def expected(samples: dict[str, bytes], tmp_path: Path) -> dict[str, dict[str, object]]:
    """What uproot reads in each file that it can read, here and without any service."""
    found: dict[str, dict[str, object]] = {}
    for name, content in samples.items():
        path = tmp_path / name
        path.write_bytes(content)
        try:
            found[name] = read_root.describe(path)
        except Unprocessable:
            assert name == BROKEN
    return found


def settings(state: Path, window: int) -> Settings:
    rses = {"DISK": {"kind": "disk"}, "OUTPUTS": {"kind": "disk"}, "TAPE": {"kind": "tape", "drives": 2}}
    return read_settings(
        None,
        state=state,
        api={"port": 0},
        ddm={"plugin": "posix", "options": {"root": str(state / "rses"), "rses": rses}},
        rses={"DISK": {"window_bytes": window}},
        placement={"outputs": "OUTPUTS"},
    )


def workflow(window: int) -> Workflow:
    work = Work(
        name="read",
        input=Input(dataset=str(DATASET), window=WindowLimits(bytes=window), batch=2),
        payload=Payload(argv=(sys.executable, str(Path(read_root.__file__)))),
        output=Output(dataset="coffea:contents"),
    )
    return Workflow(name="root-files", works=(work,))


async def write_tape(service: Serving, samples: dict[str, bytes]) -> None:
    ddm = service.wired.ddm
    assert isinstance(ddm, PosixDDM)
    await ddm.create_dataset(DATASET)
    for number, (name, content) in enumerate(sorted(samples.items())):
        await ddm.write_tape("TAPE", DATASET, Did(DATASET.scope, name), content, f"CARTRIDGE{number // 8}")


async def carry_out(client: Client, window: int) -> RequestView:
    """The request, when it has ended and nothing is left on disk."""
    submitted = await client.submit(workflow(window))
    async with asyncio.timeout(200):
        request = await client.wait(submitted.id)
        while any(each.rse == "DISK" for each in await client.replicas()):
            await asyncio.sleep(0.05)
    return request


async def test_the_broken_file_fails_with_its_reason_and_the_rest_is_delivered(
    samples: dict[str, bytes], expected: dict[str, dict[str, object]], tmp_path: Path
) -> None:
    assert len(samples) > 30
    assert BROKEN in samples
    state, window = tmp_path / "state", sum(map(len, samples.values())) // 3
    looks = Record(tmp_path / "disk.jsonl")
    watching = asyncio.create_task(DiskWatch(state / "rses" / "DISK", looks).watch())
    async with serving(settings(state, window)) as service:
        await write_tape(service, samples)
        async with Client(service.url, token_file=service.token_file) as client:
            request = await carry_out(client, window)
            inputs = [content async for content in client.contents(request.collection("read").id)]
            outputs = [c async for c in client.contents(request.collection("read", Relation.OUTPUT).id)]
            processings = [processing async for processing in client.processings(request.id)]
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)

    assert request.status is Status.SUBFINISHED
    failed = {content.name: content.reason for content in inputs if content.status is ContentStatus.FAILED}
    assert failed == {BROKEN: "no object in this ROOT file: its writer never closed it"}
    assert {content.name for content in inputs if content.status is ContentStatus.DONE} == samples.keys() - {BROKEN}
    read = [json.loads(Path(output.path).read_text()) for output in outputs if output.path]
    assert len(read) == len(expected)
    assert {one.pop("file"): one for one in read} == expected
    assert {processing.attempt for processing in processings} == {1}, "trying again is pointless here"
    assert max(sight.bytes for sight in sights(looks)) <= window

"""The data carousel on a real Rucio: through a small disk window, each file deleted when it was processed."""

import asyncio
import json
from contextlib import aclosing, suppress
from pathlib import Path

from idds.domain.identifiers import Did
from idds.domain.statuses import ContentStatus, Status
from idds.domain.workflow import Input, Payload, Work, Workflow
from tests.acceptance.service import service
from tests.contract.rucio_site import RucioSite
from tests.servers.rucio.server import RucioServer

FILES = 10
SIZE = 100_000
WINDOW = 3 * SIZE
DATASET = Did("test", "carousel.acceptance")
READ = "import json; [open(c['path'], 'rb').read() for c in json.load(open('input.json'))['contents']]"
DEADLINE_S = 300.0


def settings(rucio: RucioServer, folder: Path) -> Path:
    """As an operator writes them."""
    options = "\n".join(f"{name} = {json.dumps(value)}" for name, value in rucio.ddm_options.items())
    path = folder / "idds.toml"
    path.write_text(f'[ddm]\nplugin = "rucio"\n[ddm.options]\n{options}\n[rses.DISK]\nwindow_bytes = {WINDOW}\n')
    return path


def on_disk(folder: Path) -> int:
    """Bytes of the dataset's files, those half copied too; others use this Rucio as well."""
    total = 0
    for path in folder.rglob(f"*{DATASET.name}.*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


async def test_a_dataset_on_tape_goes_through_a_small_disk_and_nothing_stays(
    rucio: RucioServer, tmp_path: Path
) -> None:
    async with aclosing(RucioSite(rucio)) as site:
        await site.create_dataset(DATASET)
        names = [f"{DATASET.name}.{n}" for n in range(FILES)]
        for name in names:
            await site.write_tape(DATASET, Did("test", name), name.encode().ljust(SIZE, b"."))
        lost = Did("test", names[-1])
        await site.lose(lost)
    work = Work(name="read", input=Input(dataset=str(DATASET)), payload=Payload(argv=("python3", "-c", READ)))
    highest = 0
    async with (
        service(tmp_path / "state", "--settings", str(settings(rucio, tmp_path))) as running,
        running.client() as client,
        asyncio.timeout(DEADLINE_S),
    ):
        request = await client.submit(Workflow(name="carousel", works=(work,)))
        while not request.status.is_terminal:
            highest = max(highest, on_disk(rucio.prefix("DISK")))
            await asyncio.sleep(0.05)
            request = await client.request(request.id)
        contents = [content async for content in client.contents(request.collections[0].id)]
        while on_disk(rucio.prefix("DISK")):
            await asyncio.sleep(0.2)
    assert request.status is Status.SUBFINISHED
    done = {content.name for content in contents if content.status is ContentStatus.DONE}
    assert done == set(names[:-1])
    (failed,) = (content for content in contents if content.status is ContentStatus.FAILED)
    assert failed.name == lost.name
    assert failed.reason
    assert 0 < highest <= WINDOW

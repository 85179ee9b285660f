"""The data carousel on a real Rucio: through a small disk window, each file deleted when it was processed."""

import asyncio
import json
from contextlib import aclosing, suppress
from pathlib import Path

from playwright.async_api import expect

from idds.domain.identifiers import Did
from idds.domain.statuses import ContentStatus, Status
from idds.domain.workflow import Input, Payload, Work, Workflow
from idds.sdk.views import ContentView
from tests.acceptance.service import Running, service
from tests.browser.chromium import PHONE, chromium, flaws, log_in, looking, overflowing
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


async def look(running: Running, failed: ContentView) -> None:
    """The page tells it all, on a phone too: what was staged and released, from which tape, and why a file failed."""
    async with chromium() as browser, looking(browser, viewport=PHONE, color_scheme="dark") as (_, page):
        page.set_default_timeout(DEADLINE_S * 1000)
        expect.set_options(timeout=DEADLINE_S * 1000)
        await log_in(page, running.url, running.token, "/requests/1")
        await page.wait_for_selector("body[data-drawn]")
        await expect(page.locator("#live")).to_contain_text(failed.reason or "")
        await page.locator("#table-series summary").click()
        last = page.locator("#rows-series table").first.locator("tbody tr").last.locator("td")
        await expect(last.nth(1)).to_have_text(str(FILES - 1))
        assert (await flaws(page), await overflowing(page)) == ([], [])
        for path, told in (("/carousel", "TAPE"), (f"/contents/{failed.id}", failed.reason or "")):
            await page.goto(f"{running.url}{path}")
            await expect(page.locator("main")).to_contain_text(told)
            assert (await flaws(page), await overflowing(page)) == ([], [])


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
        (failed,) = (content for content in contents if content.status is ContentStatus.FAILED)
        await look(running, failed)
    assert request.status is Status.SUBFINISHED
    done = {content.name for content in contents if content.status is ContentStatus.DONE}
    assert done == set(names[:-1])
    assert failed.name == lost.name
    assert failed.reason
    assert 0 < highest <= WINDOW

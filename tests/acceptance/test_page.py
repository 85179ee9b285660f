"""The page in a real browser, over a carousel that runs: live, readable by everybody, whole on every screen."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from idds.ddm.posix import PosixDDM
from idds.domain.content import Outcome
from idds.domain.identifiers import CollectionId, Did
from idds.domain.workflow import Input, WindowLimits, Work, Workflow
from idds.sdk.client import Client
from tests.acceptance.service import Running, service
from tests.browser.chromium import PHONE, WALL, chromium, flaws, log_in, looking, overflowing

FILES, SIZE, WINDOW = 40, 1000, 5000
NAME = "reprocessing-of-2026-with-a-name-that-is-rather-long-and-has-no-blank-in-it"
PATIENCE_MS = 30_000
RSES = {"DISK": {"kind": "disk"}, "TAPE": {"kind": "tape", "drives": 2, "mount_s": 0.1, "bytes_per_s": 50_000}}
SETTINGS = """
[ddm]
plugin = "posix"
[ddm.options]
root = "{root}"
[ddm.options.rses]
DISK = {{kind = "disk"}}
TAPE = {{kind = "tape", drives = 2, mount_s = 0.1, bytes_per_s = 50000}}
[bus]
kind = "none"
[rses.DISK]
window_bytes = 20000
"""


async def write_tape(root: Path) -> None:
    ddm = PosixDDM.from_options({"root": str(root), "rses": RSES})
    await ddm.start()
    dataset = Did("data18", "raw")
    await ddm.create_dataset(dataset)
    for number in range(FILES):
        content = bytes([number]) * SIZE
        await ddm.write_tape("TAPE", dataset, Did("data18", f"raw.{number:04d}"), content, "C1")
    await ddm.close_dataset(dataset)
    await ddm.stop()


class Consumer:
    """Processes what is on disk; one file fails. It can be told to wait."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def run(self, collection: CollectionId) -> None:
        ended = False
        while not ended:
            await self.may_go_on.wait()
            lease = await self._client.lease(collection, count=2, wait_s=1)
            ended = lease.ended
            outcomes = [
                Outcome(each.id, each.attempt, each.name != "raw.0007", "a checksum inside is wrong", retry=False)
                for each in lease.contents
            ]
            if outcomes:
                await self._client.report(collection, outcomes)


@asynccontextmanager
async def carousel(folder: Path) -> AsyncIterator[tuple[Running, Client, CollectionId]]:
    """A service with a request that waits for its first consumer, its window full."""
    await write_tape(folder / "rses")
    settings = folder / "idds.toml"
    settings.write_text(SETTINGS.format(root=folder / "rses"))
    async with service(folder / "state", "--settings", str(settings)) as running, running.client() as client:
        window = WindowLimits(bytes=WINDOW)
        work = Work(name="read", input=Input(dataset="data18:raw", window=window))
        request = await client.submit(Workflow(name=NAME, works=(work,)))
        async with asyncio.timeout(PATIENCE_MS / 1000):
            while not (found := (await client.request(request.id)).collections) or found[0].counts["available"] < 5:
                await asyncio.sleep(0.05)
        yield running, client, CollectionId(found[0].id)


@asynccontextmanager
async def consuming(client: Client, collection: CollectionId) -> AsyncIterator[Consumer]:
    consumer = Consumer(client)
    task = asyncio.create_task(consumer.run(collection))
    try:
        yield consumer
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def tile(page: Page, label: str) -> Any:
    return page.locator(".tile").filter(has=page.get_by_text(label, exact=True)).locator("dd")


async def test_it_is_live_and_orders_are_shown_first(tmp_path: Path) -> None:
    async with (
        carousel(tmp_path) as (running, client, collection),
        chromium() as browser,
        looking(browser, viewport=WALL) as (_, page),
    ):
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        await log_in(page, running.url, running.token, "/requests/1")
        await expect(page.locator("#live-state")).to_contain_text("live")
        await expect(tile(page, "Processed")).to_have_text("0of 40")
        await expect(tile(page, "On disk")).to_contain_text("5 kB")
        await page.wait_for_selector("body[data-drawn]")
        assert await page.locator(".chart canvas").count() == 4
        await _suspend(page)
        async with consuming(client, collection):
            await _resume_on_a_page_of_its_own(page, running.url)
            # Nobody loads it anew: it is told, and looks again.
            await expect(tile(page, "Processed")).to_have_text("39of 40")
        await expect(page.locator("#live .status").first).to_have_text("subfinished")
        failed = page.locator("section", has_text="Failed or missing last").locator("tbody tr")
        await expect(failed).to_have_count(1)
        await expect(failed).to_contain_text("a checksum inside is wrong")
        await _table_beside_the_charts(page)
        await failed.get_by_role("link").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("data18:raw.0007")
        await expect(page.locator("section table")).to_contain_text("a checksum inside is wrong")
        await page.get_by_role("button", name="Log out").click()
        await page.wait_for_url(f"{running.url}/login")
        await page.goto(f"{running.url}/carousel")
        await expect(page.get_by_label("Token")).to_be_visible()


async def _suspend(page: Page) -> None:
    """In a dialog: left once, done then."""
    for leave in (True, False):
        await page.get_by_role("link", name="Suspend").click()
        dialog = page.locator("dialog[open]")
        await expect(dialog).to_contain_text("This touches")
        assert await flaws(page) == []
        if leave:
            await dialog.get_by_role("link", name="Leave it").click()
            await expect(dialog).to_have_count(0)
            await expect(page.locator(".facts .status")).to_have_text("running")
        else:
            await dialog.get_by_role("button", name="Suspend").click()
    await expect(page.locator(".facts .status")).to_have_text("suspended")


async def _resume_on_a_page_of_its_own(page: Page, url: str) -> None:
    await page.goto(f"{url}/requests/1/orders/resume")
    assert await flaws(page) == []
    await page.get_by_role("button", name="Resume").click()
    await page.wait_for_url(f"{url}/requests/1")


async def _table_beside_the_charts(page: Page) -> None:
    """It says what the charts show, and stays open while it is kept live."""
    await page.locator("#table-series summary").click()
    last = page.locator("#rows-series table").first.locator("tbody tr").last.locator("td")
    await expect(last.nth(1)).to_have_text("39")
    await expect(last.nth(2)).to_have_text("1")
    await expect(last.nth(3)).to_have_text("40")
    await expect(last.nth(4)).to_have_text("0 B")


async def test_it_is_whole_on_every_screen_in_both_schemes(tmp_path: Path) -> None:
    async with carousel(tmp_path) as (running, client, collection), consuming(client, collection) as consumer:
        async with asyncio.timeout(PATIENCE_MS / 1000):
            while (await client.request(1)).collections[0].counts["done"] < 15:
                await asyncio.sleep(0.05)
        consumer.may_go_on.clear()
        async with chromium() as browser:
            for scheme in ("light", "dark"):
                for viewport in (PHONE, WALL):
                    await _look_at_all(browser, running, scheme, viewport)


PATHS = (
    "/",
    "/requests",
    "/requests/1",
    "/collections/1",
    "/contents/8",
    "/carousel",
    "/requests/1/orders/cancel",
    "/carousel/orders/change-window?rse=DISK",
    "/requests/999",
)


async def _look_at_all(browser: Browser, running: Running, scheme: Any, viewport: Any) -> None:
    """Nothing that axe-core finds, and nothing that sticks out."""
    async with looking(browser, viewport=viewport, color_scheme=scheme, allowed=("404",)) as (_, page):
        page.set_default_timeout(PATIENCE_MS)
        await page.goto(running.url)
        assert await flaws(page) == []
        await log_in(page, running.url, running.token)
        for path in PATHS:
            await page.goto(f"{running.url}{path}")
            if await page.locator(".plot").count():
                await page.wait_for_selector("body[data-drawn]")
            for details in await page.locator("summary").all():
                await details.click()
            assert await flaws(page) == [], (path, scheme, viewport)
            assert await overflowing(page) == [], (path, scheme, viewport)


async def test_without_scripts_it_reads_and_orders_all_the_same(tmp_path: Path) -> None:
    async with (
        carousel(tmp_path) as (running, _, _),
        chromium() as browser,
        looking(browser, viewport=PHONE, java_script_enabled=False) as (_, page),
    ):
        page.set_default_timeout(PATIENCE_MS)
        await log_in(page, running.url, running.token, "/requests/1")
        await page.get_by_role("link", name="Cancel", exact=True).click()
        await expect(page.locator("main")).to_contain_text("35 contents that wait")
        await page.get_by_role("button", name="Cancel").click()
        await page.wait_for_url(f"{running.url}/requests/1")
        async with asyncio.timeout(PATIENCE_MS / 1000):
            while "cancelled" not in await page.locator(".facts").inner_text():
                await page.reload()


pytestmark = pytest.mark.timeout(300)

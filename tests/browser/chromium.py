"""Chromium, driven by Playwright: no sandbox (tests may run as root), and nothing asked of anybody outside."""

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, async_playwright

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
PHONE, WALL = {"width": 390, "height": 844}, {"width": 1600, "height": 900}
# What sticks out of the screen, unless it scrolls in a box of its own.
_OVERFLOW = """() => {
  const wide = document.documentElement.clientWidth;
  const found = [...document.querySelectorAll("body *")].filter((element) => {
    if (element.closest(".wide") && !element.matches(".wide")) return false;
    if (element.closest(".skip, dialog:not([open]), .u-axis, .u-over, .u-under")) return false;
    return element.getBoundingClientRect().right > wide + 1;
  });
  if (document.documentElement.scrollWidth > wide) found.push(document.documentElement);
  return found.map((element) => element.outerHTML.slice(0, 120));
}"""


def executable() -> str:
    """Where Chromium is. Raises FileNotFoundError: it has to be there, as other servers of the tests have to."""
    found = os.environ.get("IDDS_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        raise FileNotFoundError("Chromium is missing: install the package chromium, or set IDDS_CHROMIUM")
    return found


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable(), args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def looking(
    browser: Browser, *, allowed: Sequence[str] = (), **options: Any
) -> AsyncIterator[tuple[BrowserContext, Page]]:
    """A window of its own. Whatever a page complains of (errors, what its policy forbids) fails the test.

    `allowed` are words of what it may complain of.
    """
    context = await browser.new_context(**options)
    complaints: list[str] = []
    try:
        page = await context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        yield context, page
        assert [said for said in complaints if not any(word in said for word in allowed)] == []
    finally:
        await context.close()


async def log_in(page: Page, url: str, token: str, then: str = "/") -> None:
    """As a person does."""
    await page.goto(f"{url}{then}")
    await page.get_by_label("Token").fill(token)
    await page.get_by_role("button", name="Log in").click()
    await page.wait_for_url(f"{url}{then}")


async def flaws(page: Page) -> list[str]:
    """What axe-core finds wrong with what is shown."""
    # In a world of its own, as the page's policy forbids other scripts.
    session = await page.context.new_cdp_session(page)
    tree = await session.send("Page.getFrameTree")
    world = await session.send("Page.createIsolatedWorld", {"frameId": tree["frameTree"]["frame"]["id"]})
    where = {"contextId": world["executionContextId"], "returnByValue": True}
    await session.send("Runtime.evaluate", {"expression": f"{AXE};0", **where})
    answer = await session.send("Runtime.evaluate", {"expression": "axe.run()", "awaitPromise": True, **where})
    assert "exceptionDetails" not in answer, answer
    violations = answer["result"]["value"]["violations"]
    return [
        f"{each['id']}: {node['html'][:160]} {node['failureSummary']}" for each in violations for node in each["nodes"]
    ]


async def overflowing(page: Page) -> list[str]:
    """What is cut off at the right, or makes the page wider than the screen."""
    found: list[str] = await page.evaluate(_OVERFLOW)
    return found

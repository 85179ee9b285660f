"""The pages of studies in a real browser, over studies that run: live, with all their charts, readable by everybody."""

import math
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Browser, Page, expect

from idds.domain.identifiers import CollectionId
from tests.acceptance.service import Running, service
from tests.browser.chromium import PHONE, WALL, chromium, flaws, log_in, looking, overflowing

PATIENCE_MS = 30_000
COUNT, RESULTS = 120, 60
SPACE = {
    "lr": {"type": "float", "low": 1e-5, "high": 0.1, "log": True},
    "layers": {"type": "int", "low": 1, "high": 8},
    "optimizer-with-a-rather-long-name": {"type": "categorical", "choices": ["adam", "sgd"]},
    "momentum": {
        "type": "float",
        "low": 0,
        "high": 0.99,
        "when": {"parameter": "optimizer-with-a-rather-long-name", "values": ["sgd"]},
    },
}
Lease = Sequence[Mapping[str, Any]]


def loss(parameters: Mapping[str, Any]) -> float:
    return float((math.log10(parameters["lr"]) + 3) ** 2 + abs(parameters["layers"] - 4) / 10)


@dataclass(frozen=True)
class Study:
    """A study as payloads know it: by HTTP."""

    http: aiohttp.ClientSession
    id: CollectionId
    objectives: int

    async def call(self, path: str, body: Any) -> Any:
        async with self.http.post(path, json=body) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def lease(self, count: int, lessee: str = "node-1") -> Lease:
        found: list[Mapping[str, Any]] = []
        while len(found) < count:
            body = {"count": count - len(found), "lessee": lessee, "wait_s": 10, "ttl_s": 600}
            found += (await self.call(f"/v1/collections/{self.id}/contents:lease", body))["contents"]
        return found

    async def say(self, leased: Lease, steps: int) -> None:
        values = [
            {**_key(each), "step": step, "value": loss(each["parameters"]) + 1 / (step + 1)}
            for each in leased
            for step in range(steps)
        ]
        await self.call(f"/v1/collections/{self.id}/contents:intermediate", {"values": values})

    async def report(self, leased: Lease) -> None:
        reports = [
            {
                **_key(each),
                "status": "done",
                "objective_values": [loss(each["parameters"]), float(each["parameters"]["layers"])][: self.objectives],
            }
            for each in leased
        ]
        await self.call(f"/v1/collections/{self.id}/contents:report", {"reports": reports})

    async def fail(self, leased: Lease, reason: str) -> None:
        reports = [{**_key(each), "status": "failed", "reason": reason, "retry": False} for each in leased]
        await self.call(f"/v1/collections/{self.id}/contents:report", {"reports": reports})

    async def prune(self, leased: Lease) -> None:
        reports = [{**_key(each), "status": "done", "pruned": True} for each in leased]
        await self.call(f"/v1/collections/{self.id}/contents:report", {"reports": reports})


def _key(content: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": content["id"], "attempt": content["attempt"]}


@asynccontextmanager
async def studies(folder: Path) -> AsyncIterator[tuple[Running, Study, Study]]:
    """A service with a study of one objective and one of two; of each RESULTS came back, and one sample failed."""
    settings = folder / "idds.toml"
    settings.write_text('[bus]\nkind = "none"\n')
    async with (
        service(folder / "state", "--settings", str(settings)) as running,
        aiohttp.ClientSession(running.url, headers={"Authorization": f"Bearer {running.token}"}) as http,
    ):
        found = []
        for directions in (["minimize"], ["minimize", "maximize"]):
            samples = {"count": COUNT, "space": SPACE, "sampler": "random", "directions": directions, "seed": 1}
            works = [{"name": "train", "input": {"samples": samples, "window": {"files": 80}}}]
            async with http.post("/v1/requests", json={"workflow": {"name": "tune", "works": works}}) as response:
                assert response.status == 201
            study = Study(http, CollectionId(len(found) + 1), len(directions))
            async with running.client() as client:
                request = await client.request(len(found) + 1)
                while not request.collections:
                    request = await client.request(request.id)
                assert request.collections[0].id == study.id
            leased = await study.lease(RESULTS + 2)
            await study.report(leased[3:RESULTS])
            if study.objectives == 1:
                await study.say(leased[:3], 5)
                await study.prune(leased[RESULTS:-1])
            else:
                await study.report(leased[RESULTS:-1])
            await study.report(leased[:3])
            await study.fail(leased[-1:], "the gradients diverge")
            found.append(study)
        yield running, *found


def tile(page: Page, label: str) -> Any:
    return page.locator(".tile").filter(has=page.get_by_text(label, exact=True)).locator("dd")


def rows(page: Page, section: str) -> Any:
    return page.locator(f"section[aria-labelledby={section}] tbody tr")


async def test_a_study_is_watched_while_it_runs(tmp_path: Path) -> None:
    """In one session of a browser, as each costs seconds."""
    async with studies(tmp_path) as (running, single, double), chromium() as browser:
        expect.set_options(timeout=PATIENCE_MS)
        async with looking(browser, viewport=WALL, allowed=("422",)) as (_, page):
            page.set_default_timeout(PATIENCE_MS)
            await log_in(page, running.url, running.token, "/studies")
            await expect(page.locator("tbody tr")).to_have_count(2)
            await page.locator(f"a[href='/studies/{single.id}']").click()
            await expect(page.locator("#live-state")).to_contain_text("live")
            await _charts(page)
            await _live(page, single)
            await _redefined(page, single)
            await _sample(page)
            await _importance(page)
            await _told_as_json(page, running)
            await page.goto(f"{running.url}/studies/{double.id}")
            await _two_objectives(page)
        # Colours do not hang on the width, nor what sticks out on colours.
        await _look_at_all(browser, running, (single, double), WALL, "light")
        await _look_at_all(browser, running, (single, double), PHONE, "dark")
        await _without_scripts(browser, running, single)


async def _charts(page: Page) -> None:
    """All there are, each with what it shows in words."""
    await expect(tile(page, "Evaluated")).to_have_text(f"{RESULTS + 1}of {COUNT}")
    labels = [await each.get_attribute("aria-label") or "" for each in await page.locator("svg.drawn").all()]
    assert [re.sub(r" [0-9].*", "", label) for label in labels[:1]] == ["The best value over time:"]
    having = await _having(page)
    axes = ", ".join([*(name for name, _ in having), "objective 1"])
    assert labels[1:] == [
        *(f"Objective 1 against {name}, {n} samples" for name, n in having),
        f"Parallel coordinates of {RESULTS} samples: {axes}",
        "Values on the way of 3 samples, by step",
    ]
    dots = (
        await page.locator("svg.drawn")
        .nth(1)
        .locator("path.cloud")
        .evaluate_all("clouds => clouds.map(cloud => (cloud.getAttribute('d').match(/M/g) || []).length)")
    )
    assert sum(dots) == RESULTS
    assert len(dots) == 5, "by shades"


async def _having(page: Page) -> list[tuple[str, int]]:
    """The parameters in their order, and how many samples have each, as the table of the samples has it."""
    await page.locator("#table-points").evaluate("box => box.setAttribute('open', '')")
    names = await page.locator("#table-points thead th").all_text_contents()
    found = []
    for place, name in enumerate(names[2:-2], start=1):
        cells = await page.locator(f"#table-points tbody tr td:nth-of-type({place + 1})").all_text_contents()
        found.append((name.strip(), sum(cell.strip() != "–" for cell in cells)))
    return found


async def _live(page: Page, study: Study) -> None:
    """Nobody loads it anew: it is told, and looks again; what was opened stays open."""
    await page.locator("#table-best summary").click()
    held = await study.lease(3, "node-of-somebody")
    await study.say(held[:1], 4)
    await expect(rows(page, "running")).to_have_count(3)
    await study.call(f"/v1/collections/{study.id}/contents:return", {"held": [_key(held[2])]})
    await expect(rows(page, "running")).to_have_count(2)
    await expect(rows(page, "running").first).to_contain_text("node-of-somebody")
    await expect(rows(page, "lost").first).to_contain_text("lost or given back")
    await expect(rows(page, "lost").filter(has_text="failed")).to_contain_text("the gradients diverge")
    # What is said on the way is no event: while some of it may come the page looks by itself, sooner than ever else.
    curves = page.locator("section[aria-labelledby=way] svg.drawn")
    await expect(curves).to_have_attribute("aria-label", "Values on the way of 4 samples, by step")
    await study.say(held[1:2], 4)
    await expect(curves).to_have_attribute("aria-label", "Values on the way of 5 samples, by step", timeout=10_000)
    await study.report(held[:2])
    await expect(page.locator("#live[data-moving]")).to_have_count(0)
    await expect(tile(page, "Evaluated")).to_have_text(f"{RESULTS + 3}of {COUNT}")
    await expect(page.locator("#table-best")).to_have_attribute("open", "")
    await expect(page.locator("svg.drawn").first).to_have_attribute(
        "aria-label", re.compile(f"after {RESULTS + 2} samples")
    )
    await expect(tile(page, "Pruned")).to_have_text("1")


async def _redefined(page: Page, study: Study) -> None:
    change = {"change": "narrow", "parameter": "lr", "low": 1e-4}
    await study.call(f"/v1/studies/{study.id}:redefine", {"changes": [change], "reason": "below nothing is any good"})
    newest = page.get_by_role("group", name="Versions of the space").locator("tbody tr").first
    await expect(newest).to_contain_text("lr narrowed: low 0.0001")
    await expect(newest).to_contain_text("below nothing is any good")
    await page.locator("#table-space summary").click()
    await expect(rows(page, "versions").filter(has_text="lr").first).to_contain_text("0.0001 to 0.1, logarithmic")


async def _sample(page: Page) -> None:
    await page.locator("#table-curves").evaluate("box => box.setAttribute('open', '')")
    await page.locator("#table-curves").get_by_role("link", name="2", exact=True).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sample 2")
    await expect(page.locator(".card").last).to_contain_text("layers")
    await expect(page.locator("svg.drawn")).to_have_attribute("aria-label", "Values on the way of 1 sample, by step")
    await expect(rows(page, "way")).to_have_count(5)
    await page.go_back()


async def _importance(page: Page) -> None:
    await expect(page.locator("#weights-found tbody tr")).to_have_count(len(SPACE))


async def _told_as_json(page: Page, running: Running) -> None:
    calls = await page.locator("footer a[href^='/v1/']").evaluate_all("links => links.map(link => link.href)")
    assert len(calls) == 9
    for call in calls:
        answer = await page.request.get(call)
        assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, "application/json"), call
    assert {call.removeprefix(running.url).split("/")[2] for call in calls} == {"studies"}


async def _two_objectives(page: Page) -> None:
    await expect(page.locator("svg.drawn").first).to_have_attribute(
        "aria-label", re.compile("^Objective 2 against objective 1, and the Pareto front of [0-9]+ samples$")
    )
    front = await page.locator("svg.drawn").first.locator("circle").count()
    assert front >= 2
    await expect(rows(page, "best")).to_have_count(front)
    await expect(tile(page, "On the Pareto front")).to_have_text(f"{front}samples")
    await page.get_by_label("Objective of the charts").select_option("2, maximized")
    await page.get_by_role("button", name="Show").click()
    await expect(page.locator("figcaption").filter(has_text="over time")).to_contain_text("objective 2")
    await page.goto(page.url.replace("objective=1", "objective=2"))
    await expect(page.locator("main")).to_contain_text("this study has 2, counted from 0")


async def _look_at_all(browser: Browser, running: Running, shown: Sequence[Study], viewport: Any, scheme: Any) -> None:
    """Axe-core finds nothing, and nothing sticks out, with all tables open."""
    async with looking(browser, viewport=viewport, color_scheme=scheme) as (_, page):
        page.set_default_timeout(PATIENCE_MS)
        await log_in(page, running.url, running.token, "/studies")
        single = f"/studies/{shown[0].id}"
        paths = [
            "/studies",
            *(f"/studies/{study.id}" for study in shown),
            f"{single}/importance",
            f"{single}/samples/0",
        ]
        for path in paths:
            await page.goto(f"{running.url}{path}")
            if path.count("/") == 2:
                await page.wait_for_selector("#weights-found")
            for details in await page.locator("summary").all():
                await details.click()
            assert await flaws(page) == [], (path, scheme, viewport)
            assert await overflowing(page) == [], (path, scheme, viewport)


async def _without_scripts(browser: Browser, running: Running, study: Study) -> None:
    """Everything is drawn by the service; what comes after is a link."""
    async with looking(browser, viewport=PHONE, java_script_enabled=False) as (_, page):
        page.set_default_timeout(PATIENCE_MS)
        await log_in(page, running.url, running.token, f"/studies/{study.id}")
        assert await page.locator("svg.drawn").count() == len(SPACE) + 3
        await page.get_by_role("link", name="How much each parameter had to do").click()
        await expect(page.locator("#weights-found tbody tr")).to_have_count(len(SPACE))


pytestmark = pytest.mark.timeout(300)

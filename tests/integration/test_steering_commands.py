"""The user's own algorithm: a command that the local provider runs, asked again with what came of its points."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from idds.cli.serve import serving
from idds.domain.workflow import Input, Samples, Steering, Work, Workflow
from idds.providers.local.options import LocalOptions
from idds.providers.local.provider import CAPABILITIES, LocalProvider
from idds.runtime.settings import read_settings
from idds.sdk.client import Client
from idds.services.commanding import Commanding
from tests.integration.api import Api, api_on

HALVING = """
import json, sys
task = json.load(open(sys.argv[1]))
with open({log!r}, "a") as log:
    log.write(json.dumps([task, *sys.argv[3:]]) + "\\n")
done = [(loss, point["x"]) for point, loss in task["points"] if loss is not None]
best = min(done)[1] if done else 8.0
width = 8.0 / 2 ** len(task["points"])
found = [] if width < 0.2 else [{{"x": best - width}}, {{"x": best + width}}]
json.dump(found, open(sys.argv[2], "w"))
"""


@dataclass
class Steered:
    """A service with a local provider; `log` has what each run of the command was told."""

    api: Api
    provider: LocalProvider
    folder: Path
    commanding: Commanding

    def command(self, text: str) -> list[str]:
        script = self.folder / "steer.py"
        script.write_text(text.format(log=str(self.folder / "log")))
        return [sys.executable, str(script), "%IN", "%OUT", "%NUM_POINTS", "%MAX_POINTS"]

    def log(self) -> list[Any]:
        path = self.folder / "log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    async def submit(self, argv: list[str], **changes: Any) -> tuple[int, int]:
        samples = {"count": 100, "sampler": "command", "steering": {"argv": argv}, "refill": {"points": 2}, **changes}
        request = await self.api.submit({"name": "s", "works": [{"name": "w", "input": {"samples": samples}}]})
        return request, await self.api.input_of(request)

    async def go_on(self) -> None:
        """All that the carrier and the transformer have to do now; commands run on."""
        await self.api.database.run(_make_due)
        await self.commanding.step()
        await self.api.advance()


def _make_due(connection: Any) -> None:
    connection.exec_driver_sql("UPDATE effects SET due_at = 0 WHERE kind = 'steer' AND owner IS NULL")


@asynccontextmanager
async def steered(url: str, folder: Path) -> AsyncIterator[Steered]:
    provider = LocalProvider(LocalOptions(root=folder / "jobs", slots=2))
    await provider.start()
    try:
        async with api_on(url) as api:
            commanding = Commanding(api.database, {"local": provider}, "local", "me")
            yield Steered(api, provider, folder, commanding)
    finally:
        await provider.stop()


async def evaluate(world: Steered, collection: int) -> list[dict[str, Any]]:
    """Lease and report until the search has ended; the parameters of what came."""
    path, seen = f"/v1/collections/{collection}/contents", []
    while not (leased := await world.api.post(f"{path}:lease", {"count": 5, "lessee": "me"}))["ended"]:
        for content in leased["contents"]:
            seen.append(content["parameters"])
            report = {"id": content["id"], "attempt": content["attempt"], "status": "done"}
            report["objective_values"] = [(content["parameters"]["x"] - 3) ** 2]
            await world.api.post(f"{path}:report", {"reports": [report]})
        await world.go_on()
    return seen


@pytest.mark.timeout(120)
async def test_a_command_searches_until_it_has_no_more_points(database_url: str, tmp_path: Path) -> None:
    async with steered(database_url, tmp_path) as world:
        request, collection = await world.submit(world.command(HALVING), fixed={"kind": "a"}, initial=[{"x": 8.0}])
        points = await evaluate(world, collection)
        assert points[0] == {"kind": "a", "x": 8.0}, "what was given comes first"
        runs = world.log()
        assert [len(task["points"]) for task, *_ in runs] == [1, 3, 5, 7], "each run knows what came before it"
        assert all(loss == (p["x"] - 3) ** 2 for task, *_ in runs for p, loss in task["points"])
        assert {tuple(numbers) for _, *numbers in runs} == {("2", "100")}
        found = await world.api.get(f"/v1/requests/{request}")
        assert found["status"] == "finished", found
        counts = (await world.api.get(f"/v1/collections/{collection}"))["counts"]
        assert counts["done"] == len(points) == 7
        assert not list((tmp_path / "jobs").glob("steering-*")), "nothing stays of its jobs"


@pytest.mark.timeout(120)
async def test_a_command_that_fails_is_tried_again_and_then_given_up(database_url: str, tmp_path: Path) -> None:
    async with steered(database_url, tmp_path) as world:
        failing = "import sys\nopen({log!r}, 'a').write('1\\n')\nsys.exit('no licence')\n"
        request, _ = await world.submit(world.command(failing))
        while (found := await world.api.get(f"/v1/requests/{request}"))["status"] == "running":
            await world.go_on()
        assert found["status"] == "failed"
        assert len(world.log()) == 5
        (transform,) = found["transforms"]
        assert "/works/0/input/samples/steering" in transform["reason"]
        assert "no licence" in transform["reason"]


@pytest.mark.timeout(120)
async def test_who_takes_over_finds_the_job_that_runs_and_a_cancel_ends_it(database_url: str, tmp_path: Path) -> None:
    async with steered(database_url, tmp_path) as world:
        waiting = "import time\nopen({log!r}, 'a').write('1\\n')\ntime.sleep(600)\n"
        request, collection = await world.submit(world.command(waiting))
        while not world.log():
            await world.go_on()
        world.commanding = Commanding(world.api.database, {"local": world.provider}, "local", "another")
        await world.go_on()
        await world.go_on()
        assert world.log() == [1], "it is started once"
        why = json.dumps(await world.api.get(f"/v1/requests/{request}/why"))
        assert "its steering command is run for more" in why
        await world.api.post(f"/v1/requests/{request}:cancel", {})
        while list((tmp_path / "jobs").glob("steering-*")):
            await world.go_on()
        assert (await world.api.get(f"/v1/requests/{request}"))["status"] == "cancelled"
        assert (await world.api.get(f"/v1/collections/{collection}"))["counts"]["available"] == 0


@pytest.mark.timeout(120)
async def test_what_is_retried_takes_up_its_command_or_begins_a_job_of_its_own(
    database_url: str, tmp_path: Path
) -> None:
    async with steered(database_url, tmp_path) as world:
        waiting = "import json, sys, time\nopen({log!r}, 'a').write('1\\n')\nwhile not open({log!r} + '.go').read(1):\n"
        waiting += "    time.sleep(0.05)\njson.dump([{{'x': 1}}, {{'x': 2}}], open(sys.argv[2], 'w'))\n"
        go = tmp_path / "log.go"
        go.write_text("")
        request, collection = await world.submit(world.command(waiting), count=2)
        jobs = tmp_path / "jobs"
        while not world.log():
            await world.go_on()
        (first,) = jobs.glob("steering-*")

        # The carrier has not heard of the cancel when the request is retried: the command that runs is the one.
        for order in ("cancel", "retry"):
            await world.api.post(f"/v1/requests/{request}:{order}", {})
            await world.api.advance()
        await world.go_on()
        assert [*jobs.glob("steering-*")] == [first]

        # It has, and has ended it.
        await world.api.post(f"/v1/requests/{request}:cancel", {})
        await world.api.advance()
        while list(jobs.glob("steering-*")):
            await world.go_on()
        go.write_text("1")
        await world.api.post(f"/v1/requests/{request}:retry", {})
        await world.api.advance()
        while not (again := [*jobs.glob("steering-*")]):
            await world.go_on()
        assert again[0].name != first.name, "a provider that remembers what has ended takes it for no job that it knows"
        assert [each["x"] for each in await evaluate(world, collection)] == [1, 2]
        assert world.log() == [1, 1]


@pytest.mark.timeout(120)
async def test_why_tells_of_each_attempt(database_url: str, tmp_path: Path) -> None:
    async with steered(database_url, tmp_path) as world:
        failing = "import os, sys, time\nopen({log!r}, 'a').write('1\\n')\nwhile not os.path.exists({log!r} + '.go'):\n"
        failing += "    time.sleep(0.05)\nos.remove({log!r} + '.go')\nsys.exit('no licence')\n"
        request, _ = await world.submit(world.command(failing))

        async def told() -> tuple[str, str]:
            (transform,) = (await world.api.get(f"/v1/requests/{request}/why"))["transforms"]
            (said,) = [each for each in transform["sentences"] if "steering command" in each["text"]]
            return said["text"].partition(", ")[2], said["next"]

        text = "its steering command is run for more"
        assert await told() == (text, "a carrier takes it up now")
        await world.commanding.step()
        after = ""
        for attempt in (1, 2):
            if attempt > 1:
                assert (await told())[0] == text + after
                assert (await told())[1].startswith("a carrier takes it up")
            while len(world.log()) < attempt:
                await world.go_on()
            said, following = await told()
            assert said == text + after, "why the one before failed is told also while the next one runs"
            assert following.startswith("it runs; its end is heard of, or looked for in ")
            (tmp_path / "log.go").touch()
            after = f"; attempt {attempt + 1} of 5, after: it failed: exit code 1: no licence"
            while (await told())[0] != text + after:
                await world.api.database.run(_make_due)
                await world.commanding.step()


async def test_a_command_is_looked_at_as_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider says so: nobody waits until it may be asked again, which it wants in an hour."""
    seldom = replace(CAPABILITIES, min_poll_interval=3_600_000_000)
    monkeypatch.setattr(LocalProvider, "capabilities", property(lambda _: seldom))
    settings = read_settings(None, state=tmp_path / "state", api={"port": 0}, bus={"kind": "none"})
    async with serving(settings) as running, Client(running.url, token_file=running.token_file) as client:
        argv = ("/bin/sh", "-c", "sleep 0.3; echo '[]' > %OUT")
        samples = Samples(count=10, sampler="command", steering=Steering(argv=argv))
        request = await client.submit(Workflow(name="s", works=(Work(name="w", input=Input(samples=samples)),)))
        async with asyncio.timeout(60):
            await client.wait(request.id)

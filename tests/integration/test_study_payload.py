"""A payload that uses `idds.sdk.study` against the whole service: it is given a URL and a token of one study."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from idds.cli.serve import serving
from idds.domain.statuses import ContentStatus
from idds.domain.workflow import Input, Parameter, Pruner, Samples, Work, Workflow
from idds.runtime.settings import read_settings
from idds.sdk import study as sdk
from idds.sdk.client import Client
from idds.sdk.study import Ended, Refused, Study, Unprocessable, Useless
from idds.sdk.views import ContentView
from tests.servers.front import front

pytestmark = pytest.mark.timeout(120)
PATIENCE_S = 60
SPACE = {"x": Parameter(type="float", low=0, high=1)}
T = TypeVar("T")


@dataclass
class Place:
    """A study in a service, and what a payload is told of it."""

    client: Client
    request: int
    collection: int
    token: str

    async def payload(self, work: Callable[[Study], T], **how: Any) -> T:
        """What a payload comes to, in a thread of its own."""
        return await asyncio.to_thread(lambda: work(Study(self.client.url, self.token, **how)))

    async def contents(self) -> list[ContentView]:
        return [content async for content in self.client.contents(self.collection)]

    async def counts(self) -> dict[str, int]:
        return {status: n for status, n in (await self.client.collection(self.collection)).counts.items() if n}

    async def until(self, status: ContentStatus, number: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while (await self.counts()).get(status, 0) < number:
                await asyncio.sleep(0.02)


async def submit(client: Client, count: int = 6, attempts: int = 3, pruner: Pruner | None = None) -> Place:
    source = Input(samples=Samples(space=SPACE, sampler="random", count=count, pruner=pruner))
    request = await client.submit(Workflow(name="study", works=(Work(name="scan", input=source, attempts=attempts),)))
    async with asyncio.timeout(PATIENCE_S):
        while not (found := (await client.request(request.id)).collections):
            await asyncio.sleep(0.02)
    return Place(client, request.id, found[0].id, await client.payload_token(found[0].id, 600))


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    settings = read_settings(None, state=tmp_path / "state", api={"port": 0}, bus={"kind": "none"})
    async with serving(settings) as running, Client(running.url, token_file=running.token_file) as client:
        yield client


async def test_a_study_is_evaluated_to_its_end(client: Client) -> None:
    place = await submit(client)

    def work(study: Study) -> int:
        assert study.id == place.collection, "the token says which study it is good for"
        for sample in study.samples():
            with sample:
                sample.report(sample.parameters["x"] ** 2)
            assert sample.verdict == "accepted"
        with pytest.raises(Ended):
            study.sample()
        return study.done

    assert await place.payload(work) == 6
    assert (await client.wait(place.request)).status == "finished"
    for content in await place.contents():
        assert content.parameters is not None
        assert content.objective_values == (content.parameters["x"] ** 2,)


async def test_an_exception_fails_a_sample_and_the_next_one_goes_on(
    client: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    place = await submit(client, count=4, attempts=2)

    def work(study: Study) -> list[str | None]:
        verdicts = []
        for number, sample in enumerate(study.samples()):
            with sample:
                if number == 1:
                    raise RuntimeError("out of memory")
                if number == 2:
                    raise Unprocessable("the model has no layers")
                if number != 4:
                    sample.report(1.0)
            verdicts.append(sample.verdict)
        return verdicts

    # The second comes again after the third, which does not; the last at once, as it is the last.
    verdicts = await place.payload(work)
    assert verdicts == ["accepted", "again", "accepted", "accepted", "again", "accepted"]
    assert await place.counts() == {"done": 3, "failed": 1}
    (failed,) = [content for content in await place.contents() if content.status == "failed"]
    assert failed.reason == "idds.sdk.study.Unprocessable: the model has no layers"
    assert "RuntimeError: out of memory" in capfd.readouterr().err


async def test_a_node_on_which_everything_fails_leaves_the_rest_alone(client: Client) -> None:
    place = await submit(client, count=10)

    def work(study: Study) -> None:
        for sample in study.samples():
            with sample:
                raise MemoryError

    with pytest.raises(Useless, match="the first 3 samples failed"):
        await place.payload(work)
    assert await place.counts() == {"available": 10}, "none has spent all of its attempts there"


async def test_waiting_for_a_sample_ends(client: Client) -> None:
    place = await submit(client, count=1)

    def work(study: Study) -> None:
        with study.sample():
            with pytest.raises(TimeoutError):
                study.sample(wait=0)
            assert list(study.samples(idle=0.0)) == []
            assert list(study.samples(walltime=60, margin=60)) == [], "no time is left"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await place.payload(work)
    assert await place.counts() == {"available": 1}, "what was interrupted is given back"


async def test_what_the_study_wants_no_more_of_is_pruned(client: Client) -> None:
    place = await submit(client, count=2, pruner=Pruner(type="plateau", options={"patience": 3}))

    def work(study: Study) -> list[int]:
        steps = []
        for sample in study.samples():
            with sample:
                for step in range(100):
                    sample.report(1.0 / (1 + step) if study.done == 0 else 1.0, step=step)
                    if step == 9:
                        sample.report(0.1)
                        break
            steps.append(step)
        return steps

    assert await place.payload(work) == [9, 3]
    samples = [sample async for sample in client.samples(place.collection)]
    assert [(sample.is_pruned, sample.objective_values) for sample in samples] == [(False, (0.1,)), (True, None)]


async def test_a_loss_that_is_no_number_fails_its_sample(client: Client) -> None:
    place = await submit(client, count=1, attempts=1)

    def work(study: Study) -> tuple[int, int]:
        with study.sample() as sample:
            sample.report(float("nan"))
        return study.done, study.failed

    assert await place.payload(work) == (0, 1)
    (content,) = await place.contents()
    assert (content.status, content.objective_values) == ("failed", None)
    assert "nan" in str(content.reason)


class Clock:
    """A hundred seconds pass with each sample."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


async def test_nothing_is_begun_that_cannot_be_finished(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    place, clock = await submit(client), Clock()
    monkeypatch.setattr(sdk, "time", clock)

    def work(study: Study) -> int:
        for sample in study.samples(walltime=310, margin=60):
            with sample:
                clock.now += 100
                sample.report(1.0)
        return study.done

    assert await place.payload(work) == 2


async def test_a_sample_is_kept_while_it_is_evaluated(client: Client) -> None:
    place = await submit(client, count=1)
    evaluated = asyncio.Event()
    loop = asyncio.get_running_loop()

    def work(study: Study) -> str | None:
        with study.sample() as sample:
            asyncio.run_coroutine_threadsafe(evaluated.wait(), loop).result()
            sample.report(1.0)
        return sample.verdict

    working = asyncio.create_task(place.payload(work, ttl=1.5))
    await place.until(ContentStatus.LEASED, 1)
    (first,) = await place.contents()
    async with asyncio.timeout(PATIENCE_S):
        while ((await place.contents())[0].lease_until or 0) < (first.lease_until or 0) + 1_500_000:
            await asyncio.sleep(0.02)
    evaluated.set()
    assert await working == "accepted"
    assert (await place.contents())[0].attempt == 1


KILLED = """
import sys, time
from study import Study
with Study().sample() as sample:
    print(sample.id, flush=True)
    time.sleep(1000)
"""


async def test_a_file_of_its_own_gives_back_what_it_has_when_it_is_told_to_end(client: Client, tmp_path: Path) -> None:
    place = await submit(client, count=1)
    # Copied to where there is no package, run without one: with the standard library alone.
    (tmp_path / "study.py").write_text(Path(sdk.__file__).read_text())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", "-W", "error", "-c", f"import sys; sys.path.insert(0, '.'){KILLED}"),
        cwd=tmp_path,
        env={"IDDS_URL": client.url, "IDDS_TOKEN": place.token},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    assert (await place.counts()) == {"leased": 1}
    process.send_signal(signal.SIGTERM)
    _, errors = await process.communicate()
    assert (process.returncode, errors) == (128 + signal.SIGTERM, b"")
    assert await place.counts() == {"available": 1}


REPORTING = """
import sys
from study import Study
for sample in Study().samples():
    with sample:
        print(sample.id, flush=True)
        sys.stdin.readline()
        sample.report(0.5)
"""


async def test_who_is_told_to_end_while_it_reports_keeps_nothing(client: Client, tmp_path: Path) -> None:
    """The next sample is leased with the report: it is given back, though its payload ends before it knows of it."""
    place = await submit(client, count=3)
    (tmp_path / "study.py").write_text(Path(sdk.__file__).read_text())
    async with front(client.url) as between:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-W", "error", "-c", f"import sys; sys.path.insert(0, '.'){REPORTING}"),
            cwd=tmp_path,
            env={"IDDS_URL": between.url, "IDDS_TOKEN": place.token},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        await process.stdout.readline()
        between.is_open.clear()
        process.stdin.write(b"\n")
        await place.until(ContentStatus.DONE, 1)
        assert (await place.counts())["leased"] == 1
        process.send_signal(signal.SIGTERM)
        between.is_open.set()
        _, errors = await process.communicate()
    assert (process.returncode, errors) == (128 + signal.SIGTERM, b"")
    assert "leased" not in await place.counts()


async def test_a_token_that_is_no_good_is_said_at_once_and_never_shown(client: Client) -> None:
    place = await submit(client)
    with pytest.raises(Refused, match="not known") as caught:
        await asyncio.to_thread(Study, client.url, "idds_nonsense")
    assert "nonsense" not in repr(caught.value)
    assert caught.value.status == 401
    with pytest.raises(Refused, match="of collection") as caught:
        await asyncio.to_thread(lambda: Study(client.url, place.token, place.collection + 1).sample())
    assert caught.value.status == 403

"""A pilot against the whole service: what it finishes is reported as it is known, whatever ends it."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from idds.cli.serve import Serving, serving
from idds.ddm.posix import PosixDDM
from idds.domain.content import Outcome
from idds.domain.errors import NotFound, Unavailable
from idds.domain.identifiers import Did
from idds.domain.statuses import ContentStatus, Status
from idds.domain.workflow import Input, Ranges, Work, Workflow
from idds.runtime.settings import Settings, read_settings
from idds.sdk import pilot as pilots
from idds.sdk.client import Client
from idds.sdk.dialects import Jobs
from idds.sdk.pilot import OUT_OF_TIME, Limits, Pilot, Useless
from idds.sdk.views import ContentView, Lease, Reported
from tests.servers.loopback import free_port

pytestmark = pytest.mark.timeout(120)
PATIENCE_S = 60
SET = Did("data", "set")
IMPORTS = "import json, os, pathlib, signal, subprocess, sys, time\nfrom idds.sdk import payload\n"
GATE = "def gate(name):\n    while not pathlib.Path(GATES, name).exists(): time.sleep(0.01)\n"


def settings(state: Path, port: int = 0) -> Settings:
    return read_settings(None, state=state, api={"port": port}, bus={"kind": "none"})


@dataclass
class Site:
    """A service with a dataset on tape, and a folder for what payloads leave and wait for."""

    folder: Path
    serving: Serving
    client: Client
    request: int
    collection: int

    def command(self, text: str) -> list[str]:
        """A payload of this text: it has GATES, the folder, and gate(name), which waits for a file in it."""
        script = self.folder / "payload.py"
        script.write_text(f"{IMPORTS}GATES = {str(self.folder)!r}\n{GATE}{text}")
        return [sys.executable, str(script)]

    def open(self, gate: str) -> None:
        (self.folder / gate).touch()

    async def contents(self) -> list[ContentView]:
        return [content async for content in self.client.contents(self.collection)]

    async def until(self, status: ContentStatus, number: int) -> None:
        await self.when(lambda: self._has(status, number))

    async def _has(self, status: ContentStatus, number: int) -> bool:
        return (await self.client.collection(self.collection)).counts[status] >= number

    async def when(self, true: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await true():
                await asyncio.sleep(0.02)

    async def exists(self, name: str) -> None:
        async def there() -> bool:
            return (self.folder / name).exists()

        await self.when(there)


async def submit(client: Client, attempts: int = 3) -> tuple[int, int]:
    source = Input(dataset=str(SET), ranges=Ranges(events=10))
    request = await client.submit(Workflow(name="ranges", works=(Work(name="run", input=source, attempts=attempts),)))
    async with asyncio.timeout(PATIENCE_S):
        while not (found := (await client.request(request.id)).collections) or not found[0].is_closed:
            await asyncio.sleep(0.02)
    return request.id, found[0].id


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Two files of 25 and 5 events: ranges of ten at most, four in all."""
    async with serving(settings(tmp_path / "state")) as running:
        ddm = running.wired.ddm
        assert isinstance(ddm, PosixDDM)
        await ddm.create_dataset(SET)
        for name, events in (("f0", 25), ("f1", 5)):
            lines = "".join(f"{name}:{event}\n" for event in range(1, events + 1))
            await ddm.write_tape("TAPE", SET, Did("data", name), lines.encode(), "T1", events=events)
        async with Client(running.url, token_file=running.token_file) as client:
            request, collection = await submit(client)
            folder = tmp_path / "gates"
            folder.mkdir()
            yield Site(folder, running, client, request, collection)


READ = """
with payload.job() as job:
    for content in job:
        with job.processing(content):
            lines = pathlib.Path(content.path).read_text().splitlines()[content.min_id - 1 : content.max_id]
            with open(GATES + '/read', 'a') as log: log.write(''.join(line + chr(10) for line in lines))
"""


@pytest.mark.parametrize("count", [1, 3])
async def test_all_events_are_read_once_and_nothing_stays(site: Site, count: int, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    pilot = Pilot(site.client, site.collection, site.command(READ), Limits(count=count), Jobs(scratch))
    tally = await pilot.run()
    assert (tally.done, tally.failed, tally.given_back, tally.lost) == (4, 0, 0, 0)
    assert (await site.client.wait(site.request)).status is Status.FINISHED
    read = Counter((site.folder / "read").read_text().split())
    assert read == Counter(f"{name}:{n}" for name, events in (("f0", 25), ("f1", 5)) for n in range(1, events + 1))
    assert list(scratch.iterdir()) == []

    async def gone() -> bool:
        return not any(each.rse == "DISK" for each in await site.client.replicas())

    await site.when(gone)
    assert str(await Pilot(site.client, site.collection, ["true"]).run()).startswith("done 0"), "it has ended"


ONE_BY_ONE = """
with payload.job() as job:
    for content in job:
        gate(f'{content.name}-{content.min_id}')
        with job.processing(content): pass
"""


async def test_a_preempted_pilot_loses_only_what_was_in_flight(site: Site) -> None:
    await site.until(ContentStatus.AVAILABLE, 4)
    pilot = Pilot(site.client, site.collection, site.command(ONE_BY_ONE), Limits(count=4))
    running = asyncio.create_task(pilot.run())
    site.open("f0-1")
    await site.until(ContentStatus.DONE, 1)
    pilot.stop()
    tally = await running
    assert (tally.done, tally.failed, tally.given_back, tally.lost) == (1, 1, 2, 0)
    found = await site.contents()
    assert [content.status for content in found] == [ContentStatus.DONE, *[ContentStatus.AVAILABLE] * 3]
    again = await site.client.lease(site.collection, count=3)
    assert [content.attempt for content in again.contents] == [2, 2, 2]
    reports = [content.failed("no") for content in again.contents]
    assert {receipt.verdict for receipt in await site.client.report(site.collection, reports)} == {"again"}
    again = await site.client.lease(site.collection, count=3)
    receipts = await site.client.report(site.collection, [content.failed("no") for content in again.contents])
    assert [receipt.verdict for receipt in receipts] == ["accepted", "again", "again"], (
        "what was not begun has one more"
    )


TRAPS = """
def end(*_):
    with payload.job() as job:
        with job.processing(job.contents[0]): pass
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
pathlib.Path(GATES, 'ready').touch()
gate('never')
"""


async def test_a_command_may_finish_what_it_is_at_when_it_is_told_to_end(site: Site) -> None:
    await site.until(ContentStatus.AVAILABLE, 4)
    pilot = Pilot(site.client, site.collection, site.command(TRAPS), Limits(count=3, grace_s=PATIENCE_S))
    running = asyncio.create_task(pilot.run())
    await site.exists("ready")
    pilot.stop()
    tally = await running
    assert (tally.done, tally.failed, tally.given_back) == (1, 1, 1)


STUBBORN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, '-c', 'import signal, time; signal.signal(15, 1); time.sleep(1000)'])
pathlib.Path(GATES, 'pids').write_text(f'{os.getpid()} {child.pid}')
pathlib.Path(GATES, 'ready').touch()
gate('never')
"""


async def test_a_command_that_will_not_end_is_killed_with_all_that_it_started(site: Site) -> None:
    pilot = Pilot(site.client, site.collection, site.command(STUBBORN), Limits(grace_s=0.1))
    running = asyncio.create_task(pilot.run())
    await site.exists("ready")
    pilot.stop()
    await running
    for pid in map(int, (site.folder / "pids").read_text().split()):
        await site.when(lambda pid=pid: _is_gone(pid))  # type: ignore[misc]


async def _is_gone(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


async def test_what_a_failing_command_does_not_tell_of_fails_with_its_exit_code(site: Site) -> None:
    text = "job = payload.job()\nwith job.processing(job.contents[0]): pass\nsys.exit(3)"
    collection = (await submit(site.client, attempts=1))[1]
    async with asyncio.timeout(PATIENCE_S):
        while (await site.client.collection(collection)).counts[ContentStatus.AVAILABLE] < 4:
            await asyncio.sleep(0.02)
    tally = await Pilot(site.client, collection, site.command(text), Limits(count=4)).run()
    assert (tally.done, tally.failed) == (1, 3)
    reasons = [content.reason async for content in site.client.contents(collection, ContentStatus.FAILED)]
    assert reasons == ["the command ended with exit code 3"] * 3


async def test_who_may_not_wait_leaves(site: Site) -> None:
    held = await site.client.lease(site.collection, count=4, wait_s=PATIENCE_S)
    while len(held.contents) < 4:
        more = await site.client.lease(site.collection, count=4, wait_s=PATIENCE_S)
        held = Lease((*held.contents, *more.contents), ended=False)
    assert (await Pilot(site.client, site.collection, ["true"], Limits(idle_s=0.0)).run()).done == 0


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("[]", "output.json: /contents: expected a list, found null"),
        ('{"contents": [{"id": "x"}]}', "output.json: /contents/0/id: expected int, found str"),
        ("{", "output.json: Expecting property name"),
    ],
)
async def test_an_output_that_is_no_good_fails_with_its_place(site: Site, written: str, reason: str) -> None:
    collection = (await submit(site.client, attempts=1))[1]
    text = f"open('outcomes.ndjson', 'w').write('no json\\n[1]\\n')\nopen('output.json', 'w').write({written!r})"
    tally = await Pilot(site.client, collection, site.command(text), Limits(count=4)).run()
    assert (tally.done, tally.failed) == (0, 4)
    found = [content async for content in site.client.contents(collection)]
    assert {str(content.reason)[: len(reason)] for content in found} == {reason}


async def test_a_node_that_cannot_run_the_command_does_not_fail_everything(site: Site) -> None:
    await site.until(ContentStatus.AVAILABLE, 4)
    with pytest.raises(Useless, match="failed 3 times"):
        await Pilot(site.client, site.collection, ["false"]).run()
    assert {content.status for content in await site.contents()} == {ContentStatus.AVAILABLE, ContentStatus.FAILED}
    pilot = Pilot(site.client, site.collection, site.command(f"if not os.path.exists(GATES + '/x'): {RUN_ONCE}"))
    assert (await pilot.run()).done > 0, "one that succeeded before goes on"


RUN_ONCE = "open(GATES + '/x', 'w'); sys.exit(1)"


async def test_a_command_that_is_not_there_gives_back_what_it_would_have_had(site: Site) -> None:
    with pytest.raises(FileNotFoundError):
        await Pilot(site.client, site.collection, ["/no/such/command"]).run()
    await site.until(ContentStatus.AVAILABLE, 4)


async def test_a_collection_that_is_not_there(site: Site) -> None:
    with pytest.raises(NotFound):
        await Pilot(site.client, 999, ["true"]).run()


@dataclass
class Clock:
    """A hundred seconds pass with each run of the command."""

    runs: Path

    def monotonic(self) -> float:
        return 100.0 * len(self.runs.read_text()) if self.runs.exists() else 0.0


RUN = "open(GATES + '/runs', 'a').write('x')"


async def test_nothing_is_started_that_cannot_be_finished(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pilots, "time", Clock(site.folder / "runs"))
    await site.until(ContentStatus.AVAILABLE, 4)
    limits = Limits(count=10, walltime_s=310, margin_s=60)
    tally = await Pilot(site.client, site.collection, site.command(RUN), limits).run()
    assert tally.done == 2, "one to learn how long it takes; one more in the 150 s that are left; none in 50 s"
    assert tally.given_back == 0


class Counting(Client):
    """Counts leases that were asked for, alone and with reports; has a pilot stop with the first of these."""

    alone = with_reports = 0
    preempted: Pilot | None = None

    async def lease(self, collection: int, **how: Any) -> Lease:
        self.alone += 1
        return await super().lease(collection, **how)

    async def report_and_lease(self, collection: int, outcomes: Sequence[Outcome], **how: Any) -> Reported:
        self.with_reports += 1
        reported = await super().report_and_lease(collection, outcomes, **how)
        if self.preempted is not None:
            self.preempted.stop()
        return reported


async def test_the_next_content_comes_with_the_report_of_the_last(site: Site) -> None:
    await site.until(ContentStatus.AVAILABLE, 4)
    async with Counting(site.client.url, token_file=site.serving.token_file) as client:
        tally = await Pilot(client, site.collection, ["true"]).run()
        assert (tally.done, tally.given_back) == (4, 0)
        # With the first report nothing is taken: nobody knows before whether anything can be done here.
        assert (client.alone, client.with_reports) == (2, 3)


async def test_what_came_to_a_pilot_that_is_preempted_is_given_back(site: Site) -> None:
    await site.until(ContentStatus.AVAILABLE, 4)
    async with Counting(site.client.url, token_file=site.serving.token_file) as client:
        pilot = client.preempted = Pilot(client, site.collection, ["true"])
        tally = await pilot.run()
        assert (tally.done, tally.given_back) == (2, 1)
        again = await site.client.lease(site.collection, count=4)
        assert [content.attempt for content in again.contents] == [2, 1]


async def test_no_time_at_all_leases_nothing(site: Site) -> None:
    limits = Limits(walltime_s=60, margin_s=60)
    assert (await Pilot(site.client, site.collection, ["true"], limits).run()).done == 0


async def test_what_goes_on_beyond_the_walltime_is_ended(site: Site) -> None:
    collection = (await submit(site.client, attempts=1))[1]
    limits = Limits(walltime_s=1, margin_s=0, grace_s=0)
    tally = await Pilot(site.client, collection, site.command("gate('never')"), limits).run()
    assert tally.failed == 1
    reasons = [content.reason async for content in site.client.contents(collection, ContentStatus.FAILED)]
    assert reasons == [OUT_OF_TIME]


async def test_leases_are_kept_while_the_command_runs(site: Site) -> None:
    pilot = Pilot(site.client, site.collection, site.command(ONE_BY_ONE), Limits(ttl_s=2.0))
    running = asyncio.create_task(pilot.run())
    await site.until(ContentStatus.LEASED, 1)
    (first,) = [content for content in await site.contents() if content.lease_until is not None]

    async def kept() -> bool:
        (now,) = [content for content in await site.contents() if content.id == first.id]
        return now.attempt == 1 and (now.lease_until or 0) > (first.lease_until or 0) + 2_000_000

    await site.when(kept)
    for gate in ("f0-1", "f0-11", "f0-21", "f1-1"):
        site.open(gate)
    assert (await running).done == 4


async def test_results_outlast_a_service_that_is_away(tmp_path: Path, site: Site) -> None:
    state, port = tmp_path / "other", free_port()
    gates = tmp_path / "gates"
    async with serving(settings(state, port)) as running:
        ddm = running.wired.ddm
        assert isinstance(ddm, PosixDDM)
        await ddm.create_dataset(SET)
        await ddm.write_tape("TAPE", SET, Did("data", "f0"), b"x", "T1", events=1)
        client = Client(running.url, token_file=running.token_file, patience_s=PATIENCE_S)
        request, collection = await submit(client)
        pilot = Pilot(client, collection, site.command(ONE_BY_ONE), Limits(patience_s=PATIENCE_S))
        flying = asyncio.create_task(pilot.run())
        async with asyncio.timeout(PATIENCE_S):
            while not (await client.collection(collection)).counts[ContentStatus.LEASED]:
                await asyncio.sleep(0.02)
    (gates / "f0-1").touch()
    with pytest.raises(Unavailable):
        async with Client(client.url, patience_s=0) as impatient:
            await impatient.collection(collection)
    async with serving(settings(state, port)):
        assert (await flying).done == 1
        assert (await client.request(request)).status in (Status.RUNNING, Status.FINISHED)
        await client.__aexit__(None, None, None)


async def test_a_service_that_stays_away_is_given_up(site: Site) -> None:
    async with Client("http://127.0.0.1:9", patience_s=0.0) as client:
        with pytest.raises(Unavailable):
            await Pilot(client, site.collection, ["true"], Limits(patience_s=0.0)).run()


async def _fly(site: Site, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("idds")),
        *("pilot", "--collection", str(site.collection), *arguments),
        env={**os.environ, "IDDS_URL": site.serving.url, "IDDS_TOKEN_FILE": str(site.serving.token_file)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_the_command_line_preempted_says_what_it_did(site: Site) -> None:
    await site.until(ContentStatus.AVAILABLE, 4)
    text = f"open(GATES + '/environment', 'w').write(json.dumps(dict(os.environ)))\n{ONE_BY_ONE}"
    process = await _fly(site, "--count", "3", "--json", "--", *site.command(text))
    site.open("f0-1")
    await site.until(ContentStatus.DONE, 1)
    process.send_signal(signal.SIGTERM)
    output, errors = await process.communicate()
    assert (process.returncode, errors) == (128 + signal.SIGTERM, b"")
    assert json.loads(output) == {"done": 1, "failed": 1, "given_back": 1, "lost": 0}
    environment = json.loads((site.folder / "environment").read_text())
    assert not [name for name in environment if "TOKEN" in name], "a payload needs no token"


async def test_the_command_line_ends_well_where_nothing_is_left(site: Site) -> None:
    process = await _fly(site, "--count", "9", "--", *site.command(READ))
    output, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    assert output.decode().strip() == "done 4, failed 0, given back 0, lost 0"


async def test_the_command_line_says_that_a_command_is_not_there(site: Site) -> None:
    process = await _fly(site, "--", "/no/such/command")
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.decode() == "idds: /no/such/command cannot be run: No such file or directory\n"


async def test_the_command_line_says_that_a_node_is_no_good(site: Site) -> None:
    process = await _fly(site, "--", "false")
    output, errors = await process.communicate()
    assert (process.returncode, output.decode().split(",")[:2]) == (2, ["done 0", " failed 3"])
    assert "this node cannot run it" in errors.decode()

"""A run of the demo: the service started, the main job posted to its API, watched to its end, and accounted for."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idds.cli.demonstration.announcements import Listener
from idds.cli.demonstration.carousel import make_plan, make_settings, write_tape
from idds.cli.demonstration.digits import Digits, read_digits
from idds.cli.demonstration.disk import DiskWatch
from idds.cli.demonstration.findings import Findings, find, summarize
from idds.cli.demonstration.picture import draw
from idds.cli.demonstration.plan import Folder, Plan
from idds.cli.demonstration.screen import Screen, Standing
from idds.cli.demonstration.summary import Summary
from idds.cli.demonstration.tuning import Search, tune
from idds.cli.demonstration.tuning_picture import draw_tuning
from idds.cli.serve import Serving, serving
from idds.ddm.posix import PosixDDM
from idds.domain.statuses import ContentStatus, Relation, Status
from idds.runtime.telemetry import configure_logs
from idds.sdk.client import Client
from idds.sdk.views import RequestView

POLL_S = 0.2
LAST_MESSAGE_S = 5.0
"""The end of a request is heard at once, unless the broker was killed with the message in its memory."""
LAST_RELEASE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How the demo is wanted. `recall_s` is how long the tape reads.

    A run that goes on keeps the `files`, `recall_s` and `samples` it began with. Two studies have `samples` each, 0 for
    no second part.
    """

    directory: Path
    files: int
    recall_s: float
    samples: int
    port: int
    keep_serving: bool


@dataclass(slots=True)
class _Stage:
    """What a run works with."""

    folder: Folder
    plan: Plan
    screen: Screen
    disk: DiskWatch
    known: Digits | None

    async def digits(self) -> Digits:
        """Read when they are needed first."""
        if self.known is None:
            self.known = await asyncio.to_thread(read_digits, self.plan.files)
        return self.known


async def demonstrate(wish: Wish, screen: Screen, tell: Callable[[Summary], None]) -> None:
    """Run to the end, from wherever a killed run left off, and tell what came of it. Raises IddsError."""
    folder = Folder(wish.directory.absolute())
    with folder.held():
        plan, digits = await _plan(folder, wish, screen)
        with _logs_in(folder.log):
            folder.runs.add({"started": _now(), "pid": os.getpid()})
            disk = DiskWatch(folder.disk, folder.looks)
            watching = asyncio.create_task(disk.watch(), name="disk watch")
            try:
                async with serving(make_settings(folder, plan, wish.port)) as service:
                    stage = _Stage(folder, plan, screen, disk, digits)
                    await _unless_ended([watching, service.finished], _serve(stage, service, wish, tell))
            finally:
                await _cancel(watching)
                folder.runs.add({"ended": _now()})


@contextmanager
def _logs_in(path: Path) -> Iterator[None]:
    with path.open("a", encoding="utf-8", buffering=1) as file:
        configure_logs("info", stream=file)
        try:
            yield
        finally:
            configure_logs("info")


async def _plan(folder: Folder, wish: Wish, screen: Screen) -> tuple[Plan, Digits | None]:
    if (unfinished := folder.unfinished()) is not None:
        screen.say(f"A run in {folder.path} did not come to its end: going on with it.")
        return unfinished, None
    digits = await asyncio.to_thread(read_digits, wish.files)
    plan = make_plan(digits, wish.recall_s, wish.samples)
    await asyncio.to_thread(folder.begin, plan)
    return plan, digits


async def _serve(stage: _Stage, service: Serving, wish: Wish, tell: Callable[[Summary], None]) -> None:
    stage.screen.say(
        f"The service runs: API at {service.url}, token in {service.token_file}, log in {stage.folder.log}"
    )
    bus_url = service.wired.bus_url
    assert bus_url is not None
    listener = Listener(bus_url, stage.folder.state / "mqtt-password", stage.folder.announcements)
    listening = asyncio.create_task(listener.listen(), name="listening")
    try:
        await _unless_ended([listening], _deliver(stage, service, listener, tell))
    finally:
        await _cancel(listening)
    if wish.keep_serving:
        stage.screen.say(f"The service goes on at {service.url}: Ctrl-C ends it.")
        await asyncio.shield(service.finished)


async def _deliver(stage: _Stage, service: Serving, listener: Listener, tell: Callable[[Summary], None]) -> None:
    await _fill_tape(stage, service.wired.ddm)
    await listener.hears()
    async with Client(service.url, token_file=service.token_file) as client:
        request = await client.submit(stage.plan.workflow, idempotency_key=stage.plan.key)
        ended = await _watch(stage, client, request.id)
        await _within(LAST_MESSAGE_S, listener.ended.wait())
        await _within(LAST_RELEASE_S, _released(stage, client))
        findings = await find(client, ended, stage.folder, stage.plan, await stage.digits())
        await asyncio.to_thread(draw, findings.scene(_now()), stage.folder.picture)
        searches = await _tune(stage, client, findings)
    summary = summarize(findings, searches, service.url, _now())
    stage.folder.end(summary.as_json())
    tell(summary)


async def _tune(stage: _Stage, client: Client, findings: Findings) -> Sequence[Search]:
    """The second part, if it is wanted and the first has brought what it needs."""
    plan, folder, ended = stage.plan, stage.folder, findings.request
    if plan.tuning is None or ended.status is not Status.FINISHED:
        return ()
    outputs = ended.collection("merge", Relation.OUTPUT).id
    images = [content.path async for content in client.contents(outputs) if content.path]
    stage.screen.say(f"Now a classifier of these digits is tuned: two studies of {plan.samples} samples each.")
    request = await client.submit(plan.tuning, idempotency_key=f"{plan.key}-tuning")
    searches = await tune(client, request.id, Path(images[0]), folder.payload_log, stage.screen.show_studies)
    n = sum(findings.evidence.merged.images)
    await asyncio.to_thread(draw_tuning, searches, n, folder.tuning_picture)
    return searches


async def _fill_tape(stage: _Stage, ddm: object) -> None:
    assert isinstance(ddm, PosixDDM)
    if not stage.folder.tape_written.exists():
        digits = await stage.digits()
        stage.screen.say(f"Writing {len(digits.files)} files of handwritten digits to tape.")
        await write_tape(ddm, digits.files)
        stage.folder.tape_written.touch()


async def _watch(stage: _Stage, client: Client, request_id: int) -> RequestView:
    """The request, when it has ended."""
    half = stage.plan.files // 2
    invited = False
    with stage.screen.bars():
        while True:
            request = await client.request(request_id)
            standing = _standing(stage, request)
            stage.screen.show(standing)
            if request.status.is_terminal:
                return request
            if standing.processed >= half and not invited:
                invited = True
                stage.screen.say(f"Half of it is done: kill me now (kill -9 {os.getpid()}) and run me again.")
            await asyncio.sleep(POLL_S)


def _standing(stage: _Stage, request: RequestView) -> Standing:
    staged = processed = 0
    if request.transforms and any(c.transform == request.transform("count").id for c in request.collections):
        inputs = request.collection("count")
        staged = inputs.total - inputs.count(ContentStatus.NEW)
        processed = inputs.count(*(status for status in ContentStatus if status.is_terminal))
    plan, disk = stage.plan, stage.disk
    return Standing(staged, processed, disk.released, plan.files, disk.last.bytes, plan.window_bytes)


async def _released(stage: _Stage, client: Client) -> None:
    """Return when nothing is left on disk, and the service knows it."""
    while stage.disk.last.names or any(each.rse == "DISK" for each in await client.replicas()):  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)


async def _within(seconds: float, wait: Coroutine[Any, Any, object]) -> None:
    """Wait no longer than that: what did not come is told in the summary."""
    try:
        async with asyncio.timeout(seconds):
            await wait
    except TimeoutError:
        pass


async def _unless_ended(others: Sequence[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
    """Do the work; should one of the others end first, raise what it raised."""
    working = asyncio.create_task(work)
    try:
        await asyncio.wait([working, *others], return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            if task.done():
                task.result()
        await working
    finally:
        await _cancel(working)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _now() -> int:
    return time.time_ns() // 1000

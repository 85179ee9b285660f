"""Everything goes wrong in every order, and still: nothing is lost, nothing doubled, and everything ends."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import select

from idds.domain.errors import Conflict
from idds.domain.identifiers import Did, RequestId
from idds.domain.statuses import Intent
from idds.domain.workflow import Input, Output, Parameter, Payload, Samples, WindowLimits, Work, Workflow
from idds.store.database import Database
from idds.store.schema import collections, contents, requests, windows
from idds.store.upgrade import upgrade
from idds.testing.clock import ManualClock
from tests.integration.simulation.world import OWNER, World

SEEDS = int(os.environ.get("IDDS_SIMULATIONS", "12"))
PAYLOAD = Payload(argv=("/do",))


@asynccontextmanager
async def world(url: str, seed: int, rate: float) -> AsyncIterator[World]:
    clock = ManualClock()
    database = Database(url, clock=clock)
    try:
        await upgrade(database)
        made = World(database, clock, Random(seed), rate)
        await made.start()
        yield made
    finally:
        await database.close()


def carousel(world: World, name: str, **window: int) -> Workflow:
    """Files by batches, outputs merged, and something after."""
    random = world.random
    dataset = world.dataset(name, random.randint(0, 30))
    return Workflow(
        name=name,
        works=(
            Work(
                name="count",
                input=Input(dataset=dataset, batch=random.randint(1, 4), window=WindowLimits(**window)),
                payload=PAYLOAD,
                output=Output(dataset=f"data:{name}.out"),
            ),
            Work(name="pair", input=Input(outputs="count", batch=2), payload=PAYLOAD, output=Output(dataset="data:x")),
            Work(
                name="merge", input=Input(outputs="count", batch="all"), payload=PAYLOAD, output=Output(dataset="d:y")
            ),
            Work(name="after", after=("merge",), payload=PAYLOAD, output=Output(dataset="d:z")),
        ),
    )


def study(count: int) -> Workflow:
    space = {"x": Parameter(type="float", low=0.0, high=1.0)}
    source = Input(samples=Samples(space=space, sampler="random", count=count), window=WindowLimits(files=7))
    return Workflow(name="study", works=(Work(name="scan", input=source, attempts=5),))


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_whatever_goes_wrong(tmp_path: Path, seed: int) -> None:
    async with world(f"sqlite:///{tmp_path}/idds.sqlite", seed, rate=0.1) as everything:
        await _live(everything, steps=250)


@pytest.mark.parametrize("seed", range(100, 103))
async def test_whatever_goes_wrong_on_postgresql(postgres_url: str, seed: int) -> None:
    async with world(postgres_url, seed, rate=0.1) as everything:
        await _live(everything, steps=150)


async def _live(everything: World, steps: int) -> None:
    random = everything.random
    workflows = [
        carousel(everything, "one"),
        carousel(everything, "two", bytes=600),
        carousel(everything, "three", files=5),
        study(40),
        Workflow(name="rejected", works=(Work(name="w", payload=Payload(argv=("/rejected",))),)),
        Workflow(name="unknown", works=(Work(name="w", input=Input(dataset="no:such"), payload=PAYLOAD),)),
    ]
    # The same files wanted twice, and some that cannot be had.
    workflows.append(workflows[0])
    files = [file.did for file in everything.ddm.files(_dataset(workflows[0]))]
    everything.ddm.unreadable.update(files[:1])
    everything.ddm.refused.update(files[1:2])
    submitted: list[RequestId] = []
    for number in range(steps):
        if workflows and random.random() < 0.2:
            request, _ = await everything.submission.submit(OWNER, workflows.pop())
            submitted.append(request.id)
        if submitted and random.random() < 0.02:
            intent = random.choice((Intent.CANCEL, Intent.FINISH, Intent.SUSPEND, Intent.RUN))
            with suppress(Conflict):
                await everything.submission.order(OWNER, random.choice(submitted), intent)
        if submitted and random.random() < 0.03:
            with suppress(Conflict):
                await everything.retry(random.choice(submitted))
        await everything.step()
        if number % 10 == 0:
            await everything.check()
    for request_id in submitted:
        with suppress(Conflict):
            await everything.submission.order(OWNER, request_id, Intent.RUN)
    await everything.settle()
    await everything.check()
    assert await everything.doubled() == []
    assert max(everything.provider.started.values(), default=0) <= 1, "an attempt was started twice"
    await _check_outcomes(everything)
    await _finish(everything, submitted)


async def _finish(everything: World, submitted: list[RequestId]) -> None:
    """What stood in the way is gone: tried again, all is done in the end, once each, and all is given back."""
    everything.ddm.unreadable.clear()
    everything.ddm.refused.clear()
    for _ in range(6):
        for request_id in submitted:
            with suppress(Conflict):
                await everything.retry(request_id)
        await everything.settle()
        await everything.check()
    assert await everything.doubled() == []
    async with everything.database.snapshot() as tx:
        # A group that is larger than the window it is given never fits.
        fits = contents.c.reason.is_(None) | contents.c.reason.not_like("%more than the window%")
        inputs = select(collections.c.id).where(collections.c.relation == "input")
        undone = select(contents.c.id, contents.c.status).where(contents.c.collection_id.in_(inputs))
        undone = undone.where(contents.c.status != "done", fits)
        assert list(await tx.connection.execute(undone)) == []
        refused = select(contents.c.request_id).where(~fits)
        ends = select(requests.c.name, requests.c.status).where(requests.c.id.not_in(refused))
        rows = [row for row in await tx.connection.execute(ends) if row.name not in ("unknown", "rejected")]
        assert {row.status for row in rows} <= {"finished"}
        held = select(windows).where((windows.c.reserved_bytes != 0) | (windows.c.reserved_files != 0))
        assert list(await tx.connection.execute(held)) == []


def _dataset(workflow: Workflow) -> Did:
    source = workflow.works[0].input
    assert source is not None
    return Did.parse(source.dataset or "")


async def _check_outcomes(everything: World) -> None:
    """Every content of a request that was let run has an outcome; those that cannot be had say why."""
    async with everything.database.snapshot() as tx:
        open_ = select(contents.c.id).where(contents.c.status.in_(("new", "leased")))
        assert list(await tx.connection.execute(open_)) == []
        failed = select(contents.c.id).where(contents.c.status.in_(("failed", "missing")), contents.c.reason.is_(None))
        assert list(await tx.connection.execute(failed)) == []
        ends = {row.name: row.status for row in await tx.connection.execute(select(requests.c.name, requests.c.status))}
        assert ends.get("unknown", "failed") in ("failed", "cancelled")
        assert ends.get("rejected", "failed") in ("failed", "cancelled")

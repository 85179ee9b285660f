"""Collections that somebody fills while everything goes wrong: each content once, in batches without holes."""

from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import func, select

from idds.domain.errors import Conflict
from idds.domain.identifiers import Did, RequestId
from idds.domain.statuses import Intent, SourceKind
from idds.domain.workflow import Input, Output, Payload, Registered, WindowLimits, Work, Workflow
from idds.store.schema import collections, contents
from tests.integration.simulation.test_simulation import world
from tests.integration.simulation.world import OWNER, World

PAYLOAD = Payload(argv=("/do",))


def workflows(everything: World) -> list[Workflow]:
    random = everything.random
    everything.filling.files = everything.ddm.files(Did.parse(everything.dataset("tape", 40)))
    at_once, staged = Registered(), Registered(stage=True)
    inputs = {
        "leased": Input(registered=at_once),
        "jobs": Input(registered=at_once, batch=random.randint(2, 4)),
        "all": Input(registered=at_once, batch="all"),
        "files": Input(registered=staged, batch=random.randint(1, 3), window=WindowLimits(files=6)),
        "files leased": Input(registered=staged),
    }
    made = []
    for name, source in inputs.items():
        is_leased = name.endswith("leased")
        output = None if is_leased else Output(dataset=f"data:{name}.out")
        work = Work(name="fill", input=source, payload=None if is_leased else PAYLOAD, output=output, attempts=5)
        made.append(Workflow(name=name, works=(work,)))
    return made


@pytest.mark.parametrize("seed", range(200, 206))
async def test_whatever_goes_wrong(tmp_path: Path, seed: int) -> None:
    async with world(f"sqlite:///{tmp_path}/idds.sqlite", seed, rate=0.1) as everything:
        await _live(everything, steps=250)


@pytest.mark.parametrize("seed", range(300, 302))
async def test_whatever_goes_wrong_on_postgresql(postgres_url: str, seed: int) -> None:
    async with world(postgres_url, seed, rate=0.1) as everything:
        await _live(everything, steps=150)


async def _live(everything: World, steps: int) -> None:
    random = everything.random
    submitted: list[RequestId] = []
    for workflow in workflows(everything):
        request, _ = await everything.submission.submit(OWNER, workflow)
        submitted.append(request.id)
    for number in range(steps):
        if random.random() < 0.02:
            intent = random.choice((Intent.CANCEL, Intent.FINISH, Intent.SUSPEND, Intent.RUN))
            with suppress(Conflict):
                await everything.submission.order(OWNER, random.choice(submitted), intent)
        if random.random() < 0.03:
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
    async with everything.database.snapshot() as tx:
        filled = select(collections.c.id).where(collections.c.source == SourceKind.REGISTERED)
        counted = select(contents.c.status, func.count().label("n")).where(contents.c.collection_id.in_(filled))
        counted = counted.group_by(contents.c.status)
        ends = {row.status: row.n for row in await tx.connection.execute(counted)}
    assert ends["done"] > 5, ends
    assert not ends.keys() & {"new", "available", "leased"}

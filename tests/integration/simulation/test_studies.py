"""Studies are redefined, stopped, paused, cancelled and tried again in every order, while payloads and samplers die."""

from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from idds.domain.course import Around, Iterations, Plateau, Stop
from idds.domain.errors import Conflict
from idds.domain.space import Parameter
from idds.domain.workflow import Input, Refill, Samples, WindowLimits, Work, Workflow
from idds.store.database import Database
from idds.store.upgrade import upgrade
from idds.testing.clock import ManualClock
from tests.integration.simulation.studying import OWNER, Studies

WHOLE = {"x": Parameter(type="int", low=0, high=12)}
SPACE = {**WHOLE, "y": Parameter(type="float", low=0.0, high=1.0)}
STUDIES = {
    "learns": Samples(space=SPACE, sampler="tpe", count=20),
    "iterates": Samples(
        space=SPACE, sampler="tpe", count=20, iterations=Iterations(samples=5, redefine=Around(best=0.5))
    ),
    "stops": Samples(space=SPACE, sampler="tpe", count=100, stop=Stop(plateau=Plateau(samples=6, tolerance=1.0))),
    "grid": Samples(space=WHOLE, sampler="grid", count=60),
    "refills": Samples(space=SPACE, sampler="tpe", count=20, refill=Refill(points=6, below=3)),
}


@pytest.mark.parametrize("seed", range(2))
async def test_whatever_is_done_to_studies(tmp_path: Path, seed: int) -> None:
    await _live(f"sqlite:///{tmp_path}/idds.sqlite", seed)


async def test_whatever_is_done_to_studies_on_postgresql(postgres_url: str) -> None:
    await _live(postgres_url, 100)


async def _live(url: str, seed: int) -> None:
    random, clock = Random(seed), ManualClock()
    database = Database(url, clock=clock)
    try:
        await upgrade(database)
        everything = Studies(database, clock, random, rate=0.1)
        for name in random.sample(sorted(STUDIES), 3):
            source = Input(samples=STUDIES[name], window=WindowLimits(files=5))
            await everything.submit(Workflow(name=name, works=(Work(name="scan", input=source),)))
        for number in range(100):
            await everything.step()
            if number % 10 == 0:
                await everything.check()
        for _ in range(3):
            await everything.settle()
            await everything.check()
            for request in everything.submitted:
                with suppress(Conflict):
                    await everything.submission.retry(OWNER, request)
        await everything.settle()
        await everything.check()
        for name, (_, done, held) in (await everything.ends()).items():
            assert held == 0, name
            assert name in ("stops", "grid") or done == STUDIES[name].count, name
    finally:
        await database.close()

"""The process that finds importance: real, broken and left on order."""

import asyncio
from dataclasses import replace

import psutil
import pytest

from idds.domain.space import Parameter
from idds.ports.importance import ImportanceFailure, Weighed
from idds.search import weighing
from idds.search.weighing import ProcessImportance

N = 60
WEIGHED = Weighed(
    directions=("minimize",),
    spaces=[{"x": Parameter(type="float", low=0, high=1), "kind": Parameter(type="categorical", choices=("a", 1))}],
    space_of=[0] * N,
    points=[{"x": place / N, "kind": "a" if place % 2 else 1} for place in range(N)],
    values=[(place / N,) for place in range(N)],
)


def running() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "idds.search.importance" in child.cmdline()]


async def test_it_answers_and_breaks_on_one_study_only() -> None:
    importance = ProcessImportance()
    broken = replace(WEIGHED, values=[(float("nan"), 1.0)] * N)
    with pytest.raises(ImportanceFailure, match=r"^it breaks on this study \([A-Za-z]+\)$"):
        await importance.weigh(broken)
    found = await importance.weigh(WEIGHED)
    assert found.keys() == {"x", "kind"}
    assert found["x"] > found["kind"] >= 0
    assert running() == []


async def test_who_goes_away_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    importance = ProcessImportance()
    asking = asyncio.create_task(importance.weigh(WEIGHED))
    async with asyncio.timeout(30):
        while not running():
            await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert running() == []
    monkeypatch.setattr(weighing, "LONGEST_S", 0.01)
    with pytest.raises(ImportanceFailure, match=r"^it takes more than 0.01 s$"):
        await importance.weigh(WEIGHED)
    assert running() == []


async def test_without_its_library_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weighing, "find_spec", lambda _: None)
    with pytest.raises(ImportanceFailure, match="without the extra `search`"):
        await ProcessImportance().weigh(WEIGHED)

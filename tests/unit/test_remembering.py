"""Costly answers are found once, and again when their time is over."""

import asyncio

import pytest

from idds.domain.errors import NotFound
from idds.services.remembering import KEPT, LEAST_S, TIMES, Remembered


class Finding:
    """Finds answers in `cost_s` of its own time, and counts how often."""

    def __init__(self, cost_s: float) -> None:
        self.now = 0.0
        self.cost_s = cost_s
        self.found: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def find(self, key: int) -> int:
        await self.gate.wait()
        self.now += self.cost_s
        if key < 0:
            raise NotFound("there is none")
        self.found.append(key)
        return len(self.found)

    def remembered(self) -> Remembered[int, int]:
        return Remembered(self.find, lambda: self.now)


@pytest.mark.parametrize("cost_s", [0.0, 3.0])
async def test_an_answer_is_good_in_proportion_to_its_cost(cost_s: float) -> None:
    finding = Finding(cost_s)
    answers = finding.remembered()
    assert await answers.get(7) == 1
    good_s = max(LEAST_S, TIMES * cost_s)
    finding.now += good_s - 0.001
    assert await answers.get(7) == 1
    finding.now += 0.001
    assert await answers.get(7) == 2
    assert await answers.get(8) == 3


async def test_who_asks_meanwhile_waits_for_the_same_and_an_error_is_nobody_elses() -> None:
    finding = Finding(1.0)
    answers = finding.remembered()
    finding.gate.clear()
    asking = [asyncio.create_task(answers.get(7)) for _ in range(3)]
    await asyncio.sleep(0)
    asking[0].cancel()
    finding.gate.set()
    assert await asyncio.gather(*asking[1:]) == [1, 1]
    with pytest.raises(NotFound):
        await answers.get(-1)
    with pytest.raises(NotFound):
        await answers.get(-1)
    assert finding.found == [7]


async def test_no_more_than_so_many_are_kept() -> None:
    finding = Finding(1.0)
    answers = finding.remembered()
    for key in range(KEPT + 1):
        await answers.get(key)
    await answers.get(KEPT)
    assert len(finding.found) == KEPT + 1
    await answers.get(0)
    assert finding.found[-1] == 0

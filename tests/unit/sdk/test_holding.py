"""What a pilot holds: kept, reported as it is known, let go when it is somebody else's."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from idds.domain.content import Intermediate, Outcome, Verdict
from idds.domain.errors import Conflict, InvalidInput, Problem, Unavailable
from idds.sdk.client import Client
from idds.sdk.dialects import Along, Told
from idds.sdk.holding import Holding, Tally
from idds.sdk.views import Advice, Kept, Lease, LeasedContent, Receipt, Reported, Stopped

PATIENCE_S = 10


class Service(Client):
    """Keeps those of `mine`; is away for the first `absences` heartbeats; calls everything by `verdict`."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", patience_s=0)
        self.mine = {1, 2, 3}
        self.unwanted: set[int] = set()
        self.said: list[tuple[int, int, float]] = []
        self.is_deaf = False
        self.odd: list[Problem] = []
        self.absences = 0
        self.verdict = Verdict.ACCEPTED
        self.reported: list[int] = []
        self.asked: list[int] = []
        self.outcomes: list[Outcome] = []
        self.heard: list[set[int]] = []

    async def heartbeat(self, collection: int, contents: Sequence[LeasedContent], *, ttl_s: float = 60.0) -> Kept:
        if self.absences:
            self.absences -= 1
            raise Unavailable("away")
        self.heard.append({content.id for content in contents})
        return Kept(tuple(self.mine & self.heard[-1]), tuple(Stopped(each, "why") for each in self.unwanted))

    async def report(self, collection: int, outcomes: Sequence[Outcome]) -> tuple[Receipt, ...]:
        if self.odd:
            problems, self.odd = self.odd, []
            raise InvalidInput(problems)
        self.reported += [outcome.content_id for outcome in outcomes]
        self.outcomes += outcomes
        return tuple(Receipt(outcome.content_id, self.verdict) for outcome in outcomes)

    async def report_and_lease(self, collection: int, outcomes: Sequence[Outcome], **how: Any) -> Reported:
        receipts = await self.report(collection, outcomes)
        self.asked.append(how["count"])
        return Reported((), ended=True, receipts=receipts)

    async def intermediate(self, collection: int, values: Sequence[Intermediate]) -> tuple[Advice, ...]:
        if self.is_deaf:
            raise Conflict("this is no study")
        self.said += [(value.content_id, value.step, value.value) for value in values]
        return tuple(Advice(value.content_id, value.content_id in self.unwanted) for value in values)

    async def give_back(self, collection: int, contents: Sequence[LeasedContent]) -> frozenset[int]:
        return frozenset(self.mine & {content.id for content in contents})


def held(service: Service, tally: Tally, ttl_s: float = 0.003, *, of_study: bool = False) -> Holding:
    point = {"x": 1} if of_study else None
    contents = (LeasedContent(number, 1, "data", "f", parameters=point) for number in (1, 2, 3))
    lease = Lease(tuple(contents), ended=False)
    return Holding(service, 7, lease, ttl_s, tally)


async def concluded(holding: Holding, wanted: int = 0) -> None:
    reporting = asyncio.create_task(holding.report())
    async with asyncio.timeout(PATIENCE_S):
        await holding.conclude(reporting, lambda: wanted)


async def test_with_the_last_report_of_all_the_next_is_leased() -> None:
    service = Service()
    holding = held(service, Tally())
    service.odd = [Problem("/reports/0", "not so")]  # refused, it leases nothing, and is made again
    holding.settle_rest(lambda content: Told(content, "done"))
    await concluded(holding, wanted=2)
    assert service.asked == [2]
    assert holding.following is not None
    assert holding.following.ended


@pytest.mark.parametrize("wanted", [0, 2])
async def test_who_gives_something_back_or_wants_nothing_takes_nothing(wanted: int) -> None:
    service = Service()
    holding = held(service, Tally())
    holding.settle(Told(1, "done"))
    if not wanted:
        holding.settle_rest(lambda content: Told(content, "done"))
    await concluded(holding, wanted)
    assert (service.asked, holding.following) == ([], None)


async def test_what_is_lost_is_let_go_and_not_reported() -> None:
    service, tally = Service(), Tally()
    service.mine, service.absences = {1}, 2
    holding = held(service, tally)
    holding.settle(Told(1, "done"))
    keeping = asyncio.create_task(holding.keep())
    async with asyncio.timeout(PATIENCE_S):
        while tally.lost < 2:
            await asyncio.sleep(0)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert service.heard[0] == {1, 2, 3}, "also what is known and not reported yet"
    assert not holding.is_lost, "its first is to be reported still"
    holding.settle(Told(2, "done"))
    await concluded(holding)
    assert service.reported == [1]
    assert holding.is_lost
    assert tally == Tally(done=1, lost=2)


async def test_the_first_that_is_told_of_a_content_counts_and_strangers_do_not() -> None:
    service, tally = Service(), Tally()
    holding = held(service, tally)
    for told in (Told(2, "failed", "no"), Told(2, "done"), Told(9, "done"), Told(1, "done")):
        holding.settle(told)
    holding.fail_first("preempted")
    await concluded(holding)
    assert service.reported == [2, 1, 3]
    assert tally == Tally(done=1, failed=2)


async def test_what_nothing_was_told_of_is_given_back_or_was_lost_before() -> None:
    service, tally = Service(), Tally()
    service.mine = {1, 2}
    await concluded(held(service, tally))
    assert (service.reported, tally) == ([], Tally(given_back=2, lost=1))


async def test_a_stale_report_is_a_loss() -> None:
    service, tally = Service(), Tally()
    service.verdict = Verdict.STALE
    holding = held(service, tally)
    holding.settle_rest(lambda content: Told(content, "done"))
    await concluded(holding)
    assert tally == Tally(lost=3)


async def test_a_sample_that_is_lost_is_brought_all_the_same() -> None:
    """Its first result counts, and that may be this one."""
    service, tally = Service(), Tally()
    service.mine = set()
    holding = held(service, tally, of_study=True)
    keeping = asyncio.create_task(holding.keep())
    async with asyncio.timeout(PATIENCE_S):
        while len(service.heard) < 3:
            await asyncio.sleep(0)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert not holding.is_lost
    holding.settle_rest(lambda content: Told(content, "done"))
    await concluded(holding)
    assert service.reported == [1, 2, 3]


async def test_values_on_the_way_are_said_and_what_is_to_stop_is_pruned() -> None:
    service, tally = Service(), Tally()
    service.unwanted = {1, 2, 3}
    holding = held(service, tally, of_study=True)
    reporting = asyncio.create_task(holding.report())
    for number in (1, 2, 9):
        holding.hear(Along(number, 5, 0.5))
        holding.hear(Along(number, -5, 0.5))
    assert not holding.is_unwanted
    holding.hear(Along(3, 6, 0.4))
    async with asyncio.timeout(PATIENCE_S):
        while not holding.is_unwanted:
            await asyncio.sleep(0)
        holding.settle(Told(1, "done", objective_values=(0.1,)))
        holding.settle_unwanted()
        await holding.conclude(reporting)
    assert service.said == [(1, 5, 0.5), (2, 5, 0.5), (3, 6, 0.4)], "nothing of what it has not, or is no step"
    assert {outcome.content_id: outcome.is_pruned for outcome in service.outcomes} == {1: False, 2: True, 3: True}


async def test_who_does_not_want_to_hear_of_the_way_gets_the_results() -> None:
    service, tally = Service(), Tally()
    service.is_deaf = True
    holding = held(service, tally, of_study=True)
    holding.hear(Along(1, 5, 0.5))
    holding.settle_rest(lambda content: Told(content, "done"))
    await concluded(holding)
    assert tally == Tally(done=3)


async def test_files_that_are_not_wanted_any_more_are_given_back() -> None:
    service, tally = Service(), Tally()
    service.unwanted = {1, 2, 3}
    holding = held(service, tally)
    keeping = asyncio.create_task(holding.keep())
    async with asyncio.timeout(PATIENCE_S):
        while not holding.is_unwanted:
            await asyncio.sleep(0)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    holding.settle_unwanted()
    await concluded(holding)
    assert (service.reported, tally) == ([], Tally(given_back=3))


async def test_a_result_that_is_refused_fails_its_content_alone() -> None:
    service, tally = Service(), Tally()
    service.odd = [Problem("/reports/1/objective_values", "one is wanted")]
    holding = held(service, tally, of_study=True)
    holding.settle_rest(lambda content: Told(content, "done"))
    await concluded(holding)
    second = service.outcomes[1]
    assert (second.done, second.reason, second.retry) == (False, "one is wanted", False)
    assert tally == Tally(done=2, failed=1)


async def test_what_is_wrong_with_the_call_itself_is_raised() -> None:
    service = Service()
    service.odd = [Problem("/reports", "too many")]
    holding = held(service, Tally())
    holding.settle(Told(1, "done"))
    with pytest.raises(InvalidInput, match="too many"):
        await concluded(holding)

"""What a pilot holds: kept, reported as it is known, let go when it is somebody else's."""

import asyncio
from collections.abc import Sequence

from idds.domain.content import Outcome, Verdict
from idds.domain.errors import Unavailable
from idds.sdk.client import Client
from idds.sdk.dialects import Told
from idds.sdk.holding import Holding, Tally
from idds.sdk.views import Lease, LeasedContent, Receipt

PATIENCE_S = 10


class Service(Client):
    """Keeps those of `mine`; is away for the first `absences` heartbeats; calls everything by `verdict`."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", patience_s=0)
        self.mine = {1, 2, 3}
        self.absences = 0
        self.verdict = Verdict.ACCEPTED
        self.reported: list[int] = []
        self.heard: list[set[int]] = []

    async def heartbeat(
        self, collection: int, contents: Sequence[LeasedContent], *, ttl_s: float = 60.0
    ) -> frozenset[int]:
        if self.absences:
            self.absences -= 1
            raise Unavailable("away")
        self.heard.append({content.id for content in contents})
        return frozenset(self.mine & self.heard[-1])

    async def report(self, collection: int, outcomes: Sequence[Outcome]) -> tuple[Receipt, ...]:
        self.reported += [outcome.content_id for outcome in outcomes]
        return tuple(Receipt(outcome.content_id, self.verdict) for outcome in outcomes)

    async def give_back(self, collection: int, contents: Sequence[LeasedContent]) -> frozenset[int]:
        return frozenset(self.mine & {content.id for content in contents})


def held(service: Service, tally: Tally, ttl_s: float = 0.003) -> Holding:
    lease = Lease(tuple(LeasedContent(number, 1, "data", "f") for number in (1, 2, 3)), ended=False)
    return Holding(service, 7, lease, ttl_s, tally)


async def concluded(holding: Holding) -> None:
    reporting = asyncio.create_task(holding.report())
    async with asyncio.timeout(PATIENCE_S):
        await holding.conclude(reporting)


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

"""A cancel leaves no job behind, also where the provider's reply was lost or the provider is away."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from idds.domain.errors import Unavailable
from idds.domain.identifiers import Handle, RequestId
from idds.domain.statuses import Intent, JobStatus, Status
from idds.domain.workflow import Payload, Work, Workflow
from idds.services.collecting import Collecting
from idds.services.execution import Execution
from idds.services.placement import Placement
from idds.services.progress import Progress
from idds.services.submission import Offer, Submission
from idds.store.database import Database
from idds.store.upgrade import upgrade
from idds.testing.clock import ManualClock
from idds.testing.memory_ddm import MemoryDDM
from idds.testing.memory_provider import MemoryProvider
from tests.integration.simulation.world import OWNER

WORKFLOW = Workflow(name="w", works=(Work(name="w", payload=Payload(argv=("/do",))),))


class Trouble:
    """Calls that never arrive, or whose replies are lost."""

    def __init__(self) -> None:
        self.is_away = self.loses_replies = False

    def before(self) -> None:
        if self.is_away:
            raise Unavailable("it is away")

    def after(self) -> None:
        if self.loses_replies:
            raise Unavailable("the reply was lost")


class Service:
    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database, self.clock, self.trouble = database, clock, Trouble()
        self.provider = MemoryProvider(Random(0), self.trouble)  # type: ignore[arg-type]
        self.progress = Progress(database, Placement("local", "DISK", "OUT"))
        collecting = Collecting(database, MemoryDDM(Random(0)))
        self.execution = Execution(database, {"local": self.provider}, collecting, "me")
        self.submission = Submission(database, Offer(frozenset({"local"}), frozenset(), frozenset()))

    async def submit(self) -> RequestId:
        request, _ = await self.submission.submit(OWNER, WORKFLOW)
        return request.id

    async def cancel(self, request: RequestId) -> None:
        await self.submission.order(OWNER, request, Intent.CANCEL)

    async def turn(self) -> None:
        for _ in range(3):
            while await self.progress.step():
                pass
            await self.execution.submit()
            await self.execution.cancel()
            await self.execution.poll("local", [])
            self.clock.advance(2_000_000)
        await self.progress.step()

    async def status(self, request: RequestId) -> Status:
        async with self.database.snapshot() as tx:
            found = await tx.requests.get(request)
        assert found is not None
        return found.status

    async def job(self) -> JobStatus | None:
        """How the one job stands, None where none was started."""
        handle = Handle("p1-a1")
        return (await self.provider.poll([handle]))[handle].status if self.provider.started else None


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    clock = ManualClock()
    database = Database(f"sqlite:///{tmp_path}/idds.sqlite", clock=clock)
    await upgrade(database)
    yield Service(database, clock)
    await database.close()


async def test_a_job_whose_handle_was_never_learned_is_cancelled(service: Service) -> None:
    request = await service.submit()
    service.trouble.loses_replies = True
    await service.progress.step()
    await service.execution.submit()
    assert await service.job() is JobStatus.PENDING
    service.trouble.loses_replies = False
    await service.cancel(request)
    await service.turn()
    assert await service.job() is JobStatus.CANCELLED
    assert await service.status(request) is Status.CANCELLED


async def test_what_never_arrived_is_not_submitted_after_the_cancel(service: Service) -> None:
    request = await service.submit()
    service.trouble.is_away = True
    await service.progress.step()
    await service.execution.submit()
    await service.cancel(request)
    await service.progress.step()
    assert await service.status(request) is Status.RUNNING  # whether there is a job cannot be known
    service.trouble.is_away = False
    await service.turn()
    assert await service.job() is None
    assert await service.status(request) is Status.CANCELLED


async def test_what_was_not_tried_ends_at_once(service: Service) -> None:
    request = await service.submit()
    await service.progress.step()
    await service.cancel(request)
    while await service.progress.step():
        pass
    assert await service.job() is None
    assert await service.status(request) is Status.CANCELLED


async def test_a_job_of_a_provider_that_is_gone_is_given_up_in_time_and_tried_elsewhere_after_a_retry(
    service: Service,
) -> None:
    request = await service.submit()
    await service.turn()
    elsewhere = MemoryProvider(Random(0))
    service.execution = Execution(
        service.database, {"other": elsewhere}, Collecting(service.database, MemoryDDM(Random(0))), "me"
    )
    await service.cancel(request)
    for _ in range(300):
        await service.progress.step()
        await service.execution.cancel()
        assert await service.status(request) is Status.RUNNING
        service.clock.advance(1_000_000)  # five minutes: it may come back
    for _ in range(300):
        await service.execution.cancel()
        while await service.progress.step():
            pass
        service.clock.advance(1_000_000)
    assert await service.status(request) is Status.CANCELLED
    async with service.database.snapshot() as tx:
        (processing,) = await tx.processings.of_request(request)
        assert await tx.effects.of_request(request) == []
    assert processing.reason == "cancelled by order; its provider 'local' is gone: what became of its job is not known"
    await service.submission.retry(OWNER, request)
    service.progress = Progress(service.database, Placement("other", "DISK", "OUT"))
    await service.progress.step()
    await service.execution.submit()
    assert list(elsewhere.started) == ["p1-a2"]

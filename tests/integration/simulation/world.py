"""A service without agents: its duties are stepped one by one, in an order that a seed chooses."""

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random

from sqlalchemy import select

from idds.domain.content import Outcome
from idds.domain.errors import Conflict, Unavailable
from idds.domain.files import File
from idds.domain.identifiers import CollectionId, Did, RequestId
from idds.domain.request import Principal
from idds.domain.statuses import SourceKind
from idds.runtime.wakeups import LocalWakeups
from idds.search.random_sampler import RandomSampler
from idds.services.collecting import Collecting
from idds.services.delivery import Delivered
from idds.services.execution import Execution
from idds.services.expiring import Expiring
from idds.services.listing import Listing
from idds.services.placement import Placement
from idds.services.planning import Planning
from idds.services.progress import Progress
from idds.services.registration import Registration
from idds.services.sampling import Sampling
from idds.services.staging import Residencies
from idds.services.standing import Rules
from idds.services.submission import Offer, Submission
from idds.store.database import Database
from idds.store.effects import Fenced
from idds.store.integrity import disagreements
from idds.store.schema import collections, contents, effects, messages, moves, replicas, requests, transforms, windows
from idds.testing.clock import ManualClock
from idds.testing.faults import Crash, Faults
from idds.testing.memory_ddm import MemoryDDM
from idds.testing.memory_provider import MemoryProvider
from tests.integration.consumers import Consumers
from tests.integration.simulation.filling import Filling
from tests.integration.surveys import survey

OWNER = Principal("alice", "atlas")
DISK = "DISK"
WINDOW = 1000


class World:
    """Two carriers and two transformers share one database, one data management and one provider."""

    def __init__(self, database: Database, clock: ManualClock, random: Random, rate: float) -> None:
        self.database, self.clock, self.random = database, clock, random
        self.faults = Faults(random, rate=rate)
        self.ddm = MemoryDDM(random, self.faults)
        self.provider = MemoryProvider(random, self.faults, failing=0.1, losing=0.05, spoiled=0.1)
        offer = Offer(frozenset({"local"}), frozenset({DISK, "OUT"}), frozenset({"random"}))
        self.submission = Submission(database, offer)
        self.delivery = Consumers(database)
        self.filling = Filling(database, Registration(database), OWNER, random)
        self.leased: list[tuple[CollectionId, Delivered]] = []
        self.ended: dict[tuple[str, int], str] = {}
        self.retried: set[RequestId] = set()
        self.duties = [duty for owner in ("one", "two") for duty in self._of(owner)]

    def _of(self, owner: str) -> list[Callable[[], Awaitable[object]]]:
        progress = Progress(self.database, Placement("local", DISK, "OUT", 20))
        sampling = Sampling(self.database, {"random": RandomSampler()}, owner)
        listing = Listing(self.database, self.ddm, owner)
        residencies = Residencies(self.database, self.ddm, LocalWakeups(), owner)
        execution = Execution(self.database, {"local": self.provider}, Collecting(self.database, self.ddm), owner)

        async def stage() -> int:
            return await residencies.recalling.step()

        self.submitting = execution.submit
        return [
            progress.step,
            progress.step,
            sampling.step,
            listing.step,
            stage,
            residencies.releasing.step,
            lambda: survey(residencies, everything=True),
            execution.submit,
            lambda: execution.poll("local", []),
            execution.cancel,
            self.delivery.end_leases,
            Expiring(self.database).step,
            Planning(self.database, Rules()).step,
        ]

    async def start(self) -> None:
        async with self.database.transaction("test") as tx:
            await tx.windows.declare("rse", DISK, limit_bytes=WINDOW, limit_files=None)

    def dataset(self, name: str, files: int, largest: int = 200) -> str:
        """A dataset of small files, on tape."""
        did = Did("data", name)
        made = [File(Did("data", f"{name}.{n}"), self.random.randint(1, largest)) for n in range(files)]
        self.ddm.add_dataset(did, made)
        return str(did)

    async def step(self) -> None:
        """One thing happens, somewhere."""
        with suppress(Unavailable, Crash, Fenced):
            await self.random.choice(self.duties)()
        if self.random.random() < 0.3:
            self.ddm.tick()
            self.provider.tick()
        if self.random.random() < 0.3:
            await self._consume()
        if self.random.random() < 0.3:
            await self.filling.step()
        if self.random.random() < 0.2:
            self.clock.advance(self.random.choice((100_000, 1_000_000, 20_000_000)))

    async def _consume(self) -> None:
        """Somebody outside leases, reports, reports late, or dies."""
        async with self.database.snapshot() as tx:
            rows = (await tx.connection.execute(select(collections.c.id, collections.c.source))).all()
        leasable = [row.id for row in rows if row.source in (SourceKind.SAMPLES, SourceKind.REGISTERED)]
        if not leasable:
            return
        chosen = CollectionId(self.random.choice(leasable))
        with suppress(Conflict):
            for delivered in await self.delivery.lease(OWNER, chosen, count=3, ttl=10_000_000, lessee="payload"):
                self.leased.append((chosen, delivered))
            while self.leased and self.random.random() < 0.8:
                at, held = self.leased.pop(self.random.randrange(len(self.leased)))
                if self.random.random() < 0.2:
                    continue  # it died
                outcome = Outcome(held.content.id, held.content.attempt, self.random.random() < 0.9, "x", True, (1.0,))
                await self.delivery.report(OWNER, at, [outcome] * self.random.choice((1, 2)))

    async def settle(self) -> None:
        """No more trouble: everything must come to its end."""
        self.faults.quiet()
        self.provider.failing = self.provider.losing = self.provider.spoiled = 0.0
        for _ in range(3000):
            for duty in self.duties:
                with suppress(Fenced):
                    await duty()
            self.ddm.tick()
            self.provider.tick()
            await self._consume()
            await self.filling.close_all()
            self.clock.advance(30_000_000)
            if await self._is_over():
                return
        raise AssertionError(f"it does not end: {await self._waiting()}")

    async def _is_over(self) -> bool:
        return not (await self._waiting()) and not self.ddm.replicas(DISK)

    async def _waiting(self) -> list[object]:
        async with self.database.snapshot() as tx:
            open_ = select(requests.c.id, requests.c.status).where(
                requests.c.status.in_(("new", "running", "suspended"))
            )
            waiting: list[object] = list(await tx.connection.execute(open_))
            waiting += list(await tx.connection.execute(select(effects.c.kind, effects.c.entity, effects.c.error)))
            ours = select(replicas.c.id, replicas.c.status).where(replicas.c.ours, replicas.c.status != "gone")
            return waiting + list(await tx.connection.execute(ours))

    async def check(self) -> None:
        """What must hold at any moment."""
        assert self.ddm.highest.get(DISK, 0) <= WINDOW, "more was on disk than the window holds"
        assert await self.database.run(disagreements, writes=False) == []
        async with self.database.snapshot() as tx:
            window = (await tx.connection.execute(select(windows).where(windows.c.kind == "rse"))).one()
            assert 0 <= window.reserved_bytes <= WINDOW
            await self._check_ends(tx.connection)
            await self._check_messages(tx.connection)
        await self.filling.check()

    async def retry(self, request: RequestId) -> None:
        """Somebody has it tried again: what ended without being done goes on from there."""
        await self.submission.retry(OWNER, request)
        self.retried.add(request)
        self.ended = {key: status for key, status in self.ended.items() if key[0] == "contents"}

    async def _check_ends(self, connection: object) -> None:
        run = connection.execute  # type: ignore[attr-defined]
        ends = {"finished", "subfinished", "failed", "cancelled", "expired", "done", "missing"}
        now = {
            (table.name, row.id): row.status
            for table in (requests, transforms, contents)
            for row in await run(select(table.c.id, table.c.status))
        }
        contents_of = select(contents.c.id).where(contents.c.request_id.in_(self.retried))
        tried_again = {("contents", row.id) for row in await run(contents_of)}
        for key, status in self.ended.items():
            may_go_on = key in tried_again and status != "done"
            assert now[key] == status or may_go_on, f"{key} went on from its end {status} to {now[key]}"
        self.ended = {key: status for key, status in now.items() if status in ends}

    async def _check_messages(self, connection: object) -> None:
        run = connection.execute  # type: ignore[attr-defined]
        by_request: dict[RequestId, list[int]] = {}
        for row in await run(select(messages.c.request_id, messages.c.seq).order_by(messages.c.seq)):
            by_request.setdefault(row.request_id, []).append(row.seq)
        for request, seqs in by_request.items():
            assert seqs == list(range(1, len(seqs) + 1)), f"request {request} has holes in its messages"

    async def doubled(self) -> list[int]:
        """Contents that were done more than once, by the history."""
        async with self.database.snapshot() as tx:
            rows = await tx.connection.execute(select(moves.c.ids).where(moves.c.event == "processed"))
        seen = Counter(content for row in rows for content in row.ids)
        return [content for content, n in seen.items() if n > 1]

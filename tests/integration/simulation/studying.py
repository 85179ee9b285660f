"""A service of studies without agents: two transformers, a sampler that checks what it is told, and payloads."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random

from sqlalchemy import Text, cast, func, select

from idds.domain.content import Outcome
from idds.domain.errors import Conflict, InvalidInput, Unavailable
from idds.domain.identifiers import CollectionId, RequestId
from idds.domain.redefinition import Change, Narrow, Widen
from idds.domain.request import Principal
from idds.domain.statuses import Intent
from idds.domain.workflow import Workflow
from idds.ports.sampler import Known, Order, Sampler, SamplerFailure, State, Suggestion
from idds.search.study import StudySearch
from idds.services.delivery import Delivered
from idds.services.placement import Placement
from idds.services.progress import Progress
from idds.services.redefining import Order as Redefinition
from idds.services.redefining import Redefining
from idds.services.sampling import Sampling
from idds.services.submission import Offer, Submission
from idds.store.database import Database
from idds.store.effects import Fenced
from idds.store.integrity import disagreements
from idds.store.schema import collections, contents, effects, requests, samples, windows
from idds.testing.clock import ManualClock
from idds.testing.faults import Crash, Faults
from tests.integration.consumers import Consumers

OWNER = Principal("alice", "atlas")
NAMES = frozenset({"random", "grid", "tpe"})


class Checked(Sampler):
    """Draws at random or along a grid; of a sampler that learns it keeps what it is told, and looks at that."""

    def __init__(self, database: Database, faults: Faults) -> None:
        self._database = database
        self._faults = faults
        self._told: dict[CollectionId, tuple[int, int, dict[int, Known]]] = {}
        self.wrong: list[str] = []

    def heard(self, study: CollectionId, version: int = 1) -> int | None:
        known, heard, _ = self._told.get(study, (0, 0, {}))
        return heard if known == version else None

    async def ask(self, order: Order) -> Sequence[Suggestion]:
        try:
            self._faults.before()
        except (Crash, Unavailable):
            self._told.clear()
            raise SamplerFailure("its process died") from None
        if order.samples.sampler == "tpe":
            try:
                await self._hear(order)
            except AssertionError as wrong:
                self.wrong.append(f"{order.samples}: {wrong}")
                raise
        return StudySearch(_unlearned(order)).ask(_unlearned(order))

    async def _hear(self, order: Order) -> None:
        """What it was told by now is all that there is, and what is ordered is none of it."""
        version, _, told = self._told.get(order.study, (0, 0, {}))
        told = dict(told) if version == order.version else {}
        for each in order.news:
            before = told.get(each.suggestion.number)
            assert before is None or before.state is State.RUNNING or before == each or before.state is State.FAILED
            told[each.suggestion.number] = each
        async with self._database.snapshot() as tx:
            _, there = await tx.samples.news(order.study, None)
        assert told == {each.suggestion.number: each for each in there}, "it was not told all"
        assert not set(order.numbers) & set(told), "what was drawn is drawn again"
        self._told[order.study] = (order.version, order.heard, told)

    async def close(self) -> None: ...


def _unlearned(order: Order) -> Order:
    """As it is drawn here: by numbers alone."""
    sampler = "grid" if order.samples.sampler == "grid" else "qmc"
    return replace(order, samples=replace(order.samples, sampler=sampler), news=(), given=())


class Studies:
    def __init__(self, database: Database, clock: ManualClock, random: Random, rate: float) -> None:
        self.database, self.clock, self.random = database, clock, random
        self.faults = Faults(random, rate=rate)
        self.submission = Submission(database, Offer(frozenset({"local"}), frozenset({"DISK"}), NAMES))
        self.redefining = Redefining(database)
        self.delivery = Consumers(database)
        self.leased: list[tuple[CollectionId, Delivered]] = []
        self.values: dict[int, float] = {}
        self.submitted: list[RequestId] = []
        self.samplers: list[Checked] = []
        self.duties = [duty for owner in ("one", "two") for duty in self._of(owner)] + [self.delivery.end_leases]

    def _of(self, owner: str) -> list[Callable[[], Awaitable[object]]]:
        progress = Progress(self.database, Placement("local", "DISK", "OUT", 20))
        sampler = Checked(self.database, self.faults)
        self.samplers.append(sampler)
        sampling = Sampling(self.database, dict.fromkeys(NAMES, sampler), owner)
        return [progress.step, progress.step, sampling.step]

    async def submit(self, workflow: Workflow) -> None:
        request, _ = await self.submission.submit(OWNER, workflow)
        self.submitted.append(request.id)

    async def step(self) -> None:
        with suppress(Unavailable, Crash, Fenced):
            await self.random.choice(self.duties)()
        if self.random.random() < 0.5:
            await self._consume()
        if self.random.random() < 0.1:
            await self._redefine()
        if self.submitted and self.random.random() < 0.03:
            intent = self.random.choice((Intent.CANCEL, Intent.FINISH, Intent.SUSPEND, Intent.RUN, Intent.RUN))
            with suppress(Conflict):
                await self.submission.order(OWNER, self.random.choice(self.submitted), intent)
        if self.submitted and self.random.random() < 0.05:
            with suppress(Conflict):
                await self.submission.retry(OWNER, self.random.choice(self.submitted))
        if self.random.random() < 0.2:
            self.clock.advance(self.random.choice((100_000, 1_000_000, 20_000_000)))

    async def _redefine(self) -> None:
        if (chosen := await self._study()) is None:
            return
        low = float(self.random.randint(0, 10))
        made = Narrow if self.random.random() < 0.5 else Widen
        changes: tuple[Change, ...] = (made(parameter="x", low=low),)
        with suppress(Conflict, InvalidInput):
            await self.redefining.redefine(chosen, Redefinition(OWNER, changes, "test"))

    async def _study(self) -> CollectionId | None:
        async with self.database.snapshot() as tx:
            rows = (await tx.connection.execute(select(collections.c.id))).all()
        return CollectionId(self.random.choice(rows).id) if rows else None

    async def _consume(self) -> None:
        if (chosen := await self._study()) is None:
            return
        with suppress(Conflict):
            for delivered in await self.delivery.lease(OWNER, chosen, count=3, ttl=10_000_000, lessee="payload"):
                self.leased.append((chosen, delivered))
            while self.leased and self.random.random() < 0.8:
                at, held = self.leased.pop(self.random.randrange(len(self.leased)))
                if self.random.random() < 0.1:
                    continue  # it died
                value, done = self.random.random() * 100, self.random.random() < 0.85
                again, values = self.random.random() < 0.5, (value,) if done else ()
                outcome = Outcome(held.content.id, held.content.attempt, done, "x", again, values)
                receipts = await self.delivery.report(OWNER, at, [outcome] * self.random.choice((1, 2)))
                if done and receipts[0].verdict == "accepted":
                    assert held.content.id not in self.values, "two results counted"
                    self.values[held.content.id] = value

    async def settle(self) -> None:
        self.faults.quiet()
        for request in self.submitted:
            with suppress(Conflict):
                await self.submission.order(OWNER, request, Intent.RUN)
        for _ in range(1500):
            for duty in self.duties:
                with suppress(Fenced):
                    await duty()
            await self._consume()
            self.clock.advance(30_000_000)
            if not await self.waiting():
                return
        raise AssertionError(f"it does not end: {await self.waiting()}")

    async def waiting(self) -> list[object]:
        async with self.database.snapshot() as tx:
            names = select(requests.c.id, requests.c.name, requests.c.status)
            open_ = names.where(requests.c.status.in_(("new", "running", "suspended")))
            found: list[object] = list(await tx.connection.execute(open_))
            return found + list(await tx.connection.execute(select(effects.c.kind, effects.c.entity, effects.c.error)))

    async def check(self) -> None:
        """What must hold at any moment."""
        assert [each.wrong for each in self.samplers] == [[], []]
        assert await self.database.run(disagreements, writes=False) == []
        async with self.database.snapshot() as tx:
            run = tx.connection.execute
            each = (samples.c.study_id, samples.c.number)
            assert list(await run(select(*each).group_by(*each).having(func.count() > 1))) == []
            told = select(contents.c.id, samples.c.objective_values).join(samples)
            rows = {row.id: row.objective_values for row in await run(told.where(contents.c.status == "done"))}
            assert rows == {content: [value] for content, value in self.values.items()}
            taken = select(samples.c.study_id, func.count().label("n")).where(samples.c.is_taken_back)
            back = {row.study_id: row.n for row in await run(taken.group_by(samples.c.study_id))}
            recorded = await run(select(collections.c.id, collections.c.taken_back).where(collections.c.taken_back > 0))
            assert back == {row.id: row.taken_back for row in recorded}

    async def ends(self) -> dict[str, tuple[str, int, int]]:
        """Of each request how it stands, how many of its samples are done, and how many places are taken."""
        query = select(requests.c.name, requests.c.status, collections.c.n_done, windows.c.reserved_files)
        query = query.join(collections, collections.c.request_id == requests.c.id)
        query = query.join(windows, windows.c.ref == cast(collections.c.id, Text))
        async with self.database.snapshot() as tx:
            return {name: (status, n, held) for name, status, n, held in await tx.connection.execute(query)}

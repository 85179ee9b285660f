"""Requests that ended and are tried again: what is done stays done, and all the rest is done in the end."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import select

from idds.domain.content import Content, Outcome
from idds.domain.errors import Conflict, NotFound, Unavailable
from idds.domain.files import File
from idds.domain.identifiers import CollectionId, Did, RequestId
from idds.domain.request import Principal, Terms
from idds.domain.statuses import ContentStatus, Intent, Relation, Status
from idds.domain.workflow import Input, Output, Parameter, Payload, Samples, WindowLimits, Work, Workflow
from idds.services import retrying
from idds.services.delivery import Delivered
from idds.store.effects import Fenced
from idds.store.schema import effects, messages, processings, replicas, requests, windows
from tests.integration.simulation.world import OWNER, World
from tests.integration.test_faults import ends, files_work, left, reserved, shown, submit, world_at

PAYLOAD = Payload(argv=("/do",))
OUT = Output(dataset="data:out")
SPACE = {"x": Parameter(type="float", low=0.0, high=1.0)}
DONE, FAILED, CANCELLED = ContentStatus.DONE, ContentStatus.FAILED, ContentStatus.CANCELLED


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """A world without faults but those that a test makes; on SQLite, then on PostgreSQL."""
    async with world_at(database_url) as world:
        yield world


async def live(world: World, rounds: int = 200, *, pause: int = 30_000_000) -> None:
    """Every duty in turn, again and again, until there is nothing to be done."""
    for _ in range(rounds):
        for duty in world.duties:
            with suppress(Fenced, Unavailable):
                await duty()
        world.ddm.tick()
        world.provider.tick()
        world.clock.advance(pause)
        if await _is_idle(world):
            return


async def _is_idle(world: World) -> bool:
    async with world.database.snapshot() as tx:
        run = tx.connection.execute
        open_ = select(requests.c.id).where(requests.c.status.in_(("new", "running")))
        moving = select(replicas.c.id).where(replicas.c.ours, replicas.c.status != "gone")
        return not any([(await run(query.limit(1))).first() for query in (open_, moving, select(effects.c.id))])


async def contents_of(world: World, request: RequestId, work: str) -> list[Content]:
    """The contents of a work's input."""
    async with world.database.snapshot() as tx:
        transform = next(t for t in await tx.transforms.of_request(request) if t.work == work)
        found = [c for c in await tx.collections.of_request(request) if c.transform_id == transform.id]
        collection = next(c for c in found if c.relation is Relation.INPUT)
        return await tx.contents.page(collection.id, status=None, after=0, limit=10_000)


async def counts(world: World, request: RequestId, work: str) -> Counter[ContentStatus]:
    return Counter(content.status for content in await contents_of(world, request, work))


async def is_settled(world: World) -> None:
    """Nothing is reserved, nothing to be done, and nothing was done twice."""
    async with world.database.snapshot() as tx:
        rows = list(await tx.connection.execute(select(windows.c.reserved_bytes, windows.c.reserved_files)))
    assert {tuple(row) for row in rows} <= {(0, 0)}
    assert (await left(world), await reserved(world), await world.doubled()) == ([], 0, [])
    assert not world.ddm.replicas("DISK")
    await world.check()


async def test_what_failed_is_tried_again_and_what_is_done_is_left_alone(world: World) -> None:
    work = files_work(world, "in", 6)
    merge = Work(name="merge", input=Input(outputs="in", batch="all"), payload=PAYLOAD, output=Output(dataset="data:m"))
    bad = {Did("data", f"in.{n}") for n in (1, 4)}
    world.ddm.unreadable.update(bad)
    request = await submit(world, work, merge)
    await live(world)
    assert await ends(world, request) == [Status.SUBFINISHED]
    assert await counts(world, request, "in") == {DONE: 4, FAILED: 2}
    before = await contents_of(world, request, "in")
    world.ddm.unreadable.clear()
    staged = Counter(world.ddm.staged)
    await world.retry(request)
    await live(world)
    await is_settled(world)
    after = await shown(world, request)
    assert (after.status, after.retries, after.reason) == (Status.FINISHED, 1, None)
    assert await counts(world, request, "in") == {DONE: 6}
    assert {content.name for content in await contents_of(world, request, "in") if content.reason} == set()
    assert Counter(world.ddm.staged) - staged == Counter(bad)
    # What was done before is as it was; the merge took what came in addition, and nothing twice.
    assert [c for c in before if c.status is DONE] == [
        c for c in await contents_of(world, request, "in") if Did(c.scope, c.name) not in bad
    ]
    assert await counts(world, request, "merge") == {DONE: 6}
    assert set(world.provider.counted.values()) == {1}


async def test_only_what_failed_of_a_group_is_processed_again(world: World) -> None:
    work = replace(files_work(world, "in", 4), input=Input(dataset="data:in", batch=4), attempts=2)
    world.ddm.unreadable.add(Did("data", "in.2"))
    request = await submit(world, work)
    await live(world)
    world.ddm.unreadable.clear()
    await world.retry(request)
    await live(world)
    await is_settled(world)
    assert await ends(world, request) == [Status.FINISHED]
    async with world.database.snapshot() as tx:
        (processing,) = await tx.processings.of_request(request)
    assert (processing.attempt, processing.spent, processing.status) == (2, 1, Status.FINISHED)
    assert (processing.done, processing.failed) == (4, 0)


async def test_attempts_are_counted_anew(world: World) -> None:
    world.provider.failing = 1.0
    request = await submit(world, replace(files_work(world, "in", 1), attempts=2))
    await live(world)
    assert await ends(world, request) == [Status.FAILED]
    await world.retry(request)
    await live(world)
    assert await ends(world, request) == [Status.FAILED]
    async with world.database.snapshot() as tx:
        (processing,) = await tx.processings.of_request(request)
    (content,) = await contents_of(world, request, "in")
    assert (processing.attempt, processing.tries) == (4, 2)
    assert (content.attempt, content.tries, content.status) == (2, 1, FAILED)
    world.provider.failing = 0.0
    await world.retry(request)
    await live(world)
    assert await ends(world, request) == [Status.FINISHED]
    await is_settled(world)


async def test_works_without_an_input_and_those_that_were_barred(world: World) -> None:
    world.provider.failing = 1.0
    alone = Work(name="alone", payload=PAYLOAD, output=Output(dataset="data:alone"), attempts=1)
    after = Work(name="after", after=("alone",), payload=PAYLOAD, output=OUT)
    takes = Work(name="takes", input=Input(outputs="alone"), payload=PAYLOAD, output=OUT)
    request = await submit(world, alone, after, takes)
    await live(world)
    assert await ends(world, request) == [Status.FAILED]
    world.provider.failing = 0.0
    await world.retry(request)
    await live(world)
    assert await ends(world, request) == [Status.FINISHED]
    assert await counts(world, request, "takes") == {DONE: 1}
    await is_settled(world)


async def test_a_finished_work_takes_what_comes_in_addition_also_in_batches(world: World) -> None:
    work = replace(files_work(world, "in", 5), attempts=1)
    pairs = Work(name="pairs", input=Input(outputs="in", batch=2), payload=PAYLOAD, output=OUT)
    late = Work(name="late", payload=PAYLOAD, output=OUT, after=("pairs",))
    world.ddm.unreadable.update({Did("data", "in.0"), Did("data", "in.3")})
    request = await submit(world, work, pairs, late)
    await live(world)
    assert await counts(world, request, "pairs") == {DONE: 3}
    world.ddm.unreadable.clear()
    await world.retry(request)
    await live(world)
    assert await ends(world, request) == [Status.FINISHED]
    assert await counts(world, request, "pairs") == {DONE: 5}
    # A work that only waited for another has finished, and is not done again.
    assert sorted(world.provider.started.values()) == [1] * len(world.provider.started)
    async with world.database.snapshot() as tx:
        transform = next(t for t in await tx.transforms.of_request(request) if t.work == "late")
        rows = (
            await tx.connection.execute(select(processings.c.attempt).where(processings.c.transform_id == transform.id))
        ).all()
    assert [row.attempt for row in rows] == [1]
    await is_settled(world)


@pytest.mark.parametrize("order", [Intent.CANCEL, Intent.FINISH])
@pytest.mark.parametrize("rounds", [1, 2, 4, 7, 12])
async def test_after_an_order_to_end_it_goes_on_where_it_stood(world: World, order: Intent, rounds: int) -> None:
    work = files_work(world, "in", 9, largest=400)
    pairs = Work(name="pairs", input=Input(outputs="in", batch=2), payload=PAYLOAD, output=OUT)
    study = Work(
        name="scan", input=Input(samples=Samples(space=SPACE, sampler="random", count=9), window=WindowLimits(files=4))
    )
    request = await submit(world, work, pairs, study)
    for _ in range(2):
        await live(world, rounds, pause=1_000_000)
        await _evaluate(world, request, 1)
        with suppress(Conflict):
            await world.submission.order(OWNER, request, order)
        await live(world)
        await is_over(world, request)
        if await ends(world, request) != [Status.FINISHED]:
            await world.retry(request)
    for _ in range(12):
        await live(world, 8)
        await _evaluate(world, request, 9)
    assert await ends(world, request) == [Status.FINISHED]
    assert await counts(world, request, "in") == {DONE: 9}
    assert await counts(world, request, "pairs") == {DONE: 9}
    assert await counts(world, request, "scan") == {DONE: 9}
    samples = await contents_of(world, request, "scan")
    assert sorted(content.name for content in samples) == [f"sample-{n:08d}" for n in range(9)]
    await is_settled(world)


async def is_over(world: World, request: RequestId) -> None:
    for delivered in await _leased(world, request):
        await _report(world, delivered)
    await live(world, 5)
    assert (await shown(world, request)).status.is_terminal


async def _leased(world: World, request: RequestId) -> list[Delivered]:
    return [
        d
        for c in await contents_of(world, request, "scan")
        if c.status is ContentStatus.LEASED
        for d in [Delivered(c, None)]
    ]


async def _evaluate(world: World, request: RequestId, number: int) -> None:
    """Somebody outside takes samples and reports them."""
    async with world.database.snapshot() as tx:
        transforms = {t.id: t.work for t in await tx.transforms.of_request(request)}
        of = [c for c in await tx.collections.of_request(request) if transforms[c.transform_id] == "scan"]
    if of:
        for delivered in await world.delivery.lease(OWNER, of[0].id, count=number, ttl=10**12, lessee="me"):
            await _report(world, delivered)


async def _report(world: World, delivered: Delivered) -> None:
    content = delivered.content
    outcome = Outcome(content.id, content.attempt, done=True, objective_values=(1.0,))
    await world.delivery.report(OWNER, content.collection_id, [outcome])


async def test_samples_that_failed_are_tried_again_within_their_window(world: World) -> None:
    study = Work(
        name="scan", input=Input(samples=Samples(space=SPACE, sampler="random", count=10), window=WindowLimits(files=3))
    )
    request = await submit(world, study)
    for done in (False, True):
        seen = 0
        for _ in range(20):
            await live(world, 3)
            collection = CollectionId((await contents_of(world, request, "scan"))[0].collection_id)
            leased = await world.delivery.lease(OWNER, collection, count=100, ttl=10**9, lessee="me")
            assert len(leased) <= 3
            seen += len(leased)
            outcomes = [
                Outcome(d.content.id, d.content.attempt, done=done, reason="no", retry=False, objective_values=(1.0,))
                for d in leased
            ]
            if outcomes:
                await world.delivery.report(OWNER, collection, outcomes)
        assert seen == 10
        assert await ends(world, request) == [Status.FINISHED if done else Status.FAILED]
        parameters = {c.id: c.payload for c in await contents_of(world, request, "scan")}
        if not done:
            first = parameters
            await world.retry(request)
    assert parameters == first
    await is_settled(world)


async def test_samples_of_a_batch_are_tried_again_together(world: World) -> None:
    source = Input(samples=Samples(space=SPACE, sampler="random", count=8), batch=4, window=WindowLimits(files=4))
    request = await submit(world, Work(name="scan", input=source, payload=PAYLOAD, output=OUT, attempts=1))
    world.provider.spoiled = 0.5
    await live(world)
    world.provider.spoiled = 0.0
    failed = (await counts(world, request, "scan"))[FAILED]
    assert failed
    await world.retry(request)
    await live(world)
    assert await ends(world, request) == [Status.FINISHED]
    assert max(world.provider.counted.values()) == 1
    await is_settled(world)


async def test_a_dataset_that_was_not_there_is_listed(world: World) -> None:
    request = await submit(world, Work(name="in", input=Input(dataset="data:later"), payload=PAYLOAD, output=OUT))
    await live(world)
    assert await ends(world, request) == [Status.FAILED]
    world.ddm.add_dataset(Did("data", "later"), [File(Did("data", "one"), 10)])
    await world.retry(request)
    await live(world)
    assert await ends(world, request) == [Status.FINISHED]
    assert await counts(world, request, "in") == {DONE: 1}
    await is_settled(world)


async def test_many_contents_are_tried_again_some_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "RETRIED_AT_ONCE", 3)
    work = replace(files_work(world, "in", 11, largest=10), input=Input(dataset="data:in", batch=2))
    world.ddm.unreadable.update({Did("data", f"in.{n}") for n in range(10)})
    request = await submit(world, work)
    await live(world)
    assert await counts(world, request, "in") == {DONE: 1, FAILED: 10}
    world.ddm.unreadable.clear()
    await world.retry(request)
    await live(world)
    assert await ends(world, request) == [Status.FINISHED]
    async with world.database.snapshot() as tx:
        found = await tx.processings.of_request(request)
    # No group was cut: one attempt each.
    assert sorted(world.provider.started.values()) == [1] * 6 == [1] * len(found)
    await is_settled(world)


async def test_a_retry_may_be_repeated_and_says_when_there_is_nothing_to_retry(world: World) -> None:
    request = await submit(world, files_work(world, "in", 2))
    with pytest.raises(Conflict, match="nothing to retry"):
        await world.submission.retry(OWNER, request)
    await world.submission.order(OWNER, request, Intent.SUSPEND)
    with pytest.raises(Conflict, match="resume it"):
        await world.submission.retry(OWNER, request)
    await world.submission.order(OWNER, request, Intent.CANCEL)
    await live(world)
    first = await world.submission.retry(OWNER, request)
    assert await world.submission.retry(OWNER, request) == first
    await live(world)
    assert await ends(world, request) == [Status.FINISHED]
    with pytest.raises(Conflict, match="it finished"):
        await world.submission.retry(OWNER, request)
    with pytest.raises(NotFound):
        await world.submission.retry(Principal("mallory", "atlas"), request)


async def test_what_still_runs_is_waited_for(world: World) -> None:
    """Its listing breaks while jobs run: they are let to their end before it is retried."""
    request = await submit(world, files_work(world, "in", 2))
    async with world.database.transaction("test") as tx:
        before = await tx.requests.get(request)
        assert before is not None
        await tx.requests.save(before, replace(before, status=Status.FAILED), "test")
        await tx.transforms.add(request, ["in"])
        (transform,) = await tx.transforms.of_request(request)
        tx.transforms.count_processings(transform.id, 1)
    with pytest.raises(Conflict, match="1 of its processings have not ended yet"):
        await world.submission.retry(OWNER, request)


async def test_a_cancel_that_was_ordered_before_is_not_for_the_next_attempt(world: World) -> None:
    request = await submit(world, files_work(world, "in", 1))
    await live(world, 12)
    async with world.database.snapshot() as tx:
        (processing,) = await tx.processings.of_request(request)
    async with world.database.transaction("test") as tx:
        values = {
            "kind": "cancel",
            "entity": f"processing:{processing.id}",
            "attempt": 0,
            "payload": {"processing": processing.id},
        }
        await tx.connection.execute(effects.insert().values(due_at=0, created_at=0, request_id=request, **values))
    await live(world)
    assert await ends(world, request) == [Status.FINISHED]


async def test_a_request_expires_gives_all_back_and_can_be_retried(world: World) -> None:
    terms = Terms(lifetime=100_000_000)
    workflow = Workflow(
        name="it",
        works=(files_work(world, "in", 9, largest=400), Work(name="after", after=("in",), payload=PAYLOAD, output=OUT)),
    )
    request, _ = await world.submission.submit(OWNER, workflow, terms)
    assert request.expires_at == world.clock.now() + 100_000_000
    await live(world, 8, pause=1_000_000)
    async with world.database.snapshot() as tx:
        assert await tx.requests.next_expiry() == request.expires_at
    world.clock.advance(100_000_000)
    await live(world, 20, pause=1_000_000)
    ended = await shown(world, request.id)
    assert ended.status is Status.EXPIRED
    assert ended.reason == "its time was over before all was done"
    assert (await left(world), await reserved(world)) == ([], 0)
    async with world.database.snapshot() as tx:
        assert await tx.requests.next_expiry() is None
        transforms = await tx.transforms.of_request(request.id)
        told = [row.topic for row in await tx.connection.execute(select(messages.c.topic))]
    assert [t.status for t in transforms] == [Status.EXPIRED, Status.CANCELLED]
    assert "idds/atlas/requests/expired" in told
    with pytest.raises(Conflict, match="retry it"):
        await world.submission.extend(OWNER, request.id, 1)
    await world.retry(request.id)
    assert (await shown(world, request.id)).expires_at is None
    await live(world)
    assert await ends(world, request.id) == [Status.FINISHED]
    await is_settled(world)

"""Requests and what belongs to them: who sees them, when they are due; processings, collections, samples, tokens."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from idds.domain.content import NewContent, Outcome
from idds.domain.identifiers import Handle, RequestId
from idds.domain.processing import Processing
from idds.domain.request import Principal, Role, Terms
from idds.domain.space import When
from idds.domain.statuses import ContentStatus, Intent, Relation, SourceKind, Status
from idds.domain.workflow import Input, Output, Parameter, Payload, Resources, Samples, WindowLimits, Work, Workflow
from idds.engine.retry import FIRST_DELAY
from idds.engine.transitions import ContentEvent
from idds.ports.sampler import Suggestion
from idds.ports.wakeups import Channel
from idds.store.listings import Listings
from idds.store.requests import RequestFilter
from tests.contract.store_world import ALICE, WORK, World

BOB = Principal("bob", "atlas")
EVE = Principal("alice", "cms")
OPERATOR = Principal("operator", "atlas", Role.OPERATOR)
EVERYTHING = (
    Work(
        name="full",
        input=Input(dataset="a:b", rse="DISK", window=WindowLimits(bytes=5, files=6), batch="all"),
        payload=Payload(argv=("run", "-x"), environment={"A": "b"}),
        output=Output(dataset="a:c", rse="DISK"),
        resources=Resources(cores=2, memory_bytes=10**9, walltime_s=60),
        provider="local",
        attempts=7,
    ),
    Work(
        name="study",
        after=("full",),
        input=Input(
            samples=Samples(
                space={
                    "x": Parameter(type="float", low=0.1, high=1.5, log=True),
                    "kind": Parameter(type="categorical", choices=("a", 1, 2.5, True)),
                    "y": Parameter(type="int", low=0, high=8, step=2, when=When(parameter="kind", values=("a", 1))),
                },
                fixed={"z": True},
                constraints=("x < 1.0",),
                directions=("minimize", "maximize"),
                initial=({"x": 0.5},),
                options={"startup": 3},
                count=10,
                seed=2**53,
            ),
            batch=2,
        ),
    ),
    Work(name="merge", input=Input(outputs="full"), payload=Payload(argv=("merge",))),
)


async def take_due(world: World, limit: int = 10) -> list[RequestId]:
    async with world.transaction() as tx:
        return sorted(request.id for request in await tx.requests.take_due(limit))


async def test_a_workflow_comes_back_as_it_was_submitted(world: World) -> None:
    request = await world.submit(*EVERYTHING)
    assert await world.request(request.id) == request
    assert request.workflow.works == EVERYTHING


async def test_a_key_brings_one_request_for_its_owner(world: World) -> None:
    one, two = await world.submit(key="k"), await world.submit(key="k", principal=BOB)
    three = await world.submit(key="k", principal=EVE)
    assert len({one.id, two.id, three.id}) == 3
    assert (await world.submit()).id != (await world.submit()).id
    async with world.transaction() as tx:
        found = await tx.requests.by_key(BOB, "k")
        assert found is not None
        assert found[0] == two
        assert await tx.requests.by_key(BOB, "other") is None


async def test_who_sees_which_requests(world: World) -> None:
    mine = await world.submit()
    theirs = await world.submit(principal=BOB)
    elsewhere = await world.submit(principal=EVE)
    seen = {}
    for who in (ALICE, BOB, EVE, OPERATOR):
        async with world.transaction() as tx:
            listed = {request.id for request in await tx.requests.list(who, limit=10)}
            ids = (mine.id, theirs.id, elsewhere.id)
            assert listed == {one for one in ids if await tx.requests.get(one, who) is not None}
            seen[who] = listed
    assert seen == {
        ALICE: {mine.id},
        BOB: {theirs.id},
        EVE: {elsewhere.id},
        OPERATOR: {mine.id, theirs.id, elsewhere.id},
    }


async def test_who_sees_which_collections(world: World) -> None:
    collection = await world.collection()
    async with world.transaction() as tx:
        seen = [await tx.collections.get(collection.id, who) is not None for who in (ALICE, BOB, EVE, OPERATOR)]
    assert seen == [True, False, False, True]


async def test_requests_are_listed_newest_first_page_by_page(world: World) -> None:
    ids = [(await world.submit()).id for _ in range(5)]
    async with world.transaction() as tx:
        page = await tx.requests.list(ALICE, limit=2)
        assert [request.id for request in page] == [ids[4], ids[3]]
        new = RequestFilter(frozenset({Status.NEW}))
        page = await tx.requests.list(ALICE, new, before=ids[3], limit=9)
        assert [request.id for request in page] == [ids[2], ids[1], ids[0]]
        assert await tx.requests.list(ALICE, RequestFilter(frozenset({Status.FINISHED})), limit=9) == []


async def test_requests_are_listed_by_what_they_are(world: World) -> None:
    """Of several statuses, of an owner, of a share, by the beginning of the name: to the letter."""
    names = ["data", "data%", "data_1", "Data", "datb", "d", "däta", "data\U0010ffff"]
    ids = []
    for number, name in enumerate(names):
        async with world.transaction() as tx:
            workflow = Workflow(name=name, works=(WORK,))
            made = await tx.requests.add(workflow, (ALICE, BOB)[number % 2], Terms(share=f"s{number % 3}"))
            assert made is not None
            status = (Status.RUNNING, Status.FAILED, Status.NEW, Status.FINISHED)[number % 4]
            await tx.requests.save(made, replace(made, status=status), "test")
            ids.append(made.id)

    async def listed(limit: int = 99, before: int | None = None, **wanted: Any) -> list[int]:
        async with world.transaction() as tx:
            found = await tx.requests.list(OPERATOR, RequestFilter(**wanted), before=before, limit=limit)
        assert [request.id for request in found] == sorted((request.id for request in found), reverse=True)
        return [ids.index(request.id) for request in reversed(found)]

    assert await listed(statuses=frozenset({Status.FAILED, Status.NEW})) == [1, 2, 5, 6]
    assert await listed(statuses=frozenset({Status.FAILED, Status.NEW}), limit=2) == [5, 6]
    assert await listed(statuses=frozenset({Status.FAILED, Status.NEW}), limit=9, before=ids[5]) == [1, 2]
    assert await listed(statuses=frozenset(Status)) == list(range(8))
    assert await listed(owner="bob") == [1, 3, 5, 7]
    assert await listed(owner="bob", statuses=frozenset({Status.FAILED})) == [1, 5]
    assert await listed(share="s1") == [1, 4, 7]
    assert await listed(name="data") == [0, 1, 2, 7]
    assert await listed(name="data%") == [1]
    assert await listed(name="data_") == [2]
    assert await listed(name="dä") == [6]
    assert await listed(name="") == list(range(8))
    assert await listed(owner="nobody") == []


async def test_what_is_due_is_taken_once_and_again_when_it_is_marked(world: World) -> None:
    ids = [(await world.submit()).id for _ in range(3)]
    assert await take_due(world, 2) == ids[:2]
    assert await take_due(world) == ids[2:]
    async with world.transaction() as tx:
        assert await tx.requests.next_due() is None
        tx.requests.mark_due(ids[:1])
        tx.requests.mark_due([])
    assert await take_due(world) == ids[:1]


async def test_what_is_marked_while_it_is_advanced_stays_due(world: World) -> None:
    request = await world.submit()
    async with world.transaction() as tx:
        await tx.requests.take_due(1)
        tx.requests.mark_due([request.id])
    assert await take_due(world) == [request.id]


async def test_a_mark_makes_what_is_due_later_due_now_and_leaves_what_is_due_already(world: World) -> None:
    first, second = await world.submit(), await world.submit()
    async with world.transaction() as tx:
        await tx.requests.take_due(9)
        await tx.requests.count_failure(first.id)
        assert await tx.requests.next_due() == world.now + FIRST_DELAY
    assert await take_due(world) == []
    async with world.transaction() as tx:
        tx.requests.mark_due([first.id, second.id])
    marked = world.now
    world.clock.advance(5)
    async with world.transaction() as tx:
        tx.requests.mark_due([second.id])
        assert await tx.requests.next_due() == marked
    assert await take_due(world) == [first.id, second.id]


async def test_failures_are_counted_until_it_is_advanced(world: World) -> None:
    request = await world.submit()
    for tries in (1, 2):
        async with world.transaction() as tx:
            assert await tx.requests.count_failure(request.id) == tries
    world.clock.advance(10 * FIRST_DELAY)
    assert await take_due(world) == [request.id]
    async with world.transaction() as tx:
        assert await tx.requests.count_failure(request.id) == 1


async def test_a_failed_advance_leaves_it_due(world: World) -> None:
    request = await world.submit()
    with pytest.raises(KeyError):
        await broken_advance(world)
    assert await take_due(world) == [request.id]


async def broken_advance(world: World) -> None:
    async with world.transaction() as tx:
        await tx.requests.take_due(1)
        raise KeyError("poison")


async def test_two_transactions_never_hold_the_same_request(postgres_world: World) -> None:
    world = postgres_world
    ids = [(await world.submit()).id for _ in range(4)]
    async with world.transaction() as one:
        first = [request.id for request in await one.requests.take_due(2)]
        async with world.transaction() as two:
            second = [request.id for request in await two.requests.take_due(9)]
    assert sorted(first) == ids[:2]
    assert sorted(second) == ids[2:]


async def test_many_at_once_take_each_request_once(postgres_world: World) -> None:
    world = postgres_world
    ids = [(await world.submit()).id for _ in range(40)]

    async def worker() -> list[RequestId]:
        taken: list[RequestId] = []
        for _ in range(10):
            taken += await take_due(world, 3)
        return taken

    taken = [request for one in await asyncio.gather(*(worker() for _ in range(6))) for request in one]
    assert sorted(taken) == ids


async def test_what_happened_to_a_request_is_told_in_order(world: World) -> None:
    before = await world.submit()
    after = replace(before, status=Status.FAILED, reason="because")
    async with world.transaction("agent") as tx:
        await tx.requests.save(before, before, "nothing")
        await tx.requests.save(before, after, "broke")
        tx.moves.record("rse:DISK", "landed", ("staging", "present"), request=None, ids=[3, 4])
        (move,) = await tx.moves.of_request(before.id)
        assert (move.entity, move.event, move.from_status, move.to_status) == (
            f"request:{before.id}",
            "broke",
            "new",
            "failed",
        )
        assert (move.agent, move.reason, move.at, move.n, move.ids) == ("agent", "because", world.now, 1, ())
        assert await tx.moves.of_request(before.id, after=move.id) == []
        assert [move.ids for move in await tx.moves.of(["rse:DISK"])] == [(3, 4)]
    assert await world.request(before.id) == replace(after, changed_at=world.now)


class Woken:
    def __init__(self) -> None:
        self.channels: list[Channel] = []

    def wake(self, channel: Channel) -> None:
        self.channels.append(channel)


async def test_who_waits_is_woken_after_the_commit_and_only_then(world: World) -> None:
    woken = Woken()
    world.database._wakeups = woken  # type: ignore[assignment]
    request = await world.submit()
    assert woken.channels == [Channel.REQUESTS]
    with pytest.raises(KeyError):
        await broken_advance(world)
    async with world.transaction() as tx:
        tx.requests.mark_due([request.id])
        assert woken.channels == [Channel.REQUESTS]
    assert woken.channels == [Channel.REQUESTS] * 2


async def a_processing(world: World, number: int = 1) -> list[Processing]:
    request = await world.submit()
    transform = await world.transform(request)
    async with world.transaction() as tx:
        made = await tx.processings.add(request.id, transform, "local", range(number))
        return await tx.processings.get(list(made.values()))


async def submitted(world: World, processings: list[Processing], poll_at: int | None = None) -> list[Processing]:
    async with world.transaction() as tx:
        for processing in processings:
            after = replace(processing, status=Status.READY, handle=Handle(f"h{processing.id}"))
            due = world.now if poll_at is None else poll_at
            assert await tx.processings.save(processing, after, "submitted", poll_at=due)
        return await tx.processings.get([processing.id for processing in processings])


async def test_a_processing_is_saved_unless_it_has_moved_on(world: World) -> None:
    (before,) = await a_processing(world)
    after = replace(
        before,
        status=Status.FAILED,
        exit_code=3,
        usage={"cpu_s": 1.5},
        reason="because",
        ended_at=world.now,
        done=4,
        failed=2,
    )
    async with world.transaction() as tx:
        assert await tx.processings.save(before, after, "ended")
        assert not await tx.processings.save(before, replace(before, status=Status.READY), "late")
        assert await tx.processings.get([before.id]) == [after]
        moves = await tx.moves.of([f"processing:{before.id}"])
    assert [(move.event, move.to_status, move.reason) for move in moves] == [
        ("made", "new", None),
        ("ended", "failed", "because"),
    ]


async def test_an_order_that_came_meanwhile_is_not_overwritten(world: World) -> None:
    (before,) = await submitted(world, await a_processing(world))
    async with world.transaction() as tx:
        await tx.processings.order([before.id], Intent.CANCEL)
    async with world.transaction() as tx:
        assert await tx.processings.save(before, replace(before, status=Status.RUNNING), "running")
        (after,) = await tx.processings.get([before.id])
    assert (after.status, after.intent) == (Status.RUNNING, Intent.CANCEL)


async def test_an_order_is_noted_of_what_has_not_ended(world: World) -> None:
    one, two = await a_processing(world, 2)
    async with world.transaction() as tx:
        await tx.processings.save(one, replace(one, status=Status.FAILED), "ended")
        await tx.processings.order([one.id, two.id], Intent.CANCEL)
        assert [p.intent for p in await tx.processings.get([one.id, two.id])] == [Intent.RUN, Intent.CANCEL]
        assert [p.id for p in await tx.processings.open_of(one.transform_id)] == [two.id]
        assert [p.id for p in await tx.processings.of_request(one.request_id, after=one.id)] == [two.id]


async def claim(world: World, hinted: tuple[str, ...] = (), limit: int = 10) -> list[tuple[Processing, int]]:
    async with world.transaction() as tx:
        handles = list(map(Handle, hinted))
        return await tx.processings.claim_to_poll("local", handles, owner="me", lease=1000, limit=limit)


async def test_what_is_under_way_is_polled_by_one_at_a_time(world: World) -> None:
    new, *rest = await a_processing(world, 4)
    one, two, three = await submitted(world, rest)
    assert [p.id for p, _ in await claim(world, limit=2)] == [one.id, two.id]
    assert [p.id for p, _ in await claim(world)] == [three.id]
    assert await claim(world) == []
    async with world.transaction() as tx:
        other = await tx.processings.claim_to_poll("other", [], owner="me", lease=1000, limit=9)
        assert other == []
        assert await tx.processings.next_poll("local") == world.now + 1000
    world.clock.advance(1000)
    claimed = await claim(world)
    assert [(p.id, epoch) for p, epoch in claimed] == [(one.id, 2), (two.id, 2), (three.id, 2)]
    assert new.status is Status.NEW


async def test_a_hint_goes_before_the_time_to_poll(world: World) -> None:
    one, two = await submitted(world, await a_processing(world, 2), poll_at=world.now + 500)
    assert await claim(world) == []
    assert [p.id for p, _ in await claim(world, (f"h{two.id}", "unknown"))] == [two.id]
    world.clock.advance(500)
    assert [p.id for p, _ in await claim(world)] == [one.id]


async def test_a_claim_that_was_taken_over_is_not_given_back(world: World) -> None:
    await submitted(world, await a_processing(world))
    stale = await claim(world)
    world.clock.advance(1000)
    fresh = await claim(world)
    async with world.transaction() as tx:
        await tx.processings.poll_again(stale, 0)
    assert await claim(world) == []
    async with world.transaction() as tx:
        await tx.processings.poll_again(fresh, 7)
    world.clock.advance(7)
    assert len(await claim(world)) == 1


async def test_open_processings_are_counted(world: World) -> None:
    request = await world.submit()
    transform = await world.transform(request)
    async with world.transaction() as tx:
        tx.transforms.count_processings(transform, 5)
        tx.transforms.count_processings(transform, -2)
        (found,) = await tx.transforms.of_request(request.id)
        assert found.open_processings == 3
        tx.transforms.count_processings(transform, -3)
    async with world.transaction() as tx:
        one = await tx.transforms.get(transform)
    assert one is not None
    assert one.open_processings == 0


async def test_a_collection_is_closed_once_and_feeds_only_what_is_open(world: World) -> None:
    request = await world.submit(*EVERYTHING)
    first, second = await world.transform(request, "full"), await world.transform(request, "merge")
    async with world.transaction() as tx:
        outputs = await tx.collections.add(request.id, first, Relation.OUTPUT, rse="DISK")
        source = (SourceKind.OUTPUTS, outputs)
        fed = await tx.collections.add(request.id, second, Relation.INPUT, source=source, batch=0)
        assert [collection.id for collection in await tx.collections.fed_by(outputs)] == [fed]
        assert [collection.id for collection in await tx.collections.outputs_of([first, second])] == [outputs]
        address = (await tx.collections.addresses([fed]))[fed]
        assert (address.request_id, address.transform_id, address.work, address.vo, address.source) == (
            request.id,
            second,
            "merge",
            "atlas",
            SourceKind.OUTPUTS,
        )
    collection = await world.fresh(fed)
    async with world.transaction() as tx:
        assert await tx.collections.close(collection)
        assert not await tx.collections.close(collection)
        assert await tx.collections.fed_by(outputs) == []


async def test_results_of_samples_are_kept(world: World) -> None:
    study = await world.collection(source=SourceKind.SAMPLES)
    new = [NewContent(f"sample-{no}", no, payload={"parameters": {"x": no}}) for no in range(3)]
    async with world.transaction() as tx:
        move = await tx.contents.register(study, new, ContentEvent.LANDED)
        ids = [content.id for content in await tx.contents.get(move.ids)]
        await tx.samples.add(study.id, [(content, Suggestion(n, {})) for n, content in enumerate(ids)])
        done = [Outcome(ids[1], 1, done=True, objective_values=(0.5, 2.0)), Outcome(ids[2], 1, done=True)]
        tx.samples.note_results(done)
        await tx.flush()
        page = await Listings(tx).page(study, status=ContentStatus.AVAILABLE, after=0, limit=10)
    told = [(each.id, json.loads(each.parameters or ""), json.loads(each.objective_values or "null")) for each in page]
    assert told == [(ids[0], {"x": 0}, None), (ids[1], {"x": 1}, [0.5, 2.0]), (ids[2], {"x": 2}, None)]

"""One thing that is broken for good: it comes to its end, or waits alone, and everything else goes on."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from random import Random

import pytest
from sqlalchemy import select, text

from idds.domain.errors import InvalidInput, Unavailable, UnknownDid
from idds.domain.files import File, FilePage, Upload
from idds.domain.identifiers import CollectionId, Did, Handle, RequestId
from idds.domain.job import JobSpec
from idds.domain.request import Principal, Request
from idds.domain.statuses import Intent, ReplicaStatus, Status
from idds.domain.workflow import Input, Output, Parameter, Payload, Samples, WindowLimits, Work, Workflow
from idds.engine.retry import TRIES
from idds.engine.transitions import ReplicaEvent
from idds.ports.ddm import NotNow, Refused, Staging
from idds.ports.wakeups import Channel
from idds.runtime.looper import Agent, Duty, Looper
from idds.runtime.settings import read_settings
from idds.runtime.wakeups import LocalWakeups
from idds.services.access import Access
from idds.services.execution import AWAY_PAUSE
from idds.services.flow import Flow
from idds.services.forgetting import Forgetting
from idds.services.planning import Planning
from idds.services.publishing import Publishing
from idds.services.standing import Rules
from idds.services.surveying import SETTLED
from idds.store.database import Database
from idds.store.effects import Fenced
from idds.store.schema import contents, effects, replicas, windows
from idds.store.upgrade import upgrade
from idds.testing.clock import ManualClock
from idds.testing.memory_bus import MemoryBus
from tests.integration.simulation.world import DISK, OWNER, World

PAYLOAD = Payload(argv=("/do",))


@asynccontextmanager
async def world_at(url: str) -> AsyncIterator[World]:
    clock = ManualClock()
    database = Database(url, clock=clock)
    try:
        await upgrade(database)
        world = World(database, clock, Random(1), 0.0)
        world.provider.failing = world.provider.losing = world.provider.spoiled = 0.0
        await world.start()
        yield world
    finally:
        await database.close()


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """A world without faults but those that a test makes; on SQLite, then on PostgreSQL."""
    async with world_at(database_url) as world:
        yield world


async def submit(world: World, *works: Work, name: str = "it") -> RequestId:
    request, _ = await world.submission.submit(OWNER, Workflow(name=name, works=works))
    return request.id


async def shown(world: World, request: RequestId) -> Request:
    async with world.database.snapshot() as tx:
        found = await tx.requests.get(request)
    assert found is not None
    return found


async def live(world: World, rounds: int = 60, *, pause: int = 30_000_000) -> None:
    """Every duty in turn, again and again; one that breaks is called again in the next round."""
    for _ in range(rounds):
        for duty in world.duties:
            with suppress(Fenced, Unavailable, RuntimeError, KeyError):
                await duty()
        world.ddm.tick()
        world.provider.tick()
        world.clock.advance(pause)


async def ends(world: World, *requests: RequestId) -> list[Status]:
    return [(await shown(world, request)).status for request in requests]


async def left(world: World) -> list[tuple[str, str]]:
    """Effects that are not done."""
    async with world.database.snapshot() as tx:
        return [(row.kind, row.entity) for row in await tx.connection.execute(select(effects.c.kind, effects.c.entity))]


async def reserved(world: World) -> int:
    async with world.database.snapshot() as tx:
        query = select(windows.c.reserved_bytes).where(windows.c.kind == "rse", windows.c.ref == DISK)
        return int((await tx.connection.execute(query)).scalar_one())


def files_work(world: World, name: str, files: int = 4, *, largest: int = 200) -> Work:
    source = Input(dataset=world.dataset(name, files, largest), batch=1, window=WindowLimits())
    output = Output(dataset=f"data:{name}.out")
    return Work(name=name, input=source, payload=PAYLOAD, output=output)


def breaking(original: Callable[..., Awaitable[object]], is_bad: Callable[[object], bool]) -> Callable[..., object]:
    """`original`, but it raises what no port allows where any of what it is given is bad."""

    async def broken(*arguments: object, **named: object) -> object:
        for argument in arguments:
            many = argument if isinstance(argument, Sequence) and not isinstance(argument, str) else (argument,)
            if any(is_bad(one) for one in many):
                raise RuntimeError("a defect of the adapter")
        return await original(*arguments, **named)

    return broken


async def test_a_file_that_breaks_the_recall_fails_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    work = files_work(world, "odd", 5)
    bad = Did("data", "odd.2")
    stage = breaking(world.ddm.stage, lambda one: isinstance(one, File) and one.did == bad)
    monkeypatch.setattr(world.ddm, "stage", stage)
    odd, plain = await submit(world, work), await submit(world, files_work(world, "plain"))
    await live(world)
    assert await ends(world, odd, plain) == [Status.SUBFINISHED, Status.FINISHED]
    assert (await left(world), await reserved(world)) == ([], 0)
    await world.check()


async def test_a_dataset_that_breaks_the_listing_ends_its_request(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = files_work(world, "odd")
    list_files = breaking(world.ddm.list_files, lambda one: one == Did("data", "odd"))
    monkeypatch.setattr(world.ddm, "list_files", list_files)
    odd, plain = await submit(world, work), await submit(world, files_work(world, "plain"))
    await live(world)
    assert await ends(world, odd, plain) == [Status.FAILED, Status.FINISHED]
    assert await left(world) == []


async def test_a_job_that_breaks_the_submission_fails_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_bad(one: object) -> bool:
        return isinstance(one, JobSpec) and one.payload.argv == ("/odd",)

    monkeypatch.setattr(world.provider, "submit", breaking(world.provider.submit, is_bad))
    odd = await submit(world, Work(name="odd", payload=Payload(argv=("/odd",))))
    plain = await submit(world, Work(name="plain", payload=PAYLOAD, output=Output(dataset="data:plain.out")))
    await live(world)
    assert await ends(world, odd, plain) == [Status.FAILED, Status.FINISHED]
    assert await left(world) == []


async def test_a_job_whose_outputs_break_the_upload_fails_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_bad(one: object) -> bool:
        return isinstance(one, Upload) and "odd" in one.did.name

    monkeypatch.setattr(world.ddm, "upload", breaking(world.ddm.upload, is_bad))
    odd = await submit(world, Work(name="odd", payload=PAYLOAD, output=Output(dataset="data:odd.out")))
    plain = await submit(world, Work(name="plain", payload=PAYLOAD, output=Output(dataset="data:plain.out")))
    await live(world)
    assert await ends(world, odd, plain) == [Status.FAILED, Status.FINISHED]


async def test_a_job_whose_outputs_cannot_be_taken_for_now_waits_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, away = world.ddm.upload, True

    async def upload(rse: str, dataset: Did, uploads: Sequence[Upload]) -> list[str | Refused]:
        if away and "odd" in dataset.name:
            raise Unavailable("this disk is full")
        return await original(rse, dataset, uploads)

    monkeypatch.setattr(world.ddm, "upload", upload)
    odd = await submit(world, Work(name="odd", payload=PAYLOAD, output=Output(dataset="data:odd.out")))
    plain = await submit(world, Work(name="plain", payload=PAYLOAD, output=Output(dataset="data:plain.out")))
    await live(world)
    assert await ends(world, odd, plain) == [Status.RUNNING, Status.FINISHED]
    away = False
    await live(world)
    assert await ends(world, odd) == [Status.FINISHED]


async def test_a_result_with_text_that_no_database_takes_harms_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = world.provider.result

    async def result(handle: Handle) -> bytes | None:
        found = await original(handle)
        return None if found is None else found.replace(b'"done", "reason": null', b'"failed", "reason": "a\\u0000b"')

    monkeypatch.setattr(world.provider, "result", result)
    odd = await submit(world, files_work(world, "odd", 1))
    await live(world)
    assert await ends(world, odd) == [Status.FAILED]
    assert await reserved(world) == 0


async def test_a_cancel_reaches_its_provider_though_another_one_is_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = await submit(world, Work(name="plain", payload=PAYLOAD, output=Output(dataset="data:plain.out")))
    await live(world, 1)
    async with world.database.transaction("test") as tx:
        await tx.connection.execute(
            effects.insert().values(
                kind="cancel", entity="processing:0", attempt=0, payload={"processing": 0}, due_at=0, created_at=0
            )
        )
    await world.submission.order(OWNER, request, Intent.CANCEL)
    await live(world)
    assert await ends(world, request) == [Status.CANCELLED]
    assert await left(world) == []


@pytest.mark.parametrize("wrong", [-7_200_000_000, 7_200_000_000])
async def test_time_is_the_databases_where_a_machine_has_another(world: World, wrong: int) -> None:
    """The machine's clock is two hours off: leases end when they end, and nobody looks all the time before."""
    world.clock.advance(time.time_ns() // 1000 + wrong - world.clock.now())
    space = {"x": Parameter(type="float", low=0.0, high=1.0)}
    await submit(world, Work(name="scan", input=Input(samples=Samples(space=space, sampler="random", count=1))))
    await live(world, 2, pause=0)
    (leased,) = await world.delivery.lease(OWNER, CollectionId(1), count=1, ttl=1_000_000, lessee="it")
    steps = Counter[str]()

    async def step() -> int:
        steps["taken"] += 1
        return await world.delivery.end_leases()

    async def due_in() -> int | None:
        steps["asked"] += 1
        return await world.delivery.lease_ends_in()

    looper = Looper(LocalWakeups())
    duty = Duty("leases", Channel.LEASES, step, 1000, due_in, fallback_s=0.01)
    running = asyncio.create_task(looper.run([Agent("transformer", [duty])]))
    async with asyncio.timeout(20):
        while steps["asked"] < 5:
            await asyncio.sleep(0)
        assert steps["taken"] == 1
        world.clock.advance(1_000_000)
        while await status_of(world, leased.content.id) != "available":
            await asyncio.sleep(0.01)
    looper.stop()
    await running


async def status_of(world: World, content: int) -> str:
    async with world.database.snapshot() as tx:
        query = select(contents.c.status).where(contents.c.id == content)
        return str((await tx.connection.execute(query)).scalar_one())


async def until(world: World, holds: Callable[[], Awaitable[bool]], *skipped: str) -> None:
    """Live on until it holds, without the duties of these names."""
    for _ in range(60):
        for duty in world.duties:
            if not await holds() and getattr(duty, "__name__", "") not in skipped:
                await duty()
        if await holds():
            return
        world.ddm.tick()
        world.provider.tick()
        world.clock.advance(1_000_000)
    raise AssertionError("it does not come to that")


async def standing(world: World, status: ReplicaStatus) -> bool:
    async with world.database.snapshot() as tx:
        return bool(await tx.connection.execute(select(replicas.c.id).where(replicas.c.status == status)))


async def test_a_replica_of_somebody_else_that_vanishes_is_recalled_within_the_window(world: World) -> None:
    work = files_work(world, "shared", 1)
    (file,) = world.ddm.files(Did("data", "shared"))
    world.ddm.put(DISK, file.did)
    request = await submit(world, work)
    await until(world, lambda: standing(world, ReplicaStatus.STAGING), "<lambda>")
    world.ddm.take(DISK, file.did)
    for _ in range(20):
        await live(world, 1)
        await world.check()
    assert await ends(world, request) == [Status.FINISHED]
    assert (await left(world), await reserved(world), world.ddm.replicas(DISK)) == ([], 0, set())


async def test_a_replica_that_somebody_else_keeps_gives_back_its_bytes(world: World) -> None:
    """We had it staged; before we let it go, others made a rule of their own on it, or uploaded it."""
    request = await submit(world, files_work(world, "kept", 1))
    await until(world, lambda: standing(world, ReplicaStatus.PRESENT))
    (file,) = world.ddm.files(Did("data", "kept"))
    world.ddm.put(DISK, file.did)
    await live(world, 20)
    assert await ends(world, request) == [Status.FINISHED]
    assert (await left(world), await reserved(world)) == ([], 0)
    assert not await standing(world, ReplicaStatus.DELETING)


async def test_a_processing_spends_no_attempt_while_its_file_is_away(world: World) -> None:
    """The first one fails; then the file vanishes, and is on its way again for long."""
    work = replace(files_work(world, "away", 1), attempts=2)
    world.provider.failing = 1.0
    request = await submit(world, work)

    async def attempts(number: int) -> bool:
        async with world.database.snapshot() as tx:
            query = select(effects.c.id).where(effects.c.kind == "submit", effects.c.attempt == number)
            return (await tx.connection.execute(query)).first() is not None

    await until(world, lambda: attempts(1))
    world.provider.failing = 0.0
    (file,) = world.ddm.files(Did("data", "away"))
    world.ddm.take(DISK, file.did)
    world.clock.advance(SETTLED)
    async with world.database.transaction("test") as tx:
        await tx.hints.add([(DISK, file.did)], deleted={(DISK, file.did)})
    await until(world, lambda: standing(world, ReplicaStatus.ADMITTED), "stage", "submit")
    for _ in range(10):
        world.clock.advance(AWAY_PAUSE)
        await world.submitting()
    assert await attempts(1), "it waits"
    await until(world, lambda: standing(world, ReplicaStatus.PRESENT))
    await live(world, 20)
    assert await ends(world, request) == [Status.FINISHED]
    assert (await left(world), await reserved(world)) == ([], 0)


async def test_an_output_that_is_being_recalled_is_there_for_who_waits_for_it(world: World) -> None:
    """An upload's outcome was lost; its file is in the catalogue, wanted by another request, and uploaded again."""
    world.ddm.add_dataset(Did("data", "again"), [File(Did("data", "out.000001.000000.1.out.txt"), 3)])
    made = Work(name="made", payload=PAYLOAD, output=Output(dataset="data:out", rse=DISK))
    taken = Work(name="taken", input=Input(dataset="data:again"), payload=PAYLOAD, output=Output(dataset="data:x"))
    first = await submit(world, made)
    await live(world, 1, pause=0)
    second = await submit(world, taken)
    await until(world, lambda: standing(world, ReplicaStatus.ADMITTED), "stage")
    await until(world, lambda: standing(world, ReplicaStatus.PRESENT), "stage")
    await world.check()
    await live(world, 20)
    assert await ends(world, first, second) == [Status.FINISHED, Status.FINISHED]
    assert (await left(world), await reserved(world)) == ([], 0)


async def test_a_recall_that_is_forgotten_while_nothing_can_be_ordered_is_ordered_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = await submit(world, files_work(world, "lost", 1))
    await until(world, lambda: standing(world, ReplicaStatus.STAGING), "<lambda>")
    (file,) = world.ddm.files(Did("data", "lost"))
    world.ddm.take(DISK, file.did)
    original = world.ddm.stage

    async def stage(
        _rse: str, _files: Sequence[File], *, source: str | None = None
    ) -> list[Staging | NotNow | Refused]:
        raise Unavailable("nothing is taken for now")

    monkeypatch.setattr(world.ddm, "stage", stage)
    await live(world, 10)
    assert len(await left(world)) == 1
    monkeypatch.setattr(world.ddm, "stage", original)
    await live(world, 30)
    assert await ends(world, request) == [Status.FINISHED]


async def test_what_comes_back_after_the_end_is_not_kept_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is leased, the dataset vanishes while it is listed, and then the consumer dies."""
    dataset = world.dataset("some", 3)
    original = world.ddm.list_files
    answers: list[Exception] = [Unavailable("for now"), UnknownDid("it was erased")]

    async def list_files(did: Did, *, after: str | None, limit: int) -> FilePage:
        if after is not None:
            raise answers[0]
        return replace(await original(did, after=after, limit=limit), next="3")

    monkeypatch.setattr(world.ddm, "list_files", list_files)
    request = await submit(world, Work(name="read", input=Input(dataset=dataset)))
    await until(world, lambda: standing(world, ReplicaStatus.PRESENT))
    leased = await world.delivery.lease(OWNER, CollectionId(1), count=1, ttl=10**12, lessee="it")
    assert len(leased) == 1
    answers.pop(0)
    await live(world, 20)
    assert await ends(world, request) == [Status.FAILED]
    assert await reserved(world) > 0
    world.clock.advance(10**12)
    await live(world, 20)
    assert await status_of(world, leased[0].content.id) == "cancelled"
    assert (await left(world), await reserved(world)) == ([], 0)


async def test_what_was_suspended_goes_on_at_once(world: World) -> None:
    request = await submit(world, Work(name="plain", payload=PAYLOAD, output=Output(dataset="data:plain.out")))
    progress, submitting = world.duties[0], next(d for d in world.duties if getattr(d, "__name__", "") == "submit")
    await progress()
    await world.submission.order(OWNER, request, Intent.SUSPEND)
    await submitting()
    world.clock.advance(5_000_000)
    assert await submitting() == 0
    await world.submission.order(OWNER, request, Intent.RUN)
    assert await submitting() == 1
    assert world.provider.started == {"p1-a1": 1}


async def test_a_window_declared_later_counts_what_was_admitted_before(world: World) -> None:
    async with world.database.transaction("test") as tx:
        await tx.connection.execute(windows.delete())
    request = await submit(world, files_work(world, "early", 3))
    await until(world, lambda: standing(world, ReplicaStatus.STAGING))
    await world.start()
    await world.check()
    await live(world)
    assert await ends(world, request) == [Status.FINISHED]
    assert await reserved(world) == 0


@pytest.mark.parametrize("code", ["40P01", "53100", "57P01", "55P03"])
async def test_what_postgresql_cannot_do_for_now_is_no_defect(postgres_url: str, code: str) -> None:
    database = Database(postgres_url)
    try:
        with pytest.raises(Unavailable):
            async with database.transaction("test") as tx:
                await tx.connection.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$"))
    finally:
        await database.close()


def test_settings_that_cannot_be_do_not_show_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDDS_STORE__URI", "postgresql://idds:secret@here/idds")
    monkeypatch.setenv("IDDS_LOG__LEVEL", "secret")
    with pytest.raises(InvalidInput) as raised:
        read_settings(None)
    assert "secret" not in str(raised.value)


async def test_what_is_old_is_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.provider, "failing", 1.0)
    request = await submit(world, Work(name="plain", payload=PAYLOAD, output=Output(dataset="data:x"), attempts=2))
    await live(world, 20, pause=1_000_000)
    assert await ends(world, request) == [Status.FAILED]
    keys = ["p1-a1", "p1-a2"]
    assert set(await world.provider.find(keys)) == set(keys)
    forgetting = Forgetting(world.database, {"local": world.provider})
    async with world.database.transaction("test") as tx:
        assert await tx.messages.take_in("atlas/one")
        await tx.messages.mark_sent(request, 1)
    day = 86_400_000_000
    assert (await forgetting.jobs("local", day), await forgetting.messages(day, unsent=False)) == (0, 0)
    world.clock.advance(day + 1)
    assert (await forgetting.jobs("local", day), await forgetting.jobs("local", day)) == (1, 0)
    assert await world.provider.find(keys) == {}
    assert await forgetting.messages(day, unsent=False) == 2
    async with world.database.snapshot() as tx:
        waiting = [message.seq for message in await tx.messages.of_request(request, after=0, limit=10)]
    assert waiting[0] == 2
    assert await forgetting.messages(day, unsent=True) == len(waiting)


async def test_tokens_and_what_was_ordered_are_forgotten_each_in_its_time(world: World) -> None:
    forgetting = Forgetting(world.database, {})
    access = Access(world.database)
    alice = Principal("alice", "atlas")
    await access.issue(alice, lifetime=1)
    await access.issue(alice)
    day = 86_400_000_000
    world.clock.advance(day + 1)
    assert await forgetting.access(day, 2 * day) == 0
    world.clock.advance(1)
    assert await forgetting.access(day, 2 * day) == 1
    assert len(await access.tokens(alice)) == 1
    assert await forgetting.access(day, day) == 2
    assert await access.audit() == []


async def test_room_that_comes_back_while_it_is_planned_is_not_missed(postgres_url: str) -> None:
    """A plan made before the room is given back does not see it: who gives it back wakes the planner after that."""
    async with world_at(postgres_url) as world:
        first = await submit(world, files_work(world, "first", 1, largest=1))
        await until(world, lambda: standing(world, ReplicaStatus.DELETING))
        async with world.database.transaction("test") as tx:
            await tx.windows.declare("rse", DISK, limit_bytes=1, limit_files=None)
            (gone,) = await tx.replicas.in_motion()
        second = await submit(world, files_work(world, "second", 1, largest=1))
        progress, listing, planning = world.duties[0], world.duties[3], Planning(world.database, Rules())
        await progress()
        await listing()
        async with world.database.transaction("carrier") as tx:
            await tx.replicas.give_back(await tx.replicas.move(ReplicaEvent.DELETED, DISK, [gone.id]))
            assert await planning.step() == 0
            assert Channel.PLANNING in tx.woken
        assert await planning.step() == 1
        await live(world, 20)
        assert await ends(world, first, second) == [Status.FINISHED, Status.FINISHED]


async def test_a_request_that_breaks_gives_back_what_it_holds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    request = await submit(world, files_work(world, "odd", 6))
    await until(world, lambda: standing(world, ReplicaStatus.PRESENT))
    await live(world, 1, pause=0)
    original, tried = Flow.advance, []

    async def advance(flow: Flow) -> None:
        if flow._request.id == request:
            tried.append(request)
            raise RuntimeError("a defect of the service")
        await original(flow)

    monkeypatch.setattr(Flow, "advance", advance)
    async with world.database.transaction("test") as tx:
        tx.requests.mark_due([request])
    plain = await submit(world, files_work(world, "plain"))
    await live(world)
    assert await ends(world, request, plain) == [Status.FAILED, Status.FINISHED]
    assert (await left(world), await reserved(world), world.ddm.replicas(DISK)) == ([], 0, set())
    assert len(tried) <= 2 * TRIES, "it is tried for ever"
    await world.check()


async def test_large_messages_are_published_a_few_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    request = await submit(world, Work(name="plain", payload=PAYLOAD))
    async with world.database.transaction("test") as tx:
        tx.messages.add(request, [("idds/atlas/x", {"number": n, "text": "x" * 300_000}) for n in range(45)])
    bus, numbers = MemoryBus(), list[int]()

    async def publish(messages: Sequence[tuple[str, bytes]]) -> None:
        numbers.extend(json.loads(body)["number"] for _, body in messages)

    monkeypatch.setattr(bus, "publish", publish)
    publishing = Publishing(world.database, bus, "one")
    taken = [await publishing.step() for _ in range(4)]
    assert taken == [20, 20, 5, 0]
    assert numbers == list(range(45))

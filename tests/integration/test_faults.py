"""One thing that is broken for good: it comes to its end, or waits alone, and everything else goes on."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from random import Random

import pytest
from sqlalchemy import select

from idds.domain.errors import Unavailable
from idds.domain.files import File, Upload
from idds.domain.identifiers import CollectionId, Did, Handle, RequestId
from idds.domain.job import JobSpec
from idds.domain.request import Request
from idds.domain.statuses import Intent, Status
from idds.domain.workflow import Input, Output, Parameter, Payload, Samples, WindowLimits, Work, Workflow
from idds.ports.ddm import Refused
from idds.ports.wakeups import Channel
from idds.runtime.looper import Agent, Duty, Looper
from idds.runtime.wakeups import LocalWakeups
from idds.store.database import Database
from idds.store.effects import Fenced
from idds.store.schema import contents, effects, windows
from idds.store.upgrade import upgrade
from idds.testing.clock import ManualClock
from tests.integration.simulation.world import DISK, OWNER, World

PAYLOAD = Payload(argv=("/do",))


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """A world without faults but those that a test makes; on SQLite, then on PostgreSQL."""
    clock = ManualClock()
    database = Database(database_url, clock=clock)
    try:
        await upgrade(database)
        world = World(database, clock, Random(1), 0.0)
        world.provider.failing = world.provider.losing = world.provider.spoiled = 0.0
        await world.start()
        yield world
    finally:
        await database.close()


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


def files_work(world: World, name: str, files: int = 4) -> Work:
    source = Input(dataset=world.dataset(name, files), batch=1, window=WindowLimits())
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
    await submit(world, Work(name="scan", input=Input(samples=Samples(space=space, count=1))))
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

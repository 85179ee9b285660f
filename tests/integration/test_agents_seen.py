"""Processes with agents tell of themselves."""

import asyncio
import os
import socket
from pathlib import Path

from idds.cli.serve import serving
from idds.domain.effect import NewEffect
from idds.domain.statuses import EffectKind
from idds.ports.wakeups import Channel
from idds.runtime.looper import Agent, Duty, Looper
from idds.runtime.presence import KEPT, present
from idds.runtime.settings import ApiSettings, BusSettings, read_settings
from idds.runtime.wakeups import LocalWakeups
from idds.sdk.client import Client
from idds.services.orders import LEASE
from idds.store.database import Database
from idds.store.upgrade import upgrade
from tests.contract.store_world import world_of
from tests.integration.api import api_on


async def test_a_process_is_shown_while_it_runs(database_url: str) -> None:
    steps: list[int] = []

    async def fails() -> int:
        steps.append(1)
        raise ValueError("a secret of the inside")

    async def works() -> int:
        return 0

    async with api_on(database_url) as api:
        looper = Looper(LocalWakeups(), api.doors.tallies)
        agent = Agent("tester", [Duty("failing", Channel.AGE, fails, 1), Duty("working", Channel.AGE, works, 1)])
        running = asyncio.create_task(looper.run(present([agent], api.database, "me-1", api.doors.tallies)))
        async with asyncio.timeout(30):
            while not (found := (await api.get("/v1/agents"))["agents"]) or not steps:
                await asyncio.sleep(0.01)
        looper.stop()
        await running
        [process] = found
        assert {name: process[name] for name in ("owner", "names", "host", "pid")} == {
            "owner": "me-1",
            "names": ["tester"],
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        assert [(duty["agent"], duty["name"]) for duty in process["duties"]] == [
            ("tester", "failing"),
            ("tester", "working"),
            ("presence", "telling"),
            ("presence", "missing others"),
        ]
        # Its next word says how the duties fared; it runs on in the row of the first.
        await present([agent], api.database, "me-1", api.doors.tallies)[-1].duties[0].step()
        [later] = (await api.get("/v1/agents"))["agents"]
        assert later["started_at"] == process["started_at"]
        failing, working, *_ = later["duties"]
        assert (failing["steps"], failing["failures"], failing["last_error"]) == (1, 1, "ValueError")
        assert (working["failures"], working["last_error"]) == (0, None)
        assert working["stepped_at"] > 0


async def test_who_is_long_gone_is_forgotten(database_url: str) -> None:
    async with world_of(database_url) as world:

        async def tell(owner: str) -> list[str]:
            duty = present([Agent("a", [])], world.database, owner, [])[-1].duties[0]
            await duty.step()
            async with world.database.snapshot() as tx:
                return [process.owner for process in await tx.agents.all()]

        assert await tell("one") == ["one"]
        world.clock.advance(KEPT)
        assert await tell("two") == ["one", "two"]
        world.clock.advance(1)
        assert await tell("two") == ["two"]
        async with world.transaction() as tx:
            await tx.agents.remove("two")
            assert await tx.agents.all() == []


async def test_what_a_process_had_claimed_is_free_when_its_connections_are_gone(bare_postgres_url: str) -> None:
    """As PostgreSQL sees it when a process is killed."""
    one = "one of a host with a name that is longer than what the database keeps of a connection's"
    dying = Database(bare_postgres_url, name=one)
    await upgrade(dying)
    living = Database(bare_postgres_url, name="two")
    watch = present([], living, "two", [])[-1].duties[1]

    async def free() -> int:
        async with living.transaction("test") as tx:
            return len(await tx.effects.claim(EffectKind.STAGE, owner="two", lease=LEASE, limit=10))

    try:
        for database, owner in ((dying, one), (living, "two")):
            await present([], database, owner, [])[-1].duties[0].step()
        async with dying.transaction("test") as tx:
            tx.effects.add([NewEffect(EffectKind.STAGE, "replica:1", 0, {})], None)
            assert len(await tx.effects.claim(EffectKind.STAGE, owner=one, lease=LEASE, limit=10)) == 1
        for _ in range(3):
            await watch.step()
        assert await free() == 0, "it is there still"
        await dying.close()
        async with asyncio.timeout(30):
            while not await free():
                await watch.step()
    finally:
        await dying.close()
        await living.close()


async def test_a_service_tells_of_its_agents_until_it_stops(tmp_path: Path) -> None:
    settings = read_settings(None, state=tmp_path, api=ApiSettings(port=0), bus=BusSettings(kind="none"))
    async with serving(settings) as service, Client(service.url, token_file=service.token_file) as client:
        async with asyncio.timeout(30):
            while not (found := await client.agents()):
                await asyncio.sleep(0.01)
        assert [process.names for process in found] == [("transformer", "carrier", "conductor")]
        database = service.wired.database
        async with database.snapshot() as tx:
            assert [process.owner for process in await tx.agents.all()] == [service.wired.owner]
    async with serving(settings, with_agents=False) as service, service.wired.database.snapshot() as tx:
        assert await tx.agents.all() == []

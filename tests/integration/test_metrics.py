"""What the service tells Prometheus: read by Prometheus' own parser, compared with what was done."""

import asyncio
from typing import Any

import pytest
from aiohttp import ClientConnectorError, ClientSession
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from idds.domain.errors import Unavailable
from idds.domain.request import HOUSE, Role
from idds.domain.statuses import EffectKind, ReplicaStatus
from idds.ports.wakeups import Channel
from idds.runtime.looper import Agent, Duty, Looper
from idds.runtime.metrics import Metrics
from idds.runtime.metrics_port import exposed
from idds.runtime.presence import present
from idds.runtime.settings import MetricsSettings
from idds.runtime.wakeups import LocalWakeups
from idds.services.metering import Metering
from idds.store.database import Database
from idds.store.metering import read_levels
from idds.store.schema import collections, contents, effects, replicas, requests, samples
from idds.store.upgrade import upgrade
from idds.testing.clock import ManualClock
from tests.integration.api import Api, api_on
from tests.integration.large_store import (
    AVAILABLE,
    DONE,
    HELD,
    LEASED,
    LIVE,
    NOW,
    PINNED,
    RSE,
    UNADMITTED,
    fill,
)
from tests.integration.listening import listening
from tests.integration.test_plans import faults, hot
from tests.servers.loopback import free_port

OURS = {"ours": True}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Told:
    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __call__(self, name: str, **labels: str) -> float:
        return self._samples[name, frozenset(labels.items())]

    def names(self) -> set[str]:
        return {name for name, _ in self._samples}


async def scraped(api: Api) -> Told:
    token = await api.new_token("prometheus", HOUSE, role=Role.READER)
    answer = await api.call("GET", "/metrics", token=token)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return Told(parse(answer.document.decode()))


def fresh(api: Api) -> None:
    """Each look is a new one."""
    api.doors.metering._memory_s = 0


async def test_what_waits_is_counted(database_url: str) -> None:
    async with api_on(database_url) as api:
        fresh(api)
        collection = await api.input_of(await api.submit())
        lease = {"lessee": "me", "count": 1, "ttl_s": 1000}
        await api.post(f"/v1/collections/{collection}/contents:lease", lease)
        async with api.database.transaction("test") as tx:
            await tx.connection.execute(update(contents).values(changed_at=tx.now - 7_000_000))
            await tx.connection.execute(update(requests).values(due_at=tx.now - 3_000_000))
            await tx.windows.declare("rse", "DISK", limit_bytes=1000, limit_files=None)
            await tx.connection.execute(
                replicas.insert(),
                [
                    {
                        "rse": "DISK",
                        "scope": "s",
                        "name": f"{n}",
                        "bytes": 10,
                        "ours": True,
                        "changed_at": 1,
                        "status": s,
                    }
                    for n, s in enumerate([ReplicaStatus.PRESENT] * 3 + [ReplicaStatus.STAGING, ReplicaStatus.GONE])
                ],
            )
            await tx.connection.execute(
                effects.insert(),
                [
                    {
                        "kind": EffectKind.STAGE,
                        "entity": f"{n}",
                        "attempt": 1,
                        "payload": {},
                        "due_at": tx.now + due * 10**6,
                        "created_at": tx.now - age * 10**6,
                        "error": error,
                    }
                    for n, (due, age, error) in enumerate([(-1, 50, None), (-1, 20, "x"), (60, 90, "y")])
                ],
            )
        told = await scraped(api)
        assert told("idds_database_up") == 1
        assert told("idds_requests", status="running") == 1
        assert told("idds_requests_due") == 1
        assert 3 <= told("idds_requests_due_seconds") < 60
        assert (told("idds_contents", status="available"), told("idds_contents", status="leased")) == (3, 1)
        assert 7 <= told("idds_contents_first_seconds", status="available") < 60
        assert told("idds_contents_first_seconds", status="new") == 0
        assert (told("idds_samples", origin="sampler"), told("idds_samples", origin="fallback")) == (4, 0)
        assert told("idds_leases_ended") == 0
        assert (
            told("idds_replicas", rse="DISK", status="present"),
            told("idds_replica_bytes", rse="DISK", status="present"),
        ) == (3, 30)
        assert told("idds_replicas", rse="DISK", status="staging") == 1
        assert ("idds_replicas", frozenset({("rse", "DISK"), ("status", "gone")})) not in told._samples
        assert (
            told("idds_effects", kind="stage", state="due"),
            told("idds_effects", kind="stage", state="waiting"),
        ) == (2, 1)
        assert told("idds_effects_failing", kind="stage") == 2
        assert 50 <= told("idds_effects_oldest_seconds", kind="stage", state="due") < 80
        assert told("idds_messages_unsent") == len(await unsent(api)) > 0
        assert (told("idds_window_limit_bytes", rse="DISK"), told("idds_window_reserved_bytes", rse="DISK")) == (
            1000,
            0,
        )
        assert "idds_window_limit_files" not in told.names()
        async with api.database.transaction("test") as tx:
            await tx.connection.execute(update(contents).where(contents.c.lessee == "me").values(lease_until=1))
            await tx.connection.execute(update(samples).where(samples.c.number == 1).values(origin="fallback"))
        told = await scraped(api)
        assert told("idds_leases_ended") == 1
        assert (told("idds_samples", origin="sampler"), told("idds_samples", origin="fallback")) == (3, 1)


async def unsent(api: Api) -> Any:
    async with api.database.snapshot() as tx:
        return await tx.messages.unsent(1, 100)


async def test_what_this_process_does_is_counted(sqlite_url: str) -> None:
    async def works() -> int:
        return 0 if api.doors.tallies[0].did else 3

    async def fails() -> int:
        raise Unavailable("away")

    async with api_on(sqlite_url) as api:
        fresh(api)
        looper = Looper(LocalWakeups(), api.doors.tallies)
        team = [Agent("a", [Duty("works", Channel.AGE, works, 10), Duty("fails", Channel.AGE, fails, 1)])]
        running = asyncio.create_task(looper.run(present(team, api.database, "me", api.doors.tallies)))
        async with asyncio.timeout(30):
            while not (await api.get("/v1/agents"))["agents"] or not all(tally.steps for tally in api.doors.tallies):
                await asyncio.sleep(0.01)
        looper.stop()
        await running
        await api.call("GET", "/nowhere")
        async with listening(api) as stream:
            await api.submit()
            await stream.take(1)
            told = await scraped(api)
        works_, fails_ = {"agent": "a", "duty": "works"}, {"agent": "a", "duty": "fails"}
        assert told("idds_duty_done_total", **works_) == 3
        assert told("idds_duty_step_seconds_count", **works_) >= 1
        assert told("idds_duty_step_seconds_sum", **works_) > 0
        assert (told("idds_duty_failures_total", **works_), told("idds_duty_failures_total", **fails_)) == (0, 1)
        assert told("idds_agents", agent="a") == 1
        assert 0 <= told("idds_agents_seen_seconds", agent="a") < 60
        assert told("idds_http_request_seconds_count", route="submitRequest", status="201") == 1
        assert told("idds_http_request_seconds_count", route="none", status="404") == 1
        assert told("idds_http_requests_in_progress") == 2
        assert (told("idds_event_streams"), told("idds_event_streams_opened_total")) == (1, 1)
        assert told("idds_events_told_total") >= 1
        assert not any("listen" in str(labels) for _, labels in told._samples)


async def test_what_the_process_does_is_told_without_a_database(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_self: Metering) -> None:
        raise Unavailable("away")

    async with api_on(sqlite_url) as api:
        monkeypatch.setattr(Metering, "levels", away)
        told = await scraped(api)
        assert told("idds_database_up") == 0
        assert "idds_requests_due" not in told.names()
        assert told("process_resident_memory_bytes") > 0


async def test_a_process_without_an_api_has_a_port_for_them(sqlite_url: str) -> None:
    port = free_port()
    async with api_on(sqlite_url) as api, ClientSession() as session:
        metrics, url = Metrics(api.doors.metering, api.doors.tallies), f"http://127.0.0.1:{port}/metrics"
        async with exposed(metrics, MetricsSettings(port=port)), session.get(url) as response:
            assert Told(parse(await response.text()))("idds_database_up") == 1
        async with exposed(metrics, MetricsSettings()):
            with pytest.raises(ClientConnectorError):
                await session.get(url)


async def test_the_database_is_asked_once_however_many_ask(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    async def counted(tx: Any) -> Any:
        asked.append(1)
        return await read_levels(tx)

    monkeypatch.setattr("idds.services.metering.read_levels", counted)
    async with api_on(sqlite_url) as api:
        now = [0.0]
        metering = Metering(api.database, 3.0, lambda: now[0])
        await asyncio.gather(*(metering.levels() for _ in range(10)))
        assert len(asked) == 1
        now[0] = 2.9
        await metering.levels()
        assert len(asked) == 1
        now[0] = 3.0
        await metering.levels()
        assert len(asked) == 2


async def test_levels_cost_what_is_there_now(database_url: str) -> None:
    """In a store in which most has happened already: what is counted is right, and found by indexes."""
    database = Database(database_url, clock=ManualClock(NOW + DONE + 100))
    try:
        await upgrade(database)
        await fill(database)
        counted = {"n_new": PINNED + UNADMITTED, "n_available": AVAILABLE, "n_leased": LEASED + HELD}
        async with database.transaction("test") as tx:
            live = collections.c.unadmitted > 0
            await tx.connection.execute(update(collections).where(live).values(counted))
        async with database.snapshot() as tx:
            levels = await read_levels(tx)
        assert {level.state: level.number for level in levels.contents} == {
            "new": LIVE * (PINNED + UNADMITTED),
            "unadmitted": LIVE * UNADMITTED,
            "available": LIVE * AVAILABLE,
            "leased": LIVE * (LEASED + HELD),
        }
        assert {(level.kind, level.state): level.number for level in levels.processings} == {
            ("local", "running"): LIVE * HELD // 10
        }
        assert levels.leases_ended == LIVE * 100
        assert {level.state for level in levels.replicas} == {"present", "staging", "deleting"}
        assert {level.kind for level in levels.replicas} == {RSE}
        found = await faults(database, [hot("levels", read_levels, *INDEXES)])
        # Of effects there are none that are done, of agents only those that run; of samples there are none.
        few = ("effects by a scan", "agents by a scan", "samples by a scan")
        found = [each for each in found if not any(scan in each for scan in few)]
        assert not found, "\n".join(found)
    finally:
        await database.close()


INDEXES = (
    "ix_requests_status_id",
    "ix_requests_due",
    "ix_collections_request_id",
    "ix_contents_new",
    "ix_contents_available",
    "ix_contents_lease",
    "ix_processings_open",
    "ix_samples_origin",
    "ix_replicas_here",
    "ix_messages_unsent",
    "ix_effects_kind_due_at",
    "uq_windows_kind_ref",
    "sqlite_autoindex_windows_1",
)

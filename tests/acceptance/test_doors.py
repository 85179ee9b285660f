"""The doors as a stranger finds them: curl, the command line and the client, against `idds serve` on a fresh folder."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from idds.sdk.client import Client
from tests.acceptance.service import PATIENCE_S, Running, service
from tests.acceptance.stranger import IDDS, Stranger
from tests.hostile.wire import call, wire
from tests.servers.issuer import AUDIENCE, Issuer
from tests.servers.mosquitto import MosquittoServer

MANY = 10_000
OPEN = {"name": "grow", "works": [{"name": "grow", "input": {"registered": {}}}]}
ISSUER = """
[access.issuers.iam]
url = "{url}"
audiences = ["{audience}"]
vo = "atlas"
grants = [{{group = "/atlas/production", role = "user"}}]
"""
APART = """
state = "{folder}/state"
log.level = "warning"
store.url = "{database}"
bus.kind = "mqtt"
bus.options.url = "{broker}"
ddm.plugin = "posix"
ddm.options.root = "{folder}/rses"
ddm.options.rses.DISK.kind = "disk"
"""
Sample = tuple[str, tuple[tuple[str, str], ...]]
LINES = "Content-Type: application/x-ndjson"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    async with service(tmp_path / "state") as running:
        yield running


@pytest.fixture
def operator(running: Running, tmp_path: Path) -> Stranger:
    return Stranger(running.url, running.token, tmp_path / "operator")


async def friend(operator: Stranger, running: Running, folder: Path, **token: Any) -> Stranger:
    """Somebody whom the operator gave a token."""
    made = await operator.post("/v1/tokens", token)
    return Stranger(running.url, made["token"], folder)


async def collection_of(stranger: Stranger, request: int) -> int:
    """The first collection of a request, as soon as it is there."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := (await stranger.get(f"/v1/requests/{request}"))["collections"]):
            await asyncio.sleep(0.05)
    collection: int = found[0]["id"]
    return collection


async def test_a_manager_fills_a_collection_that_two_consumers_empty(
    running: Running, operator: Stranger, tmp_path: Path
) -> None:
    await _fill_and_empty(running, operator, tmp_path)


async def test_the_same_with_agents_of_their_own(
    tmp_path: Path, bare_postgres_url: str, mosquitto: MosquittoServer
) -> None:
    settings = tmp_path / "idds.toml"
    settings.write_text(APART.format(folder=tmp_path, database=bare_postgres_url, broker=mosquitto.url))
    upgrade = await asyncio.create_subprocess_exec(IDDS, "db", "upgrade", "--settings", str(settings))
    assert await upgrade.wait() == 0
    async with service(tmp_path / "state", "--settings", str(settings), "--no-agents") as running:
        names = ("transformer", "carrier", "conductor")
        command = (sys.executable, "-m")
        agents = [await asyncio.create_subprocess_exec(*command, f"agents.{name}", str(settings)) for name in names]
        try:
            await _fill_and_empty(running, Stranger(running.url, running.token, tmp_path / "operator"), tmp_path)
        finally:
            for agent in agents:
                agent.terminate()
            async with asyncio.timeout(PATIENCE_S):
                codes = [await agent.wait() for agent in agents]
        assert codes == [0, 0, 0]


async def _fill_and_empty(running: Running, operator: Stranger, tmp_path: Path) -> None:
    manager = await friend(operator, running, tmp_path / "manager", role="wfms", vo="atlas", owner="panda")
    request = (await manager.post("/v1/requests", {"workflow": OPEN}))["id"]
    collection = await collection_of(manager, request)
    payload = (await manager.post(f"/v1/collections/{collection}:token"))["token"]
    lines = tmp_path / "lines"
    lines.write_text("".join(f'{{"name": "point-{n}", "parameters": {{"x": {n}}}}}\n' for n in range(MANY)))
    async with manager.listening(f"/v1/requests/{request}/events", "-H", "Last-Event-ID: 0") as events:
        consumers = [asyncio.create_task(_consume(running.url, payload, collection)) for _ in range(2)]
        told = await manager.curl(f"/v1/collections/{collection}/contents", "-H", LINES, "--data-binary", f"@{lines}")
        assert json.loads(told) == {"registered": MANY, "known": 0}
        again = await manager.curl(f"/v1/collections/{collection}/contents", "-H", LINES, "--data-binary", f"@{lines}")
        assert json.loads(again) == {"registered": 0, "known": MANY}
        assert (await manager.post(f"/v1/collections/{collection}:close"))["is_closed"]
        async with asyncio.timeout(PATIENCE_S):
            seen = [name for names in await asyncio.gather(*consumers) for name in names]
            out, _ = await events.communicate()
    assert sorted(seen) == sorted(f"point-{n}" for n in range(MANY)), "each once"
    assert events.returncode == 0, "the stream ended by itself"
    assert out.decode().rstrip().endswith("event: end\ndata: {}")
    assert (await manager.get(f"/v1/requests/{request}"))["status"] == "finished"
    told_moves = [json.loads(line[6:]) for line in out.decode().splitlines() if line.startswith('data: {"id"')]
    pages = await manager.get(f"/v1/requests/{request}/history?limit=1000")
    assert [move["id"] for move in told_moves] == [move["id"] for move in pages["moves"]], (
        "nothing missed, nothing twice"
    )
    await _check_metrics(operator)


async def _consume(url: str, token: str, collection: int) -> list[str]:
    names, ended = [], False
    async with Client(url, token) as client:
        while not ended:
            lease = await client.lease(collection, count=300, wait_s=10)
            ended = lease.ended
            receipts = await client.report(collection, [content.done() for content in lease.contents])
            assert {receipt.verdict for receipt in receipts} <= {"accepted"}
            names += [content.name for content in lease.contents]
    return names


async def _check_metrics(operator: Stranger) -> None:
    """They agree with what was done: nothing waits any more, as soon as they are counted anew."""
    expected: dict[Sample, float] = {
        ("idds_http_request_seconds_count", (("route", "submitRequest"), ("status", "201"))): 1,
        ("idds_http_request_seconds_count", (("route", "registerContents"), ("status", "200"))): 2,
        ("idds_http_request_seconds_count", (("route", "closeCollection"), ("status", "200"))): 1,
        ("idds_event_streams_opened_total", ()): 1,
        ("idds_event_streams_dropped_total", ()): 0,
        ("idds_contents", (("status", "available"),)): 0,
        ("idds_contents", (("status", "leased"),)): 0,
        ("idds_leases_ended", ()): 0,
        ("idds_messages_unsent", ()): 0,
        ("idds_database_up", ()): 1,
    }
    async with asyncio.timeout(PATIENCE_S):
        while {key: (found := await _samples(operator)).get(key) for key in expected} != expected:
            await asyncio.sleep(0.5)
    assert ("idds_requests", (("status", "running"),)) not in found


async def _samples(operator: Stranger) -> dict[Sample, float]:
    families = list(text_string_to_metric_families(await operator.curl("/metrics", "--fail-with-body")))
    assert all(family.documentation for family in families)
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value for family in families for each in family.samples
    }


async def test_a_reader_sees_and_changes_nothing(running: Running, operator: Stranger, tmp_path: Path) -> None:
    user = await friend(operator, running, tmp_path / "user", role="user", owner="alice", vo="atlas")
    request = (await user.post("/v1/requests", {"workflow": OPEN}))["id"]
    collection = await collection_of(user, request)
    reader = await friend(operator, running, tmp_path / "reader", role="reader", owner="bob", vo="atlas")
    elsewhere = await friend(operator, running, tmp_path / "elsewhere", role="reader", owner="bob", vo="cms")
    for path in (f"/v1/requests/{request}", f"/v1/requests/{request}/why", f"/v1/collections/{collection}/contents"):
        assert await reader.status(path) == 200
        assert await elsewhere.status(path) == 404
    for path in (
        *("/v1/requests", f"/v1/requests/{request}:cancel", f"/v1/collections/{collection}:close", "/v1/tokens"),
        *(f"/v1/collections/{collection}/contents", f"/v1/collections/{collection}/contents:lease"),
    ):
        assert await reader.status(path, "-X", "POST", "-H", "Content-Type: application/json", "-d", "{}") == 403, path
    assert await reader.status("/v1/audit") == 403
    code, _ = await reader.idds("cancel", str(request))
    assert code == 4
    code, out = await reader.idds("list", "--json")
    assert (code, [json.loads(line)["id"] for line in out.splitlines()]) == (0, [request])
    assert (await user.get(f"/v1/requests/{request}"))["intent"] == "run"


async def test_what_has_not_changed_is_not_sent_again(running: Running, operator: Stranger, tmp_path: Path) -> None:
    request = (await operator.post("/v1/requests", {"workflow": OPEN}))["id"]
    collection = await collection_of(operator, request)
    path, etag = f"/v1/requests/{request}", str(tmp_path / "etag")
    assert await operator.status(path, "--etag-save", etag) == 200
    assert await operator.status(path, "--etag-compare", etag) == 304
    await operator.post(f"/v1/collections/{collection}/contents", {"contents": [{"name": "one"}]})
    assert await operator.status(path, "--etag-compare", etag) == 200


async def test_a_failure_is_retried_from_the_command_line(running: Running, operator: Stranger, tmp_path: Path) -> None:
    flag, document = tmp_path / "flag", tmp_path / "flow.json"
    work = {"name": "look", "payload": {"argv": ["/usr/bin/test", "-e", str(flag)]}, "attempts": 1}
    document.write_text(json.dumps({"name": "flow", "works": [work]}))
    code, out = await operator.idds("submit", str(document), "--json")
    assert code == 0
    request = str(json.loads(out)["id"])
    code, _ = await operator.idds("watch", request)
    assert code == 1
    assert (await operator.get(f"/v1/requests/{request}"))["status"] == "failed"
    flag.touch()
    code, _ = await operator.idds("retry", request)
    assert code == 0
    code, _ = await operator.idds("watch", request)
    assert code == 0
    assert (await operator.get(f"/v1/requests/{request}"))["status"] == "finished"
    actions = [entry["action"] for entry in (await operator.get(f"/v1/audit?entity=request:{request}"))["entries"]]
    assert actions == ["submit", "retry"]


async def test_a_token_that_is_revoked_ends_its_client(running: Running, operator: Stranger, tmp_path: Path) -> None:
    made = await operator.post("/v1/tokens", {"role": "user", "owner": "alice", "vo": "atlas"})
    alice = Stranger(running.url, made["token"], tmp_path / "alice")
    request = (await alice.post("/v1/requests", {"workflow": OPEN}))["id"]
    async with alice.listening("/v1/events?after=0") as events:
        assert events.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while not (await events.stdout.readline()).startswith(b"id: "):
                pass
        await operator.post(f"/v1/tokens/{made['id']}:revoke")
        async with asyncio.timeout(PATIENCE_S):
            while await events.stdout.readline():
                pass
    assert await alice.status(f"/v1/requests/{request}") == 401
    code, _ = await alice.idds("show", str(request))
    assert code == 4
    [shown] = (await operator.get("/v1/tokens?owner=alice"))["tokens"]
    assert shown["revoked_at"]


async def test_a_token_of_an_identity_provider_is_taken(tmp_path: Path) -> None:
    async with Issuer().running() as issuer:
        settings = tmp_path / "idds.toml"
        settings.write_text(ISSUER.format(url=issuer.url, audience=AUDIENCE))
        async with service(tmp_path / "state", "--settings", str(settings)) as running:
            alice = Stranger(running.url, issuer.sign(), tmp_path / "alice")
            who = await alice.get("/v1/whoami")
            assert (who["owner"], who["vo"], who["by"]) == ("alice", "atlas", "oidc")
            request = await alice.post("/v1/requests", {"workflow": OPEN})
            assert (request["owner"], request["vo"]) == ("alice", "atlas")
            late = Stranger(running.url, issuer.sign(issuer.claims(exp=1)), tmp_path / "late")
            assert await late.status("/v1/requests") == 401


async def test_who_does_not_go_on_is_hung_up_on(tmp_path: Path) -> None:
    environment = {"IDDS_API__MAX_HEAD_S": "0.5", "IDDS_API__IDLE_S": "0.5", "IDDS_API__MAX_STALL_S": "0.5"}
    async with service(tmp_path / "state", environment=environment) as running:
        port = URL(running.url).port
        assert port is not None
        whole, half = call("GET", "/healthz"), b"GET /healthz HTTP/1.1\r\nHost:"
        for sent in (b"", half, whole, whole + half):
            async with wire(port) as line:
                await line.send(sent)
                assert (b"alive" in await line.end()) == (whole in sent), sent
        async with wire(port) as line:
            headers = {"Content_Type": "application/json", "Content_Length": "100"}
            await line.send(call("POST", "/v1/requests", running.token, b"{", **headers))
            assert await line.status() == 408

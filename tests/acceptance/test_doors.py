"""The doors as a stranger finds them: curl, the command line and the client, against `idds serve` on a fresh folder."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from idds.sdk.client import Client
from tests.acceptance.service import PATIENCE_S, Running, service
from tests.acceptance.stranger import Stranger
from tests.servers.issuer import AUDIENCE, Issuer

MANY = 10_000
OPEN = {"name": "grow", "works": [{"name": "grow", "input": {"registered": {}}}]}
ISSUER = """
[access.issuers.iam]
url = "{url}"
audiences = ["{audience}"]
vo = "atlas"
grants = [{{group = "/atlas/production", role = "user"}}]
"""
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
    """They agree with what was done: one request that ended, and nothing that waits."""
    families = list(text_string_to_metric_families(await operator.curl("/metrics", "--fail-with-body")))
    assert families
    assert all(family.documentation for family in families)
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }
    names = {name for name, _ in samples}
    assert {"idds_http_request_seconds_count", "idds_event_streams_opened_total"} <= names
    submitted = sum(
        v
        for (name, labels), v in samples.items()
        if name == "idds_http_request_seconds_count" and ("route", "submitRequest") in labels
    )
    assert submitted == 1


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
    assert len(actions) == 2, "submitted, and retried"


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

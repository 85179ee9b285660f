"""Health, logs, windows, and what every answer has in common."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import ClientSession

from idds.domain.files import File
from idds.domain.identifiers import Did
from idds.domain.request import Principal, Role
from idds.providers.local import LocalProvider
from idds.runtime.settings import ApiSettings
from idds.services.catalogue import Catalogue
from idds.services.execution import Execution
from tests.integration.api import STUDY, api_on
from tests.servers.postgres import PostgresServer

DEADLINE_S = 20


async def test_it_lives_and_is_ready(database_url: str) -> None:
    async with api_on(database_url) as api:
        assert await api.get("/healthz", token="") == {"status": "alive"}
        assert await api.get("/readyz", token="") == {"status": "ready"}


async def test_it_is_not_ready_with_other_tables(database_url: str) -> None:
    async with api_on(database_url) as api:
        await api.database.run(lambda connection: connection.exec_driver_sql("DELETE FROM alembic_version"))
        answer = await api.call("GET", "/readyz", token="")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        assert "tables" in answer.document["detail"]
        assert (await api.call("GET", "/healthz", token="")).status == 200


async def test_a_database_that_is_away_is_told_and_comes_back() -> None:
    server = PostgresServer()
    server.start()
    try:
        await server.execute("CREATE DATABASE away")
        async with api_on(server.url("away"), ApiSettings(authentication_memory_s=0)) as api:
            server.kill()
            ready = await api.call("GET", "/readyz", token="")
            assert ready.status == 503
            answer = await api.call("POST", "/v1/requests", {"workflow": STUDY})
            assert (answer.status, answer.document["type"]) == (503, "urn:idds:problem:unavailable")
            assert answer.headers["Retry-After"]
            assert (await api.call("GET", "/healthz", token="")).status == 200
            server.start()
            async with asyncio.timeout(DEADLINE_S):
                while (await api.call("GET", "/readyz", token="")).status != 200:
                    await asyncio.sleep(0.05)
            assert (await api.post("/v1/requests", {"workflow": STUDY}))["id"]
    finally:
        server.stop()
        server.remove()


async def test_operators_see_windows_and_replicas(database_url: str) -> None:
    async with api_on(database_url) as api:
        async with api.database.transaction("test") as tx:
            await tx.windows.declare("rse", "DISK", limit_bytes=1000, limit_files=None)
            await tx.replicas.register("DISK", [(File(Did("s", "f"), 10), "f")])
        operator = await api.new_token("operator", role=Role.OPERATOR)
        [window] = (await api.get("/v1/windows", token=operator))["windows"]
        assert (window["kind"], window["ref"], window["limit_bytes"], window["limit_files"]) == (
            "rse",
            "DISK",
            1000,
            None,
        )
        assert (await api.get("/v1/replicas", token=operator))["replicas"] == [
            {"rse": "DISK", "status": "present", "files": 1, "bytes": 10}
        ]


async def test_logs_are_read_bit_by_bit(database_url: str, tmp_path: Path) -> None:
    provider = LocalProvider.from_options({"root": str(tmp_path / "jobs")})
    await provider.start()
    try:
        async with api_on(database_url, providers={"local": provider}) as api:
            payload = {"argv": ["/bin/sh", "-c", "echo hello; echo world; echo oops >&2"]}
            request = await api.submit({"name": "talk", "works": [{"name": "talk", "payload": payload}]})
            [processing] = (await api.get(f"/v1/requests/{request}/processings"))["processings"]
            logs = f"/v1/processings/{processing['id']}/logs"
            assert (await api.call("GET", f"{logs}/stdout")).status == 404
            execution = Execution(api.database, {"local": provider}, None, "test")  # type: ignore[arg-type]
            await execution.submit()
            async with asyncio.timeout(DEADLINE_S):
                while (answer := await api.call("GET", f"{logs}/stdout?limit=1000")).headers.get("X-Eof") != "true":
                    await asyncio.sleep(0.02)
            assert answer.document == b"hello\nworld\n"
            assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
            part = await api.call("GET", f"{logs}/stdout?offset=6&limit=3")
            assert (part.document, part.headers["X-Next-Offset"], part.headers["X-Eof"]) == (b"wor", "9", "false")
            assert (await api.call("GET", f"{logs}/stdout?offset=-6")).document == b"world\n"
            assert (await api.call("GET", f"{logs}/stderr")).document == b"oops\n"
            assert (await api.call("GET", f"{logs}/other")).status == 404
            assert (await api.call("GET", f"{logs}/stdout", token=await api.new_token("other"))).status == 404
    finally:
        await provider.stop()


async def test_every_refusal_is_a_problem_document(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        for method, path, status in (
            ("GET", "/nowhere", 404),
            ("GET", "/v1/requests/abc", 404),
            ("GET", "/v1/requests/99999999999999999999999", 404),
            ("GET", "/v1/requests/999999999999999999", 404),
            ("GET", "/v1/collections/0", 404),
            ("POST", "/v1/requests/1:bogus", 404),
            ("DELETE", "/v1/requests", 405),
            ("GET", "/v1/requests/1:cancel", 405),
        ):
            answer = await api.call(method, path, headers={"X-Request-Id": "mine-1"})
            assert answer.status == status, (method, path, answer.document)
            assert answer.headers["Content-Type"].startswith("application/problem+json")
            assert answer.headers["X-Request-Id"] == answer.document["request_id"] == "mine-1"
            assert set(answer.document) == {"type", "title", "status", "detail", "request_id", "problems"}
        allowed = (await api.call("DELETE", "/v1/requests")).headers["Allow"]
        assert {each.strip() for each in allowed.split(",")} == {"GET", "HEAD", "POST"}


async def test_a_defect_is_logged_and_told_without_its_inside(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(Catalogue, "requests", broken)
    async with api_on(sqlite_url) as api:
        with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
            answer = await api.call("GET", "/v1/requests", headers={"X-Request-Id": "bad id"})
    assert (answer.status, answer.document["type"]) == (500, "urn:idds:problem:internal")
    assert "secret" not in str(answer.document)
    [entry] = [entry for entry in logs if entry["log_level"] != "debug"]
    assert entry["request_id"] == answer.headers["X-Request-Id"] == answer.document["request_id"]
    assert entry["exc_info"]


async def test_a_stream_that_breaks_does_not_look_complete(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Catalogue.stream

    async def broken(self: Catalogue, principal: Principal, *args: Any, **more: Any) -> Any:
        async for page in whole(self, principal, *args, **more):
            yield page
            raise RuntimeError

    monkeypatch.setattr(Catalogue, "stream", broken)
    async with api_on(sqlite_url) as api:
        collection = await api.input_of(await api.submit())
        url = api.client.make_url(f"/v1/collections/{collection}/contents")
        headers = {"Authorization": f"Bearer {api.token}", "Accept": "application/x-ndjson"}
        async with ClientSession() as session, session.get(url, headers=headers) as response:
            with pytest.raises(Exception, match=r"(?i)payload|closed|disconnected|reset"):
                await response.read()


async def test_large_answers_are_compressed_for_who_takes_it(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        packed = await api.call("GET", "/v1/openapi.json", token="", headers={"Accept-Encoding": "gzip"})
        plain = await api.call("GET", "/v1/openapi.json", token="", headers={"Accept-Encoding": "identity"})
        assert packed.headers.get("Content-Encoding") == "gzip"
        assert "Content-Encoding" not in plain.headers
        assert packed.document == plain.document
        assert packed.document["openapi"] == "3.1.0"

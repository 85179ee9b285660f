"""Streams of events, which Schemathesis leaves out because they do not end."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.hostile.wire import call, wire
from tests.hostile.world import World, world

DEADLINE_S = 20


@pytest.fixture
async def found(sqlite_url: str) -> AsyncIterator[World]:
    async with world(sqlite_url) as found:
        yield found


async def _streams(found: World) -> list[str]:
    """The paths of all streams in the served document."""
    document = await found.api.get("/v1/openapi.json", token="")
    paths = [
        path.replace("{id}", "1")
        for path, methods in document["paths"].items()
        if "text/event-stream" in methods.get("get", {}).get("responses", {}).get("200", {}).get("content", {})
    ]
    assert len(paths) == 2
    return paths


async def test_they_are_for_who_may_see(found: World) -> None:
    for path in await _streams(found):
        for token, status in (("", 401), ("idds_unknown", 401), (found.payload, 403)):
            assert (await found.api.call("GET", path, token=token)).status == status, path


async def test_where_to_go_on_is_checked_and_named(found: World) -> None:
    for path in await _streams(found):
        for last in ("x", "-1", "1.5", "1e3", "9" * 30, "0x1", "1 2", "1,2"):
            answer = await found.api.call("GET", path, headers={"Last-Event-ID": last})
            assert answer.status == 422, (path, last)
            assert [each["pointer"] for each in answer.document["problems"]] == ["Last-Event-ID"]
        for query, name in (("after=x", "?after"), ("request=0", "?request"), ("bogus=1", "?bogus")):
            answer = await found.api.call("GET", f"{path}?{query}")
            assert answer.status == 422, (path, query)
            assert [each["pointer"] for each in answer.document["problems"]] == [name]


async def test_of_what_is_not_there_there_is_none(found: World) -> None:
    for path in ("/v1/requests/999/events", "/v1/events?request=999", "/v1/requests/0/events"):
        assert (await found.api.call("GET", path)).status == 404, path


async def test_who_talks_back_or_hangs_up_harms_nobody(found: World) -> None:
    port = found.api.client.port
    assert port is not None
    for path in await _streams(found):
        for said in (b"", b"\x00" * 1000, call("GET", "/healthz"), b"GARBAGE\r\n\r\n"):
            async with wire(port) as line:
                await line.send(call("GET", path, found.operator, Last_Event_ID="0"))
                async with asyncio.timeout(DEADLINE_S):
                    await line.reader.readuntil(b"id: ")
                await line.send(said)
            assert (await found.api.call("GET", "/healthz", token="")).status == 200
    async with asyncio.timeout(DEADLINE_S):
        while (
            "idds_event_streams 0.0"
            not in (await found.api.call("GET", "/metrics", token=found.operator)).document.decode()
        ):
            await asyncio.sleep(0.05)

"""Connections on which no call comes, or none that can be read."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from structlog.testing import capture_logs

from idds.api import answering
from idds.api.application import make_application
from idds.api.serving import served
from idds.runtime.settings import ApiSettings
from tests.integration.api import api_on

IMPATIENT = ApiSettings(port=0, max_head_s=0.05, idle_s=0.05, max_header_bytes=1024)
HEALTHY = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with api_on(url) as api, served(make_application(api.doors, IMPATIENT), IMPATIENT) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            async with asyncio.timeout(30):
                yield reader, writer
        finally:
            writer.close()
            await writer.wait_closed()


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-A"])
async def test_who_sends_no_call_is_sent_away(sqlite_url: str, sent: bytes) -> None:
    async with connected(sqlite_url) as (reader, writer):
        writer.write(sent)
        assert await reader.read() == b""


async def test_a_connection_that_is_idle_is_closed(sqlite_url: str) -> None:
    async with connected(sqlite_url) as (reader, writer):
        writer.write(HEALTHY)
        assert (await reader.read()).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 2000 + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-A: 1\r\n" * 200 + b"\r\n", 400),
        (b"POST /v1/requests HTTP/1.1\r\nHost: x\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx", 415),
    ],
)
async def test_a_head_that_cannot_be_read_is_answered(sqlite_url: str, sent: bytes, status: int) -> None:
    async with connected(sqlite_url) as (reader, writer):
        writer.write(sent)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.split()[1] == b"%d" % status
        assert b"application/problem+json" in head
        assert b"Server: iDDS" in head
        document = json.loads(body)
        assert (document["status"], document["problems"]) == (status, [])


@pytest.mark.parametrize("path", ["/v1/events", "/v1/collections/{}/contents", "/v1/requests"])
async def test_who_hangs_up_before_the_answer_breaks_nothing(
    sqlite_url: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = answering._answer
    answers: asyncio.Queue[int] = asyncio.Queue()

    async def answer_nobody(request: web.Request, handler: Handler, request_id: str) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        response = await answer(request, handler, request_id)
        answers.put_nowait(response.status)
        return response

    settings = ApiSettings(port=0)
    async with api_on(sqlite_url) as api, served(make_application(api.doors, settings), settings) as port:
        collection = await api.input_of(await api.submit())
        url = f"http://127.0.0.1:{port}{path.format(collection)}"
        headers = {"Authorization": f"Bearer {api.token}", "Accept": "application/x-ndjson"}
        monkeypatch.setattr(answering, "_answer", answer_nobody)
        with capture_logs() as logs:
            async with aiohttp.ClientSession() as session:
                with pytest.raises(aiohttp.ClientConnectionError):
                    await session.get(url, headers=headers)
            assert await asyncio.wait_for(answers.get(), 30) == 200
    assert [each for each in logs if each["log_level"] != "debug"] == []

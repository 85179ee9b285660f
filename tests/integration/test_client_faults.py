"""The client against a service that is busy, gone, broken or no service at all."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from idds.cli.updates import updates
from idds.domain.errors import IddsError, InvalidInput, NotFound, Unavailable
from idds.sdk.client import Client
from idds.sdk.errors import Broken, Unreachable
from idds.sdk.views import Kept

DEADLINE_S = 20
REQUEST = {"id": 1, "name": "n", "status": "running", "intent": "run"}
LEASE = {"contents": [{"id": 7, "attempt": 1, "scope": "", "name": "s"}], "ended": False}

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Service:
    """Answers each call with the next of its answers, and remembers what was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.calls: list[tuple[str, str, Any]] = []
        self.headers: list[Any] = []
        self._answers = list(answers)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.calls.append((request.method, request.path_qs, await request.read()))
        self.headers.append(request.headers)
        return await self._answers.pop(0)(request)


@asynccontextmanager
async def running(service: Service, port: int = 0) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(service.answer, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def client_of(service: Service, **more: Any) -> AsyncIterator[Client]:
    async with asyncio.timeout(DEADLINE_S), running(service) as url, Client(url, "a-secret", **more) as client:
        yield client


def says(document: Any, status: int = 200, **headers: str) -> Answer:
    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(document, status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return answer


async def hangs_up(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def is_silent(_request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


def streams(*lines: str, complete: bool) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for line in lines:
            await response.write(line.encode())
        if complete:
            await response.write_eof()
        else:
            assert request.transport is not None
            request.transport.close()
        return response

    return answer


busy = says({"detail": "the database is away"}, 503, Retry_After="0")


async def test_a_submission_is_sent_again_under_the_same_key() -> None:
    service = Service(hangs_up, busy, says(REQUEST, 201))
    async with client_of(service) as client:
        assert (await client.submit({"name": "n", "works": []})).id == 1
    assert len({headers["Idempotency-Key"] for headers in service.headers}) == 1
    assert len(set(service.calls)) == 1


@pytest.mark.parametrize("fault", [hangs_up, busy, says({}, 502), says({}, 429)])
async def test_calls_that_can_be_made_twice_are(fault: Answer) -> None:
    service = Service(fault, says({"receipts": [{"id": 7, "verdict": "duplicate"}]}), fault, says(REQUEST))
    async with client_of(service) as client:
        lease = (await _lease()).contents
        assert (await client.report(3, [lease[0].done()]))[0].verdict == "duplicate"
        assert (await client.cancel(1)).id == 1
    assert len(service.calls) == 4


async def _lease() -> Any:
    async with client_of(Service(says(LEASE))) as client:
        return await client.lease(3)


@pytest.mark.parametrize("fault", [hangs_up, busy])
async def test_a_lease_that_may_have_been_given_is_not_asked_for_again(fault: Answer) -> None:
    service = Service(fault, says(LEASE))
    async with client_of(service) as client:
        with pytest.raises(Unavailable):
            await client.lease(3)
        assert len(service.calls) == 1


@pytest.mark.parametrize("fault", [hangs_up, busy])
async def test_a_report_is_made_again_without_the_lease_that_may_have_been_given(fault: Answer) -> None:
    receipts = [{"id": 7, "verdict": "duplicate"}]
    service = Service(fault, fault, says({"receipts": receipts, "contents": [], "ended": True}))
    async with client_of(service) as client:
        content = (await _lease()).contents[0]
        reported = await client.report_and_lease(3, [content.done()], count=2)
    assert (reported.receipts[0].verdict, reported.contents, reported.ended) == ("duplicate", (), False)
    assert [json.loads(body).get("lease", {}).get("count") for _, _, body in service.calls] == [2, None, None]


async def test_a_lease_is_asked_for_again_while_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    service = Service(says(LEASE))
    async with asyncio.timeout(DEADLINE_S), Client(f"http://127.0.0.1:{port}", patience_s=10) as client:
        leasing = asyncio.create_task(client.lease(3))
        with pytest.raises(Unreachable):
            async with Client(client.url, patience_s=0) as other:
                await other.lease(3)
        async with running(service, port):
            assert (await leasing).contents[0].id == 7


async def test_patience_ends() -> None:
    async with client_of(Service(*[busy] * 20), patience_s=0.3) as client:
        with pytest.raises(Unavailable, match="the database is away"):
            await client.request(1)


async def test_a_service_that_asks_for_more_patience_than_there_is() -> None:
    service = Service(says({}, 503, Retry_After="3600"))
    async with client_of(service, patience_s=5) as client:
        with pytest.raises(Unavailable):
            await client.request(1)
    assert len(service.calls) == 1


async def test_a_service_that_says_nothing() -> None:
    async with client_of(Service(is_silent, is_silent), timeout_s=0.1, patience_s=0) as client:
        with pytest.raises(Unavailable, match=r"did not answer within 0.1 s"):
            await client.request(1)
        with pytest.raises(Unavailable):
            async for _ in client.contents(3):
                pass


async def test_readiness_is_asked_once() -> None:
    service = Service(busy, says({"status": "ready"}))
    async with client_of(service) as client:
        assert not await client.ready()
        assert await client.ready()
    async with Client("http://127.0.0.1:1", patience_s=100) as client:
        assert not await client.ready()


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (says([]), Broken, "at /: expected an object, found list"),
        (says(REQUEST | {"status": "levitating"}), Broken, "at /status: 'levitating' is no Status"),
        (streams("<html>", complete=True), Broken, "not the JSON of this service"),
        (says({}, 404), Broken, "404"),
        (says({"detail": "there is no request 1"}, 404), NotFound, "there is no request 1"),
        (says({"detail": "broken", "request_id": "abc"}, 500), Broken, "500: broken (request id abc)"),
        (says({}, 302, Location="http://127.0.0.1:1/"), Broken, "302"),
        (says({"detail": "too large"}, 413), InvalidInput, "too large"),
        (says({"problems": [{"pointer": "/a", "message": "no"}, 5]}, 422), InvalidInput, "/a: no"),
    ],
)
async def test_answers_that_are_none(answer: Answer, error: type[IddsError], said: str) -> None:
    service = Service(answer)
    async with client_of(service) as client:
        with pytest.raises(error) as caught:
            await client.request(1)
    assert said in str(caught.value)
    assert "a-secret" not in str(caught.value)
    assert len(service.calls) == 1
    assert service.headers[0]["Authorization"] == "Bearer a-secret"


async def test_someone_who_does_not_speak_http() -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        writer.close()

    async with asyncio.timeout(DEADLINE_S), await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Client(f"http://127.0.0.1:{port}", patience_s=0) as client:
            with pytest.raises(Broken, match="does not speak as this service does"):
                await client.request(1)


def lines(*ids: int) -> str:
    return "".join(f'{{"id": {number}, "name": "s", "status": "new"}}\n' for number in ids)


async def test_a_stream_that_breaks_is_gone_on_with() -> None:
    service = Service(
        streams(lines(1, 2), '{"id": 3, "na', complete=False),
        hangs_up,
        streams(lines(3)[:10], lines(3)[10:] + lines(4), complete=True),
    )
    async with client_of(service) as client:
        assert [content.id async for content in client.contents(9, "new")] == [1, 2, 3, 4]
    assert [path for _, path, _ in service.calls] == [
        "/v1/collections/9/contents?status=new&after=0",
        "/v1/collections/9/contents?status=new&after=2",
        "/v1/collections/9/contents?status=new&after=2",
    ]


async def test_a_line_of_any_length() -> None:
    long = '{"id": 1, "name": "s", "status": "new", "parameters": {"x": "' + "y" * 2**20 + '"}}'
    async with client_of(Service(streams(long, complete=True))) as client:
        [content] = [content async for content in client.contents(9)]
    assert content.parameters is not None
    assert len(content.parameters["x"]) == 2**20


async def test_a_line_that_is_no_json() -> None:
    async with client_of(Service(streams("oops\n", complete=True))) as client:
        with pytest.raises(Broken, match="no JSON"):
            async for _ in client.contents(9):
                pass


async def test_pages_are_read_to_their_end() -> None:
    service = Service(
        says({"requests": [REQUEST, REQUEST | {"id": 2}], "next": 2, "new": 1}), says({"requests": [], "next": None})
    )
    async with client_of(service) as client:
        assert [request.id async for request in client.requests("running")] == [1, 2]
    assert [path for _, path, _ in service.calls] == [
        "/v1/requests?status=running&limit=1000",
        "/v1/requests?status=running&limit=1000&before=2",
    ]


async def test_no_empty_calls_are_made() -> None:
    service = Service()
    async with client_of(service) as client:
        assert await client.report(3, []) == ()
        assert await client.heartbeat(3, []) == Kept()
    assert service.calls == []


async def test_a_watch_does_without_windows_that_it_may_not_see() -> None:
    states = ["running", "finished"]

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        if request.path.endswith("/why"):
            why = {"request": 1, "status": "running", "intent": "run", "at": len(asked), "sentences": []}
            return web.json_response(why)
        if request.path == "/v1/requests/1":
            return web.json_response(REQUEST | {"status": states.pop(0)})
        return web.json_response({"detail": "no"}, status=403)

    asked: list[str] = []
    async with client_of(Service(*[answer] * 20)) as client:
        seen = [update.request.status.value async for update in updates(client, 1, interval_s=0.01)]
    assert seen == ["running", "finished"]
    assert asked.count("/v1/windows") == 1

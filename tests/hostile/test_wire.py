"""What is no good HTTP, or more of it than is good: the service lives, and answers the next call."""

import gzip
import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from idds.api.application import make_application
from idds.api.serving import served
from idds.runtime.settings import ApiSettings
from tests.hostile.wire import call, wire
from tests.hostile.world import world
from tests.integration.api import Api

LARGEST = 200_000
JSON = "application/json"
SUBMIT = json.dumps({"workflow": {"name": "w", "works": [{"name": "w", "payload": {"argv": ["x"]}}]}}).encode()


@dataclass(frozen=True)
class Target:
    """A world, and the port at which it is served as `idds serve` does."""

    api: Api
    operator: str
    port: int


@pytest.fixture
async def found(sqlite_url: str) -> AsyncIterator[Target]:
    settings = ApiSettings(port=0, authentication_memory_s=0, max_body_bytes=LARGEST, max_stall_s=0.2)
    async with world(sqlite_url, settings) as there:
        api, application = there.api, make_application(there.api.doors, settings)
        async with served(application, settings) as port:
            before = await api.rows()
            yield Target(api, there.operator, port)
            answer = await api.call("GET", "/v1/requests/1", token=there.operator)
            assert answer.status == 200
            assert await api.rows() == before


def submit(found: Target, body: bytes, **headers: str) -> bytes:
    return call("POST", "/v1/requests", found.operator, body, **{"Content_Type": JSON, **headers})


def chunked(body: bytes) -> bytes:
    pieces = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


async def test_a_body_that_is_too_large_is_refused_however_it_comes(found: Target) -> None:
    large = b" " * LARGEST + SUBMIT
    for sent in (
        submit(found, b"", Content_Length=str(10**12)),
        submit(found, large),
        submit(found, chunked(large), Transfer_Encoding="chunked"),
        submit(found, gzip.compress(large), Content_Encoding="gzip"),
        submit(found, chunked(gzip.compress(b" " * 100_000_000)), Content_Encoding="gzip", Transfer_Encoding="chunked"),
    ):
        async with wire(found.port) as line:
            await line.send(sent)
            assert await line.status() == 413, sent[:300]


async def test_a_body_of_another_kind_is_refused(found: Target) -> None:
    for status, headers in (
        (415, {"Content_Type": "text/plain"}),
        (415, {"Content_Type": "application/x-www-form-urlencoded"}),
        (415, {"Content_Type": "multipart/form-data; boundary=x"}),
        (415, {"Content_Type": "application/json; charset=latin-1"}),
        (415, {"Content_Type": "application/json; charset=no-such"}),
        (415, {"Content_Type": "application/jsonx"}),
        (415, {"Content_Type": ""}),
        (415, {"Content_Encoding": "no-such"}),
        (415, {"Content_Encoding": "gzip, gzip"}),
        (400, {"Content_Encoding": "gzip"}),
        (400, {"Content_Encoding": "deflate"}),
    ):
        async with wire(found.port) as line:
            await line.send(submit(found, SUBMIT, **headers))
            assert await line.status() == status, headers


async def test_a_body_that_stops_half_way_ends_the_call(found: Target) -> None:
    for sent in (
        submit(found, SUBMIT[:-5], Content_Length=str(len(SUBMIT))),
        submit(found, b"5\r\n{", Transfer_Encoding="chunked"),
        submit(found, b"5\r\n{", Transfer_Encoding="chunked", Content_Encoding="gzip"),
    ):
        async with wire(found.port) as line:
            await line.send(sent)
            head = await line.head()
            assert head.split()[1] == "408", (sent[:300], head)
            assert "connection: close" in head


async def test_headers_without_end_are_refused(found: Target) -> None:
    for headers in (
        {"X_Long": "x" * 65536},
        {f"X_{n}": "x" for n in range(5000)},
        {"Authorization": "Bearer " + "x" * 65536},
    ):
        async with wire(found.port) as line:
            await line.send(call("GET", "/v1/requests", **headers))
            assert await line.status() in (400, 431), list(headers)[:1]
    async with wire(found.port) as line:
        await line.send(call("GET", "/v1/requests?status=" + "x" * 65536))
        assert await line.status() in (400, 414)


async def test_only_what_is_a_number_is_an_id(found: Target) -> None:
    for trick in (
        *("0", "-1", "+1", "1e0", "1.0", "00", "01", "0x1", "1_0", str(2**63), str(10**18), "9" * 5000, "%EF%BC%91"),
        *("1%2f2", "1%2F..%2f1", "..", "%2e%2e", "1;x", "1%00", "%00", "1%0a", "1%20", "", "*", "{id}", "1//"),
    ):
        for path in ("/v1/requests/{}", "/v1/requests/{}/why", "/v1/collections/{}/contents"):
            async with wire(found.port) as line:
                await line.send(call("GET", path.format(trick), found.operator))
                status = await line.status()
                assert status in (400, 404), (path, trick, status)


async def test_no_path_leads_elsewhere(found: Target) -> None:
    for path in (
        *(
            "/v1/../v1/requests/1",
            "/v1/%2e%2e/etc/passwd",
            "/v1//requests",
            "//v1/requests",
            "/v1/requests/",
            "/V1/requests",
        ),
        *(
            "/docs/",
            "/docs/../etc/passwd",
            "/static/",
            "/.git/config",
            "/v1/requests/1:",
            "/v1/requests/1:cancel:cancel",
        ),
        *("/v1/requests/1%3Acancel/x", "/v1/requests%2f1", "http://elsewhere/v1/nothing", "*", "/%", "/%zz", "/\xff"),
    ):
        async with wire(found.port) as line:
            await line.send(call("GET", path, found.operator))
            assert await line.status() in (400, 404, 405, None), path


async def test_a_method_that_a_path_has_not_is_told_those_it_has(found: Target) -> None:
    document = await found.api.get("/v1/openapi.json", token="")
    for path, methods in document["paths"].items():
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"):
            if method.lower() in methods:
                continue
            place = path.replace("{id}", "1").replace("{stream}", "stdout").replace("{number}", "0")
            answer = await found.api.call(method, place, token=found.operator)
            assert answer.status == 405, (method, path)
            allowed = {each.strip() for each in answer.headers["Allow"].split(",")}
            assert allowed - {"HEAD"} == {each.upper() for each in methods}, (method, path)


GARBAGE = (
    b"\r\n\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"POST /v1/requests HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
    b"POST /v1/requests HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nxxxxxx",
    b"POST /v1/requests HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/requests HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /v1/requests HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    b"POST /v1/requests HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: bogus\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nX : blank\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n",
    b"GET /healthz HTTP/1.1\nHost: a\n\n",
    b"GET /healthz HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x05hello",
    b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: a\r\n\r\n",
)


async def test_what_is_no_http_ends_its_own_connection_only(found: Target) -> None:
    chance = random.Random(1)
    noise = [chance.randbytes(chance.randrange(1, 3000)) + b"\r\n\r\n" for _ in range(100)]
    good = call("GET", "/healthz")
    for sent in (*GARBAGE, *noise, *(good[: chance.randrange(len(good))] + each for each in noise[:50])):
        async with wire(found.port) as line:
            await line.send(sent)
            line.writer.write_eof()
            said = await line.end()
            refused = said.startswith(b"HTTP/1.1 4") and b"application/problem+json" in said
            assert refused or not said or said.startswith(b"HTTP/1.1 200"), (sent[:100], said[:200])
        assert (await found.api.call("GET", "/healthz", token="")).status == 200


async def test_garbage_after_a_call_takes_nothing_from_it(found: Target) -> None:
    for garbage in (b"GARBAGE\r\n\r\n", b"\x00" * 100, b"GET"):
        async with wire(found.port) as line:
            await line.send(call("GET", "/healthz") + call("GET", "/v1/requests/1", found.operator))
            assert await line.status() == 200
            assert await line.status() == 200
            await line.send(garbage)
            line.writer.write_eof()
            assert await line.status() in (400, None)
    async with wire(found.port) as line:
        await line.send(submit(found, b"x" * 5) + call("GET", "/healthz"))
        assert await line.status() == 400
        assert await line.status() == 200

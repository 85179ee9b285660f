"""Contents registered through HTTP, in collections that are open until somebody closes them."""

import asyncio
import gzip
import io
import json
import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from idds.api.application import ApiSettings
from idds.api.lines import BLOCK_LINES, MAX_LINE_BYTES
from idds.domain.identifiers import RequestId
from idds.domain.request import Role
from tests.integration.api import Answer, Api, api_on


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with api_on(database_url) as api:
        yield api


def workflow(**source: Any) -> dict[str, Any]:
    return {"name": "open", "works": [{"name": "fill", "input": {"registered": {}, **source}}]}


async def opened(api: Api, **source: Any) -> str:
    """The path of an open collection."""
    return f"/v1/collections/{await api.input_of(await api.submit(workflow(**source)))}"


def lines(contents: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(content).encode() + b"\n" for content in contents)


async def send(api: Api, collection: str, body: Any, **headers: str) -> Answer:
    headers = {"Content-Type": "application/x-ndjson", **headers}
    data = io.BytesIO(body) if isinstance(body, bytes) else body
    return await api.call("POST", f"{collection}/contents", data=data, headers=headers)


async def test_what_is_registered_is_available_at_once(api: Api) -> None:
    collection = await opened(api)
    assert (await api.get(collection))["source"] == "registered"
    given = {"name": "a", "scope": "s", "min_id": 1, "max_id": 5, "bytes": 7, "adler32": "0000000f"}
    given["parameters"] = {"x": 0.5, "deep": [1, {"y": None}]}
    answer = await api.post(f"{collection}/contents", {"contents": [given, {"name": "b"}]})
    assert answer == {"registered": 2, "known": 0}
    found = (await api.get(f"{collection}/contents"))["contents"]
    assert {key: found[0][key] for key in given} == given
    assert [(c["name"], c["status"]) for c in found] == [("a", "available"), ("b", "available")]
    leased = (await api.post(f"{collection}/contents:lease", {"lessee": "me", "count": 5}))["contents"]
    assert [c["name"] for c in leased] == ["a", "b"]
    assert leased[0]["parameters"] == given["parameters"]


async def test_lines_are_registered_and_repeating_them_changes_nothing(api: Api) -> None:
    collection = await opened(api)
    body = lines({"name": f"f{n}", "bytes": n} for n in range(12_000))
    for expected in ({"registered": 12_000, "known": 0}, {"registered": 0, "known": 12_000}):
        assert (await send(api, collection, body)).document == expected
    assert (await api.get(collection))["counts"]["available"] == 12_000


async def test_a_closed_collection_takes_no_more_and_its_request_ends(api: Api) -> None:
    request = await api.submit(workflow())
    collection = f"/v1/collections/{await api.input_of(request)}"
    await api.post(f"{collection}/contents", {"contents": [{"name": "a"}]})
    for _ in range(2):
        assert (await api.post(f"{collection}:close", None))["is_closed"]
    answer = await api.call("POST", f"{collection}/contents", {"contents": [{"name": "b"}]})
    assert answer.status == 409
    assert "closed" in answer.document["detail"]
    [leased] = (await api.post(f"{collection}/contents:lease", {"lessee": "me"}))["contents"]
    report = {"id": leased["id"], "attempt": 1, "status": "done"}
    await api.post(f"{collection}/contents:report", {"reports": [report]})
    await api.advance()
    assert (await api.get(f"/v1/requests/{request}"))["status"] == "finished"


async def test_a_known_name_stays_as_it_is_whatever_is_given_now(api: Api) -> None:
    collection = await opened(api, batch=2)
    await api.post(f"{collection}/contents", {"contents": [{"name": "a", "bytes": 1}]})
    again = [
        {"name": "a", "bytes": 2},
        {"name": "b"},
        {"name": "b", "bytes": 3},
        {"name": "b", "min_id": 1, "max_id": 2},
    ]
    assert await api.post(f"{collection}/contents", {"contents": again}) == {"registered": 2, "known": 2}
    found = (await api.get(f"{collection}/contents"))["contents"]
    assert [(c["name"], c["bytes"], c["max_id"]) for c in found] == [("a", 1, 0), ("b", 0, 0), ("b", 0, 2)]


@pytest.mark.parametrize(
    ("content", "place"),
    [
        ({"name": "a", "bytes": "7"}, "/bytes"),
        ({"name": "a", "bytes": -1}, "/bytes"),
        ({"name": "a", "bytes": 1.5}, "/bytes"),
        ({"name": "a", "max_id": 2**63}, "/max_id"),
        ({"name": "a", "min_id": 5, "max_id": 4}, "/max_id"),
        ({"name": "a", "min_id": 0, "max_id": 4}, "/min_id"),
        ({"name": ""}, "/name"),
        ({"name": "a" * 513}, "/name"),
        ({"name": "a\0b"}, "/name"),
        ({"name": "a", "scope": "x:y"}, "/scope"),
        ({"name": "a", "adler32": "0000000G"}, "/adler32"),
        ({"name": "a", "parameters": {"deep": [{"x": 2**64}]}}, "/parameters/deep/0/x"),
        ({"name": "a", "parameters": [1]}, "/parameters"),
        ({"name": "a", "size": 1}, "/size"),
        ({"scope": "a"}, "/name"),
        ([], ""),
    ],
)
async def test_what_is_wrong_is_named_and_changes_nothing(sqlite_url: str, content: Any, place: str) -> None:
    async with api_on(sqlite_url) as api:
        collection = await opened(api)
        good = [{"name": "g"}, {"name": "h"}]
        answer = await api.call("POST", f"{collection}/contents", {"contents": [*good, content]})
        assert (answer.status, [p["pointer"] for p in answer.document["problems"]]) == (422, [f"/contents/2{place}"])
        answer = await send(api, collection, lines([*good, content]))
        assert (answer.status, [p["pointer"] for p in answer.document["problems"]]) == (422, [f"/2{place}"])
        assert (await api.get(collection))["total"] == 0


@pytest.mark.parametrize(
    "line",
    [b"{", b"", b'{"name": "a"} {"name": "b"}', b'{"name": "a", "name": "b"}', b'"\xff"', b'{"name": "\\ud8"}'],
)
async def test_a_line_that_is_none_is_named(sqlite_url: str, line: bytes) -> None:
    async with api_on(sqlite_url) as api:
        collection = await opened(api)
        answer = await send(api, collection, b'{"name": "g"}\n' + line + b'\n{"name": "h"}\n')
        assert answer.status == 422, answer.document
        assert {p["pointer"].split("/")[1] for p in answer.document["problems"]} == {"1"}
        assert (await api.get(collection))["total"] == 0


async def test_the_blocks_before_a_bad_line_are_registered(api: Api) -> None:
    collection = await opened(api)
    given: list[Any] = [{"name": f"f{n}"} for n in range(2 * BLOCK_LINES + 10)]
    given[BLOCK_LINES + 7] = {"name": "x", "bytes": None, "adler32": "short"}
    answer = await send(api, collection, lines(given))
    assert answer.status == 422
    assert [p["pointer"] for p in answer.document["problems"]] == [f"/{BLOCK_LINES + 7}/adler32"]
    assert f"{BLOCK_LINES:,} contents were registered" in answer.document["detail"]
    assert (await api.get(collection))["total"] == BLOCK_LINES
    given[BLOCK_LINES + 7] = {"name": "x"}
    answer = await send(api, collection, lines(given))
    assert answer.document == {"registered": BLOCK_LINES + 10, "known": BLOCK_LINES}


async def test_lines_have_their_length_and_bodies_none(api: Api) -> None:
    collection = await opened(api)
    long = lines([{"name": "long", "parameters": {"text": "x" * (MAX_LINE_BYTES - 100)}}])
    assert (await send(api, collection, long)).document == {"registered": 1, "known": 0}
    too_long = lines([{"name": "a"}, {"name": "b", "parameters": {"text": "x" * MAX_LINE_BYTES}}])
    answer = await send(api, collection, too_long)
    assert (answer.status, answer.document["problems"][0]["pointer"]) == (422, "/1")
    assert (await send(api, collection, b"")).document == {"registered": 0, "known": 0}
    endless = lines([{"name": "c"}])[:-1]
    assert (await send(api, collection, endless)).document == {"registered": 1, "known": 0}


async def test_lines_may_be_compressed(api: Api) -> None:
    collection = await opened(api)
    body = gzip.compress(lines({"name": f"f{n}"} for n in range(7000)))
    answer = await send(api, collection, body, **{"Content-Encoding": "gzip"})
    assert answer.document == {"registered": 7000, "known": 0}
    answer = await send(api, collection, body[:-100], **{"Content-Encoding": "gzip"})
    assert answer.status in (400, 422)  # it is cut off, and so is its last line


async def _hung(begun: asyncio.Event) -> AsyncIterator[bytes]:
    """More than a block, and then nothing."""
    yield lines({"name": f"f{n}"} for n in range(BLOCK_LINES + 100))
    begun.set()
    await asyncio.Event().wait()


async def test_who_hangs_up_half_way_leaves_what_was_registered(api: Api) -> None:
    collection = await opened(api)
    begun = asyncio.Event()
    sending = asyncio.create_task(send(api, collection, _hung(begun)))
    async with asyncio.timeout(20):
        await begun.wait()
        while (await api.get(collection))["total"] < BLOCK_LINES:
            await asyncio.sleep(0.01)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert (await api.get(collection))["total"] == BLOCK_LINES


async def test_who_sends_nothing_more_is_told_so(sqlite_url: str) -> None:
    async with api_on(sqlite_url, ApiSettings(authentication_memory_s=0, max_stall_s=0.3)) as api:
        collection = await opened(api)
        try:
            answer = await send(api, collection, _hung(asyncio.Event()))
        except aiohttp.ClientError:
            pass  # the connection may be gone before the answer is read
        else:
            assert answer.status == 408
            assert f"{BLOCK_LINES:,} contents were registered" in answer.document["detail"]
        assert (await api.get(collection))["total"] == BLOCK_LINES


async def test_files_to_be_staged_wait_for_their_window(api: Api) -> None:
    collection = await opened(api, registered={"stage": True}, window={"files": 2}, batch=2)
    assert (await api.get(collection))["rse"] == "DISK"
    answer = await api.call("POST", f"{collection}/contents", {"contents": [{"name": "a"}]})
    assert [p["pointer"] for p in answer.document["problems"]] == ["/contents/0/scope", "/contents/0/bytes"]
    files = [{"name": f"f{n}", "scope": "s", "bytes": 10} for n in range(5)]
    assert (await send(api, collection, lines(files))).document == {"registered": 5, "known": 0}
    await api.advance()
    assert (await api.get(collection))["counts"]["new"] == 5
    async with api.database.snapshot() as tx:
        found = await tx.collections.get(int(collection.rsplit("/", 1)[1]))
        assert found is not None
        assert found.unadmitted == 3
    assert (await api.get("/v1/windows", token=await api.new_token("op", role=Role.OPERATOR)))["windows"]


@pytest.mark.parametrize("order", ["cancel", "finish"])
async def test_an_order_closes_an_open_collection(api: Api, order: str) -> None:
    request = await api.submit(workflow())
    collection = f"/v1/collections/{await api.input_of(request)}"
    await api.post(f"{collection}/contents", {"contents": [{"name": "a"}]})
    await api.post(f"/v1/requests/{request}:{order}", None)
    answer = await api.call("POST", f"{collection}/contents", {"contents": [{"name": "b"}]})
    assert (answer.status, order in answer.document["detail"]) == (409, True)
    await api.advance()
    found = await api.get(collection)
    assert (found["is_closed"], found["counts"]["cancelled"]) == (True, 1)
    answer = await api.call("POST", f"{collection}/contents", {"contents": [{"name": "b"}]})
    assert (answer.status, "submit another" in answer.document["detail"]) == (409, True)


async def test_only_what_is_registered_is_for_callers_to_fill(api: Api) -> None:
    study = f"/v1/collections/{await api.input_of(await api.submit())}"
    for path, body in ((f"{study}/contents", {"contents": [{"name": "a"}]}), (f"{study}:close", None)):
        answer = await api.call("POST", path, body)
        assert (answer.status, "registered" in answer.document["detail"]) == (409, True)
    mine = await opened(api)
    stranger = await api.new_token("stranger")
    for path, body in ((f"{mine}/contents", {"contents": [{"name": "a"}]}), (f"{mine}:close", None)):
        assert (await api.call("POST", path, body, token=stranger)).status == 404


async def test_jobs_get_whole_batches_and_the_rest_at_the_end(api: Api) -> None:
    works = [{"name": "fill", "input": {"registered": {}, "batch": 3}, "payload": {"argv": ["/bin/true"]}}]
    request = await api.submit({"name": "jobs", "works": works})
    collection = f"/v1/collections/{await api.input_of(request)}"
    sizes = []
    for names in ("ab", "bc", "ad", "e"):
        await api.post(f"{collection}/contents", {"contents": [{"name": name} for name in names]})
        await api.advance()
        sizes.append((await api.get(collection))["counts"]["leased"])
    await api.post(f"{collection}:close", None)
    await api.advance()
    assert [*sizes, (await api.get(collection))["counts"]["leased"]] == [0, 3, 3, 3, 5]


async def test_what_is_announced_is_what_is_there(api: Api) -> None:
    request = await api.submit(workflow())
    collection = await api.input_of(request)
    given = [{"name": "a", "scope": "s", "bytes": 5, "parameters": {"x": 1}}, {"name": "b"}]
    await api.post(f"/v1/collections/{collection}/contents", {"contents": given})
    await api.post(f"/v1/collections/{collection}/contents", {"contents": [*given, {"name": "c"}]})
    listed = (await api.get(f"/v1/collections/{collection}/contents"))["contents"]
    async with api.database.snapshot() as tx:
        sent = await tx.messages.of_request(RequestId(request), after=0, limit=100)
    bodies = [json.loads(m.body) for m in sent if m.topic.endswith("contents/available")]
    assert [(b["collection"], b["work"], b["type"]) for b in bodies] == [(collection, "fill", "contents.available")] * 2
    announced = [content for body in bodies for content in body["contents"]]
    assert len(announced) == len(listed) == 3
    for said, there in zip(announced, listed, strict=True):
        assert said == {key: there[key] for key in said}


async def test_why_says_what_an_open_collection_waits_for(api: Api) -> None:
    request = await api.submit(workflow())
    collection = await api.input_of(request)
    answer = await api.get(f"/v1/requests/{request}/why")
    [said] = answer["transforms"][0]["sentences"]
    assert said["text"] == f"collection {collection} is open, for contents to be registered: 0 contents so far"
    assert said["next"] == f"it goes on until POST /v1/collections/{collection}:close"


async def test_each_call_is_audited(api: Api) -> None:
    collection = await opened(api)
    for names in ("ab", "bc"):
        await api.post(f"{collection}/contents", {"contents": [{"name": name} for name in names]})
    await api.post(f"{collection}:close", None)
    entity = f"collection:{collection.rsplit('/', 1)[1]}"
    async with api.database.snapshot() as tx:
        entries = await tx.audit.page(entity=entity)
    assert [(e.owner, e.action, e.details) for e in entries] == [
        ("owner", "register", {"registered": 2, "known": 0}),
        ("owner", "register", {"registered": 1, "known": 1}),
        ("owner", "close", None),
    ]


async def test_consumers_take_each_once_while_somebody_fills(api: Api) -> None:
    collection = await opened(api)
    total = 400

    async def fill() -> None:
        for first in range(0, total, 40):
            await send(api, collection, lines({"name": f"f{n}"} for n in range(first, first + 40)))
        await api.post(f"{collection}:close", None)

    async def consume(name: str) -> list[str]:
        taken: list[str] = []
        while True:
            lease = {"lessee": name, "count": 7, "wait_s": 5}
            leased = await api.post(f"{collection}/contents:lease", lease)
            if leased["ended"]:
                return taken
            taken += [content["name"] for content in leased["contents"]]
            reports = [{"id": c["id"], "attempt": c["attempt"], "status": "done"} for c in leased["contents"]]
            if reports:
                await api.post(f"{collection}/contents:report", {"reports": reports})

    async with asyncio.timeout(100):
        _, *taken = await asyncio.gather(fill(), *(consume(f"c{n}") for n in range(8)))
    assert sorted(name for some in taken for name in some) == sorted(f"f{n}" for n in range(total))
    assert (await api.get(collection))["counts"]["done"] == total


async def test_the_examples_of_the_page_are_taken(sqlite_url: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "open-collections.md").read_text()
    examples = re.findall(r"```json\n(.*?)```", page, flags=re.DOTALL)
    async with api_on(sqlite_url) as api:
        sources = []
        for example in examples:
            request = await api.submit(json.loads(example))
            found = await api.get(f"/v1/collections/{await api.input_of(request)}")
            sources.append((found["source"], found["rse"]))
    assert sources == [("registered", None), ("registered", "DISK")]

"""Contents registered through HTTP, in collections that are open until somebody closes them."""

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

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
    return await api.call("POST", f"{collection}/contents", data=body, headers=headers)


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

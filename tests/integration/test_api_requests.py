"""Requests through HTTP: submitted, listed, ordered about."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from idds.domain.request import Principal, Role
from idds.domain.workflow import Input, Registered, Work, Workflow
from idds.runtime.settings import ApiSettings
from tests.integration.api import STUDY, Api, api_on

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with api_on(database_url, ApiSettings(authentication_memory_s=0, max_body_bytes=200_000)) as api:
        yield api


async def test_a_submitted_request_is_there(api: Api) -> None:
    answer = await api.call("POST", "/v1/requests", {"workflow": STUDY, "share": "urgent", "priority": 7})
    assert answer.status == 201
    number = answer.document["id"]
    assert answer.headers["Location"] == f"/v1/requests/{number}"
    assert answer.headers["X-Request-Id"]
    await api.advance()
    found = await api.get(answer.headers["Location"])
    assert (found["name"], found["status"], found["owner"], found["vo"]) == ("study", "running", "owner", "vo")
    assert (found["share"], found["priority"], found["intent"]) == ("urgent", 7, "run")
    assert found["workflow"]["works"][0]["input"]["samples"]["count"] == 6
    assert [transform["work"] for transform in found["transforms"]] == ["scan"]
    [collection] = found["collections"]
    assert (collection["relation"], collection["source"], collection["total"]) == ("input", "samples", 4)
    assert collection["counts"]["available"] == 4
    assert await api.get(f"/v1/collections/{collection['id']}") == collection


async def test_a_known_key_makes_no_second_request(api: Api) -> None:
    key = {"Idempotency-Key": "once-1"}
    first = await api.call("POST", "/v1/requests", {"workflow": STUDY}, headers=key)
    again = await api.call("POST", "/v1/requests", {"workflow": STUDY}, headers=key)
    assert (first.status, again.status) == (201, 200)
    assert again.document["id"] == first.document["id"]
    assert again.headers["Location"] == first.headers["Location"]
    other = await api.call("POST", "/v1/requests", {"workflow": {**STUDY, "name": "other"}}, headers=key)
    assert other.status == 409
    assert other.document["type"] == "urn:idds:problem:conflict"
    blank = await api.call("POST", "/v1/requests", {"workflow": STUDY}, headers={"Idempotency-Key": "a b"})
    assert (blank.status, blank.document["problems"][0]["pointer"]) == (422, "Idempotency-Key")


async def test_listing_goes_page_by_page(api: Api) -> None:
    made = [(await api.post("/v1/requests", {"workflow": STUDY}))["id"] for _ in range(5)]
    seen: list[int] = []
    before = ""
    while True:
        page = await api.get(f"/v1/requests?limit=2{before}")
        seen += [request["id"] for request in page["requests"]]
        if page["next"] is None:
            break
        before = f"&before={page['next']}"
    assert seen == made[::-1]
    assert len((await api.get("/v1/requests?status=new"))["requests"]) == 5
    assert (await api.get("/v1/requests?status=running"))["requests"] == []


async def test_orders_are_obeyed_and_checked(api: Api) -> None:
    request = await api.submit()
    path = f"/v1/requests/{request}"
    suspended = await api.call("POST", f"{path}:suspend")
    assert (suspended.status, suspended.document["intent"]) == (200, "suspend")
    await api.advance()
    assert (await api.get(path))["status"] == "suspended"
    assert (await api.call("POST", f"{path}:resume")).document["intent"] == "run"
    assert (await api.call("POST", f"{path}:finish")).document["intent"] == "finish"
    assert (await api.call("POST", f"{path}:suspend")).status == 409
    assert (await api.call("POST", f"{path}:cancel")).document["intent"] == "cancel"
    assert (await api.call("POST", f"{path}:cancel")).status == 200
    await api.advance()
    found = await api.get(path)
    assert found["status"] == "cancelled"
    assert found["collections"][0]["counts"]["cancelled"] == 4
    assert (await api.call("POST", f"{path}:resume")).status == 409


async def test_history_and_processings_go_page_by_page(api: Api) -> None:
    works = [{"name": f"w{n}", "payload": {"argv": ["/bin/true"]}} for n in range(3)]
    request = await api.submit({"name": "three", "works": works})
    path = f"/v1/requests/{request}"
    first = await api.get(f"{path}/processings?limit=2")
    rest = await api.get(f"{path}/processings?limit=2&after={first['next']}")
    assert rest["next"] is None
    found = [*first["processings"], *rest["processings"]]
    assert [(p["status"], p["provider"], p["attempt"]) for p in found] == [("new", "local", 1)] * 3
    moves, after = [], 0
    while after is not None:
        page = await api.get(f"{path}/history?limit=3&after={after}")
        moves += page["moves"]
        after = page["next"]
    assert [m["id"] for m in moves] == sorted(m["id"] for m in moves)
    assert moves[0]["event"] == "submitted"
    assert {"request", "transform", "processing"} <= {m["entity"].partition(":")[0] for m in moves}


async def test_nobody_sees_what_belongs_to_others(api: Api) -> None:
    request = await api.submit()
    collection = await api.input_of(request)
    paths = [
        ("GET", f"/v1/requests/{request}", None),
        ("POST", f"/v1/requests/{request}:cancel", None),
        ("GET", f"/v1/requests/{request}/history", None),
        ("GET", f"/v1/requests/{request}/processings", None),
        ("GET", f"/v1/requests/{request}/why", None),
        ("GET", f"/v1/collections/{collection}", None),
        ("GET", f"/v1/collections/{collection}/contents", None),
        ("POST", f"/v1/collections/{collection}/contents:lease", {"lessee": "thief", "count": 1}),
        ("POST", f"/v1/collections/{collection}:token", {}),
    ]
    of_same_vo, of_other_vo = await api.new_token("other"), await api.new_token("owner", "elsewhere")
    manager_elsewhere = await api.new_token("manager", "elsewhere", role=Role.WFMS)
    for method, path, body in paths:
        for token in (of_same_vo, of_other_vo, manager_elsewhere):
            answer = await api.call(method, path, body, token=token)
            assert answer.status == 404, (method, path)
    assert (await api.get("/v1/requests", token=of_same_vo))["requests"] == []
    for role, vo in ((Role.READER, "vo"), (Role.WFMS, "vo"), (Role.OPERATOR, "elsewhere")):
        token = await api.new_token("somebody", vo, role=role)
        assert [r["id"] for r in (await api.get("/v1/requests", token=token))["requests"]] == [request]


def study(**changes: Any) -> dict[str, Any]:
    samples = {"count": 6, "space": {"x": {"type": "float", "low": 0, "high": 1}}, **changes}
    return {"workflow": {"name": "study", "works": [{"name": "scan", "input": {"samples": samples}}]}}


def works(*works: dict[str, Any]) -> dict[str, Any]:
    return {"workflow": {"name": "w", "works": list(works)}}


A_DATASET = {"name": "a", "input": {"dataset": "s:d"}}
W = "/workflow/works/0"
BAD_BODIES: list[tuple[Any, str]] = [
    ([], ""),
    ({}, "/workflow"),
    ({"workflow": STUDY, "bogus": 1}, "/bogus"),
    ({"workflow": {**STUDY, "bogus": 1}}, "/workflow/bogus"),
    ({"workflow": STUDY, "priority": True}, "/priority"),
    ({"workflow": STUDY, "priority": 2**70}, "/priority"),
    ({"workflow": STUDY, "share": 3}, "/share"),
    ({"workflow": {"name": "w", "works": []}}, "/workflow/works"),
    ({"workflow": {"name": "", "works": [A_DATASET]}}, "/workflow/name"),
    ({"workflow": {"name": "w", "works": "a"}}, "/workflow/works"),
    ({"workflow": {"works": [A_DATASET]}}, "/workflow/name"),
    (works({"name": "a", "input": {"dataset": "s:d", "bogus": 1}}), f"{W}/input/bogus"),
    (works({"name": "a", "input": {"dataset": "s:d", "batch": True}}), f"{W}/input/batch"),
    (works({"name": "a", "input": {"dataset": "s:d", "batch": -1}}), f"{W}/input/batch"),
    (works({"name": "a", "input": {"dataset": "s:d", "batch": 1.5}}), f"{W}/input/batch"),
    (
        works({"name": "a", "input": {"dataset": "s:d", "window": {"bytes": -1}}}),
        f"{W}/input/window/bytes",
    ),
    (
        works({"name": "a", "input": {"dataset": "s:d", "window": {"bytes": 10**19}}}),
        f"{W}/input/window/bytes",
    ),
    (works({"name": "a", "input": {"dataset": "nocolon"}}), f"{W}/input/dataset"),
    (works({"name": "a", "input": {"dataset": "s:\0d"}}), f"{W}/input/dataset"),
    (works({"name": "a", "input": {}}), f"{W}/input"),
    (works({"name": "a", "input": {"dataset": "s:d", "rse": "NOWHERE"}}), f"{W}/input/rse"),
    (works({"name": "a", "provider": "nowhere"}), f"{W}/provider"),
    (works({"name": "a", "after": ["b"]}), f"{W}/after/0"),
    (works({"name": "a", "input": {"outputs": "b"}}), f"{W}/input/outputs"),
    (works({"name": "a", "attempts": 0}), f"{W}/attempts"),
    (works({"name": "a", "resources": {"cores": "2"}}), f"{W}/resources/cores"),
    (works({"name": "a", "payload": {"argv": []}}), f"{W}/payload/argv"),
    (
        works({"name": "a", "payload": {"argv": ["x"], "environment": {"A": 1}}}),
        f"{W}/payload/environment/A",
    ),
    (works(A_DATASET, A_DATASET), "/workflow/works/1/name"),
    (
        works(
            {"name": "a", "after": ["b"], "input": {"dataset": "s:d"}},
            {"name": "b", "after": ["a"], "input": {"dataset": "s:d"}},
        ),
        "/workflow/works/0",
    ),
    (study(count=0), f"{W}/input/samples/count"),
    (study(count=10**8), f"{W}/input/samples/count"),
    (study(sampler="unheard"), f"{W}/input/samples/sampler"),
    (study(space={}), f"{W}/input/samples/space"),
    (study(space={"a/b": {"type": "float"}}), f"{W}/input/samples/space/a~1b"),
    (study(space={"x": {"type": "float", "low": True, "high": 2}}), f"{W}/input/samples/space/x/low"),
    (study(space={"x": {"type": "float", "low": 2, "high": 1}}), f"{W}/input/samples/space/x/low"),
    (study(constraints=["x > 2.0"]), f"{W}/input/samples/constraints/0"),
    (study(constraints=["(" * 999]), f"{W}/input/samples/constraints/0"),
    (study(options={"speed": 1}), f"{W}/input/samples/options/speed"),
    (study(options={"startup": True}), f"{W}/input/samples/options/startup"),
    (study(directions=["down"]), f"{W}/input/samples/directions/0"),
    (study(initial=[{"x": 7}]), f"{W}/input/samples/initial/0/x"),
    (study(space={}, opt_space={"A": {"type": "Scalar", "bounds": 1}}), f"{W}/input/samples/opt_space/A/bounds"),
    (study(space={}, opt_space=[{"model_id": 1}]), f"{W}/input/samples/opt_space/0/search_space"),
    (study(space={}, opt_space=[1]), f"{W}/input/samples/opt_space/0"),
]


async def test_bad_input_is_told_at_its_place_and_changes_nothing(api: Api) -> None:
    before = await api.rows()
    for body, pointer in BAD_BODIES:
        answer = await api.call("POST", "/v1/requests", data=json.dumps(body), headers=JSON)
        assert answer.status == 422, (body, answer.document)
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert pointer in [problem["pointer"] for problem in answer.document["problems"]], (body, answer.document)
    assert await api.rows() == before


RAW = [
    (b"", JSON, 400, "malformed"),
    (b"{", JSON, 400, "malformed"),
    (b'{"workflow": {}} x', JSON, 400, "malformed"),
    (b'{"workflow": "\xff"}', JSON, 400, "malformed"),
    (b'{"workflow": "\\ud800"}', JSON, 422, "invalid-input"),
    (b"[" * 100_000, JSON, 400, "malformed"),
    (b'{"workflow": NaN}', JSON, 422, "invalid-input"),
    (b'{"workflow": 1, "priority": Infinity}', JSON, 422, "invalid-input"),
    (b'{"share": "a", "share": "b", "workflow": {}}', JSON, 422, "invalid-input"),
    (b'{"priority": ' + b"9" * 5000 + b"}", JSON, 422, "invalid-input"),
    (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported-media-type"),
    (b"{}", {"Content-Type": "application/json; charset=latin-1"}, 415, "unsupported-media-type"),
    (b" " * 200_001, JSON, 413, "request-entity-too-large"),
    (b"{}", {**JSON, "Content-Encoding": "gzip"}, 400, "malformed"),
]


async def test_bodies_that_cannot_be_read_are_refused(api: Api) -> None:
    before = await api.rows()
    for body, headers, status, slug in RAW:
        answer = await api.call("POST", "/v1/requests", data=body, headers=headers)
        assert answer.status == status, (body[:50], answer.document)
        assert answer.document["type"] == f"urn:idds:problem:{slug}", body[:50]
        assert answer.document["status"] == status
        assert answer.document["request_id"] == answer.headers["X-Request-Id"]
    assert await api.rows() == before


async def test_a_field_said_twice_is_named(api: Api) -> None:
    body = b'{"workflow": {"name": "a", "works": [{"name": "x", "name": "y"}]}}'
    answer = await api.call("POST", "/v1/requests", data=body, headers=JSON)
    assert answer.document["problems"] == [{"pointer": "/workflow/works/0", "message": "the field 'name' stands twice"}]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("status=bogus", "status"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("before=99999999999999999999", "before"),
        ("bogus=1", "bogus"),
        ("limit=1&limit=2", "limit"),
    ],
)
async def test_a_bad_parameter_is_named(sqlite_url: str, query: str, parameter: str) -> None:
    async with api_on(sqlite_url) as api:
        answer = await api.call("GET", f"/v1/requests?{query}")
        assert answer.status == 422
        assert [problem["pointer"] for problem in answer.document["problems"]] == [f"?{parameter}"]


async def test_keys_that_come_together_are_taken_in_their_order(api: Api) -> None:
    """Two servers that are sent the same keys would wait for each other otherwise."""
    workflow = Workflow(name="w", works=(Work(name="one", input=Input(registered=Registered())),))
    owner = Principal("owner", "vo")
    keys = ["b", None, "a"]
    sent = [api.doors.submission.submit(owner, workflow, idempotency_key=key) for key in keys]
    made = {key: request.id for key, (request, _) in zip(keys, await asyncio.gather(*sent), strict=True)}
    assert made[None] < made["a"] < made["b"]


async def test_a_key_sent_twice_at_once_makes_one_request(api: Api) -> None:
    key = {"Idempotency-Key": "at-once"}
    calls = [api.call("POST", "/v1/requests", {"workflow": STUDY}, headers=key) for _ in range(8)]
    answers = await asyncio.gather(*calls)
    assert sorted(answer.status for answer in answers) == [200] * 7 + [201]
    assert len({answer.document["id"] for answer in answers}) == 1

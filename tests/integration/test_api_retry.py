"""Retries, lifetimes and all that is read of requests, through HTTP."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from idds.domain.request import Role
from idds.services.expiring import Expiring
from tests.integration.api import STUDY, Api, api_on

ALONE = {"name": "a", "payload": {"argv": ["/bin/true"]}}
NO_LONGER = 0.001


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with api_on(database_url) as api:
        yield api


async def leased(api: Api, collection: int, count: int = 100) -> list[Any]:
    answer = await api.post(f"/v1/collections/{collection}/contents:lease", {"lessee": "me", "count": count})
    found: list[Any] = answer["contents"]
    return found


async def report(api: Api, collection: int, contents: list[Any], status: str) -> None:
    values: Mapping[str, Any] = {"objective_values": [1.0]} if status == "done" else {"reason": "no", "retry": False}
    reports = [{"id": c["id"], "attempt": c["attempt"], "status": status, **values} for c in contents]
    answer = await api.post(f"/v1/collections/{collection}/contents:report", {"reports": reports})
    assert {receipt["verdict"] for receipt in answer["receipts"]} == {"accepted"}
    await api.advance()


async def evaluate(api: Api, collection: int, status: str) -> None:
    while contents := await leased(api, collection):
        await report(api, collection, contents, status)


async def test_a_study_is_retried_until_all_of_it_is_done(api: Api) -> None:
    request = await api.submit()
    path, collection = f"/v1/requests/{request}", await api.input_of(request)
    first = await leased(api, collection, 1)
    await report(api, collection, first, "done")
    await evaluate(api, collection, "failed")
    ended = await api.get(path)
    assert (ended["status"], ended["retries"]) == ("subfinished", 0)
    [sentence] = (await api.get(f"{path}/why"))["sentences"]
    assert sentence["next"] == "a retry goes on with what is not done"
    parameters = {
        c["id"]: c["parameters"] for c in (await api.get(f"/v1/collections/{collection}/contents"))["contents"]
    }

    again = await api.call("POST", f"{path}:retry")
    assert (again.status, again.document["status"], again.document["intent"]) == (200, "new", "run")
    assert (again.document["retries"], again.document["expires_at"], again.document["reason"]) == (1, None, None)
    # What is to come is not looked for yet: nobody is sent home.
    waiting = await api.post(f"/v1/collections/{collection}/contents:lease", {"lessee": "me"})
    assert (waiting["contents"], waiting["ended"]) == ([], False)
    told = (await api.get(f"{path}/why"))["sentences"]
    assert told[0]["text"] == "it was just retried, for the 1st time"
    # Whoever lost the answer asks again.
    assert (await api.call("POST", f"{path}:retry")).document == again.document
    await api.advance()
    assert "retried once" in (await api.get(f"{path}/why"))["sentences"][0]["text"]
    contents = await leased(api, collection)
    assert len(contents) == 4, "no more than the window holds"
    assert {c["attempt"] for c in contents} == {2}
    late = {"reports": [{"id": contents[0]["id"], "attempt": 1, "status": "failed"}]}
    assert (await api.call("POST", f"/v1/collections/{collection}/contents:report", late)).status == 409
    await report(api, collection, contents, "done")
    await evaluate(api, collection, "done")
    assert (await api.get(path))["status"] == "finished"
    after = (await api.get(f"/v1/collections/{collection}/contents"))["contents"]
    assert {c["id"]: c["parameters"] for c in after} == parameters
    assert {c["status"] for c in after} == {"done"}
    finished = await api.call("POST", f"{path}:retry")
    assert finished.status == 409
    assert "it finished" in finished.document["detail"]


async def test_what_cannot_be_retried_or_extended_says_what_to_do(api: Api) -> None:
    request = await api.submit()
    path = f"/v1/requests/{request}"
    runs = await api.call("POST", f"{path}:retry", {})
    assert (runs.status, "nothing to retry" in runs.document["detail"]) == (409, True)
    await api.post(f"{path}:suspend", {})
    suspended = await api.call("POST", f"{path}:retry", {})
    assert (suspended.status, "resume it" in suspended.document["detail"]) == (409, True)
    await api.post(f"{path}:cancel", {})
    ends = await api.call("POST", f"{path}:extend", {"lifetime_s": 5})
    assert (ends.status, "it ends anyway" in ends.document["detail"]) == (409, True)
    await api.advance()
    ended = await api.call("POST", f"{path}:extend", {"lifetime_s": 5})
    assert (ended.status, "retry it" in ended.document["detail"]) == (409, True)
    mallory = await api.new_token("mallory")
    for verb, body in (("retry", {}), ("extend", {"lifetime_s": None})):
        assert (await api.call("POST", f"{path}:{verb}", body, token=mallory)).status == 404


@pytest.mark.parametrize(
    ("verb", "body", "pointer"),
    [
        ("retry", {"lifetime_s": 0}, "/lifetime_s"),
        ("retry", {"lifetime_s": "1"}, "/lifetime_s"),
        ("retry", {"other": 1}, "/other"),
        ("extend", {"lifetime_s": -1}, "/lifetime_s"),
        ("extend", {"lifetime_s": 1e10}, "/lifetime_s"),
        ("extend", {}, "/lifetime_s"),
    ],
)
async def test_a_bad_lifetime_is_named(sqlite_url: str, verb: str, body: object, pointer: str) -> None:
    async with api_on(sqlite_url) as api:
        request = await api.submit()
        answer = await api.call("POST", f"/v1/requests/{request}:{verb}", body)
        assert (answer.status, answer.document["problems"][0]["pointer"]) == (422, pointer)


async def test_a_request_expires_and_is_given_more_time(api: Api) -> None:
    body = {"workflow": STUDY, "lifetime_s": 7200}
    made = await api.post("/v1/requests", body)
    assert made["expires_at"] == made["created_at"] + 7_200_000_000
    path = f"/v1/requests/{made['id']}"
    await api.advance()
    expiry = next(s for s in (await api.get(f"{path}/why"))["sentences"] if "expires" in s["text"])
    assert expiry["text"] in ("it expires in 2 h", "it expires in 120 min")
    assert (await api.post(f"{path}:extend", {"lifetime_s": None}))["expires_at"] is None
    assert (await api.post(f"{path}:extend", {"lifetime_s": NO_LONGER}))["expires_at"] is not None
    expiring = Expiring(api.database)
    while not await expiring.step():
        pass
    assert await expiring.due_in() is None
    over = await api.call("POST", f"{path}:extend", {"lifetime_s": 100})
    assert (over.status, "its time is over" in over.document["detail"]) == (409, True)
    await api.advance()
    ended = await api.get(path)
    assert (ended["status"], ended["intent"]) == ("expired", "expire")
    assert ended["reason"] == "its time was over before all was done"
    again = await api.post(f"{path}:retry", {"lifetime_s": 60})
    assert again["expires_at"] == again["changed_at"] + 60_000_000
    await api.advance()
    await evaluate(api, await api.input_of(made["id"]), "done")
    assert (await api.get(path))["status"] == "finished"


async def test_a_key_stands_for_all_that_was_sent_with_it(api: Api) -> None:
    body = {"workflow": STUDY, "share": "a", "priority": 1, "lifetime_s": 60}
    key = {"Idempotency-Key": "k"}
    assert (await api.call("POST", "/v1/requests", body, headers=key)).status == 201
    assert (await api.call("POST", "/v1/requests", body, headers=key)).status == 200
    for change in ({"share": "b"}, {"priority": 2}, {"lifetime_s": 61}, {"lifetime_s": None}):
        answer = await api.call("POST", "/v1/requests", {**body, **change}, headers=key)
        assert answer.status == 409, change
    # Each owner has keys of its own.
    token = await api.new_token("other")
    assert (await api.call("POST", "/v1/requests", body, token=token, headers=key)).status == 201


async def test_requests_are_found_by_what_they_are(api: Api) -> None:
    async def submit(name: str, share: str, token: str | None = None) -> int:
        body = {"workflow": {**STUDY, "name": name}, "share": share}
        number: int = (await api.post("/v1/requests", body, token=token))["id"]
        return number

    other = await api.new_token("other")
    wfms = await api.new_token("service", role=Role.WFMS)
    one, two = await submit("run 1", "x"), await submit("run 2", "y")
    three = await submit("scan", "x", other)
    await api.post(f"/v1/requests/{one}:cancel", {})
    await api.advance()

    async def found(query: str, token: str | None = wfms) -> list[int]:
        page = await api.get(f"/v1/requests?{query}", token=token)
        assert all("workflow" not in each for each in page["requests"])
        return [each["id"] for each in page["requests"]]

    assert await found("") == [three, two, one]
    assert await found("status=cancelled") == [one]
    assert await found("status=cancelled&status=running") == [three, two, one]
    assert await found("status=cancelled&status=running&limit=1&before=3") == [two]
    assert await found("owner=other") == [three]
    assert await found("owner=other", api.token) == []
    assert await found("share=x") == [three, one]
    assert await found("name=run") == [two, one]
    assert await found("name=run&share=x") == [one]
    for query, pointer in (("status=gone", "?status"), ("owner=a&owner=b", "?owner"), ("names=x", "?names")):
        answer = await api.call("GET", f"/v1/requests?{query}")
        assert (answer.status, answer.document["problems"][0]["pointer"]) == (422, pointer)


async def test_transforms_processings_and_history_are_read_each_for_itself(api: Api) -> None:
    request = await api.submit({"name": "w", "works": [STUDY["works"][0], ALONE, {**ALONE, "name": "b"}]})  # type: ignore[index]
    path = f"/v1/requests/{request}"
    transforms = (await api.get(f"{path}/transforms"))["transforms"]
    assert [transform["work"] for transform in transforms] == ["scan", "a", "b"]
    scan = await api.get(f"/v1/transforms/{transforms[0]['id']}")
    assert {key: scan[key] for key in transforms[0]} == transforms[0]
    assert [collection["source"] for collection in scan["collections"]] == ["samples"]
    page = await api.get(f"{path}/processings?limit=1")
    assert (len(page["processings"]), page["next"]) == (1, page["processings"][0]["id"])
    both = (await api.get(f"{path}/processings"))["processings"]
    assert [each["transform_id"] for each in both] == [transform["id"] for transform in transforms[1:]]
    [one] = (await api.get(f"{path}/processings?transform={transforms[2]['id']}&status=new"))["processings"]
    assert await api.get(f"/v1/processings/{one['id']}") == one
    assert (await api.get(f"{path}/processings?status=running&status=failed"))["processings"] == []

    collection = scan["collections"][0]["id"]
    [landed] = (await api.get(f"{path}/history?entity=collection:{collection}&with_ids=true"))["moves"]
    assert (landed["event"], landed["n"], len(landed["ids"])) == ("landed", 4, 4)
    [without] = (await api.get(f"{path}/history?entity=collection:{collection}"))["moves"]
    assert without == {**landed, "ids": None}
    assert (await api.get(f"{path}/history?entity=collection:999"))["moves"] == []
    assert (await api.call("GET", f"{path}/history?entity=x")).document["problems"][0]["pointer"] == "?entity"

    mallory = await api.new_token("mallory")
    for place in (
        f"{path}/transforms",
        f"/v1/transforms/{scan['id']}",
        f"/v1/processings/{one['id']}",
        f"{path}/history",
    ):
        assert (await api.call("GET", place, token=mallory)).status == 404, place
    for place in ("/v1/transforms/999", "/v1/processings/999", "/v1/requests/999/transforms"):
        assert (await api.call("GET", place)).status == 404, place


async def test_a_retry_is_in_the_audit_log_and_the_history(api: Api) -> None:
    request = await api.submit()
    path = f"/v1/requests/{request}"
    await api.post(f"{path}:extend", {"lifetime_s": 50})
    await api.post(f"{path}:cancel", {})
    await api.advance()
    await api.post(f"{path}:retry", {})
    operator = await api.new_token("operator", role=Role.OPERATOR)
    entries = (await api.get(f"/v1/audit?entity=request:{request}", token=operator))["entries"]
    details = {entry["action"]: entry["details"] for entry in entries}
    assert details["retry"] == {"works": ["scan"]}
    assert details["extend"]["expires_at"] > 0
    events = [move["event"] for move in (await api.get(f"{path}/history?entity=request:{request}"))["moves"]]
    assert events[-1] == "retried"
    assert "extended" in events

"""Contents through HTTP: leased, kept, reported, listed."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from idds.domain.content import NewContent
from idds.domain.identifiers import CollectionId
from idds.engine.transitions import ContentEvent
from idds.ports.wakeups import Channel
from tests.integration.api import STUDY, Api, api_on

DEADLINE_S = 20


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with api_on(database_url) as api:
        yield api


@pytest.fixture
async def collection(api: Api) -> str:
    """The path of a study's collection: 6 samples in all, 4 in flight."""
    return f"/v1/collections/{await api.input_of(await api.submit())}"


def reports(leased: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    report = {"status": "done", "objective_values": [0.5], **changes}
    return {"reports": [{"id": each["id"], "attempt": each["attempt"], **report} for each in leased]}


async def test_samples_are_leased_kept_and_reported(api: Api, collection: str) -> None:
    leased = await api.post(f"{collection}/contents:lease", {"lessee": "a", "count": 3, "ttl_s": 60})
    assert not leased["ended"]
    assert [(c["attempt"], c["path"], c["scope"]) for c in leased["contents"]] == [(1, None, "")] * 3
    assert all(0 <= c["parameters"]["x"] <= 1 and c["lease_until"] > 0 for c in leased["contents"])
    held = [{"id": c["id"], "attempt": 1} for c in leased["contents"]]
    stale = {"id": held[0]["id"] + 1000, "attempt": 1}
    kept = await api.post(f"{collection}/contents:heartbeat", {"held": [*held, stale], "ttl_s": 120})
    assert kept["held"] == [each["id"] for each in held]
    one = (await api.get(f"{collection}/contents?limit=1"))["contents"][0]
    assert one["lease_until"] > leased["contents"][0]["lease_until"]
    answer = await api.post(f"{collection}/contents:report", reports(leased["contents"]))
    assert answer["receipts"] == [{"id": each["id"], "verdict": "accepted"} for each in held]
    found = (await api.get(f"{collection}/contents?status=done"))["contents"]
    assert [(c["id"], c["objective_values"], c["lessee"]) for c in found] == [(h["id"], [0.5], "a") for h in held]


async def test_a_stale_report_is_refused(api: Api, collection: str) -> None:
    [content] = (await api.post(f"{collection}/contents:lease", {"lessee": "a"}))["contents"]
    failed = reports([content], status="failed", reason="no luck")
    assert (await api.post(f"{collection}/contents:report", failed))["receipts"][0]["verdict"] == "again"
    answer = await api.call("POST", f"{collection}/contents:report", failed)
    assert (answer.status, answer.document["type"]) == (409, "urn:idds:problem:stale-report")
    assert str(content["id"]) in answer.document["detail"]
    unknown = {**content, "id": content["id"] + 1000}
    answer = await api.call("POST", f"{collection}/contents:report", reports([unknown]))
    assert (answer.status, answer.document["type"]) == (404, "urn:idds:problem:no-content")
    assert answer.document["detail"].startswith(f"content {unknown['id']} is none of collection ")
    several = await api.post(f"{collection}/contents:report", reports([content, unknown], status="failed"))
    assert [receipt["verdict"] for receipt in several["receipts"]] == ["stale", "unknown"]


async def test_after_a_cancel_nothing_comes_again_whatever_others_hold(api: Api) -> None:
    request = await api.submit()
    collection = f"/v1/collections/{await api.input_of(request)}"
    order = {"lessee": "a", "count": 4, "ttl_s": 3000}
    held = (await api.post(f"{collection}/contents:lease", order))["contents"]
    assert len(held) == 4, "all that may be in flight"
    async with asyncio.timeout(DEADLINE_S):
        waiting = asyncio.create_task(api.post(f"{collection}/contents:lease", {"lessee": "b", "wait_s": 30}))
        await asyncio.sleep(0)
        await api.post(f"/v1/requests/{request}:cancel", {})
        await api.advance()
        assert (await waiting)["ended"], "who stood in line need not wait for what others hold"
        assert (await api.post(f"{collection}/contents:lease", order))["ended"]
        failed = await api.post(f"{collection}/contents:report", {**reports(held[:1], status="failed"), "lease": order})
    assert [each["verdict"] for each in failed["receipts"]] == ["accepted"], "it is not delivered once more"
    assert failed["ended"]
    done = await api.post(f"{collection}/contents:report", reports(held[1:3]))
    assert [each["verdict"] for each in done["receipts"]] == ["accepted", "accepted"], "what was found is taken"
    await api.post(f"{collection}/contents:return", {"held": [{"id": held[3]["id"], "attempt": 1}]})
    counts = (await api.get(collection))["counts"]
    assert {status: n for status, n in counts.items() if n} == {"done": 2, "cancelled": 2}
    await api.advance()
    assert (await api.get(f"/v1/requests/{request}"))["status"] == "cancelled"


async def test_the_next_is_leased_with_the_report_of_the_last(api: Api, collection: str) -> None:
    order = {"lessee": "a", "ttl_s": 60}
    [content] = (await api.post(f"{collection}/contents:lease", order))["contents"]
    done: list[int] = []
    ended = False
    async with asyncio.timeout(DEADLINE_S):
        while not ended:
            answer = await api.post(f"{collection}/contents:report", {**reports([content]), "lease": order})
            assert answer["receipts"] == [{"id": content["id"], "verdict": "accepted"}]
            done.append(content["id"])
            if not answer["contents"]:
                await api.advance()
                answer = await api.post(f"{collection}/contents:lease", order)
            ended = answer["ended"]
            content = answer["contents"][0] if answer["contents"] else None
    assert len(set(done)) == 6
    assert (await api.get(collection))["counts"]["done"] == 6


async def test_a_stale_report_does_not_lose_what_is_leased_with_it(api: Api, collection: str) -> None:
    [content] = (await api.post(f"{collection}/contents:lease", {"lessee": "a"}))["contents"]
    stale = {**reports([{**content, "attempt": 7}], status="failed"), "lease": {"lessee": "a", "count": 2}}
    answer = await api.post(f"{collection}/contents:report", stale)
    assert [receipt["verdict"] for receipt in answer["receipts"]] == ["stale"]
    assert len(answer["contents"]) == 2
    assert (await api.get(collection))["counts"]["leased"] == 3
    alone = await api.post(f"{collection}/contents:report", reports([content]))
    assert (alone["contents"], alone["ended"]) == ([], False)


async def test_a_failure_for_good_needs_no_second_try(api: Api, collection: str) -> None:
    [content] = (await api.post(f"{collection}/contents:lease", {"lessee": "a"}))["contents"]
    final = reports([content], status="failed", reason="cannot be evaluated", retry=False)
    assert (await api.post(f"{collection}/contents:report", final))["receipts"][0]["verdict"] == "accepted"
    [found] = (await api.get(f"{collection}/contents?status=failed"))["contents"]
    assert found["reason"] == "cannot be evaluated"


async def test_who_waits_is_served_when_something_comes(api: Api, collection: str) -> None:
    await api.post(f"{collection}/contents:lease", {"lessee": "a", "count": 4})
    assert await api.post(f"{collection}/contents:lease", {"lessee": "b"}) == {"contents": [], "ended": False}
    waiting = [
        asyncio.create_task(api.post(f"{collection}/contents:lease", {"lessee": f"w{n}", "wait_s": 20}))
        for n in range(2)
    ]
    held = (await api.get(f"{collection}/contents"))["contents"]
    await api.post(f"{collection}/contents:report", reports(held[:2]))
    async with asyncio.timeout(DEADLINE_S):
        while not all(task.done() for task in waiting):
            await api.advance()  # skips a request that is locked just now
            await asyncio.sleep(0.01)
        served = await asyncio.gather(*waiting)
    got = [content["id"] for answer in served for content in answer["contents"]]
    assert len(got) == len(set(got)) == 2


async def test_who_waits_with_a_token_that_is_revoked_gets_nothing(api: Api, collection: str) -> None:
    held = (await api.post(f"{collection}/contents:lease", {"lessee": "all", "count": 10}))["contents"]
    made = await api.post(f"{collection}:token", {"lifetime_s": 600})
    [its] = [each for each in (await api.get("/v1/tokens"))["tokens"] if each["collection"] is not None]
    order = {"lessee": "late", "wait_s": 20}
    call = api.call("POST", f"{collection}/contents:lease", order, token=made["token"])
    waiting = asyncio.create_task(call)
    async with asyncio.timeout(DEADLINE_S):
        while not any(task.get_name() == "contents waited for" for task in asyncio.all_tasks()):
            await asyncio.sleep(0)
        await api.post(f"/v1/tokens/{its['id']}:revoke", None)
        back = {"held": [{"id": each["id"], "attempt": each["attempt"]} for each in held]}
        await api.post(f"{collection}/contents:return", back)
        assert (await waiting).status == 401
    assert (await api.get(collection))["counts"]["leased"] == 0


async def test_consumers_learn_that_nothing_will_come(api: Api, collection: str) -> None:
    done: list[int] = []
    async with asyncio.timeout(DEADLINE_S):
        while True:
            leased = await api.post(f"{collection}/contents:lease", {"lessee": "a", "count": 10, "wait_s": 20})
            if leased["ended"]:
                break
            waiting = asyncio.create_task(api.post(f"{collection}/contents:lease", {"lessee": "b", "wait_s": 0.01}))
            assert not (await waiting)["ended"]
            await api.post(f"{collection}/contents:report", reports(leased["contents"]))
            done += [content["id"] for content in leased["contents"]]
            await api.advance()
    assert len(done) == 6
    assert (await api.get(collection))["is_closed"]


async def test_who_hung_up_leases_nothing(api: Api, collection: str) -> None:
    held = (await api.post(f"{collection}/contents:lease", {"lessee": "a", "count": 4}))["contents"]
    seen = api.wakeups.count(Channel.CONTENTS)
    waiting = asyncio.create_task(api.post(f"{collection}/contents:lease", {"lessee": "gone", "wait_s": 20}))
    async with asyncio.timeout(DEADLINE_S):
        while not _is_waited():
            await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await api.post(f"{collection}/contents:report", reports(held))
    async with asyncio.timeout(DEADLINE_S):
        while api.wakeups.count(Channel.CONTENTS) == seen:
            await api.advance()
        while _is_waited():
            await asyncio.sleep(0.01)
    assert (await api.get(collection))["counts"]["leased"] == 0


def _is_waited() -> bool:
    """Whether a lease waits for contents."""
    return any(_waits(task) for task in asyncio.all_tasks())


def _waits(task: asyncio.Task[Any]) -> bool:
    coroutine: Any = task.get_coro()
    while coroutine is not None:
        if getattr(coroutine, "__qualname__", "") == "LocalWakeups.wait":
            return True
        coroutine = getattr(coroutine, "cr_await", None)
    return False


async def test_a_payload_token_reaches_its_collection_only(api: Api, collection: str) -> None:
    answer = await api.call("POST", f"{collection}:token", {"lifetime_s": 600})
    assert answer.status == 201
    token = answer.document["token"]
    leased = await api.post(f"{collection}/contents:lease", {"lessee": "payload"}, token=token)
    await api.post(f"{collection}/contents:report", reports(leased["contents"]), token=token)
    other = f"/v1/collections/{await api.input_of(await api.submit())}"
    assert (await api.call("POST", f"{other}/contents:lease", {"lessee": "a"}, token=token)).status == 403
    assert (await api.call("GET", f"{collection}/contents", token=token)).status == 403
    assert (await api.call("GET", "/v1/requests", token=token)).status == 403
    number = (await api.get("/v1/tokens"))["tokens"][-1]["id"]
    await api.post(f"/v1/tokens/{number}:revoke", None)
    assert (await api.call("POST", f"{collection}/contents:lease", {"lessee": "a"}, token=token)).status == 401


async def test_contents_are_listed_in_pages_and_as_a_stream(api: Api, collection: str) -> None:
    number = CollectionId(int(collection.rpartition("/")[2]))
    async with api.database.transaction("test") as tx:
        found = await tx.collections.get(number)
        assert found is not None
        new = [NewContent(name=f"extra-{n:05d}", group_no=0) for n in range(4996)]
        await tx.contents.register(found, new, ContentEvent.LISTED)
    pages, after = [], 0
    while after is not None:
        page = await api.get(f"{collection}/contents?after={after}&limit=1500")
        pages.append(page["contents"])
        after = page["next"]
    assert [len(page) for page in pages] == [1500, 1500, 1500, 500]
    listed = [content for page in pages for content in page]
    streamed = await api.call("GET", f"{collection}/contents", headers={"Accept": "application/x-ndjson"})
    assert streamed.headers["Content-Type"] == "application/x-ndjson"
    assert streamed.headers["X-Request-Id"]
    assert [json.loads(line) for line in streamed.document.splitlines()] == listed
    rest = await api.call(
        "GET",
        f"{collection}/contents?status=available&after={listed[1]['id']}",
        headers={"Accept": "application/x-ndjson"},
    )
    assert [json.loads(line)["id"] for line in rest.document.splitlines()] == [c["id"] for c in listed[2:4]]


async def test_what_is_not_leased_this_way_is_told(api: Api) -> None:
    workflow = {"name": "w", "works": [{**STUDY["works"][0], "payload": {"argv": ["/bin/true"]}}]}  # type: ignore[dict-item,index]
    collection = f"/v1/collections/{await api.input_of(await api.submit(workflow))}"
    answer = await api.call("POST", f"{collection}/contents:lease", {"lessee": "a"})
    assert answer.status == 409
    assert "processings" in answer.document["detail"]


BAD_LEASES: list[tuple[dict[str, Any], str]] = [
    ({}, "/lessee"),
    ({"lessee": ""}, "/lessee"),
    ({"lessee": "processing:1"}, "/lessee"),
    ({"lessee": "a\0"}, "/lessee"),
    ({"lessee": "a", "count": 0}, "/count"),
    ({"lessee": "a", "count": True}, "/count"),
    ({"lessee": "a", "count": 10_001}, "/count"),
    ({"lessee": "a", "ttl_s": 0}, "/ttl_s"),
    ({"lessee": "a", "ttl_s": 1e300}, "/ttl_s"),
    ({"lessee": "a", "ttl_s": "60"}, "/ttl_s"),
    ({"lessee": "a", "wait_s": -1}, "/wait_s"),
    ({"lessee": "a", "bogus": 1}, "/bogus"),
]
GOOD = {"id": 1, "attempt": 1, "status": "done"}
BAD_REPORTS: list[tuple[Any, str]] = [
    ({"reports": []}, "/reports"),
    ({"reports": [{**GOOD, "status": "finished"}]}, "/reports/0/status"),
    ({"reports": [GOOD, {**GOOD, "id": "1"}]}, "/reports/1/id"),
    ({"reports": [{**GOOD, "id": 2**63}]}, "/reports/0/id"),
    ({"reports": [{**GOOD, "attempt": -1}]}, "/reports/0/attempt"),
    ({"reports": [{**GOOD, "objective_values": ["much"]}]}, "/reports/0/objective_values/0"),
    ({"reports": [{**GOOD, "objective_values": [1, float("inf")]}]}, "/reports/0/objective_values"),
    ({"reports": [{**GOOD, "objective_values": [True]}]}, "/reports/0/objective_values/0"),
    ({"reports": [{**GOOD, "reason": 1}]}, "/reports/0/reason"),
    ({"reports": [GOOD] * 10_001}, "/reports"),
    ({"reports": [GOOD], "lease": {}}, "/lease/lessee"),
    ({"reports": [GOOD], "lease": {"lessee": "processing:1"}}, "/lease/lessee"),
    ({"reports": [GOOD], "lease": {"lessee": "a", "count": 0}}, "/lease/count"),
    ({"reports": [GOOD], "lease": {"lessee": "a", "ttl_s": 1e300}}, "/lease/ttl_s"),
    ({"reports": [GOOD], "lease": {"lessee": "a", "wait_s": 1}}, "/lease/wait_s"),
    ({"reports": [{**GOOD, "objective_values": [1, 2]}], "lease": {"lessee": "a"}}, "/reports/0/objective_values"),
]
BAD_HEARTBEATS: list[tuple[Any, str]] = [
    ({"held": []}, "/held"),
    ({"held": [{"id": 1}]}, "/held/0/attempt"),
    ({"held": [{"id": 1, "attempt": 1}, {"id": 1, "attempt": 2}]}, "/held"),
    ({"held": [{"id": 1, "attempt": 1}], "ttl_s": -1}, "/ttl_s"),
]
BAD_TOKENS: list[tuple[Any, str]] = [({"lifetime_s": 0}, "/lifetime_s"), ({"lifetime_s": 1e12}, "/lifetime_s")]


async def test_bad_input_is_told_at_its_place_and_changes_nothing(api: Api, collection: str) -> None:
    await api.post(f"{collection}/contents:lease", {"lessee": "a"})
    before = await api.rows(), await api.get(f"{collection}/contents")
    for verb, bad in (
        ("/contents:lease", BAD_LEASES),
        ("/contents:report", BAD_REPORTS),
        ("/contents:heartbeat", BAD_HEARTBEATS),
        (":token", BAD_TOKENS),
    ):
        for body, pointer in bad:
            answer = await api.call(
                "POST", f"{collection}{verb}", data=json.dumps(body), headers={"Content-Type": "application/json"}
            )
            assert answer.status == 422, (verb, str(body)[:200], answer.document)
            assert pointer in [problem["pointer"] for problem in answer.document["problems"]], answer.document
    assert (await api.rows(), await api.get(f"{collection}/contents")) == before

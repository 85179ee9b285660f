"""Orders of many consumers served together: each has what it would have had alone, and nobody harms another."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event

from idds.domain.content import NewContent, Outcome
from idds.domain.errors import Conflict, InvalidInput, NotFound, Unavailable
from idds.domain.identifiers import CollectionId, ContentId
from idds.domain.request import Principal, Role
from idds.engine.transitions import ContentEvent
from idds.services.announcing import follow
from idds.services.delivery import Answer, GiveBack, Heartbeat, Kept, Lease, Leased, Report, Reported
from tests.integration.api import Api, api_on

OWNER = Principal("owner", "vo")
HOUR = 3600 * 10**6
REGISTERED = {"name": "files", "works": [{"name": "w", "input": {"registered": {}}}]}
DEADLINE_S = 20


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with api_on(database_url) as api:
        yield api


async def filled(api: Api, number: int, workflow: dict[str, Any] = REGISTERED) -> tuple[CollectionId, list[ContentId]]:
    """An open collection with so many contents that are available."""
    collection = CollectionId(await api.input_of(await api.submit(workflow)))
    async with api.database.transaction("test") as tx:
        found = await tx.collections.get(collection)
        assert found is not None
        new = [NewContent(name=f"f{n}", group_no=n) for n in range(number)]
        move = await tx.contents.register(found, new, ContentEvent.LANDED)
        await follow(tx, [move])
    return collection, [ContentId(content) for content in move.ids]


def lease(lessee: str, count: int = 1, principal: Principal = OWNER) -> Lease:
    return Lease(principal, count, HOUR, lessee)


def report(*contents: int, attempt: int = 1, done: bool = True, principal: Principal = OWNER, **more: Any) -> Report:
    return Report(principal, [Outcome(ContentId(content), attempt, done, **more) for content in contents])


def ids(answer: Answer | Exception | None) -> list[int]:
    assert isinstance(answer, Leased), answer
    return [delivered.content.id for delivered in answer.contents]


def verdicts(answer: Answer | Exception) -> list[str]:
    assert isinstance(answer, Reported), answer
    return [str(receipt.verdict) for receipt in answer.receipts]


async def test_each_gets_its_own_part_in_order(api: Api) -> None:
    collection, contents = await filled(api, 6)
    a, b, c, d = await api.doors.delivery.serve(collection, [lease("a", 2), lease("b", 3), lease("c", 5), lease("d")])
    assert [ids(each) for each in (a, b, c, d)] == [contents[:2], contents[2:5], contents[5:], []]
    assert isinstance(b, Leased)
    assert {(one.content.lessee, one.content.attempt) for one in b.contents} == {("b", 1)}
    mine = Heartbeat(OWNER, {contents[0]: 1, contents[2]: 9}, 2 * HOUR)
    other = Heartbeat(OWNER, {contents[2]: 1, contents[5]: 1}, 3 * HOUR)
    assert await api.doors.delivery.serve(collection, [mine, other]) == [
        Kept({contents[0]}, {}),
        Kept({contents[2], contents[5]}, {}),
    ]
    listed = (await api.get(f"/v1/collections/{collection}/contents"))["contents"]
    until = [one["lease_until"] for one in listed]
    assert until[1] == until[3] == until[4]
    assert 0.9 * HOUR < until[0] - until[1] < 1.9 * HOUR
    assert until[2] == until[5] == until[0] + HOUR


async def test_what_comes_back_makes_room_for_who_comes_with_it(api: Api) -> None:
    collection, contents = await filled(api, 3)
    await api.doors.delivery.serve(collection, [lease("a", 3)])
    orders = [
        lease("b", 3),
        report(contents[0], done=False, reason="no luck"),
        GiveBack(OWNER, {contents[1]: 1}),
        GiveBack(OWNER, {contents[1]: 1, contents[2]: 7}),
        report(contents[2]),
    ]
    leased, failed, given, again, done = await api.doors.delivery.serve(collection, orders)
    assert (verdicts(failed), verdicts(done)) == (["again"], ["accepted"])
    assert (given, again) == ({contents[1]}, set())
    assert ids(leased) == contents[:2]
    listed = (await api.get(f"/v1/collections/{collection}/contents"))["contents"]
    assert [(one["status"], one["attempt"]) for one in listed] == [("leased", 2), ("leased", 2), ("done", 1)]


async def test_who_reports_takes_the_next_in_the_same_step(api: Api) -> None:
    collection, contents = await filled(api, 4)
    [held] = await api.doors.delivery.serve(collection, [lease("a", 2)])
    assert ids(held) == contents[:2]
    orders = [
        replace(report(contents[0]), lease=lease("a")),
        lease("b", 2),
        replace(report(contents[1], done=False), lease=lease("c", 5)),
        report(contents[3], attempt=7),
    ]
    done, other, failed, stale = await api.doors.delivery.serve(collection, orders)
    assert [verdicts(each) for each in (done, failed, stale)] == [["accepted"], ["again"], ["stale"]]
    # What failed is delivered again, as the first; who only leases goes before those who had something until now.
    assert isinstance(done, Reported)
    assert isinstance(failed, Reported)
    assert isinstance(stale, Reported)
    assert [ids(other), ids(done.leased), ids(failed.leased)] == [contents[1:3], [contents[3]], []]
    assert stale.leased is None, "it asked for nothing"


async def test_what_a_report_gives_again_goes_to_somebody_else(api: Api) -> None:
    collection, contents = await filled(api, 4)
    await api.doors.delivery.serve(collection, [lease("a", 2)])
    fails = replace(report(*contents[:2], done=False), lease=lease("a", 1))
    [failed] = await api.doors.delivery.serve(collection, [fails])
    assert isinstance(failed, Reported)
    assert ids(failed.leased) == [contents[2]], "two came back that are older, and failed here just now"
    fails = replace(report(contents[2], done=False), lease=lease("a", 5))
    also = replace(report(contents[0], attempt=9), lease=lease("b", 1))
    failed, stale = await api.doors.delivery.serve(collection, [fails, also])
    assert isinstance(failed, Reported)
    assert isinstance(stale, Reported)
    assert [ids(failed.leased), ids(stale.leased)] == [[contents[0], contents[1], contents[3]], [contents[2]]]
    # With nothing else there, it is to be had by a lease, for which others may stand in line.
    [alone] = await api.doors.delivery.serve(
        collection, [replace(report(contents[2], attempt=2, done=False), lease=lease("b"))]
    )
    assert isinstance(alone, Reported)
    assert ids(alone.leased) == []
    [again] = await api.doors.delivery.serve(collection, [lease("b")])
    assert ids(again) == [contents[2]]


async def test_who_reports_leaves_to_those_in_line_what_they_wait_for(api: Api) -> None:
    collection, contents = await filled(api, 4)
    await api.doors.delivery.serve(collection, [lease("a", 1)])
    order = replace(report(contents[0]), lease=lease("a", 3))
    [reported] = await api.doors.delivery.serve(collection, [order], 2)
    assert isinstance(reported, Reported)
    assert (verdicts(reported), ids(reported.leased)) == (["accepted"], [contents[1]])
    order = replace(report(contents[1]), lease=lease("a", 3))
    reported, called = await api.doors.delivery.serve(collection, [order, lease("b")], 1)
    assert isinstance(reported, Reported)
    assert ids(reported.leased) == []
    assert ids(called) == [contents[2]]


async def test_a_report_that_is_refused_leases_nothing(api: Api) -> None:
    collection = CollectionId(await api.input_of(await api.submit()))
    [leased] = await api.doors.delivery.serve(collection, [lease("a")])
    misread = replace(report(*ids(leased), objective_values=(1.0, 2.0)), lease=lease("a"))
    stranger = Principal("stranger", "vo")
    theirs = replace(report(*ids(leased), principal=stranger), lease=lease("a", principal=stranger))
    refused, unseen = await api.doors.delivery.serve(collection, [misread, theirs])
    assert isinstance(refused, InvalidInput)
    assert isinstance(unseen, NotFound)
    assert (await api.get(f"/v1/collections/{collection}"))["counts"]["leased"] == 1


async def test_reports_of_one_content_are_judged_one_after_the_other(api: Api) -> None:
    collection, contents = await filled(api, 4)
    await api.doors.delivery.serve(collection, [lease("a", 4)])
    one, two, three, four = contents
    orders = [
        report(one, one),
        report(one),
        report(one, done=False),
        report(two, done=False),
        report(two, done=False),
        report(two),
        report(three, done=False, retry=False, reason="broken"),
        report(three),
        report(four, attempt=5),
        report(four, 10**9),
    ]
    answers = await api.doors.delivery.serve(collection, orders)
    assert [verdicts(answer) for answer in answers] == [
        ["accepted", "duplicate"],
        ["duplicate"],
        ["stale"],
        ["again"],
        ["stale"],
        ["stale"],
        ["accepted"],
        ["stale"],
        ["stale"],
        ["accepted", "unknown"],
    ]
    found = await api.get(f"/v1/collections/{collection}")
    assert {status: n for status, n in found["counts"].items() if n} == {"done": 2, "available": 1, "failed": 1}
    listed = (await api.get(f"/v1/collections/{collection}/contents"))["contents"]
    assert [c["reason"] for c in listed] == [None, None, "broken", None]


async def test_a_sample_that_failed_and_then_succeeded_in_one_group_is_done(api: Api) -> None:
    space = {"x": {"type": "float", "low": 0, "high": 1}}
    study = {
        "name": "study",
        "works": [{"name": "s", "input": {"samples": {"count": 2, "sampler": "random", "space": space}}}],
    }
    collection = CollectionId(await api.input_of(await api.submit(study)))
    [leased] = await api.doors.delivery.serve(collection, [lease("a", 2)])
    one, two = ids(leased)
    orders = [
        report(one, done=False),
        report(one, objective_values=(0.5,)),
        report(two, objective_values=(1.5,)),
        report(two, objective_values=(2.5,)),
    ]
    answers = await api.doors.delivery.serve(collection, orders)
    assert [verdicts(answer) for answer in answers] == [["again"], ["accepted"], ["accepted"], ["duplicate"]]
    listed = (await api.get(f"/v1/collections/{collection}/contents"))["contents"]
    assert [(c["status"], c["objective_values"]) for c in listed] == [("done", [0.5]), ("done", [1.5])]
    ref = ("collection", str(collection))
    async with api.database.snapshot() as tx:
        window = (await tx.windows.find([ref]))[ref]
    assert window.reserved_files == 0


async def test_each_caller_is_looked_at_apart(api: Api) -> None:
    collection, contents = await filled(api, 2)
    stranger = Principal("stranger", "vo")
    robot = Principal("robot", "vo", Role.WFMS)
    abroad = Principal("robot", "elsewhere", Role.WFMS)
    held = Principal("owner", "vo", shares=frozenset({"gold"}))
    callers = [stranger, OWNER, abroad, robot, held]
    orders: list[Any] = [lease(each.owner, 1, each) for each in callers]
    orders += [report(contents[0], attempt=1, principal=each) for each in (stranger, abroad)]
    refused, mine, far, robots, poor, *reports = await api.doors.delivery.serve(collection, orders)
    assert [ids(mine), ids(robots)] == [contents[:1], contents[1:]]
    assert all(isinstance(answer, NotFound) for answer in (refused, far, poor, *reports))
    assert (await api.get(f"/v1/collections/{collection}"))["counts"]["leased"] == 2


async def test_where_nothing_is_leased_each_is_told(api: Api) -> None:
    with_payload = {"name": "w", "works": [{**REGISTERED["works"][0], "payload": {"argv": ["/bin/true"]}}]}  # type: ignore[dict-item]
    collection = CollectionId(await api.input_of(await api.submit(with_payload)))
    answers = await api.doors.delivery.serve(collection, [lease("a"), report(1)])
    assert all(isinstance(answer, Conflict) for answer in answers)
    answers = await api.doors.delivery.serve(CollectionId(10**9), [lease("a"), report(1)])
    assert all(isinstance(answer, NotFound) for answer in answers)


async def test_a_crowd_at_one_collection_gets_each_content_once(api: Api) -> None:
    collection, contents = await filled(api, 60)
    path = f"/v1/collections/{collection}/contents"
    payload = (await api.post(f"/v1/collections/{collection}:token", {}))["token"]
    strangers = await api.new_token("stranger")

    async def consume(number: int) -> list[int]:
        token = payload if number % 2 else None
        done: list[int] = []
        while True:
            order = {"lessee": f"w{number}", "count": 1 + number % 3}
            leased = (await api.post(f"{path}:lease", order, token=token))["contents"]
            if not leased:
                return done
            reports = [{"id": one["id"], "attempt": one["attempt"], "status": "done"} for one in leased]
            receipts = (await api.post(f"{path}:report", {"reports": reports}, token=token))["receipts"]
            assert [receipt["verdict"] for receipt in receipts] == ["accepted"] * len(leased)
            done += [one["id"] for one in leased]

    async def intrude() -> list[int]:
        assert (await api.call("POST", f"{path}:lease", {"lessee": "s"}, token=strangers)).status == 404
        bad = {"reports": [{"id": contents[0], "attempt": 99, "status": "done"}]}
        assert (await api.call("POST", f"{path}:report", bad)).status == 409
        return []

    async with asyncio.timeout(DEADLINE_S * 3):
        got = await asyncio.gather(*(consume(n) for n in range(12)), *(intrude() for _ in range(12)))
    assert sorted(content for each in got for content in each) == contents
    assert (await api.get(f"/v1/collections/{collection}"))["counts"]["done"] == 60
    async with api.database.snapshot() as tx:
        found = await tx.collections.get(collection)
        assert found is not None
        messages = await tx.messages.of_request(found.request_id, after=0, limit=1000)
    assert [message.seq for message in messages] == list(range(1, len(messages) + 1))


async def test_all_of_a_group_are_told_that_the_database_is_away(api: Api) -> None:
    collection, contents = await filled(api, 4)
    path = f"/v1/collections/{collection}/contents"
    broken = True

    def fail(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if broken and statement.lstrip().startswith("UPDATE contents"):
            raise Unavailable("the disk is full")

    event.listen(api.database.sync_engine, "before_cursor_execute", fail)
    orders = [api.call("POST", f"{path}:lease", {"lessee": f"w{n}"}) for n in range(4)]
    answers = await asyncio.gather(*orders)
    assert {answer.status for answer in answers} == {503}
    broken = False
    answers = await asyncio.gather(*(api.call("POST", f"{path}:lease", {"lessee": f"w{n}"}) for n in range(4)))
    got = [one["id"] for answer in answers for one in answer.document["contents"]]
    assert sorted(got) == contents
    assert {one["attempt"] for answer in answers for one in answer.document["contents"]} == {1}


async def test_whose_order_breaks_the_group_breaks_alone(api: Api) -> None:
    collection, contents = await filled(api, 4)
    await api.doors.delivery.serve(collection, [lease("a", 4)])
    path = f"/v1/collections/{collection}/contents:report"

    def fail(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.lstrip().startswith("UPDATE contents") and "poison" in str(parameters):
            raise ZeroDivisionError

    event.listen(api.database.sync_engine, "before_cursor_execute", fail)
    bad = {"status": "failed", "reason": "poison", "retry": False}
    calls = [
        api.call("POST", path, {"reports": [{"id": content, "attempt": 1, **(bad if n == 1 else {"status": "done"})}]})
        for n, content in enumerate(contents)
    ]
    answers = await asyncio.gather(*calls)
    assert [answer.status for answer in answers] == [200, 500, 200, 200]
    listed = (await api.get(f"/v1/collections/{collection}/contents"))["contents"]
    assert [one["status"] for one in listed] == ["done", "leased", "done", "done"]


async def test_only_where_something_may_follow_is_a_request_advanced(api: Api) -> None:
    collection, contents = await filled(api, 3)
    await api.advance()
    await api.doors.delivery.serve(collection, [lease("a", 3)])
    await api.doors.delivery.serve(collection, [report(contents[0])])
    async with api.database.snapshot() as tx:
        assert await tx.requests.next_due() is None
    await api.post(f"/v1/collections/{collection}:close", None)
    await api.advance()
    await api.doors.delivery.serve(collection, [report(*contents[1:])])
    await api.advance()
    request = (await api.get(f"/v1/collections/{collection}"))["request"]
    assert (await api.get(f"/v1/requests/{request}"))["status"] == "finished"
    assert await api.doors.delivery.serve(collection, [lease("a")]) == [Leased((), has_ended=True)]


async def test_requests_submitted_together_are_recorded_each_for_its_owner(api: Api) -> None:
    other = await api.new_token("other")

    async def submit(token: str | None, key: str | None, name: str, call: str) -> Any:
        headers = {"X-Request-Id": call, **({"Idempotency-Key": key} if key else {})}
        body = {"workflow": {**REGISTERED, "name": name}}
        return await api.call("POST", "/v1/requests", body, token=token, headers=headers)

    answers = await asyncio.gather(
        submit(None, None, "a", "call-a"),
        submit(other, None, "b", "call-b"),
        submit(None, "key", "c", "call-c"),
        submit(None, "key", "c", "call-d"),
        submit(None, "key", "changed", "call-e"),
        submit(other, "key", "f", "call-f"),
        submit(None, None, "", "call-g"),
    )
    assert [answer.status for answer in answers] == [201, 201, 201, 200, 409, 201, 422]
    owners = [answer.document.get("owner") for answer in answers]
    assert owners == ["owner", "other", "owner", "owner", None, "other", None]
    assert answers[2].document["id"] == answers[3].document["id"]
    async with api.database.snapshot() as tx:
        entries = {entry.call: entry for entry in await tx.audit.page() if entry.action == "submit"}
    ids = {f"call-{letter}": answers[n].document["id"] for n, letter in ((0, "a"), (1, "b"), (2, "c"), (5, "f"))}
    assert {call: entry.entity for call, entry in entries.items()} == {c: f"request:{i}" for c, i in ids.items()}


async def test_requests_shown_together_are_each_looked_at_by_who_may(api: Api) -> None:
    mine = await api.submit(REGISTERED)
    second = await api.submit(REGISTERED)
    other = await api.new_token("other")
    paths = [f"/v1/requests/{number}" for number in (mine, second, 10**9)]
    answers = await asyncio.gather(*(api.call("GET", path, token=token) for token in (None, other) for path in paths))
    assert [answer.status for answer in answers] == [200, 200, 404, 404, 404, 404]
    for number, answer in zip((mine, second), answers[:2], strict=True):
        assert answer.document["id"] == number
        assert [one["request"] for one in answer.document["collections"]] == [number]
        assert [one["work"] for one in answer.document["transforms"]] == ["w"]


def test_what_is_leased_with_a_report_counts_as_work() -> None:
    """A report of one that leased thousands ran as a brief one: with SQLite on the event loop."""
    assert replace(report(1, 2), lease=lease("a", 500)).size == 502


async def test_who_takes_the_next_with_each_report_does_not_pass_those_who_wait_for_ever(api: Api) -> None:
    """Two contents that fail again and again, and eight who want them: each has its turn."""
    attempts = 40
    work = {**REGISTERED["works"][0], "attempts": attempts}  # type: ignore[dict-item]
    collection, _ = await filled(api, 2, {"name": "files", "works": [work]})
    await api.post(f"/v1/collections/{collection}:close", None)
    path = f"/v1/collections/{collection}/contents"
    turns: list[int] = []

    async def evaluate(number: int) -> None:
        following = {"lessee": f"w{number}", "ttl_s": 600}
        leased: dict[str, Any] = {"contents": [], "ended": False}
        while not leased["ended"]:
            if not leased["contents"]:
                leased = await api.post(f"{path}:lease", {**following, "wait_s": 20})
                continue
            [one] = leased["contents"]
            turns.append(number)
            outcome = {"id": one["id"], "attempt": one["attempt"], "status": "failed"}
            leased = await api.post(f"{path}:report", {"reports": [outcome], "lease": following})

    async with asyncio.timeout(DEADLINE_S * 3):
        await asyncio.gather(*(evaluate(number) for number in range(8)))
    assert len(turns) == 2 * attempts
    assert max(gap for number in range(8) for gap in _gaps(turns, number)) <= 3 * 8, turns


def _gaps(turns: list[int], number: int) -> list[int]:
    """How many turns of others each of its own came after, and how many after its last."""
    at = [-1, *(place for place, each in enumerate(turns) if each == number), len(turns)]
    return [later - earlier - 1 for earlier, later in itertools.pairwise(at)]

"""Studies that are redefined while they run: what was found counts where it fits, what waits is replaced."""

import asyncio
from typing import Any

import pytest

from idds.domain.identifiers import CollectionId
from idds.domain.request import Principal, Role
from idds.services import redefining as service
from idds.store import studies as store
from idds.store.documents import read_parameter
from tests.integration.api import Api, api_on
from tests.integration.test_studies import evaluate, study

BOWL = {"x": {"type": "float", "low": -5, "high": 5}, "n": {"type": "int", "low": 1, "high": 64, "log": True}}
NARROWED = [{"change": "narrow", "parameter": "x", "low": 1, "high": 4}]


async def redefine(api: Api, study: int, changes: list[dict[str, Any]], **more: Any) -> Any:
    return await api.post(f"/v1/studies/{study}:redefine", {"changes": changes, "reason": "test", **more})


async def some(api: Api, collection: int, number: int) -> list[dict[str, Any]]:
    """Lease so many, and report on them; the samples."""
    path, found = f"/v1/collections/{collection}/contents", []
    while len(found) < number:
        leased = (await api.post(f"{path}:lease", {"count": 1, "lessee": "test"}))["contents"]
        assert leased, "the study stands still"
        values = [(leased[0]["parameters"]["x"] - 2) ** 2]
        report = {"id": leased[0]["id"], "attempt": 1, "status": "done", "objective_values": values}
        await api.post(f"{path}:report", {"reports": [report]})
        found += leased
        await api.advance()
    return found


async def test_what_is_drawn_afterwards_is_of_the_new_version(database_url: str) -> None:
    async with api_on(database_url) as api:
        for sampler in ("tpe", "cmaes", "nsgaii", "random", "qmc"):
            request = await api.submit(study(sampler=sampler, space=BOWL, count=16))
            await _narrowed(api, request)


async def _narrowed(api: Api, request: int) -> None:
    collection = await api.input_of(request)
    before = await some(api, collection, 8)
    version = await redefine(api, collection, NARROWED, if_version=1)
    assert (version["version"], version["parent"]) == (2, 1)
    assert version["space"]["x"]["low"] == 1
    await api.advance()
    after = await evaluate(api, collection)
    assert all(1 <= each["parameters"]["x"] <= 4 for each in after)
    assert (await api.get(f"/v1/requests/{request}"))["status"] == "finished"
    # As many as were wanted came to an end; those in whose place others were drawn are told as cancelled.
    counts = (await api.get(f"/v1/collections/{collection}"))["counts"]
    assert counts["done"] == 16 == len(before) + len(after)
    listed = await api.get(f"/v1/collections/{collection}/contents", params={"status": "cancelled"})
    assert all(each["reason"] == "version 2 of its study has no such sample" for each in listed["contents"])


async def test_a_redefinition_reads_no_spaces_but_the_newest(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a study with a large space hundreds of them would not fit into memory."""
    read: list[int] = []
    async with api_on(sqlite_url) as api:
        collection = await api.input_of(await api.submit(study(sampler="random", space=BOWL, count=16)))
        monkeypatch.setattr(store, "read_parameter", lambda it: (read.append(1), read_parameter(it))[1])
        spaces = []
        for n in range(6):
            read.clear()
            await redefine(api, collection, [{"change": "narrow", "parameter": "x", "low": n / 2}])
            spaces.append(len(read))
    assert spaces[-1] == spaces[1] > 0


async def test_results_that_fit_are_told_and_late_ones_are_knowledge(database_url: str) -> None:
    async with api_on(database_url) as api:
        collection = await api.input_of(await api.submit(study(space=BOWL, count=30)))
        path = f"/v1/collections/{collection}/contents"
        held = (await api.post(f"{path}:lease", {"count": 1, "lessee": "slow"}))["contents"][0]
        await some(api, collection, 8)
        await redefine(api, collection, NARROWED)
        await redefine(api, collection, [{"change": "fix", "parameter": "n", "value": 8}])
        report = {"id": held["id"], "attempt": 1, "status": "done", "objective_values": [1.0]}
        receipts = (await api.post(f"{path}:report", {"reports": [report]}))["receipts"]
        assert [each["verdict"] for each in receipts] == ["accepted"]
        await api.advance()
        found = await some(api, collection, 3)
        assert {each["parameters"]["n"] for each in found} == {8}
        async with api.database.snapshot() as tx:
            _, known = await tx.samples.news(CollectionId(collection), None)
        assert sum(each.state == "done" for each in known) == 12
        assert {each.version for each in known} == {1, 3}


async def test_versions_tell_what_was_and_why(database_url: str) -> None:
    async with api_on(database_url) as api:
        request = await api.submit(study(space=BOWL))
        collection = await api.input_of(request)
        await redefine(api, collection, NARROWED)
        await redefine(api, collection, [{"change": "constrain", "expression": "x < 3.0"}])
        page = await api.get(f"/v1/studies/{collection}/versions", params={"limit": "2"})
        assert [each["version"] for each in page["versions"]] == [1, 2]
        rest = await api.get(f"/v1/studies/{collection}/versions", params={"after": str(page["next"])})
        assert [(each["version"], each["constraints"]) for each in rest["versions"]] == [(3, ["x < 3.0"])]
        assert rest["next"] is None
        assert rest["versions"][0]["changes"] == [{"change": "constrain", "expression": "x < 3.0"}]
        moves = (await api.get(f"/v1/requests/{request}/history"))["moves"]
        told = [
            (each["from_status"], each["to_status"], each["reason"]) for each in moves if each["event"] == "redefined"
        ]
        assert told == [("version 1", "version 2", "test"), ("version 2", "version 3", "test")]
        (transform,) = (await api.get(f"/v1/requests/{request}/why"))["transforms"]
        assert "its space is version 3: test" in [each["text"] for each in transform["sentences"]]


WRONG = [
    ([{"change": "narrow", "parameter": "y", "low": 1}], "/changes/0/parameter", "there is no parameter 'y'"),
    ([{"change": "narrow", "parameter": "x", "low": -6}], "/changes/0/low", "low is -5"),
    ([{"change": "widen", "parameter": "x", "high": 4}], "/changes/0/high", "high is 5"),
    ([{"change": "fix", "parameter": "n", "value": 100}], "/changes/0/value", "'n' never has this value"),
    ([{"change": "constrain", "expression": "y > 1"}], "/changes/0/expression", "there is no parameter 'y'"),
    (
        [*NARROWED, {"change": "constrain", "expression": "x > 4.5"}],
        "/changes/1/expression",
        "none of 1,000 points that were drawn fulfils it",
    ),
    ([{"change": "shrink", "parameter": "x"}], "/changes/0", ""),
    ([], "/changes", ""),
]


async def test_what_cannot_be_is_refused_at_its_place_and_changes_nothing(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        request = await api.submit(study(space=BOWL))
        collection = await api.input_of(request)
        before = await api.rows()
        path = f"/v1/studies/{collection}:redefine"
        for changes, place, message in WRONG:
            answer = await api.call("POST", path, {"changes": changes, "reason": "test"})
            assert answer.status == 422, answer.document
            assert [each["pointer"] for each in answer.document["problems"]] == [place]
            assert message in answer.document["problems"][0]["message"]
        answer = await api.call("POST", path, {"changes": NARROWED, "reason": "test", "if_version": 2})
        assert (answer.status, "has version 1" in answer.document["detail"]) == (409, True)
        assert await api.rows() == before
        await api.post(f"/v1/requests/{request}:cancel", None)
        await api.advance()
        answer = await api.call("POST", path, {"changes": NARROWED, "reason": "test"})
        assert answer.status == 409


async def test_of_several_who_redefine_at_a_time_each_has_a_version_of_the_one_before(database_url: str) -> None:
    async with api_on(database_url) as api:
        collection = await api.input_of(await api.submit(study(space=BOWL, sampler="random")))
        parts = [{"change": "narrow", "parameter": "x", end: bound} for end, bound in (("low", -4), ("high", 4))]
        made = await asyncio.gather(*(redefine(api, collection, [each]) for each in parts))
        assert sorted((each["version"], each["parent"]) for each in made) == [(2, 1), (3, 2)]
        last = max(made, key=lambda each: each["version"])["space"]["x"]
        assert (last["low"], last["high"]) == (-4, 4)
        path, body = f"/v1/studies/{collection}:redefine", {"reason": "test", "if_version": 3}
        bodies = [{**body, "changes": [{"change": "fix", "parameter": "n", "value": value}]} for value in (1, 2)]
        answers = await asyncio.gather(*(api.call("POST", path, each) for each in bodies))
        assert sorted(each.status for each in answers) == [200, 409]


async def test_a_closed_study_is_opened_again_for_what_takes_the_place_of_what_waits(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        document = study(sampler="random", space=BOWL, count=8)
        request = await api.submit(document)
        collection = await api.input_of(request)
        assert (await api.get(f"/v1/collections/{collection}"))["is_closed"]
        await redefine(api, collection, [{"change": "narrow", "parameter": "x", "low": 4.5}])
        await api.advance()
        found = await evaluate(api, collection)
        assert len(found) == 8
        assert all(each["parameters"]["x"] >= 4.5 for each in found)
        assert (await api.get(f"/v1/requests/{request}"))["status"] == "finished"


async def test_who_reads_versions_is_not_told_which_operator_made_them(database_url: str) -> None:
    async with api_on(database_url) as api:
        collection = await api.input_of(await api.submit(study(sampler="random", space=BOWL, count=4)))
        token = await api.new_token("somebody", "vo", role=Role.OPERATOR)
        await redefine(api, collection, NARROWED)
        made = {"changes": [{"change": "constrain", "expression": "x < 3.0"}], "reason": "test"}
        await api.post(f"/v1/studies/{collection}:redefine", made, token=token)
        found = (await api.get(f"/v1/studies/{collection}/versions"))["versions"]
        assert [each["author"] for each in found] == ["owner", "owner", "an operator"]


async def test_a_page_of_versions_ends_where_they_are_long(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred versions of a large study were a hundred megabytes in one answer."""
    monkeypatch.setattr(service, "PAGE", 2000)
    kinds = {"type": "categorical", "choices": [f"kind-{n:03}" for n in range(100)]}
    async with api_on(database_url) as api:
        collection = await api.input_of(await api.submit(study(sampler="random", space={**BOWL, "kind": kinds})))
        for n in range(5):
            await redefine(api, collection, [{"change": "narrow", "parameter": "x", "low": n / 2}])
        path = f"/v1/studies/{collection}/versions"
        seen, pages, after = [], 0, 0
        while after is not None:
            page = await api.get(path, params={"after": str(after), "limit": "4"})
            seen += [each["version"] for each in page["versions"]]
            assert page["next"] is None or page["next"] == seen[-1]
            after, pages = page["next"], pages + 1
        assert seen == [1, 2, 3, 4, 5, 6]
        assert pages == 3, "the first that was submitted and two more, or two: the second makes it full"
        monkeypatch.setattr(service, "PAGE", 4_000_000)
        owner = Principal("owner", "vo")
        for limit, expected in ((2, [5, 6]), (5, [2, 3, 4, 5, 6]), (6, [1, 2, 3, 4, 5, 6]), (9, [1, 2, 3, 4, 5, 6])):
            newest = await api.doors.redefining.newest(owner, CollectionId(collection), limit=limit)
            assert [each.version for each in newest] == expected
        assert (await api.get(path, params={"limit": "1"}))["next"] == 1
        assert await api.get(path, params={"after": "6"}) == {"versions": [], "next": None}


async def test_a_study_has_only_so_many_versions_of_a_large_space(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_WRITTEN", 800)
    async with api_on(sqlite_url) as api:
        collection = await api.input_of(await api.submit(study(sampler="random", space=BOWL)))
        answers = [
            await api.call(
                "POST",
                f"/v1/studies/{collection}:redefine",
                {"changes": [{"change": "narrow", "parameter": "x", "low": n / 4}], "reason": "test"},
            )
            for n in range(4)
        ]
        statuses = [each.status for each in answers]
        assert statuses == sorted(statuses)
        assert {200, 409} == set(statuses)
        assert "versions of so large a space" in answers[-1].document["detail"]
        assert await versions_of(api, collection) == 1 + statuses.count(200)


async def versions_of(api: Api, collection: int) -> int:
    return int((await api.get(f"/v1/studies/{collection}"))["version"])


async def test_of_very_many_that_wait_some_are_looked_at_and_the_rest_replaced(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "MOST_LOOKED_AT", 5)
    async with api_on(sqlite_url) as api:
        request = await api.submit(study(sampler="random", space=BOWL, count=8))
        collection = await api.input_of(request)
        waiting = (await api.get(f"/v1/collections/{collection}/contents"))["contents"]
        assert len(waiting) == 8
        await redefine(api, collection, [{"change": "widen", "parameter": "x", "high": 6}])
        await api.advance()
        listed = (await api.get(f"/v1/collections/{collection}/contents"))["contents"]
        cancelled = [each["id"] for each in listed if each["status"] == "cancelled"]
        assert cancelled == [each["id"] for each in waiting[5:]]
        await evaluate(api, collection)
        assert (await api.get(f"/v1/collections/{collection}"))["counts"]["done"] == 8


async def test_what_comes_to_wait_while_misfits_are_looked_for_is_looked_at_too(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are looked for before anybody is kept waiting; a sample may be given back meanwhile."""
    judged, lookers = service._judged, list[int]()
    async with api_on(database_url) as api:
        collection = await api.input_of(await api.submit(study(sampler="random", space=BOWL, count=20, seed=3)))
        path = f"/v1/collections/{collection}/contents"
        held = (await api.post(f"{path}:lease", {"count": 20, "lessee": "test"}))["contents"]
        outside = [each for each in held if not 1 <= each["parameters"]["x"] <= 4]
        first, late = outside[:2], outside[2:4]

        async def give_back(some: list[Any]) -> None:
            returned = [{"id": each["id"], "attempt": each["attempt"]} for each in some]
            await api.post(f"{path}:return", {"held": returned})

        loop = asyncio.get_running_loop()

        def slowly(waiting: Any, *more: Any) -> Any:
            lookers.append(len(waiting))
            if len(lookers) == 1:
                asyncio.run_coroutine_threadsafe(give_back(late), loop).result(30)
            return judged(waiting, *more)

        await give_back(first)
        monkeypatch.setattr(service, "_judged", slowly)
        await redefine(api, collection, NARROWED)
        assert lookers == [2, 2]
        listed = await api.get(path, params={"status": "cancelled"})
        assert {each["id"] for each in listed["contents"]} == {each["id"] for each in (*first, *late)}

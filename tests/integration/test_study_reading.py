"""Studies as they are read: what they are, how far, their samples one by one, and the best of them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import insert, update

from idds.store import study_listings
from idds.store.schema import intermediates, samples
from tests.integration.api import Api, api_on

SPACE = {"x": {"type": "float", "low": -5, "high": 5}, "kind": {"type": "categorical", "choices": ["a", "b"]}}
NDJSON = {"Accept": "application/x-ndjson"}


def workflow(**changes: Any) -> dict[str, Any]:
    given = {"count": 12, "sampler": "random", "space": SPACE, **changes}
    return {"name": "search", "works": [{"name": "scan", "input": {"samples": given}, "attempts": 1}]}


def values(point: Mapping[str, Any], objectives: int) -> list[float]:
    return [(point["x"] - 2) ** 2, point["x"] ** 2][:objectives]


async def evaluate(api: Api, study: int, *, n: int, objectives: int = 1, failing: Sequence[int] = ()) -> None:
    path = f"/v1/collections/{study}/contents"
    for number in range(n):
        (content,) = (await api.post(f"{path}:lease", {"lessee": "test"}))["contents"]
        report: dict[str, Any] = {"id": content["id"], "attempt": content["attempt"], "status": "done"}
        if number in failing:
            report |= {"status": "failed", "reason": "bad luck"}
        else:
            report["objective_values"] = values(content["parameters"], objectives)
        await api.post(f"{path}:report", {"reports": [report]})
        await api.advance()


async def test_a_study_tells_what_it_is_and_what_it_found(database_url: str) -> None:
    async with api_on(database_url) as api:
        request = await api.submit(workflow(constraints=["x < 4.5"]))
        study = await api.input_of(request)
        await evaluate(api, study, n=9, failing=[3])
        told = await api.get(f"/v1/studies/{study}")
        assert (told["id"], told["request"], told["name"], told["work"]) == (study, request, "search", "scan")
        assert (told["owner"], told["status"], told["sampler"], told["wanted"]) == ("owner", "running", "random", 12)
        assert (told["version"], told["directions"], told["ended_at"]) == (1, ["minimize"], None)
        assert told["definition"]["space"]["x"]["high"] == 5
        assert told["definition"]["constraints"] == ["x < 4.5"]
        assert {status: n for status, n in told["counts"].items() if n} == {"done": 8, "failed": 1, "available": 3}
        assert told["origins"] == {"sampler": 12}
        assert (told["fallback_share"], told["pruned"]) == (0, 0)
        assert told["rate"]["ended"] == 9
        listed = (await api.get(f"/v1/studies/{study}/samples"))["samples"]
        done = [each for each in listed if each["status"] == "done"]
        (best,) = told["best"]
        assert told["n_best"] == 1
        assert best == min(done, key=lambda each: each["objective_values"][0])
        assert best["objective_values"] == values(best["parameters"], 1)
        ordered = (await api.get(f"/v1/studies/{study}/best?limit=3"))["samples"]
        assert ordered == sorted(done, key=lambda each: each["objective_values"][0])[:3]
        await evaluate(api, study, n=3)
        ended = await api.get(f"/v1/studies/{study}")
        assert ended["status"] == "subfinished"
        assert ended["ended_at"] >= ended["created_at"]


async def test_studies_are_listed_newest_first_for_who_may_see_them(database_url: str) -> None:
    async with api_on(database_url) as api:
        requests = [await api.submit(workflow(count=n)) for n in (1, 2, 3)]
        carousel = {"name": "other", "works": [{"name": "w", "input": {"registered": {}}}]}
        await api.submit(carousel)
        page = await api.get("/v1/studies?limit=2")
        assert [each["wanted"] for each in page["studies"]] == [3, 2]
        rest = await api.get(f"/v1/studies?before={page['next']}")
        assert ([each["wanted"] for each in rest["studies"]], rest["next"]) == ([1], None)
        (only,) = (await api.get(f"/v1/studies?request={requests[1]}"))["studies"]
        assert only["wanted"] == 2
        stranger = await api.new_token("stranger")
        assert (await api.get("/v1/studies", token=stranger))["studies"] == []
        registered = await api.input_of(requests[-1] + 1)
        for study, token in ((registered, api.token), (only["id"], stranger), (10**9, api.token)):
            for path in ("", "/samples", "/samples/0", "/best"):
                assert (await api.call("GET", f"/v1/studies/{study}{path}", token=token)).status == 404, path


async def test_samples_are_turned_by_pages_and_streamed_as_lines(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_listings, "LOOKED_THROUGH", 5)
    async with api_on(database_url) as api:
        study = await api.input_of(await api.submit(workflow(count=20)))
        await evaluate(api, study, n=14, failing=[0, 1, 12])
        path = f"/v1/studies/{study}/samples"
        everything = await pages(api, path, "limit=3")
        assert [each["number"] for each in everything] == list(range(len(everything)))
        failed = await pages(api, path, "status=failed&limit=2")
        assert [each["number"] for each in failed] == [0, 1, 12]
        assert {each["reason"] for each in failed} == {"bad luck"}
        assert await pages(api, path, "version=2&limit=2") == []
        assert await pages(api, path, "version=1&limit=9") == everything
        for query, meant in (("", everything), ("?status=failed", failed), ("?after=11&status=failed", failed[2:])):
            answer = await api.call("GET", path + query, headers=NDJSON)
            assert [json.loads(line) for line in answer.document.splitlines()] == meant
        assert (await api.call("GET", f"{path}?status=odd")).status == 422


async def pages(api: Api, path: str, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = -1
    while True:
        page = await api.get(f"{path}?{query}&after={after}")
        found += page["samples"]
        if page["next"] is None:
            return found
        assert page["next"] > after
        after = page["next"]


async def test_a_sample_tells_what_was_said_of_it_on_its_way(database_url: str) -> None:
    async with api_on(database_url) as api:
        study = await api.input_of(await api.submit(workflow()))
        await evaluate(api, study, n=2)
        first, second = [await api.get(f"/v1/studies/{study}/samples/{number}") for number in (0, 1)]
        rows = [{"content_id": second["sample"]["id"], "study_id": study, "step": 10 - n, "value": n} for n in range(3)]
        async with api.database.transaction("test") as tx:
            await tx.connection.execute(insert(intermediates), [{**row, "at": tx.now} for row in rows])
        again = await api.get(f"/v1/studies/{study}/samples/1")
        assert (first["intermediates"], again["sample"]) == ([], second["sample"])
        assert [(each["step"], each["value"]) for each in again["intermediates"]] == [(8, 2), (9, 1), (10, 0)]
        assert (again["sample"]["origin"], again["sample"]["attempt"], again["sample"]["is_pruned"]) == (
            "sampler",
            1,
            False,
        )
        assert (await api.call("GET", f"/v1/studies/{study}/samples/99")).status == 404


async def test_the_best_of_several_objectives_is_their_front(database_url: str) -> None:
    async with api_on(database_url) as api:
        study = await api.input_of(await api.submit(workflow(count=40, directions=["minimize", "maximize"])))
        await evaluate(api, study, n=30, objectives=2)
        told = await api.get(f"/v1/studies/{study}")
        done = [s for s in await pages(api, f"/v1/studies/{study}/samples", "") if s["status"] == "done"]
        front = [s for s in done if not any(beats(o["objective_values"], s["objective_values"]) for o in done)]
        meant = sorted(front, key=lambda each: each["objective_values"][0])
        assert 1 < len(meant) < 30
        assert (told["best"], told["n_best"]) == (meant, len(meant))
        assert (await api.get(f"/v1/studies/{study}/best?limit=2"))["samples"] == meant[:2]


def beats(one: Sequence[float], other: Sequence[float]) -> bool:
    """The first is to be small, the second large."""
    return one != other and one[0] <= other[0] and one[1] >= other[1]


async def test_results_that_are_not_feasible_do_not_compete(database_url: str) -> None:
    async with api_on(database_url) as api:
        study = await api.input_of(await api.submit(workflow()))
        await evaluate(api, study, n=6)
        ordered = (await api.get(f"/v1/studies/{study}/best"))["samples"]
        async with api.database.transaction("test") as tx:
            unfit = samples.c.content_id == ordered[0]["id"]
            await tx.connection.execute(update(samples).where(unfit).values(score=None, constraint_values=[0.5]))
        left = (await api.get(f"/v1/studies/{study}/best"))["samples"]
        assert left == ordered[1:]
        unfit_sample = (await api.get(f"/v1/studies/{study}/samples/{ordered[0]['number']}"))["sample"]
        assert unfit_sample["constraint_values"] == [0.5]

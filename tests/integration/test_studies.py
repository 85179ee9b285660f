"""Studies end to end: a sampler is asked, payloads lease and report, the sampler hears of it and is asked again."""

import statistics
from collections.abc import Mapping
from typing import Any

from idds.domain.identifiers import CollectionId
from tests.integration.api import Api, api_on

SPACE = {
    "x": {"type": "float", "low": -5, "high": 5},
    "n": {"type": "int", "low": 1, "high": 64, "log": True},
    "kind": {"type": "categorical", "choices": ["bowl", "plane"]},
    "tilt": {"type": "float", "low": 0, "high": 1, "when": {"parameter": "kind", "values": ["plane"]}},
}
PLAIN = {name: SPACE[name] for name in ("x", "n")}
BUDGET = 40


def study(**changes: Any) -> dict[str, Any]:
    samples = {"count": BUDGET, "space": SPACE, **changes}
    return {"name": "study", "works": [{"name": "scan", "input": {"samples": samples, "window": {"files": 10}}}]}


def loss(point: Mapping[str, Any]) -> float:
    """Least, 0, at x = 2 and n = 8 in the bowl."""
    value = (point["x"] - 2) ** 2 + abs(point["n"] - 8) / 8
    return float(value + (1 + point["tilt"] if point.get("kind") == "plane" else 0))


async def evaluate(api: Api, collection: int, *, failing: int = 0) -> list[dict[str, Any]]:
    """Lease and report until nothing comes any more; the contents, with `loss`. Each `failing`th fails."""
    path, done = f"/v1/collections/{collection}/contents", []
    while not (leased := await api.post(f"{path}:lease", {"count": 2, "lessee": "test"}))["ended"]:
        assert leased["contents"], "the study stands still"
        reports = []
        for content in leased["contents"]:
            done.append({**content, "loss": loss(content["parameters"])})
            report = {"id": content["id"], "attempt": content["attempt"]}
            if failing and len(done) % failing == 0:
                reports.append({**report, "status": "failed", "reason": "bad luck", "retry": False})
            else:
                reports.append({**report, "status": "done", "objective_values": [done[-1]["loss"]]})
        receipts = (await api.post(f"{path}:report", {"reports": reports}))["receipts"]
        assert {receipt["verdict"] for receipt in receipts} == {"accepted"}
        await api.advance()
    return done


async def typical_of(api: Api, sampler: str, seed: int) -> float:
    """The median loss of the second half: what is the least of all is a matter of luck."""
    request = await api.submit(study(sampler=sampler, seed=seed, space=PLAIN))
    found = await evaluate(api, await api.input_of(request))
    assert (await api.get(f"/v1/requests/{request}"))["status"] == "finished"
    assert len(found) == BUDGET
    return statistics.median(each["loss"] for each in found[BUDGET // 2 :])


async def test_what_is_reported_teaches_the_sampler(database_url: str) -> None:
    """At an equal budget it finds better points than chance does."""
    async with api_on(database_url) as api:
        learned = [await typical_of(api, "tpe", seed) for seed in range(3)]
        drawn = [await typical_of(api, "random", seed) for seed in range(3)]
    assert statistics.median(learned) < statistics.median(drawn) / 2


async def test_samples_that_fail_are_told_as_failed_and_the_study_goes_on(database_url: str) -> None:
    async with api_on(database_url) as api:
        request = await api.submit(study(count=20))
        collection = await api.input_of(request)
        await evaluate(api, collection, failing=4)
        async with api.database.snapshot() as tx:
            _, known = await tx.samples.news(CollectionId(collection), None)
        assert [each.suggestion.number for each in known] == list(range(20))
        assert [each.suggestion.number for each in known if each.state == "failed"] == [3, 7, 11, 15, 19]
        assert (await api.get(f"/v1/requests/{request}"))["status"] == "subfinished"


async def test_few_samples_wait_and_more_are_drawn_as_these_are_taken(database_url: str) -> None:
    async with api_on(database_url) as api:
        collection = await api.input_of(await api.submit(study()))
        path = f"/v1/collections/{collection}"
        waiting = []
        for _ in range(8):
            waiting.append((await api.get(path))["counts"]["available"])
            await api.post(f"{path}/contents:lease", {"count": 2, "lessee": "test"})
            await api.advance()
        counts = (await api.get(path))["counts"]
    assert waiting[0] == 4
    assert max(waiting) <= 6
    assert counts["available"] == 0, "ten are in flight, and no more may be"
    assert counts["leased"] == 10


async def test_as_many_are_drawn_as_are_waited_for(database_url: str) -> None:
    async with api_on(database_url) as api:
        workflow = study()
        workflow["works"][0]["input"]["window"]["files"] = 30
        collection = await api.input_of(await api.submit(workflow))
        path = f"/v1/collections/{collection}"
        order = {"count": 20, "lessee": "test"}
        first = (await api.post(f"{path}/contents:lease", order))["contents"]
        await api.advance()
        second = (await api.post(f"{path}/contents:lease", order))["contents"]
        assert len(second) >= 20 - len(first) > 10
        await api.post(f"{path}/contents:lease", {"count": 1, "lessee": "test"})
        await api.advance()
        assert (await api.get(path))["counts"]["available"] <= 30 - 20, "nobody waits for so many any more"


async def test_who_waits_too_long_for_the_sampler_gets_a_point_at_random(database_url: str) -> None:
    async with api_on(database_url) as api:
        workflow = study(options={"patience": 0})
        workflow["works"][0]["input"]["window"]["files"] = 30
        collection = await api.input_of(await api.submit(workflow))
        order = {"count": 20, "lessee": "test"}
        first = (await api.post(f"/v1/collections/{collection}/contents:lease", order))["contents"]
        assert (await api.get(f"/v1/studies/{collection}"))["fallback_share"] == 0, "nobody waited when it began"
        await api.advance()
        found = await api.get(f"/v1/studies/{collection}")
        assert found["origins"] == {"sampler": len(first), "fallback": found["origins"]["fallback"]}
        assert found["origins"]["fallback"] >= 20 - len(first)


async def test_a_sampler_that_dies_is_told_everything_anew(database_url: str) -> None:
    async with api_on(database_url) as api:
        request = await api.submit(study(count=20))
        collection = await api.input_of(request)
        [process] = [each._process for each in api.samplers["tpe"]._processes if each._process]  # type: ignore[attr-defined]
        process.kill()
        await process.wait()
        found = await evaluate(api, collection)
        assert len(found) == 20
        assert len({each["name"] for each in found}) == 20
        assert (await api.get(f"/v1/requests/{request}"))["status"] == "finished"
        async with api.database.snapshot() as tx:
            assert await tx.effects.of_request(request) == []
            _, known = await tx.samples.news(CollectionId(collection), None)
    assert [each.suggestion.number for each in known] == list(range(20))


async def test_constraints_fixed_values_and_initial_points_hold_for_every_sample(sqlite_url: str) -> None:
    given = [{"x": -4.0, "n": 2}, {"x": 1.0, "kind": "bowl"}]
    more = {"constraints": ["x < 1.5 || n > 4"], "fixed": {"data": "digits"}, "initial": given}
    async with api_on(sqlite_url) as api:
        found = {}
        for sampler in ("tpe", "random", "qmc", "cmaes", "nsgaii"):
            request = await api.submit(study(sampler=sampler, count=15, **more))
            found[sampler] = [each["parameters"] for each in await evaluate(api, await api.input_of(request))]
    for points in found.values():
        assert len(points) == 15
        assert [points[0][name] for name in ("x", "n")] == [-4.0, 2]
        assert [points[1][name] for name in ("x", "kind")] == [1.0, "bowl"]
        for point in points:
            assert point["data"] == "digits"
            assert point["x"] < 1.5 or point["n"] > 4
            assert ("tilt" in point) is (point["kind"] == "plane")


async def test_a_grid_ends_when_all_its_points_are_drawn(sqlite_url: str) -> None:
    space = {**SPACE, "x": {"type": "float", "low": 0, "high": 1, "step": 0.5}, "tilt": {**SPACE["tilt"], "step": 1}}
    space["n"] = {"type": "int", "low": 1, "high": 2}
    async with api_on(sqlite_url) as api:
        request = await api.submit(study(sampler="grid", space=space, count=1000))
        found = await evaluate(api, await api.input_of(request))
        assert (await api.get(f"/v1/requests/{request}"))["status"] == "finished"
    points = {tuple(sorted(each["parameters"].items())) for each in found}
    assert len(found) == len(points) == 3 * 2 * (1 + 2)


async def test_segments_are_searched_one_beside_the_other(sqlite_url: str) -> None:
    inside = {"lr": {"method": "uniformint", "dimension": {"low": 1, "high": 9}}}
    segments = [{"model_id": "a", "search_space": inside}, {"model_id": 2, "search_space": inside}]
    async with api_on(sqlite_url) as api:
        document = {"count": 12, "opt_space": segments}
        request = await api.submit({"name": "s", "works": [{"name": "w", "input": {"samples": document}}]})
        collection = await api.input_of(request)
        path, found = f"/v1/collections/{collection}/contents", []
        while not (leased := await api.post(f"{path}:lease", {"count": 3, "lessee": "test"}))["ended"]:
            found += [each["parameters"] for each in leased["contents"]]
            reports = [
                {"id": each["id"], "attempt": 1, "status": "done", "objective_values": [each["parameters"]["lr"]]}
                for each in leased["contents"]
            ]
            await api.post(f"{path}:report", {"reports": reports})
            await api.advance()
    assert [point["model_id"] for point in found] == ["a", 2] * 6
    assert all(1 <= point["lr"] <= 9 for point in found)


async def test_the_wrong_count_of_values_is_refused_and_changes_nothing(database_url: str) -> None:
    async with api_on(database_url) as api:
        collection = await api.input_of(await api.submit(study(directions=["minimize", "maximize"])))
        path = f"/v1/collections/{collection}/contents"
        leased = await api.post(f"{path}:lease", {"count": 2, "lessee": "test"})
        first, second = ({"id": each["id"], "attempt": 1, "status": "done"} for each in leased["contents"])
        before = await api.rows()
        answer = await api.call(
            "POST",
            f"{path}:report",
            {"reports": [{**first, "objective_values": [1.0, 2.0]}, {**second, "objective_values": [1.0]}]},
        )
        assert answer.status == 422
        assert answer.document["problems"] == [
            {
                "pointer": "/reports/1/objective_values",
                "message": "this study wants 2 objective values of each sample; there is 1",
            }
        ]
        assert await api.rows() == before
        assert (await api.get(f"/v1/collections/{collection}"))["counts"]["leased"] == 2


async def test_samples_count_in_no_quota_of_bytes(database_url: str) -> None:
    async with api_on(database_url) as api:
        request = await api.submit(study(count=20, sampler="random"))
        share = (await api.get(f"/v1/requests/{request}"))["share"]
        async with api.database.transaction("test") as tx:
            await tx.windows.declare_quotas({share: 100})
        await evaluate(api, await api.input_of(request))
        async with api.database.snapshot() as tx:
            quota = (await tx.windows.find([("share", share)]))[("share", share)]
    assert (quota.reserved_bytes, quota.reserved_files) == (0, 0)

"""The course of a study: what it begins with, its iterations, and what ends it before all its samples are drawn."""

from collections.abc import Mapping
from typing import Any

from idds.domain.identifiers import CollectionId
from idds.domain.statuses import EffectKind
from idds.engine.transform import PART
from idds.ports.sampler import Order
from idds.services.placement import Placement
from idds.services.progress import Progress
from idds.services.sampling import Sampling
from tests.integration.api import Api, api_on
from tests.integration.test_redefining import BOWL, redefine, some
from tests.integration.test_studies import evaluate, loss, study


async def ended(api: Api, request: int) -> tuple[str, str | None, Mapping[str, int]]:
    shown = await api.get(f"/v1/requests/{request}")
    (transform,) = shown["transforms"]
    (collection,) = shown["collections"]
    return transform["status"], transform["reason"], collection["counts"]


async def run(api: Api, **changes: Any) -> tuple[int, list[dict[str, Any]]]:
    request = await api.submit(study(space=BOWL, **changes))
    return request, await evaluate(api, await api.input_of(request))


async def test_a_study_stops_when_its_target_is_reached_and_has_finished(database_url: str) -> None:
    async with api_on(database_url) as api:
        request, found = await run(api, sampler="random", count=500, stop={"target": 3.0})
        losses = [each["loss"] for each in found]
        first = next(number for number, each in enumerate(losses) if each <= 3)
        # Two are leased at a time: what is leased goes on.
        assert len(losses) <= first + 2
        status, reason, counts = await ended(api, request)
        assert (status, reason) == ("finished", "its target of 3 was reached")
        assert counts["available"] == 0
        assert counts["cancelled"] > 0
        assert counts["done"] == len(losses)
        moves = (await api.get(f"/v1/requests/{request}/history"))["moves"]
        assert [each["reason"] for each in moves if each["event"] == "stopped"] == [reason]
        # It has ended: it is not redefined any more, and a retry brings nothing back.
        collection = await api.input_of(request)
        body = {"changes": [{"change": "narrow", "parameter": "x", "low": 1}], "reason": "test"}
        assert (await api.call("POST", f"/v1/studies/{collection}:redefine", body)).status == 409


async def test_a_study_stops_where_nothing_better_comes_any_more(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        stop = {"plateau": {"samples": 6, "tolerance": 0.1}}
        request, found = await run(api, sampler="qmc", count=500, stop=stop)
        losses = [each["loss"] for each in found]
        assert 6 < len(losses) < 500
        best, since = losses[0], 0
        for number, each in enumerate(losses):
            if each < best - 0.1:
                best, since = each, number
        assert 6 <= len(losses) - 1 - since <= 7
        assert (await ended(api, request))[:2] == ("finished", "none of the last 6 results was better by more than 0.1")


async def test_a_study_stops_when_its_time_or_its_budget_is_over(database_url: str) -> None:
    async with api_on(database_url) as api:
        for stop, reason in (
            ({"time_s": 0.2}, "its time of 0.2 s was over"),
            ({"budget_s": 0.2}, "its samples were evaluated for 0.2 s together"),
        ):
            request = await api.submit(study(space=BOWL, sampler="random", stop=stop))
            collection = await api.input_of(request)
            path = f"/v1/collections/{collection}/contents"
            leased = (await api.post(f"{path}:lease", {"count": 2, "lessee": "test"}))["contents"]
            # Nobody says anything; the request is due by itself.
            await api.advance()
            while not (await api.get(f"/v1/collections/{collection}"))["is_closed"]:
                await api.advance()
            reports = [
                {"id": each["id"], "attempt": 1, "status": "done", "objective_values": [loss(each["parameters"])]}
                for each in leased
            ]
            body = {"changes": [{"change": "narrow", "parameter": "x", "low": 1}], "reason": "test"}
            answer = await api.call("POST", f"/v1/studies/{collection}:redefine", body)
            assert (answer.status, reason in answer.document["detail"]) == (409, True)
            assert reports or "time_s" in stop, "on a busy machine all its time may be over before it is leased"
            if reports:
                await api.post(f"{path}:report", {"reports": reports})
            await api.advance()
            status, why, counts = await ended(api, request)
            assert (status, why) == ("finished", reason)
            assert counts["done"] == len(reports)


async def test_iterations_are_evaluated_whole_and_redefine_the_space_around_the_best(database_url: str) -> None:
    async with api_on(database_url) as api:
        rule = {"best": 0.25, "margin": 0.1, "shrink": 0.5}
        document = study(space=BOWL, sampler="random", count=60, iterations={"samples": 20, "redefine": rule})
        request = await api.submit(document)
        collection = await api.input_of(request)
        found = await evaluate(api, collection)
        assert len(found) == 60
        assert (await ended(api, request))[0] == "finished"
        versions = (await api.get(f"/v1/studies/{collection}/versions"))["versions"]
        assert [(each["version"], each["iteration"]) for each in versions] == [(1, None), (2, 2), (3, 3)]
        assert versions[1]["reason"] == "iteration 2: around the best of 20 results"
        bounds = [each["space"]["x"] for each in versions]
        widths = [each["high"] - each["low"] for each in bounds]
        assert widths[0] > widths[1] > widths[2] >= widths[0] / 4 - 1e-6
        for number, each in enumerate(found):
            now = bounds[number // 20]
            assert now["low"] <= each["parameters"]["x"] <= now["high"]
        means = [sum(each["loss"] for each in found[start : start + 20]) for start in (0, 20, 40)]
        assert means[0] > means[2]


async def test_an_iteration_that_is_asked_for_twice_is_redefined_once(database_url: str) -> None:
    """Whoever redefined it died before it was drawn: the next one goes on from there."""
    async with api_on(database_url) as api:
        document = study(space=BOWL, sampler="random", count=12, iterations={"samples": 6, "redefine": {}})
        collection = await api.input_of(await api.submit(document))
        sampler, asked = api.samplers["random"], 0
        ask = sampler.ask

        async def dies_once(order: Order) -> Any:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise ConnectionAbortedError
            return await ask(order)

        sampler.ask = dies_once  # type: ignore[method-assign]
        path = f"/v1/collections/{collection}/contents"
        done = 0
        while done < 12:
            for each in (await api.post(f"{path}:lease", {"count": 6, "lessee": "test"}))["contents"]:
                report = {"id": each["id"], "attempt": 1, "status": "done"}
                report["objective_values"] = [loss(each["parameters"])]
                await api.post(f"{path}:report", {"reports": [report]})
                done += 1
            await api.advance()
            async with api.database.transaction("test") as tx:
                await tx.effects.hasten_kind(EffectKind.ASK)
        assert asked > 1
        async with api.database.snapshot() as tx:
            assert await tx.studies.latest(CollectionId(collection)) == 2


async def test_a_redefinition_in_the_middle_of_an_iteration_counts_only_what_was_evaluated(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        document = study(space=BOWL, sampler="random", count=16, iterations={"samples": 8})
        request = await api.submit(document)
        collection = await api.input_of(request)
        await some(api, collection, 3)
        await redefine(api, collection, [{"change": "narrow", "parameter": "x", "low": 0}])
        await api.advance()
        assert len(await evaluate(api, collection)) == 13
        assert (await ended(api, request))[2]["done"] == 16


async def test_results_of_another_study_are_told_first(database_url: str) -> None:
    async with api_on(database_url) as api:
        request, _ = await run(api, sampler="random", count=30)
        other = await api.input_of(request)
        given = [
            {"parameters": {"x": 2.0, "n": 8}, "values": [0.0]},
            {"parameters": {"x": 9.0, "n": 8}, "values": [1.0]},
        ]
        start = {"study": other, "results": given}
        warm = study(space=BOWL, warm_start=start, options={"startup": 10}, count=10, seed=5)
        cold = study(space=BOWL, options={"startup": 10}, count=10, seed=5)
        losses = {}
        for name, document in (("warm", warm), ("cold", cold)):
            found = await evaluate(api, await api.input_of(await api.submit(document)))
            losses[name] = sorted(each["loss"] for each in found)[5]
        assert losses["warm"] < losses["cold"]
        stranger = await api.new_token("stranger")
        answer = await api.call("POST", "/v1/requests", {"workflow": warm}, token=stranger)
        assert answer.status == 422
        assert answer.document["problems"] == [
            {
                "pointer": "/workflow/works/0/input/samples/warm_start/study",
                "message": f"there is no study {other}",
            }
        ]


async def test_a_study_does_not_begin_with_the_results_of_one_with_other_directions(sqlite_url: str) -> None:
    """They would be taken as they are: what was best there would be sought here, or nothing be learned."""
    async with api_on(sqlite_url) as api:
        other = await api.input_of(await api.submit(study(space=BOWL, directions=["maximize"])))
        start = {"study": other}
        for directions in (["minimize"], ["maximize", "maximize"]):
            warm = study(space=BOWL, warm_start=start, directions=directions)
            answer = await api.call("POST", "/v1/requests", {"workflow": warm})
            assert answer.status == 422
            (problem,) = answer.document["problems"]
            assert problem["pointer"] == "/workflow/works/0/input/samples/warm_start/study"
            assert f"study {other} is to maximize, this one to {' and '.join(directions)}" in problem["message"]
        assert await api.submit(study(space=BOWL, warm_start=start, directions=["maximize"]))


HALF = {"x": {"type": "float", "low": 0, "high": 1}}


async def bound(api: Api, **changes: Any) -> tuple[int, list[float]]:
    """A study whose loss is x, and feasible where x is 0.5 or more; and its points."""
    document = study(space=HALF, result_constraints=1, seed=1, **changes)
    collection = await api.input_of(await api.submit(document))
    path, found = f"/v1/collections/{collection}/contents", list[float]()
    while not (leased := await api.post(f"{path}:lease", {"count": 5, "lessee": "test"}))["ended"]:
        reports = []
        for each in leased["contents"]:
            x = each["parameters"]["x"]
            found.append(x)
            report = {"id": each["id"], "attempt": 1, "status": "done", "objective_values": [x]}
            reports.append(report | {"constraint_values": [0.5 - x]})
        assert reports, "the study stands still"
        await api.post(f"{path}:report", {"reports": reports})
        await api.advance()
    return collection, found


async def test_a_study_with_constraints_on_results_learns_from_one_that_has_them(database_url: str) -> None:
    """From the first sample on, and that the least losses are not feasible."""
    async with api_on(database_url) as api:
        other, _ = await bound(api, sampler="random", count=40)
        given = [
            {"parameters": {"x": n / 40}, "values": [n / 40], "constraint_values": [0.5 - n / 40]} for n in range(40)
        ]
        _, cold = await bound(api, count=12)
        for start in ({"study": other}, {"results": given}):
            _, warm = await bound(api, count=12, warm_start=start)
            assert sum(0.4 <= x <= 0.7 for x in warm) > 7 > sum(0.4 <= x <= 0.7 for x in cold)


async def test_a_study_does_not_begin_with_the_results_of_one_with_other_constraints_on_them(sqlite_url: str) -> None:
    """What is not feasible there would be sought here for its values, or nothing be learned."""
    async with api_on(sqlite_url) as api:
        for theirs, own, said in ((2, 0, "has 2 constraints on results, this one no constraints"), (0, 1, "one 1 con")):
            other = await api.input_of(await api.submit(study(space=BOWL, result_constraints=theirs)))
            warm = study(space=BOWL, warm_start={"study": other}, result_constraints=own)
            answer = await api.call("POST", "/v1/requests", {"workflow": warm})
            assert answer.status == 422
            (problem,) = answer.document["problems"]
            assert problem["pointer"] == "/workflow/works/0/input/samples/warm_start/study"
            assert said in problem["message"]


WRONG = [
    ({"stop": {}}, "/stop", "say when"),
    ({"stop": {"target": 1.0}, "directions": ["minimize", "minimize"]}, "/stop/target", "one objective"),
    ({"iterations": {"samples": 5, "redefine": {}}, "sampler": "grid"}, "/iterations/redefine", "gone through once"),
    ({"warm_start": {"study": 1}, "sampler": "random"}, "/warm_start", "learns nothing"),
    ({"warm_start": {}}, "/warm_start", "give a study or results"),
    (
        {"warm_start": {"results": [{"parameters": {"x": 1}, "values": [1.0, 2.0]}]}},
        "/warm_start/results/0/values",
        "there are 2 values",
    ),
    (
        {"warm_start": {"results": [{"parameters": {"n": 1}, "values": [1.0]}]}, "result_constraints": 2},
        "/warm_start/results/0/constraint_values",
        "this study has 2 constraints on results; there are 0",
    ),
    (
        {"warm_start": {"results": [{"parameters": {"n": 1}, "values": [1.0], "constraint_values": [0.0]}]}},
        "/warm_start/results/0/constraint_values",
        "this study has no constraints on results; there are 1",
    ),
]


async def test_a_course_that_cannot_be_is_refused_at_its_place(sqlite_url: str) -> None:
    space = {"n": {"type": "int", "low": 1, "high": 9}}
    async with api_on(sqlite_url) as api:
        for changes, place, message in WRONG:
            answer = await api.call("POST", "/v1/requests", {"workflow": study(**{"space": space, **changes})})
            assert answer.status == 422
            assert [each["pointer"] for each in answer.document["problems"]] == [
                f"/workflow/works/0/input/samples{place}"
            ]
            assert message in answer.document["problems"][0]["message"]


async def test_a_large_order_is_drawn_in_parts_and_others_have_their_turn(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        many = 2 * PART + 6
        document = study(space=BOWL, count=many, refill={"points": many})
        document["works"][0]["input"]["window"]["files"] = many
        progress = Progress(api.database, Placement("local", "DISK", "DISK", 4))
        sampling = Sampling(api.database, api.samplers, "test")
        collections = []
        for workflow in (document, study(space=BOWL, count=4)):
            request = (await api.post("/v1/requests", {"workflow": workflow}))["id"]
            while await progress.step():
                pass
            collections.append(await api.input_of(request))
        drawn = []
        while await sampling.step():
            drawn.append([(await api.get(f"/v1/collections/{each}"))["total"] for each in collections])
        assert drawn == [[PART, 0], [PART, 4], [2 * PART, 4], [many, 4]]

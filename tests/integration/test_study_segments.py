"""Studies in segments, redefined while they run: each segment by itself, or all that have a parameter."""

from typing import Any

import pytest

from tests.integration.api import Api, api_on
from tests.integration.test_redefining import redefine
from tests.integration.test_studies import study

LR = {"type": "float", "low": 0.0, "high": 1.0}
OWN = [
    {"model_id": "a", "space": {"lr": LR, "layers": {"type": "int", "low": 1, "high": 8}}},
    {"model_id": 2, "space": {"lr": LR, "width": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.25}}},
]
INSIDE = {
    "lr": {"method": "uniform", "dimension": {"low": 0, "high": 1}},
    "layers": {"method": "uniformint", "dimension": {"low": 1, "high": 8}},
}
FOREIGN = [{"model_id": "a", "search_space": INSIDE}, {"model_id": 2, "search_space": INSIDE}]


async def evaluate(api: Api, collection: int, number: int = 1000) -> list[dict[str, Any]]:
    """Take up to so many, each with a loss that is least at lr = 0.2 of "a", and at 0.8 of 2."""
    path, found = f"/v1/collections/{collection}/contents", list[dict[str, Any]]()
    while len(found) < number:
        leased = await api.post(f"{path}:lease", {"count": 1, "lessee": "test"})
        if leased["ended"]:
            break
        (sample,) = leased["contents"]
        point = sample["parameters"]
        loss = abs(point["lr"] - (0.2 if point["model_id"] == "a" else 0.8))
        report = {"id": sample["id"], "attempt": 1, "status": "done", "objective_values": [loss]}
        await api.post(f"{path}:report", {"reports": [report]})
        found.append(point)
        await api.advance()
    return found


def of(points: list[dict[str, Any]], model: str | int) -> list[float]:
    return [point["lr"] for point in points if point["model_id"] == model]


@pytest.mark.parametrize("space", [{"segments": OWN}, {"opt_space": FOREIGN}], ids=["own", "foreign"])
@pytest.mark.parametrize("sampler", ["tpe", "random"])
async def test_a_segment_is_redefined_and_the_others_go_on(
    database_url: str, sampler: str, space: dict[str, Any]
) -> None:
    async with api_on(database_url) as api:
        document = study(space={}, sampler=sampler, count=24, **space)
        collection = await api.input_of(await api.submit(document))
        await evaluate(api, collection, 8)
        version = await redefine(api, collection, [{"change": "narrow", "parameter": "lr", "high": 0.5, "model_id": 2}])
        assert [each["space"]["lr"]["high"] for each in version["segments"]] == [1.0, 0.5]
        await api.advance()
        points = await evaluate(api, collection, 8)
        assert max(of(points, 2)) <= 0.5
        assert len(of(points, "a")) >= 3
        # Of all that have it.
        version = await redefine(api, collection, [{"change": "fix", "parameter": "lr", "value": 0.25, "within": 0.1}])
        assert [each["model_id"] for each in version["changes"]] == ["a", 2]
        await api.advance()
        points = await evaluate(api, collection)
        assert {point["lr"] for point in points} == {0.25}
        versions = (await api.get(f"/v1/studies/{collection}/versions"))["versions"]
        assert [each["version"] for each in versions] == [1, 2, 3]
        assert [each["model_id"] for each in versions[0]["segments"]] == ["a", 2]
        assert (await api.get(f"/v1/studies/{collection}"))["counts"]["done"] == 24


async def test_iterations_go_around_the_best_of_each_segment(database_url: str) -> None:
    async with api_on(database_url) as api:
        iterations = {"samples": 20, "redefine": {"best": 0.2, "margin": 0.05, "shrink": 0.3}}
        document = study(space={}, segments=OWN, sampler="random", count=40, iterations=iterations)
        collection = await api.input_of(await api.submit(document))
        await evaluate(api, collection)
        _, newest = (await api.get(f"/v1/studies/{collection}/versions"))["versions"]
        bounds = [each["space"]["lr"] for each in newest["segments"]]
        for best, bound in zip((0.2, 0.8), bounds, strict=True):
            assert bound["high"] - bound["low"] < 0.7
            assert bound["low"] <= best <= bound["high"]


@pytest.mark.parametrize(
    ("samples", "place", "message"),
    [
        ({"segments": [OWN[0], OWN[0]]}, "/segments/1/model_id", "has a segment already"),
        ({"segments": OWN, "opt_space": FOREIGN}, "/space", "give either space, segments or opt_space"),
        (
            {"segments": [{**OWN[0], "space": {"lr": {**LR, "low": 2.0}}}]},
            "/segments/0/space/lr/low",
            "low 2.0 is above high 1.0",
        ),
        ({"segments": [{**OWN[0], "fixed": {"lr": 1}}]}, "/segments/0/fixed/lr", "it cannot be fixed too"),
        ({"segments": [{**OWN[0], "fixed": {"model_id": 1}}]}, "/segments/0/fixed/model_id", "names the segment"),
    ],
)
async def test_odd_segments_are_told_at_their_place(
    sqlite_url: str, samples: dict[str, Any], place: str, message: str
) -> None:
    async with api_on(sqlite_url) as api:
        answer = await api.call("POST", "/v1/requests", {"workflow": study(space={}, **samples)})
        assert answer.status == 422, answer.document
        (problem,) = answer.document["problems"]
        assert problem["pointer"] == f"/workflow/works/0/input/samples{place}"
        assert message in problem["message"]

"""What charts of a study are told: exact where it is small, bounded where it is large, on both databases."""

import re
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

from idds.domain.identifiers import CollectionId
from idds.services.study_series import BEST, CURVES, FEWEST, POINTS, STEPS, TIMES
from idds.web.studies import AXES
from tests.integration.api import STUDY, Api, api_on
from tests.integration.large_study import SECOND, fill, losses, point, say
from tests.integration.plans import captured
from tests.integration.test_pages import HOSTILE, browser_of, check_sound

SPACE = {
    "x": {"type": "float", "low": 0, "high": 1},
    "n": {"type": "int", "low": 1, "high": 64, "log": True},
    "kind": {"type": "categorical", "choices": ["bowl", "plane"]},
    "tilt": {"type": "float", "low": 0, "high": 1, "when": {"parameter": "kind", "values": ["plane"]}},
}
LARGE = 3000


async def a_study(api: Api, **changes: Any) -> CollectionId:
    """A study of which the transformer knows nothing yet."""
    samples = {"count": 10_000, "sampler": "random", "space": SPACE, **changes}
    works = [{"name": "scan", "input": {"samples": samples}}]
    number = (await api.post("/v1/requests", {"workflow": {"name": "study", "works": works}}))["id"]
    await api._progress.step()
    return CollectionId(await api.input_of(number))


async def test_a_small_study_is_told_whole(database_url: str) -> None:
    async with api_on(database_url) as api:
        study = await a_study(api, directions=["minimize", "maximize"])
        await fill(api.database, study, range(20), objectives=2)
        scores = [losses(point(number)) for number in range(20)]
        told = await api.get(f"/v1/studies/{study}/series")
        assert told["directions"] == ["minimize", "maximize"]
        assert told["at"] == [number * SECOND for number in range(20)]
        assert told["finished"] == list(range(1, 21))
        least = [min(score[0] for score in scores[: n + 1]) for n in range(20)]
        greatest = [max(score[1] for score in scores[: n + 1]) for n in range(20)]
        assert told["best"] == [least, greatest]
        shown = await api.get(f"/v1/studies/{study}/points")
        assert shown["finished"] == 20
        assert [each["number"] for each in shown["points"]] == list(range(20))
        assert [each["parameters"] for each in shown["points"]] == [point(number) for number in range(20)]
        assert [tuple(each["values"]) for each in shown["points"]] == scores
        assert {each["version"] for each in shown["points"]} == {1}


async def test_a_large_study_is_told_in_part(database_url: str) -> None:
    async with api_on(database_url) as api:
        study = await a_study(api)
        await fill(api.database, study, range(LARGE))
        scores = [losses(point(number))[0] for number in range(LARGE)]
        told = await api.get(f"/v1/studies/{study}/series")
        assert TIMES / 2 <= len(told["at"]) <= TIMES
        assert told["finished"][-1] == LARGE
        assert told["best"] == [[min(scores[:n]) for n in told["finished"]]]
        shown = await api.get(f"/v1/studies/{study}/points")
        assert shown["finished"] == LARGE
        numbers = [each["number"] for each in shown["points"]]
        assert POINTS / 2 <= len(numbers) <= POINTS + BEST + 20
        assert set(sorted(range(LARGE), key=scores.__getitem__)[:BEST]) <= set(numbers)
        gaps = [after - before for before, after in pairwise(numbers)]
        assert max(gaps) <= 2.7 * LARGE / (POINTS / 2), "spread evenly"
        await fill(api.database, study, range(LARGE, 2 * LARGE))
        async with api.database.snapshot() as tx:
            few = {each.number for each in await tx.study_series.chosen(study, 32, 1000)}
            more = {each.number for each in await tx.study_series.chosen(study, 16, 1000)}
        assert few < more, "what is shown of a study that grows is left of what was"


async def test_importance_is_that_of_the_parameters_that_matter(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        study = await a_study(api)
        await fill(api.database, study, range(FEWEST - 1))
        told = await api.get(f"/v1/studies/{study}/importance")
        assert (told["parameters"], told["looked_at"]) == ([], FEWEST - 1)
        assert told["reason"] == "it is told of 50 finished samples or more; there are 49"
        await fill(api.database, study, range(FEWEST - 1, 200))
        api.doors.study_charts._weights._known.clear()
        told = await api.get(f"/v1/studies/{study}/importance")
        assert told["reason"] is None
        assert told["looked_at"] == 200
        parts = {each["parameter"]: each["importance"] for each in told["parameters"]}
        assert parts.keys() == {"x", "n", "kind", "tilt"}
        assert sum(parts.values()) > 0.999
        assert next(iter(parts)) == "x"
        assert parts["x"] > 0.6


async def test_curves_are_of_the_newest_and_no_longer_than_a_chart_is_wide(database_url: str) -> None:
    async with api_on(database_url) as api:
        study = await a_study(api, directions=["maximize"])
        await fill(api.database, study, range(CURVES + 10))
        for number in range(CURVES + 5):
            await say(api.database, study, number, [0.5, 0.25, 0.125])
        await say(api.database, study, CURVES + 5, [1 / (step + 1) for step in range(1000)])
        told = await api.get(f"/v1/studies/{study}/curves")
        assert told["direction"] == "maximize"
        assert [each["number"] for each in told["curves"]] == list(range(6, CURVES + 6))
        *short, long = told["curves"]
        assert {(tuple(each["steps"]), tuple(each["values"])) for each in short} == {((0, 1, 2), (0.5, 0.25, 0.125))}
        assert long["said"] == 1000
        assert STEPS <= len(long["steps"]) <= STEPS + 1
        assert (long["steps"][0], long["steps"][-1]) == (0, 999)
        assert long["values"] == [1 / (step + 1) for step in long["steps"]]


async def test_who_evaluates_what_and_what_came_back_without_a_result(database_url: str) -> None:
    async with api_on(database_url) as api:
        study = await api.input_of(await api.submit(STUDY))
        path = f"/v1/collections/{study}/contents"
        first, second = (await api.post(f"{path}:lease", {"count": 2, "lessee": "node-1"}))["contents"]
        await api.post(f"{path}:return", {"held": [{"id": first["id"], "attempt": 1}]})
        await api.post(f"{path}:lease", {"count": 1, "lessee": "node-2"})
        report = {"id": second["id"], "attempt": 1, "status": "failed", "reason": "it diverges", "retry": False}
        await api.post(f"{path}:report", {"reports": [report]})
        await say(api.database, CollectionId(study), 0, [0.5, 0.25])
        told = await api.get(f"/v1/studies/{study}/delivery")
        [running] = told["running"]
        assert (running["content"], running["number"], running["lessee"]) == (first["id"], 0, "node-2")
        assert (running["attempt"], running["step"], running["value"]) == (2, 1, 0.25)
        setbacks = [(each["event"], each["samples"], each["reason"]) for each in told["setbacks"]]
        assert setbacks[0] == ("failed", 1, "it diverges")
        assert [(event, number) for event, number, _ in setbacks[1:]] == [("returned", 1)]
        assert [each["numbers"] for each in told["setbacks"]] == [[1], [0]]
        shown = await (await browser_of(api)).get(f"/studies/{study}")
        check_sound(shown)
        assert f"/studies/{study}/samples/1" in shown.reading.all("a", "href"), "what failed can be followed"


async def test_the_bar_of_a_study_is_of_all_that_are_wanted_and_what_has_ended_brings_nothing_more(
    sqlite_url: str,
) -> None:
    async with api_on(sqlite_url) as api:
        request = await api.submit(STUDY)
        study = await api.input_of(request)
        browser = await browser_of(api)
        for path in (f"/studies/{study}", "/studies"):
            shown = await browser.get(path)
            assert 'class="is-available" x="0.0" y="0" width="66.667"' in shown.text, "4 of 6 are drawn"
        assert "No value came back yet." in (await browser.get(f"/studies/{study}")).words
        await api.post(f"/v1/requests/{request}:cancel", {})
        await api.advance()
        words = (await browser.get(f"/studies/{study}")).words
        assert "No value came back." in words
        assert "yet" not in words


async def test_the_page_of_a_study_with_many_parameters_shows_those_that_are_asked_for(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        odd = {HOSTILE: {"type": "categorical", "choices": [HOSTILE, True]}}
        others = {f"p{n:03d}": SPACE["x"] for n in range(20)}
        study = await a_study(api, space={**SPACE, **odd, **others})
        await fill(api.database, study, range(60), more={HOSTILE: HOSTILE})
        browser = await browser_of(api)
        shown = await browser.get(f"/studies/{study}")
        assert shown.status == 200
        check_sound(shown)
        assert "<script>alert" not in shown.text
        assert len(re.findall("<svg class=.drawn", shown.text)) == 1 + AXES + 1
        asked = await browser.get(f"/studies/{study}?{urlencode({'parameter': ['x', HOSTILE]}, doseq=True)}")
        check_sound(asked)
        labels = [label for label in asked.reading.all("svg", "aria-label") if label.startswith("Objective")]
        assert sorted(labels) == sorted(f"Objective 1 against {name}, 60 samples" for name in ("x", HOSTILE))
        for query, pointer in (("parameter=x&parameter=no", "/parameter/1"), ("objective=1", "/objective")):
            refused = await browser.get(f"/studies/{study}?{query}")
            assert (refused.status, pointer in refused.words) == (422, True)
        many = "&".join(f"parameter=p{n:03d}" for n in range(AXES + 1))
        assert (await browser.get(f"/studies/{study}?{many}")).status == 422


async def test_the_page_of_a_study_in_segments_tells_them_apart(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        inside = {"x": {"method": "uniform", "dimension": {"low": 0, "high": 1}}}
        segments = [{"model_id": "small", "search_space": inside}, {"model_id": 7, "search_space": inside}]
        study = await a_study(api, space={}, opt_space=segments)
        await fill(api.database, study, range(0, 60, 2), more={"model_id": "small"})
        await fill(api.database, study, range(1, 60, 2), more={"model_id": 7})
        shown = await (await browser_of(api)).get(f"/studies/{study}")
        check_sound(shown)
        assert "Objective 1 against model_id, 60 samples" in shown.reading.all("svg", "aria-label")
        assert "Parallel coordinates of 60 samples: model_id, x, objective 1" in shown.reading.all("svg", "aria-label")
        parts = (await api.get(f"/v1/studies/{study}/importance"))["parameters"]
        assert [each["parameter"] for each in parts] == ["x"]


async def test_the_page_of_a_study_with_a_command_of_its_own_has_no_charts_of_parameters(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        study = await a_study(api, space={}, sampler="command", steering={"argv": ["steer", "%OUT"]})
        await fill(api.database, study, range(60))
        shown = await (await browser_of(api)).get(f"/studies/{study}")
        check_sound(shown)
        assert "its command's own matter" in shown.words
        assert "The best value over time" in shown.words


async def test_charts_are_found_once_for_all_who_watch_and_shown_to_who_may_see_them(sqlite_url: str) -> None:
    async with api_on(sqlite_url) as api:
        study = await a_study(api)
        staged = {"name": "staged", "works": [{"name": "read", "input": {"dataset": "data:set"}}]}
        files = await api.input_of(await api.submit(staged))
        stranger = await api.new_token("stranger")
        for name in ("series", "points", "curves", "importance", "delivery"):
            found = await api.get(f"/v1/studies/{study}/{name}")
            with captured(api.database) as statements:
                assert await api.get(f"/v1/studies/{study}/{name}") == found
            assert not [each for each in statements if "FROM samples" in each.sql]
            assert (await api.call("GET", f"/v1/studies/{study}/{name}", token=stranger)).status == 404
            for missing in (files, 999):
                refused = await api.call("GET", f"/v1/studies/{missing}/{name}")
                assert (refused.status, refused.document["detail"]) == (404, f"there is no study {missing}")


async def test_a_study_of_which_nothing_has_come_back(database_url: str) -> None:
    async with api_on(database_url) as api:
        study = await api.input_of(await api.submit(STUDY))
        assert (await api.get(f"/v1/studies/{study}/series"))["best"] == [[]]
        assert (await api.get(f"/v1/studies/{study}/points"))["points"] == []
        assert (await api.get(f"/v1/studies/{study}/curves"))["curves"] == []

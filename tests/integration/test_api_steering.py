"""The carousel over HTTP: what is told, the orders of operators, and what is refused with its place."""

from collections.abc import AsyncIterator

import pytest

from idds.domain.request import Role
from tests.integration.api import STUDY, Api, api_on

FILES = {
    "name": "files",
    "works": [{"name": "take", "input": {"dataset": "data:set", "window": {"files": 5}}, "payload": {"argv": ["x"]}}],
}


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with api_on(database_url) as api:
        api.token = await api.new_token("op", role=Role.OPERATOR)
        yield api


async def refusals(api: Api, path: str, body: object) -> list[str]:
    answer = await api.call("POST", path, body)
    assert answer.status == 422, answer.document
    return [error["pointer"] for error in answer.document["problems"]]


async def test_a_hold_is_rehearsed_made_told_and_ended(api: Api) -> None:
    body = {"kind": "tape", "ref": "TAPE", "reason": "robot"}
    told = await api.post("/v1/carousel:hold?dry_run=true", body)
    assert (told["verb"], told["entity"], told["dry_run"]) == ("hold", "tape:TAPE", True)
    assert (await api.get("/v1/holds"))["holds"] == []
    await api.post("/v1/carousel:hold", body)
    (held,) = (await api.get("/v1/holds"))["holds"]
    assert (held["kind"], held["ref"], held["reason"], held["owner"]) == ("tape", "TAPE", "robot", "op")
    assert (await api.get("/v1/carousel"))["holds"] == [held]
    await api.post("/v1/carousel:resume", {"kind": "tape", "ref": "TAPE"})
    assert (await api.get("/v1/holds"))["holds"] == []
    entries = (await api.get("/v1/audit?entity=tape:TAPE"))["entries"]
    assert [entry["action"] for entry in entries] == ["hold", "resume"]


async def test_a_window_is_changed_and_set_back(api: Api) -> None:
    await api.post("/v1/carousel:change-window", {"rse": "DISK", "bytes": 100})
    (window,) = (await api.get("/v1/windows"))["windows"]
    assert (window["limit_bytes"], window["limit_files"], window["set_by"]) == (100, None, "op")
    await api.post("/v1/carousel:change-window", {"rse": "DISK", "reset": True})
    (window,) = (await api.get("/v1/windows"))["windows"]
    assert (window["limit_bytes"], window["set_by"], window["set_at"]) == (None, None, None)


async def test_orders_about_a_request(api: Api) -> None:
    request = await api.submit(FILES)
    for verb, body in (
        ("change-source", {"source": "TAPE"}),
        ("change-destination", {"rse": "OTHER"}),
        ("force-staging", None),
        ("release", None),
    ):
        told = await api.post(f"/v1/requests/{request}:{verb}", body)
        assert (told["verb"], told["entity"]) == (verb, f"request:{request}")
    forecast = await api.get(f"/v1/carousel/requests/{request}")
    assert [(each["rse"], each["tape"]) for each in forecast["inputs"]] == [("OTHER", "TAPE")]
    moves = (await api.get(f"/v1/requests/{request}/history"))["moves"]
    told = [move["reason"] for move in moves if move["event"] == "change-source"]
    assert told == ["ordered by an operator: source TAPE"]


async def test_what_makes_no_sense_is_refused_with_its_place(api: Api) -> None:
    assert await refusals(api, "/v1/carousel:hold", {"kind": "rse", "ref": "DIKS", "reason": "x"}) == ["/ref"]
    assert await refusals(api, "/v1/carousel:hold", {"kind": "shelf", "ref": "A", "reason": "x"}) == ["/kind"]
    assert await refusals(api, "/v1/carousel:hold", {"kind": "tape", "ref": "A", "reason": ""}) == ["/reason"]
    assert await refusals(api, "/v1/carousel:change-window", {"bytes": 1}) == ["/rse"]
    assert await refusals(api, "/v1/carousel:change-window", {"rse": "DISK", "collection": 1}) == ["/rse"]
    assert await refusals(api, "/v1/carousel:change-window", {"rse": "DISK", "bytes": 0}) == ["/bytes"]
    assert await refusals(api, "/v1/carousel:change-window", {"rse": "DISK", "bytes": 1, "reset": True}) == ["/reset"]
    assert await refusals(api, "/v1/carousel:retire-unused", {"rse": "DIKS", "idle_s": 1}) == ["/rse"]
    study = await api.submit(STUDY)
    assert (await api.call("POST", f"/v1/requests/{study}:force-staging")).status == 409
    assert (await api.call("POST", "/v1/requests/999:release")).status == 404
    assert (await api.call("POST", f"/v1/requests/{study}:release?dry_run=maybe")).status == 422

"""Every refusal names its place and changes nothing: each route's example, spoilt at each of its places in turn."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.hostile.spoiling import UNREADABLE, Spoilt, doubled, is_near, leads_somewhere, spoilt
from tests.hostile.world import World, world
from tests.integration.api import Answer

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def found(sqlite_url: str) -> AsyncIterator[World]:
    async with world(sqlite_url) as found:
        yield found


@dataclass(frozen=True)
class Taken:
    """A route that takes a body: a good one, and what tells a bad one."""

    path: str
    example: Any
    validator: Draft202012Validator
    is_required: bool


async def _bodies(found: World) -> list[Taken]:
    """All of the served document."""
    document = await found.api.get("/v1/openapi.json", token="")
    taken = []
    for path, methods in document["paths"].items():
        for body in [operation["requestBody"] for operation in methods.values() if "requestBody" in operation]:
            if (json_body := body["content"].get("application/json")) is None:
                continue  # lines only: tests/integration/test_api_rucio_events.py
            validator = Draft202012Validator({**json_body["schema"], "components": document["components"]})
            taken.append(Taken(path.replace("{id}", "1"), json_body["example"], validator, body.get("required", False)))
    return taken


async def _send(found: World, path: str, body: bytes) -> Answer:
    return await found.api.call("POST", path, data=body, headers=JSON, token=found.operator)


def _is_valid(validator: Draft202012Validator, each: Spoilt) -> bool:
    # What a schema says nothing about, and is not JSON or cannot be stored.
    if any(word in each.what for word in ("not a number", "infinity", "64 bits", "U+0000", "half a character")):
        return False
    return bool(validator.is_valid(each.document))


def _is_told_in_words(each: Spoilt) -> bool:
    """A value that was evaluated: what Python writes for one that is not finite is taken as a failure."""
    is_constant = any(word in each.what for word in ("not a number", "infinity"))
    return is_constant and bool(re.search(r"/(value|(objective|constraint)_values/\d+)$", each.pointer))


def _check(path: str, each: Spoilt, answer: Answer) -> None:
    place = (path, each.what, answer.document)
    assert answer.status in (400, 422), place
    assert answer.headers["Content-Type"].startswith("application/problem+json"), place
    problems = answer.document["problems"]
    assert problems, place
    for problem in problems:
        assert problem["message"], place
        assert leads_somewhere(each.document, problem["pointer"]), place


async def test_what_the_schema_forbids_is_refused_at_its_place(found: World) -> None:
    before, tried = await found.api.rows(), 0
    for route in await _bodies(found):
        for each in spoilt(route.example):
            if _is_valid(route.validator, each) or _is_told_in_words(each):
                continue
            tried += 1
            answer = await _send(found, route.path, each.body)
            _check(route.path, each, answer)
            pointers = [problem["pointer"] for problem in answer.document["problems"]]
            assert any(is_near(pointed, each.pointer) for pointed in pointers), (route.path, each.what, pointers)
    assert tried > 1000
    assert await found.api.rows() == before


async def test_what_only_the_service_can_forbid_is_refused_at_its_place(found: World) -> None:
    refused = 0
    for route in await _bodies(found):
        for each in spoilt(route.example):
            if not _is_valid(route.validator, each):
                continue
            before = await found.api.rows()
            answer = await _send(found, route.path, each.body)
            assert answer.status < 500, (route.path, each.what, answer.document)
            if answer.status in (400, 422):
                refused += 1
                _check(route.path, each, answer)
            if answer.status >= 400:
                assert await found.api.rows() == before, (route.path, each.what)
    assert refused > 5


async def test_what_stands_twice_is_refused_at_its_place(found: World) -> None:
    before = await found.api.rows()
    for route in await _bodies(found):
        for each in doubled(route.example):
            answer = await _send(found, route.path, each.body)
            _check(route.path, each, answer)
            assert each.pointer in [problem["pointer"] for problem in answer.document["problems"]], (
                route.path,
                each.what,
            )
    assert await found.api.rows() == before


async def test_what_is_no_json_is_refused(found: World) -> None:
    before = await found.api.rows()
    for route in await _bodies(found):
        for what, spoil in UNREADABLE.items():
            if what == "nothing" and not route.is_required:
                continue
            body = json.dumps(route.example).encode()
            answer = await _send(found, route.path, spoil(body))
            _check(route.path, Spoilt(what, (), body, route.example), answer)
    assert await found.api.rows() == before


INTEGERS = (
    "",
    "x",
    "1.5",
    "1e3",
    "0x1",
    "NaN",
    "null",
    "true",
    " 1",
    "1 ",
    "1_000",
    "+1",
    "--1",
    "٣",
    f"{2**63}",
    f"{-(2**63) - 1}",
    "9" * 5000,
    "[1]",
    "1,2",
    "a\0b",
)
OTHERS = ("", "x", "NEW", "new ", "null", "x" * 5000, "a\0b", "\U0001f600")


async def test_every_parameter_of_a_query_is_checked_and_named(found: World) -> None:
    document, tried = await found.api.get("/v1/openapi.json", token=""), 0
    for path, methods in document["paths"].items():
        place = path.replace("{id}", "1").replace("{stream}", "stdout").replace("{number}", "0")
        for method, operation in methods.items():
            if operation["tags"] == ["events"]:
                continue
            for parameter in [each for each in operation.get("parameters", ()) if each["in"] == "query"]:
                schema = {**parameter["schema"], "components": document["components"]}
                if schema.get("type") == "string" or (schema.get("type") == "boolean"):
                    continue
                values = INTEGERS if schema.get("type") == "integer" else OTHERS
                for value in values:
                    answer = await found.api.call(
                        method.upper(), place, params={parameter["name"]: value}, token=found.operator
                    )
                    tried += 1
                    at = (operation["operationId"], parameter["name"], value[:20], answer.document)
                    assert answer.status == 422, at
                    assert [each["pointer"] for each in answer.document["problems"]] == [f"?{parameter['name']}"], at
            twice = await found.api.call(method.upper(), f"{place}?bogus=1", token=found.operator)
            if operation.get("parameters") or method == "get":
                assert twice.status == 422, (operation["operationId"], twice.document)
                assert [each["pointer"] for each in twice.document["problems"]] == ["?bogus"]
    assert tried > 50

"""The API's description: complete, valid, and the one that stands in docs/."""

import json
from pathlib import Path

from jsonschema import Draft202012Validator

from idds.api.openapi import as_page
from idds.api.registry import ROUTES, openapi
from idds.api.route import Caller

PAGE = Path(__file__).parents[3] / "docs" / "openapi.json"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == as_page(openapi()), "it has drifted: write it anew with `poe docs`"


def test_every_route_is_described_once() -> None:
    described = [
        (operation["operationId"], method.upper(), path)
        for path, methods in openapi()["paths"].items()
        for method, operation in methods.items()
    ]
    assert sorted(described) == sorted((route.name, route.method, route.path) for route in ROUTES)
    assert len({name for name, _, _ in described}) == len(ROUTES)


def test_schemas_are_schemas_and_all_are_there() -> None:
    document = openapi()
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    used = set(_references(document))
    assert used <= known


def _references(value: object) -> list[str]:
    if isinstance(value, dict):
        mine = [str(inner) for key, inner in value.items() if key == "$ref"]
        return mine + [found for inner in value.values() for found in _references(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in _references(inner)]
    return []


def test_it_says_who_may_call_and_what_may_go_wrong() -> None:
    for each in ROUTES:
        operation = openapi()["paths"][each.path][each.method.lower()]
        assert operation["security"] == ([] if each.caller is Caller.PUBLIC else [{"token": []}])
        expected = {str(status) for status in each.statuses}
        assert expected <= set(operation["responses"])
        assert ("401" in operation["responses"]) == (each.caller is not Caller.PUBLIC)
        assert ("requestBody" in operation) == (each.body is not None)


def test_it_is_plain_json() -> None:
    assert json.loads(as_page(openapi())) == openapi()

"""The API's description: complete, valid, and the one that stands in docs/."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from idds.api.examples import BODIES
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
    known |= {f"#/components/responses/{name}" for name in document["components"]["responses"]}
    known |= {f"#/components/headers/{name}" for name in document["components"]["headers"]}
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
        needs_token = each.caller is not Caller.PUBLIC
        assert ("401" in operation["responses"]) == (needs_token or 401 in each.statuses)
        assert ("requestBody" in operation) == (each.body is not None or each.reads_lines)


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    for methods in openapi()["paths"].values():
        for operation in methods.values():
            yield operation["operationId"], operation


def test_it_is_an_openapi_document() -> None:
    validate(openapi())


def test_every_operation_belongs_to_one_noun() -> None:
    known = {tag["name"] for tag in openapi()["tags"]}
    for name, operation in operations():
        [tag] = operation["tags"]
        assert tag in known, name
    assert known == {operation["tags"][0] for _, operation in operations()}


def test_every_parameter_is_described_and_bounded() -> None:
    for name, operation in operations():
        for parameter in operation.get("parameters", ()):
            place, schema = (name, parameter["name"]), parameter["schema"]
            assert parameter["description"], place
            if schema.get("type") == "integer":
                assert {"minimum", "maximum"} <= schema.keys(), place


def test_every_field_of_a_body_is_bounded() -> None:
    bodies = [operation["requestBody"] for _, operation in operations() if "requestBody" in operation]
    waiting = [content["schema"] for body in bodies for content in body["content"].values()]
    seen: set[str] = set()
    while waiting:
        schema = waiting.pop()
        if "$ref" in schema and schema["$ref"] not in seen:
            seen.add(schema["$ref"])
            waiting.append(openapi()["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
        assert schema.get("type") != "array" or "maxItems" in schema, schema
        assert schema.get("type") != "object" or {"maxProperties", "additionalProperties"} & schema.keys(), schema
        inner = schema.get("additionalProperties")
        waiting += [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
        waiting += [each for each in (schema.get("items"), inner) if isinstance(each, dict)]
    assert len(seen) > 5


def test_every_body_has_an_example_that_is_taken() -> None:
    bodies = {route.name: route.body for route in ROUTES if route.body is not None}
    assert bodies.keys() == BODIES.keys()
    for name, body in bodies.items():
        body.model_validate_json(json.dumps(BODIES[name]))


def test_errors_are_described_once() -> None:
    for name, operation in operations():
        for status, response in operation["responses"].items():
            assert (response.keys() == {"$ref"}) == (int(status) >= 400), (name, status)


def test_it_is_plain_json() -> None:
    assert json.loads(as_page(openapi())) == openapi()

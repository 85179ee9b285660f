"""The OpenAPI document, made from the registry."""

import json
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from idds.api.problems import MEDIA_TYPE, ProblemDocument
from idds.api.route import Caller, Route

DESCRIBED_AT = "/v1/openapi.json"
_REF = "#/components/schemas/{model}"
_PATH_PARAMETERS = {
    "id": {"type": "integer", "minimum": 0},
    "stream": {"type": "string", "enum": ["stdout", "stderr"]},
}


def describe(routes: Sequence[Route]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes."""
    schemas, components = TypeAdapter.json_schemas(list(_types(routes)), ref_template=_REF)
    described: dict[str, dict[str, Any]] = {}
    for route in routes:
        described.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "iDDS",
            "version": version("idds-next"),
            "description": "Intelligent data delivery: requests, and the contents that they deliver. "
            "Times are microseconds UTC. Errors are problem documents (RFC 9457).",
        },
        "paths": described,
        "components": {
            "schemas": components["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def as_page(document: dict[str, Any]) -> str:
    """As it stands in docs/openapi.json."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _types(routes: Sequence[Route]) -> Iterator[tuple[tuple[str, str], JsonSchemaMode, TypeAdapter[Any]]]:
    yield ("", "problem"), "serialization", TypeAdapter(ProblemDocument)
    for route in routes:
        if route.reply is not None:
            yield (route.name, "reply"), "serialization", TypeAdapter(route.reply)
        if route.body is not None:
            yield (route.name, "body"), "validation", TypeAdapter(route.body)
        if route.query is not None:
            yield (route.name, "query"), "validation", TypeAdapter(route.query)


def _operation(route: Route, schemas: Any) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": f"For: {route.caller}.",
        "responses": {str(status): _response(route, status, schemas) for status in _statuses(route)},
        "security": [] if route.caller is Caller.PUBLIC else [{"token": []}],
    }
    if parameters := list(_parameters(route, schemas)):
        operation["parameters"] = parameters
    if route.body is not None:
        content = {"application/json": {"schema": schemas[(route.name, "body"), "validation"]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameters(route: Route, schemas: Any) -> Iterator[dict[str, Any]]:
    for name, schema in _PATH_PARAMETERS.items():
        if f"{{{name}}}" in route.path:
            yield {"name": name, "in": "path", "required": True, "schema": schema}
    for name, description in route.headers.items():
        yield {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}
    if route.query is not None:
        for name, schema in route.query.model_json_schema(ref_template=_REF)["properties"].items():
            yield {"name": name, "in": "query", "schema": {k: v for k, v in schema.items() if k != "title"}}


def _statuses(route: Route) -> list[int]:
    found = {*route.statuses, 500, 503}
    if route.caller is not Caller.PUBLIC:
        found |= {401, 403}
    if route.body is not None:
        found |= {400, 413, 415, 422}
    if route.query is not None:
        found |= {422}
    return sorted(found)


def _response(route: Route, status: int, schemas: Any) -> dict[str, Any]:
    described = {"description": HTTPStatus(status).phrase}
    if status >= 400:
        return {**described, "content": {MEDIA_TYPE: {"schema": schemas[("", "problem"), "serialization"]}}}
    content: dict[str, Any] = {}
    if route.reply is not None:
        content["application/json"] = {"schema": schemas[(route.name, "reply"), "serialization"]}
    if route.also is not None:
        content[route.also] = {"schema": {"type": "string"}}
    return {**described, "content": content}

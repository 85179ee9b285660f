"""The OpenAPI document, made from the registry."""

import json
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from idds.api.documents import may_be_left_out
from idds.api.examples import BODIES
from idds.api.lines import NDJSON
from idds.api.problems import MEANINGS, MEDIA_TYPE, ProblemDocument
from idds.api.route import Caller, Route

DESCRIBED_AT = "/v1/openapi.json"
PRESENTED_AT = "/docs"

NOUNS: Mapping[str, str] = {
    "requests": "What a client submits: a workflow, carried out to its end.",
    "transforms": "Instances of works.",
    "processings": "Submissions of contents to a provider, and their logs.",
    "collections": "The inputs and outputs of transforms.",
    "contents": "What is delivered: files, ranges of events, samples.",
    "history": "What happened, and why.",
    "events": "What happens, as it happens.",
    "windows": "How much may be on disk at once.",
    "replicas": "Files on disk.",
    "studies": "Searches: what they are, and what they found.",
    "samples": "The points of a study, and what came of them.",
    "tokens": "Who may call.",
    "audit": "Who changed what.",
    "agents": "The processes that carry requests out.",
    "service": "The service itself.",
}
"""The tags. A route belongs to the last of them that stands in its path, and to the service where none does."""

_REF = "#/components/schemas/{model}"
_PATH_PARAMETERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "id": ("Its number.", {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}),
    "number": (
        "Of a sample, among those of its study, from 0.",
        {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
    ),
    "stream": ("Which log.", {"type": "string", "enum": ["stdout", "stderr"]}),
}
_HEADERS: Mapping[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "Stands in every line that the service logs of this call; a client may send its own.",
        "schema": {"type": "string"},
    },
    "Retry-After": {
        "description": "In how many seconds to ask again.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "WWW-Authenticate": {"description": "That a bearer token is needed.", "schema": {"type": "string"}},
}
_HEADERS_OF: Mapping[int, tuple[str, ...]] = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}

_DESCRIPTION = f"""\
Intelligent data delivery: requests, and the contents that they deliver.

Times are microseconds UTC, sizes bytes. Pages follow each other by a cursor: `next` of one is `after` or `before` of \
the following, null at the end. Errors are problem documents (RFC 9457) that name the place of what is wrong. \
`{PRESENTED_AT}` shows this description as a page.
"""
_WHO_MAY = """\
A token of this service, or one of an identity provider that it trusts. `x-idds-caller` of each operation names the \
least that may call it: reader, user, wfms, operator, each of which may do what the ones before may. Tokens of \
payloads are good for routes of `holder` and, for their own collection, of `payload`; those are for users as well.
"""


class _Schemas(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        """A field's name is its title."""
        return False


def describe(routes: Sequence[Route]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes."""
    schemas, components = TypeAdapter.json_schemas(list(_types(routes)), ref_template=_REF, schema_generator=_Schemas)
    described: dict[str, dict[str, Any]] = {}
    for route in routes:
        described.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    used = {_noun(route) for route in routes}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "iDDS",
            "version": version("idds-next"),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This service"}],
        "tags": [{"name": noun, "description": what} for noun, what in NOUNS.items() if noun in used],
        "paths": described,
        "components": {
            "schemas": components["$defs"],
            "responses": {_name(status): _error(status, schemas) for status in sorted(_errors(routes))},
            "headers": dict(_HEADERS),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": _WHO_MAY}},
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
        "tags": [_noun(route)],
        "summary": route.summary,
        "description": f"For: {route.caller}.",
        "x-idds-caller": route.caller.name.lower(),
        "responses": {str(status): _response(route, status, schemas) for status in _statuses(route)},
        "security": [] if route.caller is Caller.PUBLIC else [{"token": []}],
    }
    if parameters := list(_parameters(route)):
        operation["parameters"] = parameters
    if route.body is not None:
        content: dict[str, Any] = {"schema": schemas[(route.name, "body"), "validation"]}
        if route.name in BODIES:
            content["example"] = BODIES[route.name]
        needed = not may_be_left_out(route.body)
        operation["requestBody"] = {"required": needed, "content": {"application/json": content}}
        if route.reads_lines:
            operation["requestBody"]["content"][NDJSON] = {"schema": {"type": "string"}}
    elif route.reads_lines:
        operation["requestBody"] = {"required": True, "content": {NDJSON: {"schema": {"type": "string"}}}}
    return operation


def _noun(route: Route) -> str:
    segments = [segment.partition(":")[0] for segment in route.path.split("/")]
    return next((segment for segment in reversed(segments) if segment in NOUNS), "service")


def _parameters(route: Route) -> Iterator[dict[str, Any]]:
    for name, (description, schema) in _PATH_PARAMETERS.items():
        if f"{{{name}}}" in route.path:
            yield {"name": name, "in": "path", "required": True, "description": description, "schema": schema}
    for name, description in route.headers.items():
        yield {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}
    if route.query is not None:
        described = route.query.model_json_schema(ref_template=_REF, schema_generator=_Schemas)["properties"]
        for name, schema in described.items():
            yield _of_query(name, schema)


def _of_query(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter. In a query null is said by leaving it out."""
    described: dict[str, Any] = {**schema}
    if "anyOf" in described:
        left = [{**each} for each in described.pop("anyOf") if each.get("type") != "null"]
        described |= left[0] if len(left) == 1 else {"anyOf": left}
    if described.get("default", 0) is None:
        del described["default"]
    return {"name": name, "in": "query", "description": described.pop("description", ""), "schema": described}


def _statuses(route: Route) -> list[int]:
    found = {*route.statuses, 500, 503}
    if route.caller is not Caller.PUBLIC:
        found |= {401, 403, 429}
    if route.body is not None:
        found |= {400, 408, 413, 415, 422}
    elif route.reads_lines:
        found |= {400, 408, 415, 422}
    if route.query is not None:
        found |= {422}
    return sorted(found)


def _errors(routes: Sequence[Route]) -> set[int]:
    return {status for route in routes for status in _statuses(route) if status >= 400}


def _name(status: int) -> str:
    return HTTPStatus(status).name.title().replace("_", "")


def _error(status: int, schemas: Any) -> dict[str, Any]:
    names = ("X-Request-Id", *_HEADERS_OF.get(status, ()))
    return {
        "description": MEANINGS.get(status, HTTPStatus(status).phrase),
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {MEDIA_TYPE: {"schema": schemas[("", "problem"), "serialization"]}},
    }


def _response(route: Route, status: int, schemas: Any) -> dict[str, Any]:
    if status >= 400:
        return {"$ref": f"#/components/responses/{_name(status)}"}
    content: dict[str, Any] = {}
    if route.reply is not None:
        content["application/json"] = {"schema": schemas[(route.name, "reply"), "serialization"]}
    if route.also is not None:
        content[route.also] = {"schema": {"type": "string"}}
    return {"description": HTTPStatus(status).phrase, "content": content}

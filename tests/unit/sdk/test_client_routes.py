"""The client against the API's description: every route has its method, every record the fields of its answer."""

import inspect
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from pydantic import TypeAdapter

from idds.domain.job import LogChunk
from idds.sdk.client import Client
from idds.sdk.views import MoveView

DOCUMENT: dict[str, Any] = json.loads((Path(__file__).parents[3] / "docs" / "openapi.json").read_text())
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
OPERATIONS: dict[str, dict[str, Any]] = {
    operation["operationId"]: operation for methods in DOCUMENT["paths"].values() for operation in methods.values()
}

METHODS = {
    "submitRequest": Client.submit,
    "listRequests": Client.requests,
    "showRequest": Client.request,
    "cancelRequest": Client.cancel,
    "suspendRequest": Client.suspend,
    "resumeRequest": Client.resume,
    "finishRequest": Client.finish,
    "retryRequest": Client.retry,
    "extendRequest": Client.extend,
    "listenToEvents": Client.events,
    "listenToRequest": Client.events,
    "listTransforms": Client.transforms,
    "showTransform": Client.transform,
    "listProcessings": Client.processings,
    "showProcessing": Client.processing,
    "listMoves": Client.history,
    "explainRequest": Client.why,
    "showCollection": Client.collection,
    "closeCollection": Client.close_collection,
    "listContents": Client.contents,
    "registerContents": Client.register,
    "leaseContents": Client.lease,
    "extendLeases": Client.heartbeat,
    "reportIntermediates": Client.intermediate,
    "returnContents": Client.give_back,
    "reportContents": Client.report_and_lease,
    "issueToken": Client.payload_token,
    "readLogs": Client.logs,
    "listWindows": Client.windows,
    "showCarousel": Client.carousel,
    "forecastRequest": Client.forecast,
    "listHolds": Client.holds,
    "holdStorage": Client.hold,
    "resumeStorage": Client.resume_storage,
    "changeWindow": Client.change_window,
    "retireUnused": Client.retire_unused,
    "changeSource": Client.change_source,
    "changeDestination": Client.change_destination,
    "forceStaging": Client.force_staging,
    "releaseRequest": Client.release,
    "showSeries": Client.series,
    "showLandings": Client.landings,
    "showContent": Client.content,
    "listTroubles": Client.troubles,
    "countReplicas": Client.replicas,
    "listStudies": Client.studies,
    "showStudy": Client.study,
    "listBest": Client.best,
    "listSamples": Client.samples,
    "showSample": Client.sample,
    "listVersions": Client.versions,
    "redefineStudy": Client.redefine,
    "showStudySeries": Client.best_over_time,
    "showStudyPoints": Client.points,
    "weighParameters": Client.importance,
    "showStudyCurves": Client.curves,
    "showStudyDelivery": Client.delivery,
    "readyz": Client.ready,
    "whoami": Client.whoami,
    "listIssuers": Client.issuers,
    "makeToken": Client.new_token,
    "listTokens": Client.tokens,
    "revokeToken": Client.revoke_token,
    "listAudit": Client.audit,
    "listAgents": Client.agents,
    "metrics": Client.metrics,
}
NOT_OF_THE_CLIENT = {
    "healthz": "asked by who starts the process; readyz tells a client more",
    "openapi": "read by tools, and in docs/openapi.json",
    "docs": "read by people",
    "takeRucioEvents": "called by Rucio's daemon",
}


def test_every_route_has_its_method() -> None:
    assert set(OPERATIONS) == {*METHODS, *NOT_OF_THE_CLIENT}


def test_every_method_has_its_route() -> None:
    made_of_others = {Client.follow, Client.wait, Client.changes, Client.report}
    methods = {it for name, it in inspect.getmembers(Client, inspect.isfunction) if not name.startswith("_")}
    assert methods == {*METHODS.values(), *made_of_others}


@pytest.mark.parametrize("name", METHODS)
def test_a_record_has_the_fields_of_its_answer(name: str) -> None:
    differences = [it for kind, schema in _records_of(name) for it in _differences(kind, schema)]
    assert differences == []


def test_no_record_has_a_field_that_no_answer_has() -> None:
    known: dict[Any, set[str]] = {}
    for name in METHODS:
        for kind, schema in _records_of(name):
            known.setdefault(kind, set()).update(schema["properties"])
    assert len(known) > 10
    unknown = {kind: {field.name for field in fields(kind)} - names for kind, names in known.items()}
    assert {kind: names for kind, names in unknown.items() if names} == {MoveView: {"request"}}, "that one is in events"


@pytest.mark.parametrize("name", METHODS)
def test_what_may_be_asked_for_can_be_asked_for(name: str) -> None:
    """Each parameter and each field of a body has its argument; but cursors, which are turned by the client."""
    asked = {each["name"] for each in OPERATIONS[name].get("parameters", ()) if each["in"] == "query"}
    body = OPERATIONS[name].get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    asked |= set(_resolved(body).get("properties", ()))
    arguments = set(inspect.signature(METHODS[name]).parameters)
    assert asked - arguments - INSTEAD.get(name, set()) - {"before", "after", "limit"} == set()


INSTEAD = {"extendLeases": {"held"}, "returnContents": {"held"}, "reportContents": {"reports", "lease"}}
"""Arguments that are records of their own."""


def _records_of(name: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The records in what a method gives, each with its schema."""
    kind = get_type_hints(METHODS[name])["return"]
    origin = get_origin(kind)
    if isinstance(origin, type) and issubclass(origin, AsyncIterator):
        kind = tuple[get_args(kind)[0], ...]  # type: ignore[misc]
    for status, response in OPERATIONS[name]["responses"].items():
        content = response.get("content", {})
        if kind is not LogChunk and status.startswith("2") and "application/json" in content:
            schema = _resolved(content["application/json"]["schema"])
            yield from _records(kind, _listed(schema) if get_origin(kind) is tuple else schema)


def _listed(schema: dict[str, Any]) -> dict[str, Any]:
    """The one list in an answer that holds it in a field."""
    [found] = [each for each in map(_resolved, schema["properties"].values()) if each.get("type") == "array"]
    return found


def _records(kind: Any, schema: Mapping[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    schema = _resolved(schema)
    if is_dataclass(kind):
        yield kind, schema
        for name, hint in get_type_hints(kind).items():
            if name in schema["properties"]:
                yield from _records(hint, schema["properties"][name])
    elif get_origin(kind) in (tuple, Sequence):
        yield from _records(get_args(kind)[0], schema["items"])
    elif (option := _not_null(kind)) is not kind:
        yield from _records(option, next(each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"))


def _not_null(kind: Any) -> Any:
    options = [option for option in get_args(kind) if option is not type(None)]
    return options[0] if type(None) in get_args(kind) and len(options) == 1 else kind


def _differences(kind: Any, schema: dict[str, Any]) -> Iterator[str]:
    """Where a record and its schema differ: in names, types, or what may be null."""
    hints, properties = get_type_hints(kind), schema["properties"]
    for field in fields(kind):
        if field.name not in properties and not _has_default(field):
            yield f"{kind.__name__}.{field.name}: not in the API"
    for name, described in properties.items():
        if name not in hints:
            yield f"{kind.__name__}.{name}: not in the record"
        elif excess := _types(described) - _types(TypeAdapter(hints[name]).json_schema()):
            yield f"{kind.__name__}.{name}: the API may say {sorted(excess)}"


def _has_default(field: Any) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _types(schema: Mapping[str, Any], known: Mapping[str, Any] = SCHEMAS) -> set[str]:
    """The JSON types that a value may have, and the members of an enumeration."""
    known = {**known, **schema.get("$defs", {})}
    schema = _resolved(schema, known)
    if "anyOf" in schema:
        return set().union(*(_types(option, known) for option in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return {repr(value) for value in schema.get("enum", [schema.get("const")])}
    return {str(schema.get("type", "anything"))}


def _resolved(schema: Mapping[str, Any], known: Mapping[str, Any] = SCHEMAS) -> dict[str, Any]:
    reference = schema.get("$ref")
    return dict(schema) if reference is None else dict(known[reference.rpartition("/")[2]])

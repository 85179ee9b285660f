"""docs/asyncapi.yaml says what the code sends and takes."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from idds.domain.content import Content
from idds.domain.identifiers import CollectionId, ContentId, RequestId
from idds.domain.message import MAX_CONTENTS
from idds.domain.statuses import ContentStatus, Status
from idds.services.announcing import ANNOUNCED, describe
from idds.services.publishing import ACKNOWLEDGEMENTS, REPORTS, Acknowledgement, ContentOutcome
from idds.services.tasks import MOST_INPUTS, JobStatus, TaskStatus
from idds.services.telling import topic_of

DOCUMENT: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "docs" / "asyncapi.yaml").read_text())
SCHEMAS: dict[str, Any] = DOCUMENT["components"]["schemas"]
MESSAGES: dict[str, Any] = DOCUMENT["components"]["messages"]


def validator(name: str) -> Draft202012Validator:
    registry = Registry().with_resource("urn:asyncapi", Resource.from_contents(DOCUMENT, DRAFT202012))
    return Draft202012Validator({"$ref": f"urn:asyncapi#/components/schemas/{name}"}, registry=registry)


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_reference_leads_somewhere() -> None:
    for reference in references(DOCUMENT):
        node: Any = DOCUMENT
        for key in reference.removeprefix("#/").split("/"):
            node = node[key]


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_valid(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize(("name", "example"), [(name, one) for name in MESSAGES for one in MESSAGES[name]["examples"]])
def test_examples_fit_their_schema(name: str, example: dict[str, Any]) -> None:
    validator(name).validate(example["payload"])
    spoilt = "id" if "id" in example["payload"] else "msg_type"
    assert not validator(name).is_valid({**example["payload"], spoilt: 5})


def test_statuses_are_those_of_the_domain() -> None:
    channels = DOCUMENT["channels"]
    assert set(channels["contents"]["parameters"]["status"]["enum"]) == ANNOUNCED
    assert set(DOCUMENT["components"]["parameters"]["status"]["enum"]) == set(Status)
    assert set(SCHEMAS["status"]["enum"]) == set(Status)
    contents = SCHEMAS["contents"]["allOf"][1]["properties"]
    assert set(contents["type"]["enum"]) == {f"contents.{status}" for status in ANNOUNCED}
    assert contents["contents"]["maxItems"] == MAX_CONTENTS


def test_a_content_is_described_as_it_is_told() -> None:
    content = Content(
        id=ContentId(1),
        request_id=RequestId(1),
        collection_id=CollectionId(1),
        scope="data",
        name="a.root",
        min_id=0,
        max_id=0,
        bytes=10,
        adler32="00000001",
        group_no=0,
        status=ContentStatus.AVAILABLE,
        attempt=0,
        lessee=None,
        lease_until=None,
        replica_id=None,
        reason=None,
        payload=None,
        changed_at=0,
    )
    validator("content").validate(describe(content, "/disk/a.root"))
    sample = dataclasses.replace(content, adler32=None, payload={"parameters": {"x": 0.5}})
    validator("content").validate(describe(sample, None))


def test_the_acknowledgement_is_the_one_that_is_taken() -> None:
    assert DOCUMENT["channels"]["acknowledgements"]["address"].replace("{vo}", "+") == ACKNOWLEDGEMENTS
    for example in MESSAGES["acknowledgement"]["examples"]:
        taken = msgspec.convert(example["payload"], Acknowledgement)
        assert [one.id for one in taken.contents] == [one["id"] for one in example["payload"]["contents"]]
    taken_fields = set(SCHEMAS["acknowledgement"]["properties"]["contents"]["items"]["properties"])
    assert taken_fields == {field.name for field in msgspec.structs.fields(ContentOutcome)}


def test_what_workload_managers_are_told_and_say() -> None:
    channels = DOCUMENT["channels"]
    assert channels["jedi"]["address"] == topic_of("{vo}")
    assert channels["reports"]["address"].replace("{vo}", "+") == REPORTS
    for example in MESSAGES["report"]["examples"]:
        taken = msgspec.convert(example["payload"], JobStatus | TaskStatus)
        assert taken.status == example["payload"]["status"]
    assert SCHEMAS["report"]["properties"]["inputs"]["maxItems"] == MOST_INPUTS
    for told in ("staged", "drawn"):
        assert SCHEMAS[told]["properties"]["files"]["maxItems"] == MAX_CONTENTS

"""What the official client writes is read without making anything that it names."""

import base64
import json
import sys
import zlib
from typing import Any

import pytest

from idds.api.facade.decoding import MOST_VALUES, decode
from idds.api.facade.vocabulary import ENUMERATIONS, MODULE, status_name, tagged
from idds.domain.errors import InvalidInput
from idds.domain.identifiers import RequestId
from idds.domain.request import Request
from idds.domain.statuses import Intent, Status
from idds.domain.workflow import Input, Work, Workflow

LARGEST = 10_000


def read(document: Any) -> Any:
    return decode(json.dumps(document).encode(), LARGEST)


def zipped(document: Any) -> str:
    return "idds_zip:" + base64.b64encode(zlib.compress(json.dumps(document).encode())).decode()


def test_members_of_enumerations_become_their_names() -> None:
    document = {"status": tagged("RequestStatus", "New"), "many": [tagged("RequestType", "Other"), 1, None, "a"]}
    assert read(document) == {"status": "New", "many": ["Other", 1, None, "a"]}


def test_every_member_that_is_told_can_be_read() -> None:
    for kind, members in ENUMERATIONS.items():
        for name in members:
            assert read(tagged(kind, name)) == name


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"a": {"class": "Popen", "module": "subprocess", "attributes": {"args": ["true"]}}}, "/a"),
        ({"a": [{"class": "RequestStatus", "module": "antigravity", "attributes": {"_value_": 0}}]}, "/a/0"),
        ({"class": "Work", "module": "idds.workflow.work", "attributes": {}}, ""),
        ({"class": ["RequestStatus"], "module": MODULE, "attributes": {"_value_": 0}}, ""),
        ({"class": "RequestStatus", "module": MODULE, "attributes": {"_value_": 999}}, "/attributes/_value_"),
        ({"class": "RequestStatus", "module": MODULE, "attributes": {"_value_": True}}, "/attributes/_value_"),
        ({"class": "RequestStatus", "module": MODULE, "attributes": None}, "/attributes/_value_"),
        ({"a/b": "\0"}, "/a~1b"),
        ({"a": "\ud800"}, "/a"),
        ({"\0": 1}, ""),
        ({"a": 2**63}, "/a"),
        ({"a": float("nan")}, "/a"),
        ({"a": "idds_zip:!"}, "/a"),
        ({"a": "idds_zip:" + base64.b64encode(b"no zlib").decode()}, "/a"),
        ({"a": zipped("x" * LARGEST)}, "/a"),
        ({"a": zipped({"class": "Popen", "module": "subprocess", "attributes": {}})}, "/a"),
        ({"a": [{"b": zipped([0, "\0"])}]}, "/a/0/b/1"),
        ([[0] * MOST_VALUES], f"/0/{MOST_VALUES - 2}"),
    ],
)
def test_all_else_is_refused_at_its_place(document: Any, place: str) -> None:
    before = set(sys.modules)
    with pytest.raises(InvalidInput) as caught:
        read(document)
    assert [problem.pointer for problem in caught.value.problems] == [place]
    assert set(sys.modules) == before, "what a client names is not imported"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a": ' * 100_000, b'{"a":' * 70 + b"1" + b"}" * 70])
def test_what_is_no_json_or_too_deep_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode(body, LARGEST)


def test_packed_texts_are_unpacked() -> None:
    assert read({"work": zipped({"a": [tagged("RequestStatus", "Ready")]})}) == {"work": {"a": ["Ready"]}}


def test_what_is_packed_is_bounded_together() -> None:
    half = "x" * (LARGEST // 2 - 2)
    assert read([zipped(half), zipped(half)]) == [half, half]
    for document, place in (
        ([zipped(half), zipped(half), zipped(1)], "/2"),
        ([zipped(half), zipped(zipped(half))], "/1"),
        ([zipped("x" * (LARGEST - 1))], "/0"),
    ):
        with pytest.raises(InvalidInput) as caught:
            read(document)
        assert caught.value.problems[0].pointer == place


@pytest.mark.parametrize(
    ("status", "intent", "name"),
    [
        (Status.NEW, Intent.RUN, "New"),
        (Status.RUNNING, Intent.RUN, "Transforming"),
        (Status.RUNNING, Intent.CANCEL, "Cancelling"),
        (Status.CANCELLED, Intent.CANCEL, "Cancelled"),
        (Status.RUNNING, Intent.SUSPEND, "Suspending"),
        (Status.SUSPENDED, Intent.SUSPEND, "Suspended"),
        (Status.SUSPENDED, Intent.CANCEL, "Cancelling"),
        (Status.RUNNING, Intent.FINISH, "ToFinish"),
        (Status.FINISHED, Intent.FINISH, "Finished"),
        (Status.EXPIRED, Intent.EXPIRE, "Expired"),
    ],
)
def test_a_request_is_told_by_what_is_being_done_to_it(status: Status, intent: Intent, name: str) -> None:
    workflow = Workflow(name="w", works=(Work(name="stagein", input=Input(dataset="a:b")),))
    request = Request(RequestId(1), "w", status, intent, "owner", "vo", "", 0, workflow, 0, 0)
    assert status_name(request) == name
    assert name in ENUMERATIONS["RequestStatus"]

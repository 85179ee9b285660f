"""Facts of the field."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idds.domain.errors import InvalidInput, Problem
from idds.domain.identifiers import Did
from idds.domain.processing import job_key, lessee_of
from idds.domain.statuses import TERMINAL, ContentStatus, JobStatus, Status
from idds.domain.workflow import Payload, Work, Workflow
from tests.unit.engine.examples import a_collection, a_processing


@pytest.mark.parametrize("text", ["", ":", "scope", "scope:", ":name"])
def test_a_did_has_a_scope_and_a_name(text: str) -> None:
    with pytest.raises(ValueError, match="is not a DID: write scope:name"):
        Did.parse(text)


@given(st.text(min_size=1).filter(lambda text: ":" not in text), st.text(min_size=1))
def test_a_did_is_read_as_it_is_written(scope: str, name: str) -> None:
    did = Did(scope, name)
    assert Did.parse(str(did)) == did


def test_what_has_ended_is_terminal() -> None:
    assert {status for status in Status if status.is_terminal} == TERMINAL
    assert {str(status) for status in ContentStatus if not status.is_terminal} == {"new", "available", "leased"}
    assert {str(status) for status in JobStatus if not status.is_terminal} == {"pending", "running", "held"}


def test_a_collection_knows_how_many_contents_are_open() -> None:
    counts = Counter(dict(zip(ContentStatus, (1, 2, 4, 8, 16, 32, 64), strict=True)))
    collection = a_collection(counts=counts)
    assert (collection.total, collection.open) == (127, 7)
    assert (a_collection().total, a_collection().open) == (0, 0)


def test_each_attempt_of_a_processing_has_a_key_of_its_own() -> None:
    processing = a_processing()
    assert processing.key == job_key(1, 1) != replace(processing, attempt=2).key
    assert lessee_of(1) == "processing:1"


def test_a_work_is_found_by_its_name() -> None:
    work = Work(name="a", payload=Payload(argv=("x",)))
    workflow = Workflow(name="w", works=(work,))
    assert workflow.work("a") is work
    with pytest.raises(KeyError):
        workflow.work("b")


def test_an_error_of_input_names_every_place() -> None:
    error = InvalidInput([Problem("/a", "wrong"), Problem("", "all of it")])
    assert str(error) == "/a: wrong; /: all of it"
    assert len(error.problems) == 2

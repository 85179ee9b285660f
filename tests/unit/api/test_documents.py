"""Reading JSON strictly."""

import contextlib
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from idds.api.bodies import Bulk, HeartbeatBody, LeaseBody, RedefineBody, ReportBody, SubmitBody, TokenBody
from idds.api.documents import parse, read_bulk
from idds.api.problems import Malformed
from idds.api.structs import reader_of
from idds.domain.errors import IddsError, InvalidInput

BODIES: list[type[BaseModel]] = [SubmitBody, LeaseBody, HeartbeatBody, ReportBody, TokenBody]


def told(body: bytes, model: type[BaseModel] = SubmitBody) -> dict[str, str]:
    with pytest.raises((InvalidInput, Malformed)) as caught:
        parse(body, model)
    assert isinstance(caught.value, (InvalidInput, Malformed))
    return {problem.pointer: problem.message for problem in caught.value.problems}


def test_lists_become_tuples_and_defaults_are_filled_in() -> None:
    body = parse(b'{"workflow": {"name": "n", "works": [{"name": "w", "after": ["v"]}]}}', SubmitBody)
    assert body.workflow.works[0].after == ("v",)
    assert body.workflow.works[0].attempts == 3


@pytest.mark.parametrize(
    ("body", "pointer", "message"),
    [
        (b'{"a": {"b": 1, "b": 2}}', "/a", "the field 'b' stands twice"),
        (b'[{"x": 9223372036854775808}]', "/0/x", "this number does not fit into 64 bits"),
        (b'{"x": -9223372036854775809}', "/x", "this number does not fit into 64 bits"),
        (b'{"a~/b": [1, NaN]}', "/a~0~1b/1", "NaN is not a number in JSON"),
        (b'{"a": 1e400}', "/a", "this number is too large"),
        (b'{"a": [1' + b"0" * 400 + b".0]}", "/a/0", "this number is too large"),
        (b'{"a": -Infinity}', "/a", "-Infinity is not a number in JSON"),
        (b'{"a": "x\\u0000"}', "/a", "no text may hold the character U+0000"),
        (b'{"a": {"x\\u0000": 1}}', "/a", "no field's name may hold the character U+0000"),
        (b'{"a": ["\\ud83d"]}', "/a/0", "no text may hold the character U+D83D"),
        (b'{"a": {"\\uDE00": 1}}', "/a", "no field's name may hold the character U+DE00"),
    ],
)
def test_what_is_no_good_in_any_document_is_named(body: bytes, pointer: str, message: str) -> None:
    assert told(body)[pointer] == message


def test_a_choice_of_types_is_one_problem() -> None:
    body = b'{"workflow": {"name": "n", "works": [{"name": "w", "input": {"dataset": "a:b", "batch": "some"}}]}}'
    assert told(body) == {"/workflow/works/0/input/batch": "input should be a valid integer or input should be 'all'"}


def test_elements_that_are_wrong_do_not_make_a_list_too_short() -> None:
    body = b'{"workflow": {"name": "n", "works": [{"name": "w", "bogus": 1}, 2]}}'
    assert told(body) == {
        "/workflow/works/0/bogus": "there is no such field",
        "/workflow/works/1": "input should be an object",
    }


def test_a_missing_field_is_named_where_it_should_be() -> None:
    assert told(b'{"reports": [{"id": 1, "status": "done"}]}', ReportBody) == {
        "/reports/0/attempt": "this field is required"
    }


def test_not_all_of_very_many_problems_are_told() -> None:
    body = b'{"reports": [' + b",".join([b"1"] * 5000) + b"]}"
    assert len(told(body, ReportBody)) == 100


def names() -> st.SearchStrategy[str]:
    known = {name for model in BODIES for name in model.model_fields} | {
        *("name", "works", "input", "samples", "space", "id", "attempt", "status", "batch", "window", "after"),
    }
    return st.sampled_from(sorted(known)) | st.text(max_size=3)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names(), inner, max_size=4),
    max_leaves=12,
)


@given(value=json_values, model=st.sampled_from(BODIES))
def test_whatever_comes_is_read_or_refused(value: Any, model: type[BaseModel]) -> None:
    with contextlib.suppress(InvalidInput, Malformed):
        parse(json.dumps(value).encode(), model)


@given(body=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises(IddsError):
        parse(body, SubmitBody)


BULK: list[type[Bulk]] = [HeartbeatBody, ReportBody]


def read(reading: Callable[[bytes, type[Bulk]], Any], body: bytes, model: type[Bulk]) -> Any:
    """The values read, or what was told."""
    try:
        found = reading(body, model)
    except (InvalidInput, Malformed) as error:
        return [(problem.pointer, problem.message) for problem in error.problems]
    return msgspec.to_builtins(found) if isinstance(found, msgspec.Struct) else found.model_dump()


records = st.fixed_dictionaries(
    {"id": st.integers(-1, 3), "attempt": st.integers(-1, 3) | st.just(2**31)},
    optional={
        "status": st.sampled_from(["done", "failed", "new"]),
        "reason": st.none() | st.text(max_size=3) | st.just("x" * 4001),
        "retry": st.booleans() | st.just(1),
        "objective_values": st.lists(st.floats() | st.integers(), max_size=2),
        "other": st.just(1),
    },
)
bulk_documents = st.fixed_dictionaries(
    {},
    optional={name: st.lists(records, max_size=3) for name in ("held", "reports")}
    | {"ttl_s": st.floats() | json_values},
)


@given(value=json_values | bulk_documents, model=st.sampled_from(BULK))
def test_bulk_is_read_like_everything_else(value: Any, model: type[Bulk]) -> None:
    body = json.dumps(value).encode()
    assert read(read_bulk, body, model) == read(parse, body, model)


@pytest.mark.parametrize("field", ["id", "attempt"])
@pytest.mark.parametrize("number", ["1", "1.0", "true", '"1"', "null", "0", "-1", "2147483648", "9223372036854775808"])
def test_a_number_in_bulk_is_as_strict(field: str, number: str) -> None:
    fields = {"id": "1", "attempt": "1", "status": '"done"', field: number}
    body = ('{"reports": [{' + ", ".join(f'"{name}": {value}' for name, value in fields.items()) + "}]}").encode()
    assert read(read_bulk, body, ReportBody) == read(parse, body, ReportBody)


def test_a_record_that_says_something_twice_is_refused_in_bulk() -> None:
    body = b'{"reports": [{"id": 1, "attempt": 1, "status": "done", "status": "failed"}]}'
    with pytest.raises(InvalidInput) as caught:
        read_bulk(body, ReportBody)
    assert [problem.pointer for problem in caught.value.problems] == ["/reports/0"]


def test_too_many_and_too_few_are_told_with_their_numbers() -> None:
    values = b'{"reports": [{"id": 1, "attempt": 1, "status": "done", "objective_values": [%b]}]}'
    said = told(values % b", ".join([b"1"] * 200), ReportBody)
    assert said == {"/reports/0/objective_values": "there are 200, and 100 at most are taken"}
    assert told(b'{"reports": []}', ReportBody) == {"/reports": "there are 0, and 1 at least are wanted"}


def test_a_body_with_rules_of_its_own_is_not_read_in_bulk() -> None:
    with pytest.raises(TypeError):
        reader_of(RedefineBody)

"""Workflow documents in files."""

from pathlib import Path
from typing import Any

import pytest

from idds.domain.errors import InvalidInput
from idds.sdk.documents import load_document, set_value


def test_json_and_toml_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text('{"name": "n", "works": [{"name": "a"}]}')
    (tmp_path / "w.toml").write_text('name = "n"\n[[works]]\nname = "a"\n')
    assert load_document(tmp_path / "w.json") == load_document(tmp_path / "w.toml")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("w.json", '{"name": }', "is not JSON: .*line 1 column 10"),
        ("w.toml", "name = \n", "is not TOML: .*line 1, column 8"),
        ("w.json", "[]", "holds no object"),
        ("w.json", b"\xff", "is not JSON"),
    ],
)
def test_what_is_no_document_is_told(tmp_path: Path, name: str, text: str | bytes, said: str) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidInput, match=rf"(?s){name} {said}"):
        load_document(tmp_path / name)


@pytest.mark.parametrize(
    ("assignment", "works"),
    [
        ("/works/0/attempts=5", [{"name": "a", "attempts": 5}]),
        ("/works/0/name=b", [{"name": "b"}]),
        ("/works/0/name=x=y", [{"name": "x=y"}]),
        ("/works/-=null", [{"name": "a"}, None]),
        ("/works/0/input/window/files=3", [{"name": "a", "input": {"window": {"files": 3}}}]),
        ("/works/0/payload/environment/a~1b=1", [{"name": "a", "payload": {"environment": {"a/b": 1}}}]),
    ],
)
def test_values_are_set(assignment: str, works: list[Any]) -> None:
    document: dict[str, Any] = {"works": [{"name": "a"}]}
    set_value(document, assignment)
    assert document == {"works": works}


@pytest.mark.parametrize("assignment", ["attempts=5", "/works", "/works/1/name=b", "/works/x=1", "/works/0/name/z=1"])
def test_places_that_are_not_there(assignment: str) -> None:
    with pytest.raises(InvalidInput):
        set_value({"works": [{"name": "a"}]}, assignment)

import fcntl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idds.ddm.posix.paths import PART, Layout, encode
from idds.domain.identifiers import Did

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400)


@given(TEXT)
def test_any_name_becomes_one_safe_file_name(name: str) -> None:
    encoded = encode(name)
    assert encoded.isascii()
    assert "/" not in encoded
    assert "\0" not in encoded
    assert not encoded.startswith(".")
    assert not encoded.endswith(PART)
    assert 0 < len(encoded) <= 200


@given(TEXT, TEXT)
def test_no_two_names_meet(one: str, two: str) -> None:
    assert (encode(one) == encode(two)) == (one == two)


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("AOD.01234._0001.root.1", "AOD.01234._0001.root.1"),
        ("a/b", "a%2Fb"),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        ("..", "%2E."),
        (".", "%2E"),
        ("x.part", "x%2Epart"),
        ("50%", "50%25"),
    ],
)
def test_names_stay_legible(name: str, encoded: str) -> None:
    assert encode(name) == encoded


def test_long_names_that_begin_alike_differ() -> None:
    assert encode("x" * 300) != encode("x" * 301)
    assert encode("ä" * 100) != encode("ä" * 101)


@given(TEXT, TEXT)
def test_a_path_lies_right_under_its_scope(scope: str, name: str) -> None:
    path = Layout(Path("/root")).path("DISK", Did(scope, name))
    assert path.parents[1] == Path("/root/DISK")


def test_leftovers_go_and_parts_being_written_stay(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.create(["DISK"])
    file = layout.path("DISK", Did("s", "x.part"))
    left, written = file.with_name("left" + PART), file.with_name("written" + PART)
    file.parent.mkdir()
    for path in (file, left, written):
        path.write_bytes(b"12345")
    with written.open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        assert layout.bytes_on("DISK") == 15
        layout.remove_leftovers(["DISK"])
    assert [file.exists(), left.exists(), written.exists()] == [True, False, True]

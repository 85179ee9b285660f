import threading
import zlib
from pathlib import Path

import pytest

from idds.ddm.posix.copying import Cancelled, Expected, Pace, Unreadable, normal_adler32, read_checked, write_part

CONTENT = b"0123456789" * 300_000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


def test_a_part_is_complete_and_gets_its_name_later(tmp_path: Path, source: Path) -> None:
    target = tmp_path / "disk" / "file"
    part = write_part(source, target, Expected())
    assert (part.bytes, part.adler32) == (len(CONTENT), f"{zlib.adler32(CONTENT):08x}")
    assert not target.exists()
    part.publish(target)
    assert target.read_bytes() == CONTENT
    assert read_checked(target, Expected(part.bytes, part.adler32)) == part.seen
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("expected", [Expected(5, None), Expected(None, "00000001")])
def test_what_is_not_expected_leaves_nothing(tmp_path: Path, source: Path, expected: Expected) -> None:
    target = tmp_path / "disk" / "file"
    with pytest.raises(Unreadable, match="expected"):
        write_part(source, target, expected)
    assert list(target.parent.iterdir()) == []
    with pytest.raises(Unreadable, match="expected"):
        read_checked(source, expected)


def test_a_source_that_cannot_be_read(tmp_path: Path) -> None:
    for bad in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(Unreadable):
            write_part(bad, tmp_path / "disk" / "file", Expected())
        with pytest.raises(Unreadable):
            read_checked(bad, Expected())
    assert not list((tmp_path / "disk").glob("*"))


@pytest.mark.parametrize("pace", [Pace(), Pace(bytes_per_s=1), Pace(delay_s=3600)])
def test_a_cancelled_copy_ends_at_once_and_leaves_nothing(tmp_path: Path, source: Path, pace: Pace) -> None:
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        write_part(source, tmp_path / "disk" / "file", Expected(), pace, cancelled)
    assert not list((tmp_path / "disk").glob("*"))


def test_checksums_are_compared_in_one_form() -> None:
    assert normal_adler32("A1B2C3") == "00a1b2c3"

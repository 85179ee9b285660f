"""The source from which a file comes the soonest, and the disk that is near and has room; and why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idds.engine.choice import DiskOption, SourceOption, choose_disk, order_sources

GB = 10**9


def best(*options: SourceOption) -> str:
    return order_sources(options, GB)[0].rse


def test_the_shorter_queue_of_equal_tapes() -> None:
    busy = SourceOption("A", True, queued_files=10, queued_bytes=10 * GB, bytes_per_s=1e8)
    assert best(busy, SourceOption("B", True, bytes_per_s=1e8)) == "B"


def test_a_fast_tape_may_have_a_longer_queue() -> None:
    fast = SourceOption("A", True, queued_files=10, queued_bytes=10 * GB, bytes_per_s=1e9)
    slow = SourceOption("B", True, queued_files=1, queued_bytes=GB, bytes_per_s=1e7)
    assert best(fast, slow) == "A"


def test_one_that_nobody_knows_of_is_tried() -> None:
    known = SourceOption("A", True, queued_files=1, queued_bytes=GB, bytes_per_s=1e9)
    assert best(known, SourceOption("B", True)) == "B"


def test_a_disk_before_a_tape_and_what_is_held_last() -> None:
    tape, disk = SourceOption("A", True, bytes_per_s=1e9), SourceOption("D", False, queued_bytes=100 * GB)
    assert best(tape, disk) == "D"
    held = SourceOption("D", False, held="downtime")
    assert [each.rse for each in order_sources([held, tape], GB)] == ["A", "D"]
    assert "downtime" in order_sources([held, SourceOption("A", True, held="robot")], GB)[0].reason


@given(st.lists(st.builds(SourceOption, st.text("ABC", min_size=1, max_size=3), st.booleans(), st.integers(0, 100))))
def test_each_is_told_once_and_why(options: list[SourceOption]) -> None:
    told = order_sources(options, GB)
    assert sorted(each.rse for each in told) == sorted(each.rse for each in options)
    assert all(each.rse in each.reason for each in told)


def test_the_near_disk_with_room_for_those_that_wait() -> None:
    near, far = DiskOption("NEAR", free_bytes=GB), DiskOption("FAR", free_bytes=100 * GB, distance=5)
    assert choose_disk([near, far]).rse == "NEAR"
    crowded, quiet = DiskOption("A", free_bytes=10 * GB, waiting=99), DiskOption("B", free_bytes=GB)
    assert choose_disk([crowded, quiet]).rse == "B"
    assert choose_disk([DiskOption("A", free_bytes=0), DiskOption("B", free_bytes=1)]).rse == "B"
    assert choose_disk([DiskOption("A", held="downtime"), DiskOption("B", free_bytes=0, distance=9)]).rse == "B"
    assert "distance 0" in choose_disk([near, far]).reason


def test_without_a_disk_there_is_no_choice() -> None:
    with pytest.raises(ValueError, match="no disk"):
        choose_disk([])

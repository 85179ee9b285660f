"""The window rule."""

from idds.domain.identifiers import ContentId
from idds.engine.window import Candidate, Room, Wanted, never, room
from tests.unit.engine.examples import a_window


def a_group(number: int, *sizes: int, pinnable: bool = False, blocked: bool = False) -> Candidate:
    return Candidate(
        number,
        tuple(
            Wanted(ContentId(100 * number + i), f"data:f{number}.{i}", size, pinnable, blocked)
            for i, size in enumerate(sizes)
        ),
    )


def test_what_is_on_disk_already_costs_nothing() -> None:
    assert (a_group(0, 6, 3).bytes, a_group(0, 6, 3).files) == (9, 2)
    assert (a_group(0, 6, pinnable=True).bytes, a_group(0, 6, pinnable=True).files) == (0, 0)


def test_a_group_larger_than_a_window_is_refused_by_name() -> None:
    window = a_window(10, kind="collection")
    assert [never(group, window) for group in (a_group(0, 6, 6), a_group(1, 11), a_group(2, 10))] == [
        "group 0 (data:f0.0, data:f0.1) has 12 bytes, more than the window of this input holds (10 bytes)",
        "file data:f1.0 has 11 bytes, more than the window of this input holds (10 bytes)",
        None,
    ]


def test_a_group_of_more_files_than_a_window_holds_is_refused() -> None:
    reason = never(a_group(0, 1, 1, 1, 1), a_window(None, 3))
    assert reason == "group 0 has 4 files, more than the window of RSE DISK holds (3 files)"


def test_a_refusal_names_a_few_files_of_many() -> None:
    assert "(data:f0.0, data:f0.1, data:f0.2 and 2 more)" in (never(a_group(0, *[5] * 5), a_window(10)) or "")


def test_what_fits_into_a_limit_and_why_the_rest_does_not() -> None:
    of = Room.of(a_window(10, 3, reserved_bytes=5, reserved_files=2))
    assert of.why_not(5, 1, 1) is None
    assert of.why_not(6, 1, 1) == "the window of RSE DISK has 5 of 10 bytes reserved, the next takes 6"
    assert of.why_not(1, 2, 2) == "the window of RSE DISK has 2 of 3 files reserved, the next takes 2"
    of.take(5, 1)
    assert of.why_not(1, 1, 1) is not None
    assert of.why_not(0, 0, 1) is None


def test_what_costs_nothing_fits_into_a_window_that_was_shrunk() -> None:
    assert Room.of(a_window(10, 3, reserved_bytes=50, reserved_files=9)).fits(0, 0)


def test_a_limit_that_yields_to_one_takes_a_large_group_alone() -> None:
    tape = Room("tape T", limit_files=5, taken="in flight", yields_to_one=True)
    assert tape.fits(1, 9, groups=1)
    assert not tape.fits(1, 9, groups=2)
    tape.take(1, 1)
    assert tape.why_not(1, 9, 1) == "tape T has 1 of 5 files in flight, the next takes 9"


def test_room_of_samples_is_the_least_of_all_windows() -> None:
    assert room([]) is None
    assert room([a_window(100)]) is None
    assert room([a_window(None, 10, reserved_files=4), a_window(None, 5, reserved_files=1)]) == 4
    assert room([a_window(None, 2, reserved_files=7)]) == 0

"""The window rule."""

from hypothesis import given
from hypothesis import strategies as st

from idds.domain.identifiers import ContentId
from idds.domain.replica import Window
from idds.engine.window import Candidate, Wanted, admit, room
from tests.unit.engine.examples import a_window


def a_group(number: int, *sizes: int, pinnable: bool = False, blocked: bool = False) -> Candidate:
    return Candidate(
        number,
        tuple(
            Wanted(ContentId(100 * number + i), f"data:f{number}.{i}", size, pinnable, blocked)
            for i, size in enumerate(sizes)
        ),
    )


def numbers(groups: tuple[Candidate, ...]) -> list[int]:
    return [group.group_no for group in groups]


def test_all_that_fits_is_admitted_in_order_and_counted() -> None:
    admission = admit([a_group(0, 3), a_group(1, 4), a_group(2, 4)], [a_window(10)])
    assert numbers(admission.admitted) == [0, 1]
    assert (admission.bytes, admission.files) == (7, 2)
    assert admission.refused == ()


def test_a_small_group_does_not_overtake_a_large_one_that_waits() -> None:
    admission = admit([a_group(0, 8), a_group(1, 1)], [a_window(10, reserved_bytes=5)])
    assert admission.admitted == ()
    assert admission.refused == ()


def test_a_group_is_admitted_whole_or_not_at_all() -> None:
    assert admit([a_group(0, 5, 6)], [a_window(20, reserved_bytes=10)]).admitted == ()


def test_every_window_must_have_room() -> None:
    groups = [a_group(0, 1), a_group(1, 1)]
    assert numbers(admit(groups, [a_window(100), a_window(None, 1)]).admitted) == [0]
    assert numbers(admit(groups, [a_window(1), a_window(None, 100)]).admitted) == [0]
    assert numbers(admit(groups, []).admitted) == [0, 1]


def test_a_group_larger_than_a_window_is_refused_by_name_and_does_not_hold_up_the_next() -> None:
    admission = admit([a_group(0, 6, 6), a_group(1, 11), a_group(2, 5)], [a_window(10, kind="collection")])
    assert numbers(admission.admitted) == [2]
    reasons = [refusal.reason for refusal in admission.refused]
    assert reasons == [
        "group 0 (data:f0.0, data:f0.1) has 12 bytes, more than the window of this input holds (10 bytes)",
        "file data:f1.0 has 11 bytes, more than the window of this input holds (10 bytes)",
    ]


def test_a_group_of_more_files_than_a_window_holds_is_refused() -> None:
    (refusal,) = admit([a_group(0, 1, 1, 1, 1)], [a_window(None, 3)]).refused
    assert refusal.reason == "group 0 has 4 files, more than the window of RSE DISK holds (3 files)"


def test_a_refusal_names_a_few_files_of_many() -> None:
    (refusal,) = admit([a_group(0, *[5] * 5)], [a_window(10)]).refused
    assert "(data:f0.0, data:f0.1, data:f0.2 and 2 more)" in refusal.reason


def test_what_is_on_disk_already_costs_nothing_even_in_a_window_that_was_shrunk() -> None:
    shrunk = a_window(10, 3, reserved_bytes=50, reserved_files=9)
    admission = admit([a_group(0, 6, pinnable=True), a_group(1, 1)], [shrunk])
    assert numbers(admission.admitted) == [0]
    assert (admission.bytes, admission.files) == (0, 0)


def test_a_file_that_is_being_deleted_holds_back_its_group_and_those_behind() -> None:
    assert admit([a_group(0, 1, blocked=True), a_group(1, 1)], [a_window(10)]).admitted == ()


def test_room_is_the_least_of_all_windows() -> None:
    assert room([]) is None
    assert room([a_window(100)]) is None
    assert room([a_window(None, 10, reserved_files=4), a_window(None, 5, reserved_files=1)]) == 4
    assert room([a_window(None, 2, reserved_files=7)]) == 0


limit = st.none() | st.integers(1, 30)
windows = st.lists(
    st.builds(a_window, limit, limit, reserved_bytes=st.integers(0, 40), reserved_files=st.integers(0, 40)),
    max_size=3,
)
wanted = st.tuples(st.integers(0, 20), st.booleans(), st.sampled_from([False] * 9 + [True]))


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    groups = draw(st.lists(st.lists(wanted, min_size=1, max_size=4), max_size=8))
    return [
        Candidate(
            number,
            tuple(Wanted(ContentId(10 * number + i), f"f{number}.{i}", *content) for i, content in enumerate(group)),
        )
        for number, group in enumerate(groups)
    ]


def _exceeds(group: Candidate, window: Window) -> bool:
    size, files = sum(content.bytes for content in group.contents), len(group.contents)
    too_large = window.limit_bytes is not None and size > window.limit_bytes
    return too_large or (window.limit_files is not None and files > window.limit_files)


@given(candidates(), windows)
def test_admission_keeps_its_promises(groups: list[Candidate], around: list[Window]) -> None:
    admission = admit(groups, around)
    assert admission.bytes == sum(group.bytes for group in admission.admitted)
    assert admission.files == sum(group.files for group in admission.admitted)
    for window in around:
        if window.limit_bytes is not None and admission.bytes:
            assert window.reserved_bytes + admission.bytes <= window.limit_bytes
        if window.limit_files is not None and admission.files:
            assert window.reserved_files + admission.files <= window.limit_files
    refused = {refusal.group.group_no for refusal in admission.refused}
    admitted = numbers(admission.admitted)
    # In order, and nothing is passed over but what is refused.
    reached = sorted([*admitted, *refused])
    assert admitted == sorted(admitted)
    assert reached == list(range(len(reached)))
    # What a window can never hold is refused as soon as it is reached, and nothing else is.
    for group in groups[: len(reached)]:
        assert (group.group_no in refused) == any(_exceeds(group, window) for window in around)
    if len(reached) < len(groups):
        assert not any(_exceeds(groups[len(reached)], window) for window in around)

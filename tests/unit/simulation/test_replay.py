"""What was seen of a staging, and what a window would have done with it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idds.domain.errors import InvalidInput
from idds.domain.identifiers import Did
from idds.simulation.replay import Assumed, judge
from idds.simulation.trace import Look, Trace, read_trace

GB = 10**9
MINUTE = 60_000_000


def staged(files: int) -> Trace:
    """A file of 1 GB a minute; all of them stay."""
    trace, present = Trace(), {}
    trace.add(trace.look(0, present))
    for number in range(files):
        present[Did("test", f"file{number:04}")] = GB
        trace.add(trace.look((number + 1) * MINUTE, present))
    return trace


def test_a_small_window_would_have_been_enough() -> None:
    verdict = judge(staged(150), Assumed(process_s=300.0, recall_s=120.0, deletion_s=60.0))
    assert (verdict.files, verdict.bytes, verdict.used_bytes) == (150, 150 * GB, 150 * GB)
    assert verdict.seen_s == 150 * 60
    # One comes a minute, and stays for six: a handful is on disk, and some more are on their way.
    assert 6 * GB <= verdict.enough_bytes <= 30 * GB
    assert verdict.endless_s <= verdict.enough_s <= 1.05 * verdict.endless_s


def test_who_processes_slowly_needs_more() -> None:
    quick, slow = (judge(staged(100), Assumed(process_s=seconds)) for seconds in (60.0, 1800.0))
    assert slow.enough_bytes > 3 * quick.enough_bytes


def test_groups_are_admitted_as_a_whole() -> None:
    verdict = judge(staged(100), Assumed(batch=30))
    assert verdict.enough_bytes >= 30 * GB
    assert (verdict.files, verdict.bytes) == (100, 100 * GB)


def test_what_was_there_before_is_no_landing() -> None:
    trace = Trace()
    early, late = Did("test", "early"), Did("test", "late")
    trace.add(trace.look(0, {early: 5 * GB}))
    trace.add(trace.look(MINUTE, {early: 5 * GB, late: GB}))
    trace.add(trace.look(2 * MINUTE, {late: GB}))
    trace.add(trace.look(3 * MINUTE, {early: 5 * GB, late: GB}))
    assert (trace.before, trace.seen, [landing.did for landing in trace.landings]) == (1, 2, [late])
    assert trace.used_bytes == 6 * GB
    verdict = judge(trace, Assumed())
    assert (verdict.before, verdict.files) == (1, 1)


def test_where_nothing_came_nothing_is_judged() -> None:
    with pytest.raises(InvalidInput, match="nothing to judge"):
        judge(Trace(), Assumed())


LOOKS = st.lists(
    st.dictionaries(st.builds(Did, st.just("test"), st.text("abc", min_size=1)), st.integers(0, 10)), max_size=8
)


@given(LOOKS)
def test_a_trace_is_read_as_it_was_written(looks: list[dict[Did, int]]) -> None:
    trace, lines = Trace(), []
    for at, present in enumerate(looks):
        look = trace.look(at, present)
        trace.add(look)
        lines.append(look.line())
        assert set(trace.present) == set(present)
    assert read_trace(lines) == trace
    assert read_trace([*lines, '{"at": 1, "ca']) == trace


@pytest.mark.parametrize("line", ["\n", "[]\n", '{"at": 1}\n', '{"at": 1, "came": [["x", 1]], "went": []}\n', "1\n"])
def test_what_is_no_trace(line: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_trace([Look(1, {}).line(), line])
    assert [problem.pointer for problem in caught.value.problems] == ["/1"]

"""Cutting files into ranges: each event once, none longer than asked for; and what is asked in a workflow."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idds.domain.collection import Collection
from idds.domain.content import NewContent
from idds.domain.files import File
from idds.domain.identifiers import Did
from idds.domain.workflow import Input, Payload, Ranges, Samples, WindowLimits, Work, Workflow
from idds.engine import graph
from idds.engine.ranges import AT_ONCE, EMPTY, MAX_EVENTS, MAX_RANGES, Piece, cut, pieces, refusal, unfinished
from tests.unit.engine.examples import SPACE, a_collection


@given(events=st.integers(0, 5000), longest=st.integers(1, 6000), after=st.integers(0, 5000))
def test_each_event_is_in_one_range(events: int, longest: int, after: int) -> None:
    spans = list(cut(events, longest, after))
    held = [event for span in spans for event in range(span.min_id, span.max_id + 1)]
    assert held == list(range(after + 1, events + 1))
    assert all(span.max_id - span.min_id + 1 == longest for span in spans[:-1])
    assert all(1 <= span.max_id - span.min_id + 1 <= longest for span in spans)


@given(events=st.integers(1, MAX_EVENTS), longest=st.integers(1, MAX_EVENTS))
def test_what_is_not_refused_makes_a_bounded_number_of_ranges(events: int, longest: int) -> None:
    number = len(range(1, events + 1, longest))
    assert (refusal(events, longest) is None) == (number <= MAX_RANGES)


def test_numbers_that_nobody_meant_are_refused_with_what_to_do() -> None:
    assert refusal(MAX_EVENTS, MAX_EVENTS) is None
    assert refusal(0, 1) is None
    assert "1,000,000,001 events" in (refusal(MAX_EVENTS + 1, MAX_EVENTS) or "")
    assert "has 1,000,000,000 at most" in (refusal(-1, 10) or "")
    assert "more than 1,000,000: make them longer" in (refusal(MAX_RANGES + 1, 1) or "")


UNKNOWN = "nobody knows"


def the_files(events: list[int | None]) -> list[File]:
    return [File(Did("s", f"f{number}"), 10, None, n) for number, n in enumerate(events)]


def a_cut(batch: int, longest: int, next_no: int = 0) -> Collection:
    return replace(a_collection(), batch=batch, range_events=longest, next_no=next_no)


def spans(found: list[Piece]) -> list[tuple[str, int, int]]:
    return [(each.name, each.min_id, each.max_id) for piece in found for each in piece.ranges]


@given(
    events=st.lists(st.one_of(st.none(), st.integers(0, 30_000)), max_size=8),
    longest=st.sampled_from([1, 3, 1000, 30_000]),
    batch=st.integers(0, 3),
    next_no=st.integers(0, 5),
    interrupted=st.integers(0, 20),
)
def test_pieces_can_be_interrupted_anywhere(
    events: list[int | None], longest: int, batch: int, next_no: int, interrupted: int
) -> None:
    files = the_files(events)
    whole = list(pieces(a_cut(batch, longest, next_no), files, UNKNOWN))
    assert all(len(piece.ranges) <= AT_ONCE for piece in whole)
    assert sum(piece.files for piece in whole) == len(files)
    first = whole[:interrupted]
    known: dict[Did, int] = {}
    for piece in first:
        _note(known, piece.ranges, [content for content, _ in piece.odd])
    done = sum(piece.files for piece in first)
    rest = list(pieces(a_cut(batch, longest, next_no + done), unfinished(files, known), UNKNOWN, known=known))
    assert spans([*first, *rest]) == spans(whole)
    groups = {(c.name, c.group_no) for piece in [*first, *rest] for c in piece.ranges}
    assert groups == {(c.name, c.group_no) for piece in whole for c in piece.ranges}
    assert sum(piece.files for piece in rest) + done == len(files)
    assert unfinished(files, _all_known(files, whole)) == []


def _note(known: dict[Did, int], *contents: list[NewContent]) -> None:
    for each in (content for some in contents for content in some):
        did = Did(each.scope, each.name)
        known[did] = max(known.get(did, 0), each.max_id)


def _all_known(files: list[File], whole: list[Piece]) -> dict[Did, int]:
    known: dict[Did, int] = {}
    for piece in whole:
        _note(known, piece.ranges, [content for content, _ in piece.odd])
    assert known.keys() == {file.did for file in files}
    return known


def test_a_file_without_ranges_says_why() -> None:
    (piece,) = pieces(a_cut(2, 10), the_files([None, 0, 5, 10**9 + 1]), UNKNOWN)
    assert [(content.name, content.min_id, content.max_id) for content, _ in piece.odd] == [
        ("f0", 0, 0),
        ("f1", 0, 0),
        ("f3", 0, 0),
    ]
    assert [why for _, why in piece.odd][:2] == [UNKNOWN, EMPTY]
    assert spans([piece]) == [("f2", 1, 5)]
    assert [(content.name, content.group_no) for content in piece.ranges] == [("f2", 1)]


# the workflow document

COUNT = Work(name="count", input=Input(dataset="data:set"), payload=Payload(argv=("count",)))


def taking(ranges: Ranges, *others: Work, **more: object) -> Workflow:
    after = more.pop("after", ())
    work = Work(name="run", input=Input(ranges=ranges, **more), after=after)  # type: ignore[arg-type]
    return Workflow(name="w", works=(*others, work))


def test_ranges_of_a_dataset_or_of_what_another_work_counts() -> None:
    assert graph.problems(taking(Ranges(events=5), dataset="data:set", batch=3)) == []
    assert graph.problems(taking(Ranges(events=5, counted_by="count"), COUNT)) == []


BY = Ranges(events=5, counted_by="count")


@pytest.mark.parametrize(
    ("workflow", "pointer", "said"),
    [
        (taking(Ranges(events=5)), "/works/0/input", "exactly one"),
        (taking(Ranges(events=5)), "/works/0/input/ranges", "give the dataset"),
        (taking(Ranges(events=5), COUNT, outputs="count"), "/works/1/input/ranges", "give the dataset"),
        (taking(BY), "/works/0/input/ranges/counted_by", "there is no work 'count'"),
        (taking(BY, COUNT, dataset="data:set"), "/works/1/input/ranges/counted_by", "leave dataset"),
        (
            taking(BY, replace(COUNT, input=Input(samples=Samples(space=SPACE, sampler="random", count=1)))),
            "/works/1/input/ranges/counted_by",
            "takes no whole files",
        ),
        (taking(BY, replace(COUNT, input=None)), "/works/1/input/ranges/counted_by", "takes no whole files"),
        (
            taking(BY, replace(COUNT, input=Input(dataset="data:set", ranges=Ranges(events=1)))),
            "/works/1/input/ranges/counted_by",
            "takes no whole files",
        ),
        (taking(Ranges(events=5, counted_by="run"), COUNT), "/works/1/input/ranges/counted_by", "no whole files"),
        (taking(BY, COUNT, window=WindowLimits(files=1)), "/works/1/input/window", "within its window"),
        (taking(BY, COUNT, rse="DISK"), "/works/1/input/rse", "say it there"),
        (taking(BY, COUNT, batch=2), "/works/1/input/batch", "go alone"),
        (taking(BY, COUNT, after=("count",)), "/works/1/after", "let that wait"),
    ],
)
def test_what_cannot_be_asked_is_named(workflow: Workflow, pointer: str, said: str) -> None:
    found = {problem.pointer: problem.message for problem in graph.problems(workflow)}
    assert said in found[pointer], found

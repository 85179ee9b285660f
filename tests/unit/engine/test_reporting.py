"""Who may say what of a content: the table of fencing."""

from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idds.domain.content import Outcome, Verdict
from idds.domain.identifiers import ContentId
from idds.domain.statuses import CONTENT_TERMINAL, ContentStatus, SourceKind
from idds.domain.workflow import Samples
from idds.engine.numbers import worded
from idds.engine.reporting import judge, misreported, settled
from tests.unit.engine.examples import a_content

NEW, AVAILABLE, LEASED = ContentStatus.NEW, ContentStatus.AVAILABLE, ContentStatus.LEASED
DONE, FAILED, CANCELLED = ContentStatus.DONE, ContentStatus.FAILED, ContentStatus.CANCELLED
FILE, SAMPLE = SourceKind.DATASET, SourceKind.SAMPLES


def says(attempt: int, *, done: bool = True, retry: bool = True) -> Outcome:
    return Outcome(ContentId(1), attempt, done, None if done else "it broke", retry)


@pytest.mark.parametrize(
    ("source", "status", "attempt", "outcome", "verdict"),
    [
        # The holder is believed.
        (FILE, LEASED, 2, says(2), Verdict.ACCEPTED),
        (SAMPLE, LEASED, 2, says(2), Verdict.ACCEPTED),
        (FILE, LEASED, 2, says(2, done=False), Verdict.AGAIN),
        (FILE, LEASED, 2, says(2, done=False, retry=False), Verdict.ACCEPTED),
        (FILE, LEASED, 3, says(3, done=False), Verdict.ACCEPTED),
        # Who held it before is not, but for the result of a sample.
        (FILE, LEASED, 2, says(1), Verdict.STALE),
        (FILE, AVAILABLE, 1, says(1), Verdict.STALE),
        (SAMPLE, LEASED, 2, says(1), Verdict.ACCEPTED),
        (SAMPLE, AVAILABLE, 1, says(1), Verdict.ACCEPTED),
        (SAMPLE, LEASED, 2, says(1, done=False), Verdict.STALE),
        (SAMPLE, AVAILABLE, 1, says(1, done=False), Verdict.STALE),
        # Nobody can have an attempt that was not given yet.
        (FILE, LEASED, 2, says(3), Verdict.STALE),
        (SAMPLE, LEASED, 2, says(3), Verdict.STALE),
        (SAMPLE, LEASED, 2, says(-1), Verdict.STALE),
        # What was announced is acknowledged without a lease; what is leased is not.
        (FILE, AVAILABLE, 0, says(0), Verdict.ACCEPTED),
        (FILE, AVAILABLE, 0, says(0, done=False), Verdict.ACCEPTED),
        (FILE, LEASED, 1, says(0), Verdict.STALE),
        (SAMPLE, LEASED, 1, says(0), Verdict.STALE),
        # What was never delivered has no outcome.
        (FILE, NEW, 0, says(0), Verdict.STALE),
        (SAMPLE, NEW, 0, says(0), Verdict.STALE),
        # What has ended stays as it is; saying the same again is no fault.
        (FILE, DONE, 1, says(1), Verdict.DUPLICATE),
        (FILE, DONE, 1, says(0), Verdict.DUPLICATE),
        (FILE, FAILED, 1, says(1, done=False), Verdict.DUPLICATE),
        (FILE, FAILED, 1, says(1), Verdict.STALE),
        (FILE, DONE, 1, says(1, done=False), Verdict.STALE),
        (FILE, DONE, 2, says(1), Verdict.STALE),
        (SAMPLE, DONE, 2, says(1), Verdict.STALE),
        (FILE, CANCELLED, 1, says(1), Verdict.STALE),
    ],
)
def test_who_is_believed(
    source: SourceKind, status: ContentStatus, attempt: int, outcome: Outcome, verdict: Verdict
) -> None:
    assert judge(a_content(status, attempt), outcome, source, attempts=3) is verdict


@given(
    st.sampled_from(ContentStatus),
    st.integers(0, 4),
    st.integers(-1, 6),
    st.booleans(),
    st.booleans(),
    st.sampled_from(SourceKind),
    st.integers(1, 4),
)
def test_an_ended_content_never_moves_and_failures_are_tried_again_only_while_attempts_are_left(
    status: ContentStatus,
    attempt: int,
    reported: int,
    done: bool,
    retry: bool,
    source: SourceKind,
    attempts: int,
) -> None:
    verdict = judge(a_content(status, attempt), says(reported, done=done, retry=retry), source, attempts)
    if status in CONTENT_TERMINAL or status is NEW:
        assert verdict in (Verdict.DUPLICATE, Verdict.STALE)
    if verdict is Verdict.AGAIN:
        assert not done
        assert retry
        assert attempt < attempts
        assert reported == attempt
    if verdict is Verdict.ACCEPTED and reported != attempt and status is LEASED:
        assert source is SAMPLE
        assert done


def result(*values: float, constraints: tuple[float, ...] = (), pruned: bool = False) -> Outcome:
    return Outcome(ContentId(1), 2, done=True, objective_values=values, constraint_values=constraints, is_pruned=pruned)


def study(**more: Any) -> Samples:
    return Samples(**{"count": 1, **more})


SEVERAL: Any = {"directions": ("minimize", "maximize")}


@pytest.mark.parametrize(
    ("samples", "outcome", "field"),
    [
        (study(), result(1.0), None),
        (study(), result(), "objective_values"),
        (study(), result(1.0, 2.0), "objective_values"),
        (study(), result(1.0, constraints=(0.0,)), "constraint_values"),
        (study(), result(pruned=True), None),
        (study(), result(1.0, pruned=True), "objective_values"),
        (study(), says(2, done=False), None),
        (study(sampler="random"), result(), None),
        (study(sampler="random", result_constraints=1), result(), None),
        (study(sampler="random", result_constraints=1), result(constraints=(0.0, 0.0)), "constraint_values"),
        (study(result_constraints=2), result(1.0), "constraint_values"),
        (study(result_constraints=2), result(1.0, constraints=(0.0, 1.0)), None),
        (study(result_constraints=2), result(pruned=True), None),
        (study(result_constraints=2), result(pruned=True, constraints=(0.0, 1.0)), None),
        (study(**SEVERAL), result(1.0, 2.0), None),
        (study(**SEVERAL), result(1.0), "objective_values"),
        (study(**SEVERAL), result(pruned=True), "pruned"),
    ],
)
def test_a_result_has_as_many_values_as_its_study_wants(samples: Samples, outcome: Outcome, field: str | None) -> None:
    found = misreported(samples, outcome)
    assert (found and found[0]) == field
    kept = settled(samples, outcome)
    if found is None:
        assert kept == outcome
    else:
        assert (kept.done, kept.retry, kept.reason, kept.objective_values) == (False, False, found[1], ())
        assert (kept.content_id, kept.attempt) == (1, 2)


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_a_result_that_is_not_finite_is_a_failure_that_is_not_tried_again(value: float) -> None:
    samples = study(result_constraints=1)
    for odd in (result(value, constraints=(0.0,)), result(1.0, constraints=(value,))):
        kept = settled(samples, odd)
        assert (kept.done, kept.retry) == (False, False)
        assert kept.reason == f"a value that was reported is {value}"
        assert (kept.objective_values, kept.constraint_values) == ((), ())


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (
            b'{"objective_values": [NaN, -Infinity,Infinity, 1]}',
            b'{"objective_values": ["NaN", "-Infinity","Infinity", 1]}',
        ),
        (b'{"constraint_values" : ["NaN", NaN]}', b'{"constraint_values" : ["NaN", "NaN"]}'),
        (b'{"value": NaN, "reason": NaN}', b'{"value": "NaN", "reason": NaN}'),
        (
            b'{"reason": "\\"value\\": NaN", "value": -Infinity}',
            b'{"reason": "\\"value\\": NaN", "value": "-Infinity"}',
        ),
        (b'{"a": [NaN]}', b'{"a": [NaN]}'),
        (b'{"a": 1}', b'{"a": 1}'),
    ],
)
def test_constants_that_json_has_not_are_read_as_words_where_values_stand(document: bytes, expected: bytes) -> None:
    assert worded(document) == expected

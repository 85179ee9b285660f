"""Who may say what of a content: the table of fencing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idds.domain.content import Outcome, Verdict
from idds.domain.identifiers import ContentId
from idds.domain.statuses import CONTENT_TERMINAL, ContentStatus, SourceKind
from idds.engine.reporting import judge
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

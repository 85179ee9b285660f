"""Decisions about what ended and is tried again, and about the time that a request has."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idds.domain.content import Outcome
from idds.domain.identifiers import ContentId
from idds.domain.job import JobState
from idds.domain.statuses import TERMINAL, ContentStatus, Intent, JobStatus, SourceKind, Status
from idds.domain.workflow import Work
from idds.engine import processing as processing_engine
from idds.engine.reporting import Verdict, judge
from idds.engine.request import (
    Extended,
    Ordered,
    Progressed,
    Renew,
    Retried,
    against_extension,
    against_retry,
    decide,
    runs_again,
)
from idds.engine.transform import (
    Broke,
    CancelProcessings,
    Filling,
    Group,
    LookThrough,
    Released,
    Renewed,
    Reopen,
    Retry,
    SubmitAlone,
)
from idds.engine.transform import Progressed as InputProgressed
from idds.engine.transform import decide as decide_transform
from tests.unit.engine.examples import (
    NOW,
    PAYLOAD,
    THEN,
    a_collection,
    a_content,
    a_processing,
    a_request,
    a_state,
    a_transform,
    files,
    makes,
    study,
    takes,
)

NEW, RUNNING, FINISHED, SUBFINISHED = Status.NEW, Status.RUNNING, Status.FINISHED, Status.SUBFINISHED
FAILED, CANCELLED, EXPIRED = Status.FAILED, Status.CANCELLED, Status.EXPIRED
LATER = NOW + 10
C = ContentStatus
CHAIN = (makes("a"), takes("b", "a", output=makes("a").output), takes("c", "b"), Work(name="d", payload=PAYLOAD))


@pytest.mark.parametrize(
    ("ends", "renewed"),
    [
        # What did not finish, and what takes its outputs, directly or not.
        ((FAILED, CANCELLED, CANCELLED, FINISHED), "abc"),
        ((SUBFINISHED, FINISHED, FINISHED, FINISHED), "abc"),
        ((FINISHED, FINISHED, SUBFINISHED, FINISHED), "c"),
        ((FINISHED, EXPIRED, FINISHED, CANCELLED), "bcd"),
        ((FINISHED, FINISHED, FINISHED, FAILED), "d"),
        # Where a request ended before its works did, those are as they were.
        ((RUNNING, NEW, NEW, FAILED), "d"),
        ((RUNNING, FINISHED, NEW, FINISHED), ""),
    ],
)
@pytest.mark.parametrize("status", [FAILED, SUBFINISHED, CANCELLED, EXPIRED])
def test_what_a_retry_makes_new(status: Status, ends: tuple[Status, ...], renewed: str) -> None:
    ended = replace(a_request(*CHAIN, status=status, intent=Intent.CANCEL), reason="why", retries=2, expires_at=THEN)
    decision = decide(ended, Retried(dict(zip("abcd", ends, strict=True)), LATER), NOW)
    expected = replace(ended, status=NEW, intent=Intent.RUN, reason=None, retries=3, expires_at=LATER, changed_at=NOW)
    assert decision.entity == expected
    assert decision.instructions == tuple(Renew(name) for name in renewed)


def test_one_that_failed_before_it_had_works_is_retried() -> None:
    decision = decide(a_request(status=FAILED), Retried({}, None), NOW)
    assert decision.entity.status is NEW
    assert decision.instructions == ()


@pytest.mark.parametrize(
    ("status", "intent", "reason"),
    [
        (RUNNING, Intent.RUN, "nothing to retry"),
        (NEW, Intent.RUN, "nothing to retry"),
        (Status.SUSPENDED, Intent.SUSPEND, "resume it"),
        (RUNNING, Intent.CANCEL, "the order to cancel: retry it when it has ended"),
        (RUNNING, Intent.FINISH, "the order to finish: retry it when it has ended"),
        (RUNNING, Intent.EXPIRE, "the order to expire: retry it when it has ended"),
        (FINISHED, Intent.RUN, "nothing to retry"),
    ],
)
def test_what_cannot_be_retried_stays_and_says_what_to_do(status: Status, intent: Intent, reason: str) -> None:
    request = a_request(*CHAIN, status=status, intent=intent)
    assert reason in (against_retry(request, 0) or "")
    decision = decide(request, Retried(dict.fromkeys("abcd", FAILED), None), NOW)
    assert (decision.entity, decision.instructions) == (request, ())


def test_what_still_comes_to_its_end_is_waited_for() -> None:
    assert "2 of its processings" in (against_retry(a_request(status=FAILED), 2) or "")
    assert against_retry(a_request(status=FAILED), 0) is None


def test_a_retry_that_is_under_way_is_known() -> None:
    retried = replace(a_request(), retries=1)
    assert runs_again(retried)
    assert not runs_again(a_request())
    assert not runs_again(replace(retried, intent=Intent.CANCEL))
    assert not runs_again(replace(retried, status=FAILED))


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_an_ended_transform_is_new_again(status: Status) -> None:
    renewed = decide_transform(replace(a_transform(status), reason="why"), files(), Renewed(), NOW)
    assert renewed.entity == replace(a_transform(NEW), changed_at=NOW)
    assert renewed.instructions == ()


@pytest.mark.parametrize("status", [NEW, RUNNING])
def test_a_transform_that_has_not_ended_stays(status: Status) -> None:
    assert decide_transform(a_transform(status), files(), Renewed(), NOW).entity == a_transform(status)


@pytest.mark.parametrize(
    ("source", "cut_off", "expected"),
    [
        (SourceKind.DATASET, False, (LookThrough(),)),
        (SourceKind.DATASET, True, (Reopen(), LookThrough())),
        (SourceKind.REGISTERED, False, (LookThrough(),)),
        (SourceKind.REGISTERED, True, (Reopen(), LookThrough())),
        (SourceKind.SAMPLES, False, (LookThrough(),)),
        (SourceKind.SAMPLES, True, (Reopen(), LookThrough())),
        # More may have come out of the work that feeds it.
        (SourceKind.OUTPUTS, False, (Reopen(), LookThrough())),
        (SourceKind.OUTPUTS, True, (Reopen(), LookThrough())),
    ],
)
def test_a_work_goes_on_where_it_stood(source: SourceKind, cut_off: bool, expected: tuple[Filling, ...]) -> None:
    again = replace(a_collection(source), cut_off=cut_off)
    decision = decide_transform(a_transform(NEW), files(), Released(again), NOW)
    assert decision.entity.status is RUNNING
    assert decision.instructions == expected


def test_a_work_without_an_input_is_submitted_again() -> None:
    assert decide_transform(a_transform(NEW), makes("a"), Released(), NOW).instructions == (SubmitAlone(),)


COUNTS: Mapping[C, int] = {C.DONE: 3, C.FAILED: 2, C.NEW: 1, C.AVAILABLE: 1}


def test_files_are_looked_through_before_any_is_grouped() -> None:
    looking = replace(a_collection(counts=COUNTS, unadmitted=1), retried_to=0)
    assert _instructions(files(), looking) == (Retry(None),)
    assert _instructions(files(), replace(looking, retried_to=None)) == (Group(),)


@pytest.mark.parametrize(
    ("room", "expected"), [(0, (Group(),)), (2, (Retry(2), Group())), (None, (Retry(None), Group()))]
)
def test_samples_are_tried_again_as_there_is_room_and_before_new_ones_are_drawn(
    room: int | None, expected: tuple[object, ...]
) -> None:
    looking = replace(a_collection(SourceKind.SAMPLES, COUNTS, closed=False, next_no=7), retried_to=0)
    assert _instructions(study(10), looking, room=room) == expected


@pytest.mark.parametrize("intent", [Intent.RUN, Intent.SUSPEND])
def test_it_has_not_ended_before_all_is_looked_through(intent: Intent) -> None:
    looking = replace(a_collection(counts={C.FAILED: 2}), retried_to=0)
    decision = decide_transform(a_transform(), files(), InputProgressed(looking, intent), NOW)
    assert decision.entity.status is RUNNING
    assert decision.instructions == ((Retry(None),) if intent is Intent.RUN else ())


@pytest.mark.parametrize(
    ("intent", "status"), [(Intent.CANCEL, CANCELLED), (Intent.EXPIRE, EXPIRED), (Intent.FINISH, FAILED)]
)
def test_an_order_to_end_does_not_look_further(intent: Intent, status: Status) -> None:
    looking = replace(a_collection(counts={C.FAILED: 2}), retried_to=0)
    assert decide_transform(a_transform(), files(), InputProgressed(looking, intent), NOW).entity.status is status


def _instructions(work: Work, collection: object, **more: object) -> tuple[object, ...]:
    event = InputProgressed(collection, Intent.RUN, **more)  # type: ignore[arg-type]
    return decide_transform(a_transform(), work, event, NOW).instructions


@given(st.integers(0, 20), st.integers(1, 5), st.integers(1, 5))
def test_after_a_retry_a_content_is_tried_as_often_as_before(spent: int, attempts: int, tries: int) -> None:
    content = replace(a_content(C.LEASED, spent + tries), spent=spent)
    verdict = judge(content, Outcome(ContentId(1), spent + tries, done=False), SourceKind.DATASET, attempts)
    assert verdict is (Verdict.AGAIN if tries < attempts else Verdict.ACCEPTED)


@given(st.integers(0, 20), st.integers(1, 5), st.integers(1, 5))
def test_and_so_is_a_processing(spent: int, attempts: int, tries: int) -> None:
    processing = replace(a_processing(attempt=spent + tries), spent=spent)
    ended = processing_engine.Ended(a_state(JobStatus.FAILED, "it broke"), (ContentId(1),))
    after = processing_engine.decide(processing, attempts, ended, NOW).entity
    assert after.status is (NEW if tries < attempts else FAILED)
    assert after.attempt == spent + tries + (tries < attempts)


def test_the_report_of_an_attempt_before_the_retry_is_stale() -> None:
    again = replace(a_content(C.AVAILABLE, 2), spent=2)
    assert judge(again, Outcome(ContentId(1), 2, done=True), SourceKind.DATASET, 3) is Verdict.STALE
    # Of a sample it is knowledge all the same.
    assert judge(again, Outcome(ContentId(1), 2, done=True), SourceKind.SAMPLES, 3) is Verdict.ACCEPTED


def test_a_request_whose_time_is_over_ends_expired_and_says_so() -> None:
    request = replace(a_request(*CHAIN[:2], intent=Intent.EXPIRE), expires_at=THEN)
    barred = decide(request, Progressed({"a": RUNNING, "b": NEW}), NOW)
    assert [instruction.work for instruction in barred.instructions] == ["b"]
    ended = decide(request, Progressed({"a": EXPIRED, "b": CANCELLED}), NOW).entity
    assert (ended.status, ended.reason) == (EXPIRED, "its time was over before all was done")
    assert decide(request, Progressed({"a": FINISHED, "b": FINISHED}), NOW).entity.status is FINISHED


def test_what_is_under_way_is_cancelled_when_the_time_is_over() -> None:
    event = InputProgressed(a_collection(counts={C.LEASED: 1}), Intent.EXPIRE)
    assert decide_transform(a_transform(open_processings=1), files(), event, NOW).instructions == (CancelProcessings(),)
    alone = InputProgressed(None, Intent.EXPIRE)
    assert decide_transform(a_transform(open_processings=1), makes("a"), alone, NOW).instructions == (
        CancelProcessings(),
    )
    ended = decide_transform(a_transform(), makes("a"), alone, NOW).entity
    assert (ended.status, ended.reason) == (EXPIRED, "the time of its request was over")


@pytest.mark.parametrize(
    ("status", "intent", "expires_at", "reason"),
    [
        (RUNNING, Intent.RUN, None, None),
        (NEW, Intent.RUN, LATER, None),
        (Status.SUSPENDED, Intent.SUSPEND, LATER, None),
        (RUNNING, Intent.FINISH, LATER, None),
        (RUNNING, Intent.RUN, NOW, "retry it when it has ended"),
        (RUNNING, Intent.EXPIRE, THEN, "retry it when it has ended"),
        (RUNNING, Intent.CANCEL, LATER, "it ends anyway"),
        (FINISHED, Intent.RUN, LATER, "it has ended finished"),
        (EXPIRED, Intent.EXPIRE, THEN, "it has ended expired: retry it"),
    ],
)
def test_when_a_request_may_be_given_more_time(
    status: Status, intent: Intent, expires_at: int | None, reason: str | None
) -> None:
    request = replace(a_request(status=status, intent=intent), expires_at=expires_at)
    objection = against_extension(request, NOW)
    assert (objection is None) is (reason is None)
    assert reason is None or reason in (objection or "")
    extended = decide(request, Extended(LATER + 1), NOW).entity
    assert extended == (request if reason else replace(request, expires_at=LATER + 1, changed_at=NOW))


def test_time_that_is_over_goes_before_an_early_end_but_not_before_a_cancel() -> None:
    assert decide(a_request(intent=Intent.FINISH), Ordered(Intent.EXPIRE), NOW).entity.intent is Intent.EXPIRE
    assert decide(a_request(intent=Intent.CANCEL), Ordered(Intent.EXPIRE), NOW).entity.intent is Intent.CANCEL


def test_a_broken_input_is_cut_off() -> None:
    instructions = decide_transform(a_transform(), files(), Broke("no such dataset"), NOW).instructions
    assert any(getattr(instruction, "cut_off", False) for instruction in instructions)


def test_the_job_of_a_lost_attempt_is_no_matter_of_the_next() -> None:
    lost = JobState(JobStatus.LOST, NOW, "unknown", reason="the provider does not know it")
    processing = replace(a_processing(attempt=4), spent=3)
    after = processing_engine.decide(processing, 3, processing_engine.Ended(lost, (ContentId(1),)), NOW).entity
    assert (after.status, after.attempt, after.tries) == (NEW, 5, 2)

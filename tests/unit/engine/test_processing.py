"""Decisions for a processing."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idds.domain.content import Outcome
from idds.domain.identifiers import ContentId, Handle
from idds.domain.processing import Processing
from idds.domain.statuses import TERMINAL, Intent, JobStatus, Status
from idds.engine import transitions
from idds.engine.processing import (
    Accepted,
    Declined,
    Dropped,
    Ended,
    Instruction,
    Observed,
    ProcessingEvent,
    SettleCancelled,
    SettleDone,
    SettleFailed,
    SubmitAgain,
    decide,
)
from idds.engine.retry import FIRST_DELAY
from tests.unit.engine.examples import NOW, a_processing, a_state

NEW, READY, RUNNING = Status.NEW, Status.READY, Status.RUNNING
SUCCEEDED, FAILED = JobStatus.SUCCEEDED, JobStatus.FAILED
ONE, TWO, THREE = ContentId(1), ContentId(2), ContentId(3)
BAD_ENDS = sorted({JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.LOST})


def says(content: ContentId, done: bool, *, retry: bool = True, reason: str | None = None) -> Outcome:
    return Outcome(content, 1, done, reason, retry)


def told(*outcomes: Outcome) -> Mapping[ContentId, Outcome]:
    return {outcome.content_id: outcome for outcome in outcomes}


def test_it_is_ready_when_the_provider_took_it() -> None:
    after = decide(a_processing(NEW), 3, Accepted(Handle("job")), NOW).entity
    assert (after.status, after.handle, after.submitted_at) == (READY, "job", NOW)


def test_it_runs_when_its_job_does() -> None:
    after = decide(a_processing(READY), 3, Observed(a_state(JobStatus.RUNNING)), NOW).entity
    assert (after.status, after.changed_at) == (RUNNING, NOW)


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.HELD])
def test_a_job_that_waits_changes_nothing(status: JobStatus) -> None:
    processing = a_processing(READY)
    assert decide(processing, 3, Observed(a_state(status)), NOW).entity == processing


def test_a_job_seen_running_again_changes_nothing() -> None:
    processing = a_processing(RUNNING)
    assert decide(processing, 3, Observed(a_state(JobStatus.RUNNING)), NOW).entity == processing


def test_contents_share_the_good_end_of_their_job() -> None:
    decision = decide(a_processing(), 3, Ended(a_state(SUCCEEDED), (ONE, TWO)), NOW)
    assert decision.instructions == (SettleDone((ONE, TWO)),)
    assert (decision.entity.status, decision.entity.exit_code, decision.entity.ended_at) == (Status.FINISHED, 0, NOW)


@pytest.mark.parametrize("status", BAD_ENDS)
def test_a_bad_end_is_tried_again_while_attempts_are_left(status: JobStatus) -> None:
    decision = decide(a_processing(attempt=2), 3, Ended(a_state(status, "broke"), (ONE,)), NOW)
    after = decision.entity
    assert decision.instructions == (SubmitAgain(2 * FIRST_DELAY),)
    assert (after.status, after.attempt, after.handle, after.ended_at) == (NEW, 3, None, None)
    assert after.reason == "broke"


@pytest.mark.parametrize("status", BAD_ENDS)
def test_the_last_attempt_settles_its_contents(status: JobStatus) -> None:
    decision = decide(a_processing(attempt=3), 3, Ended(a_state(status), (ONE, TWO)), NOW)
    assert decision.instructions == (SettleFailed((ONE, TWO), f"its job ended {status}"),)
    assert decision.entity.status is Status.FAILED


def test_what_the_payload_said_of_a_content_goes_before_the_end_of_the_job() -> None:
    outcomes = told(says(ONE, True), says(TWO, False, retry=False, reason="unreadable"))
    decision = decide(a_processing(), 3, Ended(a_state(FAILED, "exit 1"), (ONE, TWO, THREE), outcomes), NOW)
    assert decision.instructions == (
        SettleDone((ONE,)),
        SettleFailed((TWO,), "unreadable"),
        SubmitAgain(FIRST_DELAY),
    )
    assert decision.entity.attempt == 2
    last = decide(replace(decision.entity, status=RUNNING), 2, Ended(a_state(SUCCEEDED), (THREE,)), NOW)
    assert last.instructions == (SettleDone((THREE,)),)


def test_failures_are_settled_by_their_reason() -> None:
    outcomes = told(says(ONE, False, reason="x"), says(TWO, False, reason="y"), says(THREE, False, reason="x"))
    decision = decide(a_processing(), 1, Ended(a_state(SUCCEEDED), (ONE, TWO, THREE), outcomes), NOW)
    assert decision.instructions == (SettleFailed((ONE, THREE), "x"), SettleFailed((TWO,), "y"))
    assert (decision.entity.status, decision.entity.reason) == (Status.FAILED, "x")


def test_a_failure_without_a_reason_says_so() -> None:
    decision = decide(a_processing(), 1, Ended(a_state(SUCCEEDED), (ONE,), told(says(ONE, False))), NOW)
    assert decision.instructions == (SettleFailed((ONE,), "failed without a reason"),)


@pytest.mark.parametrize(("done", "status"), [(0, Status.FAILED), (1, Status.SUBFINISHED)])
def test_what_earlier_attempts_brought_counts_at_the_end(done: int, status: Status) -> None:
    ended = decide(replace(a_processing(), done=done), 1, Ended(a_state(FAILED, "broke"), (ONE,)), NOW).entity
    assert (ended.status, ended.reason, ended.done, ended.failed) == (status, "broke", done, 1)
    declined = Declined("no such queue", (ONE,))
    decision = decide(replace(a_processing(NEW), done=done), 1, declined, NOW)
    assert (decision.entity.status, decision.entity.failed) == (status, 1)
    assert decision.instructions == (SettleFailed((ONE,), "no such queue"),)


def test_what_an_earlier_attempt_failed_is_not_forgotten_by_one_that_ends_well() -> None:
    outcomes = told(says(ONE, False, retry=False, reason="unreadable"), says(TWO, False))
    first = decide(a_processing(), 3, Ended(a_state(FAILED), (ONE, TWO), outcomes), NOW).entity
    assert (first.status, first.failed) == (NEW, 1)
    second = decide(replace(first, status=RUNNING), 3, Ended(a_state(SUCCEEDED), (TWO,)), NOW).entity
    assert (second.status, second.done, second.failed) == (Status.SUBFINISHED, 1, 1)
    assert second.reason == "1 of its contents failed"


def test_one_without_contents_shares_the_fate_of_its_job() -> None:
    assert decide(a_processing(), 3, Ended(a_state(SUCCEEDED), ()), NOW).entity.status is Status.FINISHED
    again = decide(a_processing(), 3, Ended(a_state(FAILED, "broke"), ()), NOW)
    assert again.instructions == (SubmitAgain(FIRST_DELAY),)
    last = decide(a_processing(attempt=3), 3, Ended(a_state(FAILED, "broke"), ()), NOW)
    assert (last.entity.status, last.entity.reason, last.instructions) == (Status.FAILED, "broke", ())


def test_a_cancelled_one_is_not_tried_again_and_keeps_what_was_done() -> None:
    ended = Ended(a_state(JobStatus.CANCELLED, "killed"), (ONE, TWO), told(says(ONE, True)))
    decision = decide(a_processing(intent=Intent.CANCEL), 3, ended, NOW)
    assert decision.instructions == (SettleDone((ONE,)), SettleCancelled((TWO,)))
    assert (decision.entity.status, decision.entity.reason) == (Status.CANCELLED, "cancelled by order")


def test_a_cancel_that_came_too_late_takes_nothing_away() -> None:
    decision = decide(a_processing(intent=Intent.CANCEL), 3, Ended(a_state(SUCCEEDED), (ONE,)), NOW)
    assert decision.instructions == (SettleDone((ONE,)),)
    assert decision.entity.status is Status.FINISHED


def test_one_dropped_before_it_was_submitted_gives_its_contents_back() -> None:
    decision = decide(a_processing(NEW), 3, Dropped((ONE,)), NOW)
    assert decision.instructions == (SettleCancelled((ONE,)),)
    assert decision.entity.status is Status.CANCELLED
    assert decide(a_processing(NEW), 3, Dropped(()), NOW).instructions == ()


def test_a_large_group_is_settled_in_time_that_grows_with_its_size_only() -> None:
    # Comparing every failure with every other would take minutes here, beyond the timeout of a test.
    contents = tuple(map(ContentId, range(100_000)))
    outcomes = told(*(says(content, False, retry=content % 2 == 0, reason="broke") for content in contents))
    decision = decide(a_processing(), 2, Ended(a_state(FAILED), contents, outcomes), NOW)
    assert decision.instructions == (SettleFailed(contents[1::2], "broke"), SubmitAgain(FIRST_DELAY))


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_an_ended_one_stays_as_it_is(status: Status) -> None:
    ended = a_processing(status)
    events: list[ProcessingEvent] = [
        Accepted(Handle("late")),
        Observed(a_state(JobStatus.RUNNING)),
        Ended(a_state(FAILED), (ONE,)),
        Declined("late", (ONE,)),
        Dropped((ONE,)),
    ]
    for event in events:
        decision = decide(ended, 3, event, NOW)
        assert decision.entity == ended
        assert decision.instructions == ()


outcome = st.tuples(st.booleans(), st.booleans()) | st.none()


@given(st.data(), st.integers(1, 5), st.integers(0, 4))
def test_it_ends_within_its_attempts_and_settles_each_content_once(
    data: st.DataObject, attempts: int, size: int
) -> None:
    """The life of a processing as its provider and its payload please."""
    life = Life(attempts, size)
    while not life.processing.status.is_terminal:
        life.take(_next(data, life))
        if not life.ordered and data.draw(st.integers(0, 9)) == 0:
            life.cancel()
    assert life.submitted <= attempts
    assert sorted(life.settled) == list(range(size))
    assert life.processing.ended_at is not None
    if life.processing.status is Status.FINISHED:
        assert life.done == size
    if life.processing.status is Status.FAILED:
        assert life.done == 0


class Life:
    """A processing and what became of its contents, checked at every step."""

    def __init__(self, attempts: int, size: int) -> None:
        self.attempts = attempts
        self.processing = a_processing(NEW)
        self.held = list(map(ContentId, range(size)))
        self.settled: list[ContentId] = []
        self.submitted = self.done = 0
        self.ordered = False

    def cancel(self) -> None:
        if not self.processing.status.is_terminal:
            self.ordered = True
            self.processing = replace(self.processing, intent=Intent.CANCEL)

    def take(self, event: ProcessingEvent) -> None:
        self.submitted += isinstance(event, Accepted)
        before = self.processing
        decision = decide(before, self.attempts, event, NOW)
        self.processing = decision.entity
        if before.status is not self.processing.status:
            assert self.processing.status in transitions.PROCESSING[before.status]
        for instruction in decision.instructions:
            self._follow(instruction, before, event)

    def _follow(self, instruction: Instruction, before: Processing, event: ProcessingEvent) -> None:
        match instruction:
            case SettleDone(contents):
                self.done += len(contents)
            case SettleFailed(contents, reason):
                assert reason
            case SettleCancelled(contents):
                assert self.ordered or isinstance(event, Dropped)
            case SubmitAgain(delay):
                assert delay > 0
                assert not self.ordered
                assert self.processing.attempt == before.attempt + 1
                return
        self.settled += contents
        self.held = [content for content in self.held if content not in contents]


def _next(data: st.DataObject, life: Life) -> ProcessingEvent:
    held = life.held
    if life.processing.status is NEW:
        kind = data.draw(st.sampled_from(["accepted"] * 6 + ["declined", "dropped"]))
        if kind == "accepted":
            return Accepted(Handle("job"))
        return Dropped(tuple(held)) if kind == "dropped" else Declined("no", tuple(held))
    if data.draw(st.booleans()):
        return Observed(a_state(data.draw(st.sampled_from([JobStatus.PENDING, JobStatus.RUNNING, JobStatus.HELD]))))
    said = {content: data.draw(outcome) for content in held}
    outcomes = told(*(says(content, o[0], retry=o[1], reason="said") for content, o in said.items() if o))
    state = a_state(data.draw(st.sampled_from([SUCCEEDED, *BAD_ENDS])), "ended")
    return Ended(state, tuple(held), outcomes)

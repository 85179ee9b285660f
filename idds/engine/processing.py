"""Decisions for a processing: what an attempt came to, and whether there is another."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from idds.domain.content import Outcome
from idds.domain.identifiers import ContentId, Handle
from idds.domain.job import JobState
from idds.domain.processing import Processing
from idds.domain.statuses import Intent, JobStatus, Status
from idds.engine import transitions
from idds.engine.decision import Decision
from idds.engine.retry import backoff


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took it."""

    handle: Handle


@dataclass(frozen=True, slots=True)
class Declined:
    """The provider will never take it; why. Its contents are named so that they can be settled."""

    reason: str
    contents: tuple[ContentId, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """Its job is under way."""

    state: JobState


@dataclass(frozen=True, slots=True)
class Ended:
    """Its job has ended. `contents` are those it still holds, `outcomes` what the payload said of them."""

    state: JobState
    contents: tuple[ContentId, ...]
    outcomes: Mapping[ContentId, Outcome] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dropped:
    """It was cancelled before it was submitted."""

    contents: tuple[ContentId, ...]


ProcessingEvent = Accepted | Declined | Observed | Ended | Dropped


@dataclass(frozen=True, slots=True)
class SettleDone:
    contents: tuple[ContentId, ...]


@dataclass(frozen=True, slots=True)
class SettleFailed:
    contents: tuple[ContentId, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class SettleCancelled:
    contents: tuple[ContentId, ...]


@dataclass(frozen=True, slots=True)
class SubmitAgain:
    """The next attempt, after `delay` microseconds."""

    delay: int


Instruction = SettleDone | SettleFailed | SettleCancelled | SubmitAgain


def decide(
    processing: Processing, attempts: int, event: ProcessingEvent, now: int
) -> Decision[Processing, Instruction]:
    """What becomes of the processing. An ended one stays as it is.

    There may be `attempts` of it in all, since the last retry of its request.
    """
    if processing.status.is_terminal:
        return Decision(processing)
    match event:
        case Accepted(handle):
            return Decision(_to(replace(processing, handle=handle, submitted_at=now), Status.READY, now))
        case Observed(state):
            if state.status is JobStatus.RUNNING and processing.status is Status.READY:
                return Decision(_to(processing, Status.RUNNING, now))
            return Decision(processing)
        case Dropped(contents):
            ended = replace(_to(processing, Status.CANCELLED, now, "cancelled before it was submitted"), ended_at=now)
            return Decision(ended, (SettleCancelled(contents),) if contents else ())
        case Declined(reason, contents):
            status = Status.SUBFINISHED if processing.done else Status.FAILED
            ended = replace(
                _to(processing, status, now, reason), ended_at=now, failed=processing.failed + len(contents)
            )
            return Decision(ended, (SettleFailed(contents, reason),) if contents else ())
        case Ended():
            return _ended(processing, attempts, event, now)


def _to(processing: Processing, status: Status, now: int, reason: str | None = None) -> Processing:
    transitions.check(transitions.PROCESSING, processing.status, status)
    return replace(processing, status=status, changed_at=now, reason=reason)


def _ended(processing: Processing, attempts: int, event: Ended, now: int) -> Decision[Processing, Instruction]:
    state = event.state
    cancelled = processing.intent is Intent.CANCEL
    last = cancelled or processing.tries >= attempts
    verdicts = [_verdict(content, event) for content in event.contents]
    done = tuple(v.content_id for v in verdicts if v.done)
    bad = [v for v in verdicts if not v.done]
    again = [v for v in bad if v.retry and not last]
    final = [v for v in bad if not v.retry or last]
    processing = replace(
        processing,
        exit_code=state.exit_code,
        usage=dict(state.usage),
        ended_at=now,
        done=processing.done + len(done),
        failed=processing.failed + (0 if cancelled else len(final)),
    )
    instructions: list[Instruction] = [SettleDone(done)] if done else []
    if cancelled and final:
        instructions.append(SettleCancelled(tuple(v.content_id for v in final)))
    elif final:
        instructions += _failures(final)
    alone_failed = not event.contents and state.status is not JobStatus.SUCCEEDED
    if again or (alone_failed and not last):
        instructions.append(SubmitAgain(backoff(processing.tries)))
        reason = again[0].reason if again else state.reason
        following = replace(processing, attempt=processing.attempt + 1, handle=None, submitted_at=None, ended_at=None)
        return Decision(_to(following, Status.NEW, now, reason), tuple(instructions))
    if cancelled and (final or alone_failed):
        lost = f"; {state.reason}" if state.status is JobStatus.LOST and state.reason else ""
        return Decision(_to(processing, Status.CANCELLED, now, f"cancelled by order{lost}"), tuple(instructions))
    if not processing.failed and not alone_failed:
        return Decision(_to(processing, Status.FINISHED, now), tuple(instructions))
    status = Status.SUBFINISHED if processing.done else Status.FAILED
    reason = final[0].reason if final else state.reason or f"{processing.failed} of its contents failed"
    return Decision(_to(processing, status, now, reason), tuple(instructions))


def _verdict(content: ContentId, event: Ended) -> Outcome:
    outcome = event.outcomes.get(content)
    if outcome is not None:
        return outcome
    # What the payload said nothing of shares the fate of the job.
    if event.state.status is JobStatus.SUCCEEDED:
        return Outcome(content, 0, done=True)
    return Outcome(content, 0, done=False, reason=event.state.reason or f"its job ended {event.state.status}")


def _failures(final: list[Outcome]) -> list[Instruction]:
    by_reason: dict[str, list[ContentId]] = {}
    for outcome in final:
        by_reason.setdefault(outcome.reason or "failed without a reason", []).append(outcome.content_id)
    return [SettleFailed(tuple(contents), reason) for reason, contents in by_reason.items()]

"""Decisions for a transform: how its contents come, go on to processings, and when it has ended."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from idds.domain.collection import Collection
from idds.domain.statuses import ContentStatus, Intent, SourceKind, Status
from idds.domain.transform import Transform
from idds.domain.workflow import Samples, Work
from idds.engine import transitions
from idds.engine.decision import Decision
from idds.engine.spaces import COMMAND, LEARNING


@dataclass(frozen=True, slots=True)
class Released:
    """Its work may start. `again` is its input where it had started before: it goes on with what is not done."""

    again: Collection | None = None


@dataclass(frozen=True, slots=True)
class Renewed:
    """It has ended, and its request is retried."""


@dataclass(frozen=True, slots=True)
class Barred:
    """Its work will never start; why."""

    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """How the one processing of a work without an input ended, and why if not well."""

    status: Status
    reason: str | None


@dataclass(frozen=True, slots=True)
class Course:
    """Where a study stands of which a stop or iterations were ordered: why it has `stopped`, or why it is to now."""

    iteration: int = 1
    stopped: str | None = None
    met: str | None = None


@dataclass(frozen=True, slots=True)
class Progressed:
    """Where its input stands (None: the work has none). `room` is free places in a window of samples, None: any.

    `barred_by` says which work that this one depends on came to nothing.
    """

    input: Collection | None
    intent: Intent
    source_ended: bool = False
    barred_by: str | None = None
    room: int | None = None
    alone: End | None = None
    course: Course | None = None


@dataclass(frozen=True, slots=True)
class Broke:
    """It cannot be carried out at all; why."""

    reason: str


TransformEvent = Released | Renewed | Barred | Progressed | Broke


@dataclass(frozen=True, slots=True)
class List:
    """Have the dataset listed."""


@dataclass(frozen=True, slots=True)
class Reopen:
    """Have told what its source had not told when the input was closed."""


@dataclass(frozen=True, slots=True)
class LookThrough:
    """Begin to look through its contents for what is to be tried again."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Go on with that: so many more may be tried again now, None for any number."""

    room: int | None


@dataclass(frozen=True, slots=True)
class SubmitAlone:
    """A work without an input has one processing of its own."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Have so many samples drawn; with an `iteration`, the first of that one."""

    count: int
    iteration: int | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """Have a study end, for this reason: nothing more of it is drawn or taken."""

    reason: str


@dataclass(frozen=True, slots=True)
class Group:
    """Make processings of the groups that are complete."""


@dataclass(frozen=True, slots=True)
class CloseInput:
    """Nothing more will come; `cut_off` says that nobody wants more, though there may be."""

    cut_off: bool = False


@dataclass(frozen=True, slots=True)
class CancelContents:
    """Nobody wants what is not taken yet."""


@dataclass(frozen=True, slots=True)
class CancelProcessings:
    """Have those that are under way ended."""


@dataclass(frozen=True, slots=True)
class CloseOutput:
    """It has ended: its outputs are complete."""


Filling = List | Ask | Reopen | LookThrough | Retry
"""Of an input: its contents are to come, and to become available."""
Instruction = Filling | Stop | SubmitAlone | Group | CloseInput | CancelContents | CancelProcessings | CloseOutput
_CUT = CloseInput(cut_off=True)
MOST_DEMANDED = 1000
PART = 32
"""So many samples of a sampler that learns are drawn at a time: other studies wait that long at most."""
QUEUE = 4
"""So many samples of a sampler that learns are drawn ahead, or one for each four that are being evaluated."""


def decide(transform: Transform, work: Work, event: TransformEvent, now: int) -> Decision[Transform, Instruction]:
    """What becomes of the transform. An ended one stays as it is, whatever comes, unless it is renewed."""
    if isinstance(event, Renewed):
        return Decision(_to(transform, Status.NEW, now) if transform.status.is_terminal else transform)
    if transform.status.is_terminal:
        return Decision(transform)
    match event:
        case Released(again):
            return Decision(_to(transform, Status.RUNNING, now), _first(work) if again is None else _go_on(again))
        case Barred(reason):
            return Decision(_to(transform, Status.CANCELLED, now, reason), (CloseOutput(),))
        case Broke(reason):
            return Decision(_to(transform, Status.FAILED, now, reason), (CancelContents(), _CUT, CloseOutput()))
        case Progressed(None):
            return _alone(transform, event, now)
        case Progressed():
            return _progress(transform, work, event, now)


def _to(transform: Transform, status: Status, now: int, reason: str | None = None) -> Transform:
    transitions.check(transitions.TRANSFORM, transform.status, status)
    return replace(transform, status=status, changed_at=now, reason=reason)


def _first(work: Work) -> tuple[Instruction, ...]:
    if work.input is None:
        return (SubmitAlone(),)
    return (List(),) if work.input.dataset is not None else ()


def _go_on(collection: Collection) -> tuple[Instruction, ...]:
    # What feeds it may have gone on while nobody took it, whyever the input was closed.
    has_more = collection.cut_off or collection.source in (SourceKind.OUTPUTS, SourceKind.COUNTED)
    return (Reopen(), LookThrough()) if has_more else (LookThrough(),)


_BY_ORDER: Mapping[Intent, tuple[Status, str]] = {
    Intent.CANCEL: (Status.CANCELLED, "cancelled by order"),
    Intent.EXPIRE: (Status.EXPIRED, "the time of its request was over"),
}


def _alone(transform: Transform, event: Progressed, now: int) -> Decision[Transform, Instruction]:
    if transform.open_processings:
        return Decision(transform, (CancelProcessings(),) if event.intent in _BY_ORDER else ())
    if event.alone is not None and event.alone.status is Status.FINISHED:
        return Decision(_to(transform, Status.FINISHED, now), (CloseOutput(),))
    if event.intent in _BY_ORDER:
        status, why = _BY_ORDER[event.intent]
        return Decision(_to(transform, status, now, why), (CloseOutput(),))
    reason = (event.alone.reason if event.alone else None) or "its processing failed"
    return Decision(_to(transform, Status.FAILED, now, reason), (CloseOutput(),))


def _progress(transform: Transform, work: Work, event: Progressed, now: int) -> Decision[Transform, Instruction]:
    collection = event.input
    assert collection is not None
    looked = collection.retried_to is None or event.intent not in (Intent.RUN, Intent.SUSPEND)
    if looked and collection.is_closed and collection.open == 0 and transform.open_processings == 0:
        if event.barred_by is not None and collection.total == 0:
            # It started with what feeds it, which then came to nothing: as if it had been barred from the first.
            return Decision(_to(transform, Status.CANCELLED, now, event.barred_by), (CloseOutput(),))
        status, reason = verdict(collection, event.intent)
        if status is Status.FINISHED and event.course is not None:
            reason = event.course.stopped
        return Decision(_to(transform, status, now, reason), (CloseOutput(),))
    match event.intent:
        case Intent.RUN:
            return Decision(transform, _flow(work, collection, event))
        case Intent.SUSPEND:
            return Decision(transform)
        case Intent.FINISH:
            return Decision(transform, _stop(work, collection, event))
        case Intent.CANCEL | Intent.EXPIRE:
            stop = _stop(work, collection, event)
            return Decision(transform, (*stop, CancelProcessings()) if transform.open_processings else stop)


def _stop(work: Work, collection: Collection, event: Progressed) -> tuple[Instruction, ...]:
    """Nothing more is taken of an input, and nothing more comes."""
    waiting = collection.counts[ContentStatus.NEW] + collection.counts[ContentStatus.AVAILABLE]
    if not waiting and collection.is_closed:
        return ()
    samples = work.samples
    has_all = event.source_ended if samples is None else collection.total - collection.taken_back >= samples.count
    return (CloseInput(cut_off=not has_all), CancelContents())


def _flow(work: Work, collection: Collection, event: Progressed) -> tuple[Instruction, ...]:
    instructions: list[Instruction] = []
    if event.course is not None and event.course.met is not None and _can_stop(collection):
        return (Stop(event.course.met),)
    match collection.source:
        case _ if collection.retried_to is not None:
            instructions += _retry(collection, event.room)
        case SourceKind.OUTPUTS | SourceKind.COUNTED if event.source_ended and not collection.is_closed:
            instructions.append(CloseInput())
        case SourceKind.SAMPLES if not collection.is_closed:
            instructions += _ask(work, collection, event)
        case _:
            pass
    if _may_group(collection) and work.payload and (collection.counts[ContentStatus.AVAILABLE] or instructions):
        instructions.append(Group())
    return tuple(instructions)


def _retry(collection: Collection, room: int | None) -> tuple[Instruction, ...]:
    if collection.source is not SourceKind.SAMPLES:
        return (Retry(None),)
    return (Retry(room),) if room != 0 else ()


def _may_group(collection: Collection) -> bool:
    """A group is made when all of it is there. Of samples, whole groups are tried again together, as room comes."""
    return collection.retried_to is None or collection.source is SourceKind.SAMPLES


def _can_stop(collection: Collection) -> bool:
    """Whether there is anything that a stop would spare."""
    return not collection.is_closed or collection.counts[ContentStatus.AVAILABLE] > 0


def _ask(work: Work, collection: Collection, event: Progressed) -> tuple[Instruction, ...]:
    assert work.input is not None
    assert work.input.samples is not None
    samples, room = work.input.samples, event.room
    drawn = collection.total - collection.taken_back
    wanted, iteration = _up_to(samples, collection, event.course)
    missing = wanted + collection.taken_back - collection.next_no
    if missing <= 0:
        return (CloseInput(),) if drawn >= samples.count else ()
    count = _together(samples, collection, missing, room)
    return (Ask(count, iteration),) if count > 0 else ()


def _together(samples: Samples, collection: Collection, missing: int, room: int | None = None) -> int:
    """How many of the samples that are missing are drawn together now: whole batches, but for the last."""
    if not runs_low(samples, collection):
        return 0
    count = missing if room is None else min(missing, room)
    if samples.refill is not None:
        count = min(count, max(samples.refill.points, collection.batch))
    elif samples.sampler in LEARNING:
        count = min(count, _fresh(collection))
    return count if count >= missing else count - count % collection.batch


def drawn_at_once(work: Work, collection: Collection) -> int | None:
    """How many more samples are to be drawn where that is plain without a look at the transform; None where it is not.

    A sampler that learns is asked often, for a few each time.
    """
    samples = work.samples
    if samples is None or samples.sampler not in LEARNING or samples.sampler == COMMAND or work.payload is not None:
        return None
    if samples.stop is not None or samples.iterations is not None or samples.refill is not None:
        return None
    if collection.retried_to is not None:
        return None
    missing = samples.count + collection.taken_back - collection.next_no
    return 0 if collection.is_closed else _together(samples, collection, missing)


def _up_to(samples: Samples, collection: Collection, course: Course | None) -> tuple[int, int | None]:
    """How many samples may be drawn by now, and which iteration begins with the next, if one does."""
    if samples.iterations is None or course is None:
        return samples.count, None
    wanted = course.iteration * samples.iterations.samples
    is_over = collection.open == 0 and collection.total == collection.next_no
    if is_over and collection.total - collection.taken_back >= wanted:
        return min(samples.count, wanted + samples.iterations.samples), course.iteration + 1
    return min(samples.count, wanted), None


def flows_on(work: Work, collection: Collection) -> bool:
    """Whether its transform has nothing to decide, now that some of this input came back."""
    samples = work.samples
    if samples is None:
        return collection.open > 0
    if not collection.is_closed and drawn_at_once(work, collection) is not None:
        return True
    fills = not collection.is_closed and runs_low(samples, collection)
    return collection.open > 0 and not fills and collection.retried_to is None and samples.stop is None


def runs_low(samples: Samples, collection: Collection) -> bool:
    """Whether more samples are to be drawn: several together, not one for each that is taken.

    Of a sampler that learns none are while others are being drawn: who has claimed that order is the only one to ask.
    """
    waiting = collection.counts[ContentStatus.AVAILABLE]
    none_is_drawn = collection.next_no <= collection.total
    if samples.refill is not None:
        return none_is_drawn and collection.open < samples.refill.below
    if samples.sampler in LEARNING:
        wanted = _wanted(collection)
        return none_is_drawn and waiting <= max(wanted // 2, wanted - PART)
    return waiting + collection.next_no - collection.total <= max(QUEUE, collection.counts[ContentStatus.LEASED])


def demanded(samples: Samples, waiting: int) -> int:
    """For how many of those that wait samples are drawn ahead: of a sampler that learns, else enough are there.

    A few more or less are not worth noting.
    """
    return -(-waiting // QUEUE) * QUEUE if samples.sampler in LEARNING and samples.refill is None else 0


def _wanted(collection: Collection) -> int:
    """How many samples may wait for whoever takes them: few, for they are drawn better the later that is done; as many
    as are waited for.
    """
    return max(
        drawn_ahead(collection.counts[ContentStatus.LEASED]), collection.batch, min(collection.demand, MOST_DEMANDED)
    )


def drawn_ahead(leased: int) -> int:
    """How many samples of a sampler that learns may wait where nobody waits for them, and so many are leased."""
    return max(QUEUE, leased // 4)


def _fresh(collection: Collection) -> int:
    return _wanted(collection) - collection.counts[ContentStatus.AVAILABLE]


def verdict(collection: Collection, intent: Intent) -> tuple[Status, str | None]:
    """What a transform came to, all of whose contents have ended; with the reason if that is not plain success."""
    counts = collection.counts
    done, bad = counts[ContentStatus.DONE], counts[ContentStatus.FAILED] + counts[ContentStatus.MISSING]
    if intent in _BY_ORDER:
        return _BY_ORDER[intent]
    cancelled = counts[ContentStatus.CANCELLED] - collection.taken_back
    if bad == 0 and cancelled == 0 and not collection.cut_off:
        return Status.FINISHED, None
    total = collection.total - collection.taken_back
    reason = f"{done} of {total} contents done, {bad} failed, {cancelled} cancelled"
    if collection.cut_off:
        reason += "; its source had more to tell"
    return (Status.SUBFINISHED if done else Status.FAILED), reason

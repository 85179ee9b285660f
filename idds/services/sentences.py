"""What is said of a request that somebody asks about: from what is known of it, in words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from idds.domain.collection import Collection
from idds.domain.redefinition import StudyVersion
from idds.domain.replica import Window
from idds.domain.request import Request
from idds.domain.statuses import ContentStatus, EffectKind, Intent, ReplicaStatus, SourceKind, Status
from idds.domain.transform import Transform
from idds.domain.workflow import Work
from idds.engine import graph
from idds.engine.request import EXPIRING
from idds.engine.retry import TRIES
from idds.store.waits import Awaited, Due, Open, Pending, Unsubmitted

OVERDUE = 10_000_000
"""What nobody has taken up for so long, in microseconds, points to an agent that does not run."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One thing to be said: what is so, since when (microseconds UTC, None: not known), and what happens next."""

    text: str
    since: int | None = None
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of one transform. `reasons` say why contents failed, and how many; `works` by name.

    `providers` are those of the settings, None where they are not known; `wait` is why nothing of its input is
    admitted, as the plan has it; `remedy` what was last done about recalls that make no progress; `version` is what a
    study was redefined to last.
    """

    now: int
    intent: Intent
    work: Work
    transform: Transform
    works: Mapping[str, Status]
    collection: Collection | None = None
    last_moved: int | None = None
    windows: Sequence[Window] = ()
    wait: str | None = None
    awaited: Sequence[Awaited] = ()
    remedy: str | None = None
    first_lease_end: int | None = None
    processings: Sequence[Open] = ()
    unsubmitted: Sequence[Unsubmitted] = ()
    pending: Sequence[Pending] = ()
    reasons: Sequence[tuple[str, int]] = field(default=())
    providers: frozenset[str] | None = None
    version: StudyVersion | None = None

    def effect(self, kind: EffectKind) -> Pending | None:
        """The soonest effect of this kind that is not done."""
        return next((effect for effect in self.pending if effect.kind is kind), None)


def of_request(request: Request, works: Mapping[str, Status], due: Due, now: int) -> tuple[Sentence, ...]:
    """What is to be said of the request as a whole."""
    return tuple(_of_request(request, works, due, now))


def _of_request(request: Request, works: Mapping[str, Status], due: Due, now: int) -> Iterator[Sentence]:
    if request.status.is_terminal:
        reason = f": {request.reason}" if request.reason else ""
        following = None if request.status is Status.FINISHED else "a retry goes on with what is not done"
        yield Sentence(f"the request ended {request.status}{reason}", request.changed_at, following)
        return
    if due.tries and due.at is not None:
        yield Sentence(f"advancing it broke {_times(due.tries)}", None, f"it is tried again {_in(due.at, now)}")
    elif due.at is not None and due.at < now - OVERDUE:
        yield Sentence("it is to be advanced", due.at, "a transformer should have taken it up: is one running?")
    if request.status is Status.NEW:
        yield _taken_up(request)
        yield from _expiry(request, now)
        return
    ended = sum(status.is_terminal for status in works.values())
    running = [name for name, status in works.items() if status is Status.RUNNING]
    again = f", retried {_times(request.retries)}" if request.retries else ""
    named = f"; running: {', '.join(running[:5])}{', ...' if len(running) > 5 else ''}" if running else ""
    text = f"{ended:,} of {_n(len(works), 'work')} ended{again}{named}"
    match request.intent:
        case Intent.RUN:
            yield Sentence(text, request.created_at)
        case Intent.SUSPEND:
            yield Sentence(f"suspended by order: {text}", request.changed_at, "nothing new starts until it is resumed")
        case Intent.FINISH | Intent.CANCEL | Intent.EXPIRE as intent:
            yield Sentence(
                f"{_ORDERED[intent]}: {text}", request.changed_at, "it ends when what is under way has ended"
            )
    yield from _expiry(request, now)


_ORDERED = {
    Intent.FINISH: "an early end was ordered",
    Intent.CANCEL: "a cancel was ordered",
    Intent.EXPIRE: "its time is over",
}


def _taken_up(request: Request) -> Sentence:
    following = "a transformer takes it up and starts its works"
    if request.retries:
        return Sentence(f"it was just retried, for the {_nth(request.retries)} time", request.changed_at, following)
    return Sentence("it was just submitted", request.created_at, following)


def _expiry(request: Request, now: int) -> Iterator[Sentence]:
    if request.expires_at is not None and request.intent in EXPIRING:
        text = f"it expires {_in(request.expires_at, now)}"
        yield Sentence(text, None, "what is not done by then is cancelled; `extend` gives it more time")


def of_transform(s: Situation) -> tuple[Sentence, ...]:
    """What a transform waits for, or what it came to."""
    if s.transform.status.is_terminal:
        return tuple(_ended(s))
    if s.transform.status is Status.NEW:
        return tuple(_unreleased(s))
    said = [*_retried(s), *_source(s), *_admission(s), *_recalls(s), *_leases(s), *_processings(s)]
    return tuple(said) or (Sentence("nothing is left to wait for", s.last_moved, "it is about to be advanced"),)


def _ended(s: Situation) -> Iterator[Sentence]:
    reason = f": {s.transform.reason}" if s.transform.reason else ""
    yield Sentence(f"work {s.work.name!r} ended {s.transform.status}{reason}", s.transform.changed_at)
    for reason, number in s.reasons:
        yield Sentence(f"{_n(number, 'content')} failed: {reason}")


def _unreleased(s: Situation) -> Iterator[Sentence]:
    waits = [name for name in s.work.after if not s.works[name].is_terminal]
    for name in waits:
        yield Sentence(f"waits for work {name!r} to end", s.transform.changed_at, f"that is {s.works[name]}")
    source = s.work.input.feeder if s.work.input else None
    if source is not None and source not in waits and s.works[source] is Status.NEW:
        takes = "takes its outputs" if s.work.input and s.work.input.outputs else "takes the files that it counts"
        yield Sentence(f"waits for work {source!r} to start: it {takes}", s.transform.changed_at)
        waits.append(source)
    if reason := graph.barred_by(s.work, s.works):
        yield Sentence(reason.removeprefix("it "), None, "it will not start")
    elif not waits:
        yield Sentence("has not started", s.transform.changed_at, "it starts when the request is advanced next")


def _retried(s: Situation) -> Iterator[Sentence]:
    """What came to a bad end before, and is still to be tried again."""
    if s.collection is None or s.collection.retried_to is None:
        return
    counts = s.collection.counts
    bad = sum(counts[status] for status in (ContentStatus.FAILED, ContentStatus.MISSING, ContentStatus.CANCELLED))
    if bad:
        text = f"at most {_n(bad, 'content')} still to be looked through for what the retry is about"
        yield Sentence(text, s.transform.changed_at, "what is not done is tried again, as much as there is room for")


def _source(s: Situation) -> Iterator[Sentence]:
    """What its source still has to bring."""
    if s.collection is None or s.collection.is_closed:
        return
    total = _n(s.collection.total, "content")
    match s.collection.source:
        case SourceKind.DATASET:
            effect = s.effect(EffectKind.LIST)
            text = f"dataset {s.collection.did} is being listed: {total} so far"
            yield Sentence(text, effect.created_at if effect else None, _next(effect, s.now, "a carrier"))
        case SourceKind.OUTPUTS:
            source = s.work.input.feeder if s.work.input else None
            yield Sentence(f"takes the outputs of work {source!r} as they come: {total} so far", s.last_moved)
        case SourceKind.COUNTED:
            source = s.work.input.feeder if s.work.input else None
            yield Sentence(f"takes files as work {source!r} counts their events: {total} so far", s.last_moved)
        case SourceKind.SAMPLES:
            yield from _sampling(s, s.collection)
        case SourceKind.REGISTERED:
            text = f"collection {s.collection.id} is open, for contents to be registered: {total} so far"
            yield Sentence(text, s.last_moved, f"it goes on until POST /v1/collections/{s.collection.id}:close")
        case None:
            pass


def _sampling(s: Situation, collection: Collection) -> Iterator[Sentence]:
    study = s.work.samples
    drawn = collection.total - collection.taken_back
    if s.version is not None:
        yield Sentence(f"its space is version {s.version.version}: {s.version.reason}", s.version.at)
    if study is None or drawn >= study.count:
        return
    text = f"{drawn:,} of {study.count:,} samples are drawn"
    if effect := s.effect(EffectKind.STEER):
        yield _steered(text, effect, s.now)
        return
    if effect := s.effect(EffectKind.ASK):
        yield Sentence(f"{text}, more are being drawn", effect.created_at, _next(effect, s.now, "a transformer"))
        return
    if study.iterations is not None and drawn and drawn % study.iterations.samples == 0:
        text = f"{text}, iteration {drawn // study.iterations.samples} with them"
        yield Sentence(text, s.last_moved, "the next are drawn when all of it has come to an end")
        return
    limits = [window for window in s.windows if window.limit_files is not None]
    full = next((w for w in limits if w.reserved_files + collection.batch > (w.limit_files or 0)), None)
    if full is not None:
        room = f"{full.reserved_files:,} of {full.limit_files:,} are in flight"
        yield Sentence(f"{text}; {room}", s.last_moved, "more are drawn as results come")
    else:
        yield Sentence(text, s.last_moved, "more are drawn when the request is advanced next")


def _steered(text: str, effect: Pending, now: int) -> Sentence:
    text += ", its steering command is run for more"
    if effect.attempt > 1:
        text += f"; attempt {effect.attempt} of {TRIES}, after: {effect.before}"
    following = _next(effect, now, "a carrier")
    runs = effect.tries and effect.error is None and not effect.is_claimed
    if runs and effect.due_at >= now - OVERDUE:
        following = f"it runs; its end is heard of, or looked for {_in(effect.due_at, now)}"
    return Sentence(text, effect.created_at, following)


def _admission(s: Situation) -> Iterator[Sentence]:
    """Files that are not let into the windows yet."""
    if s.collection is None or not s.collection.unadmitted or s.collection.rse is None:
        return
    files = _n(s.collection.unadmitted, "file" if s.collection.range_events is None else "range")
    if s.intent is not Intent.RUN:
        yield Sentence(f"{files} not admitted, by order to {s.intent}", s.last_moved)
        return
    if s.wait is None:
        yield Sentence(f"{files} waiting for admission", s.last_moved, "they are when a transformer plans next")
    else:
        yield Sentence(f"{files} waiting for admission: {s.wait}", s.last_moved, "they are when that changes")


def _recalls(s: Situation) -> Iterator[Sentence]:
    """Files that are admitted and not on disk yet."""
    if s.collection is None:
        return
    for awaited in s.awaited:
        text = f"waits for {_n(awaited.n, 'file')} to land on {s.collection.rse}"
        match awaited.status:
            case ReplicaStatus.ADMITTED:
                following = _next(s.effect(EffectKind.STAGE), s.now, "a carrier")
                yield Sentence(f"{text}: their recall is to be ordered", awaited.since, following)
            case ReplicaStatus.STAGING:
                room = [_reserved(window) for window in s.windows]
                text = "; ".join([f"{text}: {_n(awaited.n, 'recall')} under way", *room])
                yield Sentence(text, awaited.since, "they become available as they land")
            case _:
                yield Sentence(f"{text}: their replicas are {awaited.status}", awaited.since)
    if stalled := sum(awaited.stalled for awaited in s.awaited):
        text = f"{_n(stalled, 'recall')} made no progress; last {s.remedy}"
        yield Sentence(text, s.last_moved, "they are hastened, recalled from elsewhere, and at last given up")


def _reserved(window: Window) -> str:
    name = f"the window of RSE {window.ref} has" if window.kind == "rse" else "the window of this input has"
    parts = []
    if window.limit_bytes is not None:
        parts.append(f"{window.reserved_bytes:,} of {window.limit_bytes:,} bytes")
    if window.limit_files is not None:
        parts.append(f"{window.reserved_files:,} of {window.limit_files:,} files")
    return f"{name} {' and '.join(parts) or f'{window.reserved_bytes:,} bytes'} reserved"


def _leases(s: Situation) -> Iterator[Sentence]:
    """Contents that are for consumers outside; or that wait for the rest of their batch."""
    if s.collection is None:
        return
    available, leased = s.collection.counts[ContentStatus.AVAILABLE], s.collection.counts[ContentStatus.LEASED]
    if s.work.payload is not None:
        if available and s.collection.batch != 1:
            batch = f"batch of {s.collection.batch:,}" if s.collection.batch else "one batch of everything"
            text = f"{_n(available, 'available content')} waiting until their {batch} is complete"
            yield Sentence(text, s.last_moved)
        return
    if leased:
        ends = f", the first lease ends {_in(s.first_lease_end, s.now)}" if s.first_lease_end is not None else ""
        attempts = _times(s.work.attempts)
        again = f"what is not reported by then is delivered again, {attempts} in all"
        yield Sentence(f"{_n(leased, 'content')} leased{ends}", s.last_moved, again)
    if available:
        text = f"nobody has leased the {_n(available, 'available content')}"
        halted = None if s.intent is Intent.RUN else f"nothing is leased, by order to {s.intent}"
        yield Sentence(text, s.last_moved, halted or "a consumer leases them")


def _processings(s: Situation) -> Iterator[Sentence]:
    """Processings that have not ended."""
    for found in s.processings:
        match found.status:
            case Status.RUNNING | Status.READY if s.providers is not None and found.provider not in s.providers:
                text = (
                    f"{_n(found.n, 'processing')} {found.status} on {found.provider}, which is in no settings any more"
                )
                gone = "they are taken in when it is there again; after a cancel they are given up as lost"
                yield Sentence(text, found.since, gone)
            case Status.RUNNING:
                text = f"{_n(found.n, 'processing')} running on {found.provider}"
                yield Sentence(text, found.since, "their results are taken in as they end")
            case Status.READY:
                yield Sentence(f"{_n(found.n, 'processing')} queued on {found.provider}", found.since)
            case _:
                yield _unsubmitted(s, found)


def _unsubmitted(s: Situation, found: Open) -> Sentence:
    text = f"{_n(found.n, 'processing')} to be submitted to {found.provider}"
    again = next((waiting for waiting in s.unsubmitted if waiting.tries > 1), None)
    first = again or next(iter(s.unsubmitted), None)
    effect = next((e for e in s.pending if first is not None and e.entity == first.entity), None)
    if again is not None:
        text += f"; attempt {again.tries} of {s.work.attempts}, after: {again.reason}"
    if s.intent is Intent.SUSPEND:
        return Sentence(text, found.since, "not before the request is resumed")
    return Sentence(text, found.since, _next(effect, s.now, "a carrier"))


def _next(effect: Pending | None, now: int, agent: str) -> str | None:
    """What happens next with an effect."""
    if effect is None:
        return None
    if effect.is_claimed:
        return f"{agent} is at it"
    if effect.error is not None:
        return f"tried {_times(effect.tries)}, last: {effect.error}; tried again {_in(effect.due_at, now)}"
    if effect.due_at < now - OVERDUE:
        return f"{agent} should have taken it up {_span(now - effect.due_at)} ago: is one running?"
    return f"{agent} takes it up {_in(effect.due_at, now)}"


def _n(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _nth(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def _in(time: int, now: int) -> str:
    return f"in {_span(time - now)}" if time > now else "now"


def _span(microseconds: int) -> str:
    seconds = microseconds / 1_000_000
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0.1):.1f} s" if seconds < 10 else f"{seconds:.0f} s"

"""Decisions for a request: what to release, and when it has ended."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from idds.domain.request import Request
from idds.domain.statuses import Intent, Status
from idds.engine import graph, transitions
from idds.engine.decision import Decision


@dataclass(frozen=True, slots=True)
class Ordered:
    """Somebody wants it to run, pause, end early or stop."""

    intent: Intent


@dataclass(frozen=True, slots=True)
class Progressed:
    """Where its works stand, by name; `new` for one that is not released yet."""

    works: Mapping[str, Status]


@dataclass(frozen=True, slots=True)
class Broke:
    """It cannot be advanced, whatever is tried."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retried:
    """Somebody wants tried again what did not succeed, until `expires_at`. Where its works stand, by name."""

    works: Mapping[str, Status]
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class Extended:
    """Somebody gives it time until then; None: for ever."""

    expires_at: int | None


RequestEvent = Ordered | Progressed | Broke | Retried | Extended


@dataclass(frozen=True, slots=True)
class Release:
    work: str


@dataclass(frozen=True, slots=True)
class Bar:
    """The work will never start; why."""

    work: str
    reason: str


@dataclass(frozen=True, slots=True)
class Renew:
    """The work has ended and is new again: it goes on with what is not done."""

    work: str


Instruction = Release | Bar | Renew

_ORDERS: Mapping[Intent, frozenset[Intent]] = {
    Intent.RUN: frozenset(Intent),
    Intent.SUSPEND: frozenset(Intent),
    Intent.FINISH: frozenset({Intent.FINISH, Intent.CANCEL, Intent.EXPIRE}),
    Intent.CANCEL: frozenset({Intent.CANCEL}),
    Intent.EXPIRE: frozenset({Intent.EXPIRE}),
}
EXPIRING = (Intent.RUN, Intent.SUSPEND, Intent.FINISH)
"""Under these orders a request ends when its time is over; under the others it ends anyway."""


def may_order(request: Request, intent: Intent) -> bool:
    """An order holds for what has not ended; a cancel is never taken back, an early end only by a cancel."""
    return not request.status.is_terminal and intent in _ORDERS[request.intent]


def against_retry(request: Request, open_processings: int) -> str | None:
    """Why it cannot be retried, and what to do instead; None where it can. It runs again already: see `runs_again`."""
    if not request.status.is_terminal:
        match request.intent:
            case Intent.RUN:
                return "it is under way: there is nothing to retry"
            case Intent.SUSPEND:
                return "it is suspended: resume it"
            case Intent.FINISH | Intent.CANCEL | Intent.EXPIRE as intent:
                return f"it is under way with the order to {intent}: retry it when it has ended"
    if request.status is Status.FINISHED:
        return "it finished, with all that belongs to it: there is nothing to retry"
    if open_processings:
        return f"{open_processings} of its processings have not ended yet: retry it in a moment"
    return None


def runs_again(request: Request) -> bool:
    """It was retried and is under way: to retry it once more changes nothing."""
    return bool(request.retries) and not request.status.is_terminal and request.intent is Intent.RUN


def against_extension(request: Request, now: int) -> str | None:
    """Why it cannot be given another time, and what to do instead; None where it can."""
    if request.status.is_terminal:
        return f"it has ended {request.status}: retry it, which gives it a new time"
    if request.expires_at is not None and request.expires_at <= now:
        return "its time is over: retry it when it has ended, which gives it a new time"
    if request.intent not in EXPIRING:
        return f"it is under way with the order to {request.intent}: it ends anyway"
    return None


def decide(request: Request, event: RequestEvent, now: int) -> Decision[Request, Instruction]:
    """What becomes of the request. An ended one stays as it is, whatever comes, unless it is retried."""
    if isinstance(event, Retried):
        return _retry(request, event, now)
    if request.status.is_terminal:
        return Decision(request)
    match event:
        case Extended(expires_at):
            if against_extension(request, now):
                return Decision(request)
            return Decision(replace(request, expires_at=expires_at, changed_at=now))
        case Ordered(intent):
            if not may_order(request, intent):
                return Decision(request)
            return Decision(replace(request, intent=intent, changed_at=now))
        case Broke(reason):
            return Decision(_to(request, Status.FAILED, now, reason))
        case Progressed(works):
            return _progress(request, works, now)


def _to(request: Request, status: Status, now: int, reason: str | None = None) -> Request:
    if request.status is status:
        return request
    transitions.check(transitions.REQUEST, request.status, status)
    return replace(request, status=status, changed_at=now, reason=reason)


def _retry(request: Request, event: Retried, now: int) -> Decision[Request, Instruction]:
    """All that ended otherwise than finished is new again, and what takes outputs of it: there may be more of them."""
    if against_retry(request, 0):
        return Decision(request)
    ended = {name for name, status in event.works.items() if status.is_terminal}
    renewed = {name for name in ended if event.works[name] is not Status.FINISHED}
    renewed |= graph.fed_by(request.workflow, renewed) & ended
    again = replace(
        _to(request, Status.NEW, now), intent=Intent.RUN, expires_at=event.expires_at, retries=request.retries + 1
    )
    return Decision(again, tuple(Renew(work.name) for work in request.workflow.works if work.name in renewed))


def _progress(request: Request, works: Mapping[str, Status], now: int) -> Decision[Request, Instruction]:
    if request.status is Status.NEW:
        request = _to(request, Status.RUNNING, now)
    if all(status.is_terminal for status in works.values()):
        return Decision(_end(request, works, now))
    match request.intent:
        case Intent.RUN:
            return Decision(_to(request, Status.RUNNING, now), _next(request, works))
        case Intent.SUSPEND:
            return Decision(_to(request, Status.SUSPENDED, now))
        case Intent.CANCEL | Intent.FINISH | Intent.EXPIRE as intent:
            request = _to(request, Status.RUNNING, now)
            waiting = (name for name, status in works.items() if status is Status.NEW)
            return Decision(request, tuple(Bar(name, _BARRED[intent]) for name in waiting))


_BARRED: Mapping[Intent, str] = {
    Intent.CANCEL: "the request was cancelled",
    Intent.FINISH: "the request was finished early",
    Intent.EXPIRE: "the time of the request was over",
}


def _end(request: Request, works: Mapping[str, Status], now: int) -> Request:
    if request.intent is Intent.CANCEL:
        return _to(request, Status.CANCELLED, now, "cancelled by order")
    status = graph.verdict(works)
    if request.intent is Intent.EXPIRE and status is not Status.FINISHED:
        return _to(request, Status.EXPIRED, now, "its time was over before all was done")
    return _to(request, status, now)


def _next(request: Request, works: Mapping[str, Status]) -> tuple[Instruction, ...]:
    instructions: list[Instruction] = []
    for work in request.workflow.works:
        if works[work.name] is not Status.NEW:
            continue
        if reason := graph.barred_by(work, works):
            instructions.append(Bar(work.name, reason))
        elif graph.may_start(work, works):
            instructions.append(Release(work.name))
    return tuple(instructions)

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


RequestEvent = Ordered | Progressed | Broke


@dataclass(frozen=True, slots=True)
class Release:
    work: str


@dataclass(frozen=True, slots=True)
class Bar:
    """The work will never start; why."""

    work: str
    reason: str


Instruction = Release | Bar

_ORDERS: Mapping[Intent, frozenset[Intent]] = {
    Intent.RUN: frozenset(Intent),
    Intent.SUSPEND: frozenset(Intent),
    Intent.FINISH: frozenset({Intent.FINISH, Intent.CANCEL}),
    Intent.CANCEL: frozenset({Intent.CANCEL}),
}


def may_order(request: Request, intent: Intent) -> bool:
    """An order holds for what has not ended; a cancel is never taken back, an early end only by a cancel."""
    return not request.status.is_terminal and intent in _ORDERS[request.intent]


def decide(request: Request, event: RequestEvent, now: int) -> Decision[Request, Instruction]:
    """What becomes of the request. An ended one stays as it is, whatever comes."""
    if request.status.is_terminal:
        return Decision(request)
    match event:
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
        case Intent.CANCEL | Intent.FINISH:
            request = _to(request, Status.RUNNING, now)
            verb = "cancelled" if request.intent is Intent.CANCEL else "finished early"
            waiting = (name for name, status in works.items() if status is Status.NEW)
            return Decision(request, tuple(Bar(name, f"the request was {verb}") for name in waiting))


def _end(request: Request, works: Mapping[str, Status], now: int) -> Request:
    if request.intent is Intent.CANCEL:
        return _to(request, Status.CANCELLED, now, "cancelled by order")
    return _to(request, graph.verdict(works), now)


def _next(request: Request, works: Mapping[str, Status]) -> tuple[Instruction, ...]:
    instructions: list[Instruction] = []
    for work in request.workflow.works:
        if works[work.name] is not Status.NEW:
            continue
        if barrier := graph.barred_by(work, works):
            instructions.append(Bar(work.name, f"it needs work {barrier!r}, which ended {works[barrier]}"))
        elif graph.may_start(work, works):
            instructions.append(Release(work.name))
    return tuple(instructions)

"""What can be ordered on the page: which orders there are, what each asks for, and who carries it out."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from idds.api.bodies import (
    ChangeDestinationBody,
    ChangeSourceBody,
    ChangeWindowBody,
    HoldBody,
    ResumeBody,
    RetireBody,
)
from idds.api.route import Caller
from idds.domain.carousel import Touched
from idds.domain.errors import InvalidInput, Problem
from idds.domain.identifiers import CollectionId, RequestId
from idds.domain.request import Request
from idds.domain.statuses import Intent, Status
from idds.domain.workflow import WindowLimits
from idds.engine import request as engine
from idds.runtime.doors import Doors
from idds.services.steering import Order
from idds.web.progress import Bar, bar

Carry = Callable[[Doors, Order, int, Any], Awaitable[Touched]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A field of an order's form. `is_size` takes bytes as people write them; `is_hidden` is known from the page."""

    name: str
    label: str
    hint: str = ""
    is_size: bool = False
    is_hidden: bool = False
    is_flag: bool = False
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class Verb:
    """An order. `body` is what its form is read into, None where it asks for nothing; `caller` who may order it."""

    name: str
    label: str
    carry: Carry
    caller: Caller = Caller.OPERATOR
    body: type[BaseModel] | None = None
    asks: tuple[Asked, ...] = ()
    is_grave: bool = False


def _ordering(intent: Intent, tell: Callable[[Bar], tuple[int, tuple[str, ...]]]) -> Carry:
    async def carry(doors: Doors, order: Order, number: int, _body: None) -> Touched:
        identifier = RequestId(number)
        overview = await doors.catalogue.overview(order.principal, identifier)
        if not order.dry_run:
            await doors.submission.order(order.principal, identifier, intent)
        files, says = tell(bar(overview.collections))
        return Touched(intent, f"request:{number}", order.dry_run, (identifier,), files, says=says)

    return carry


def _cancelled(found: Bar) -> tuple[int, tuple[str, ...]]:
    says = (
        f"{found.waiting:,} contents that wait and {found.untaken:,} that nobody has taken are cancelled",
        f"{found.taken:,} that are being processed end with their jobs, which are cancelled",
        f"{found.done:,} that are processed stay so; what is on disk for this request alone is deleted",
    )
    return found.waiting + found.on_disk, says


def _finished(found: Bar) -> tuple[int, tuple[str, ...]]:
    says = (
        f"{found.waiting:,} contents that wait and {found.untaken:,} that nobody has taken are not begun any more",
        f"{found.taken:,} that are being processed are awaited",
    )
    return found.waiting + found.untaken, says


def _suspended(found: Bar) -> tuple[int, tuple[str, ...]]:
    says = (
        "nothing new is begun until it is resumed; what is under way goes on",
        f"{found.waiting:,} contents wait, {found.on_disk:,} are on disk and stay there",
    )
    return found.waiting + found.untaken, says


def _resumed(found: Bar) -> tuple[int, tuple[str, ...]]:
    return found.waiting + found.untaken, ("it goes on where it was",)


async def _retry(doors: Doors, order: Order, number: int, _body: None) -> Touched:
    identifier = RequestId(number)
    overview = await doors.catalogue.overview(order.principal, identifier)
    if not order.dry_run:
        await doors.submission.retry(order.principal, identifier)
    found = bar(overview.collections)
    files = found.bad + found.cancelled
    says = (
        f"{found.bad:,} contents that failed or are missing are tried again",
        f"{found.cancelled:,} that were cancelled, too",
        f"{found.done:,} that are processed stay so",
    )
    return Touched("retry", f"request:{number}", order.dry_run, (identifier,), files, says=says)


async def _force(doors: Doors, order: Order, number: int, _body: None) -> Touched:
    return await doors.steering.force(order, RequestId(number))


async def _release(doors: Doors, order: Order, number: int, _body: None) -> Touched:
    return await doors.steering.release(order, RequestId(number))


async def _change_source(doors: Doors, order: Order, number: int, body: ChangeSourceBody) -> Touched:
    return await doors.steering.change_source(order, RequestId(number), body.source, under_way=body.under_way)


async def _change_destination(doors: Doors, order: Order, number: int, body: ChangeDestinationBody) -> Touched:
    return await doors.steering.change_destination(order, RequestId(number), body.rse)


async def _change_window(doors: Doors, order: Order, _number: int, body: ChangeWindowBody) -> Touched:
    if (body.rse is None) == (body.collection is None):
        raise InvalidInput([Problem("/rse", "name either a disk or a collection")])
    limits = None if body.reset else WindowLimits(bytes=body.bytes, files=body.files)
    collection = None if body.collection is None else CollectionId(body.collection)
    return await doors.steering.change_window(order, rse=body.rse, collection=collection, limits=limits)


async def _hold(doors: Doors, order: Order, _number: int, body: HoldBody) -> Touched:
    return await doors.steering.hold(order, body.kind, body.ref, body.reason)


async def _resume(doors: Doors, order: Order, _number: int, body: ResumeBody) -> Touched:
    return await doors.steering.resume(order, body.kind, body.ref)


async def _retire(doors: Doors, order: Order, _number: int, body: RetireBody) -> Touched:
    return await doors.steering.retire(order, body.rse, round(body.idle_s * 1_000_000))


_WINDOW = (
    Asked("bytes", "Bytes at most", "as 5 TB; empty for any number", is_size=True, is_optional=True),
    Asked("files", "Files at most", "empty for any number", is_optional=True),
    Asked("reset", "As the settings, or the workflow, say", is_flag=True, is_optional=True),
)
_WHAT = (Asked("kind", "What", is_hidden=True), Asked("ref", "Which", is_hidden=True))
_USER = Caller.USER
OF_REQUEST: Mapping[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb("suspend", "Suspend", _ordering(Intent.SUSPEND, _suspended), _USER),
        Verb("resume", "Resume", _ordering(Intent.RUN, _resumed), _USER),
        Verb("finish", "End early", _ordering(Intent.FINISH, _finished), _USER, is_grave=True),
        Verb("cancel", "Cancel", _ordering(Intent.CANCEL, _cancelled), _USER, is_grave=True),
        Verb("retry", "Retry", _retry, _USER),
        Verb("force-staging", "Stage next", _force),
        Verb("release", "Release now", _release, is_grave=True),
        Verb(
            "change-source",
            "Change source",
            _change_source,
            body=ChangeSourceBody,
            asks=(
                Asked("source", "Tape RSE to recall from"),
                Asked("under_way", "Also what is being recalled by now", is_flag=True, is_optional=True),
            ),
        ),
        Verb(
            "change-destination",
            "Change destination",
            _change_destination,
            body=ChangeDestinationBody,
            asks=(Asked("rse", "Disk RSE to bring files to"),),
        ),
    )
}
OF_CAROUSEL: Mapping[str, Verb] = {
    verb.name: verb
    for verb in (
        Verb("hold", "Hold", _hold, body=HoldBody, asks=(*_WHAT, Asked("reason", "Why"))),
        Verb("resume", "Resume", _resume, body=ResumeBody, asks=_WHAT),
        Verb(
            "change-window",
            "Change window",
            _change_window,
            body=ChangeWindowBody,
            asks=(
                Asked("rse", "Disk", is_hidden=True, is_optional=True),
                Asked("collection", "Input", is_hidden=True, is_optional=True),
                *_WINDOW,
            ),
        ),
        Verb(
            "retire-unused",
            "Retire unused",
            _retire,
            body=RetireBody,
            asks=(Asked("rse", "Disk", is_hidden=True), Asked("idle_s", "Not used for so many seconds")),
            is_grave=True,
        ),
    )
}
STAGED = ("force-staging", "release", "change-source", "change-destination")


def may_be_ordered(request: Request, *, is_staged: bool) -> list[Verb]:
    """The orders that make sense of a request as it is."""
    intents = {"suspend": Intent.SUSPEND, "resume": Intent.RUN, "finish": Intent.FINISH, "cancel": Intent.CANCEL}
    names = [name for name, intent in intents.items() if engine.may_order(request, intent) and request.intent != intent]
    if request.status.is_terminal and request.status is not Status.FINISHED:
        names.append("retry")
    if is_staged and not request.status.is_terminal:
        names += STAGED
    return [OF_REQUEST[name] for name in names]

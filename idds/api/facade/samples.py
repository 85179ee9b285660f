"""Samples: fetched, and reported with their loss, in the words of the official client and of payloads in the field.

Nobody leases them here: the workload manager gives each to one job at a time. The first result closes a sample, also
one that somebody else has leased meanwhile; a failure counts only where nobody has.
"""

import json
import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from itertools import islice
from typing import Any

import msgspec
from aiohttp import web

from idds.api.facade.replies import loss_of
from idds.api.facade.route import Call, FacadeRoute
from idds.api.facade.sending import send_list
from idds.api.facade.vocabulary import FAILED, SAMPLES
from idds.api.route import Caller
from idds.domain.content import Content, Outcome, Verdict
from idds.domain.errors import InvalidInput, Problem, Unavailable
from idds.domain.identifiers import ContentId, RequestId
from idds.domain.statuses import ContentStatus, SourceKind
from idds.domain.task import Task
from idds.engine.foreign_spaces import point_of
from idds.services.delivery import Report
from idds.services.tasks import TaskSample
from idds.store.listings import Listed

TRIES = 3


async def fetch(call: Call) -> Any:
    """One sample, or those of a request or task."""
    number = call.number("id")
    if number is None:
        return await _list(call)
    sample = await _sample(call, number)
    content, wanted = sample.content, call.named("ContentStatus", "status")
    if wanted not in (None, SAMPLES[content.status]):
        return []
    loss = loss_of(content.status, sample.objective_values)
    return [_row(content.id, (content.payload or {})["parameters"], loss, sample.task)]


async def _list(call: Call) -> web.StreamResponse:
    request, limit, wanted = call.number("request"), call.number("limit"), call.named("ContentStatus", "status")
    found = await call.doors.tasks.asked(
        call.principal,
        request=None if request is None else RequestId(request),
        workload_id=call.number("workload"),
    )
    statuses = [None] if wanted is None else [status for status, name in SAMPLES.items() if name == wanted]
    studies = [
        (asked.task, collection.id)
        for asked in found
        for collection in asked.collections
        if collection.source is SourceKind.SAMPLES
    ]

    async def rows() -> AsyncGenerator[list[bytes]]:
        left = limit
        for task, collection in studies:
            for status in statuses:
                async with aclosing(call.doors.catalogue.stream(call.principal, collection, status=status)) as pages:
                    async for page in pages:
                        yield [_encoded(each, task) for each in islice(page, left)]
                        if left is not None and (left := max(0, left - len(page))) == 0:
                            return

    return await send_list(call, rows())


def _encoded(listed: Listed, task: Task | None) -> bytes:
    loss = loss_of(ContentStatus(listed.status), json.loads(listed.objective_values or "[]"))
    return msgspec.json.encode(_row(listed.id, json.loads(listed.parameters or "{}"), loss, task))


def _row(identifier: int, parameters: Mapping[str, Any], loss: float | None, task: Task | None) -> dict[str, Any]:
    """Payloads compare the id as a text."""
    segmented = task is not None and task.is_segmented
    return {"id": str(identifier), "parameters": point_of(parameters, segmented=segmented), "loss": loss}


async def report(call: Call) -> Any:
    """Take the loss of a sample. Saying it again changes nothing, and is no fault."""
    number, loss = call.number("id"), _read_loss(call)
    if number is None:
        raise InvalidInput([Problem("{id}", "give the number of the sample")])
    for _ in range(TRIES):
        content = (await _sample(call, number)).content
        outcome = _outcome(content, loss)
        (receipt,) = (await call.counters.report(content.collection_id, Report(call.principal, [outcome]))).receipts
        if receipt.verdict is Verdict.ACCEPTED:
            return {"status": 0, "message": "update successfully"}
        if content.status.is_terminal:
            return {"status": 0, "message": "this changed nothing: the sample has come to its end"}
        if not outcome.done and content.status is ContentStatus.LEASED:
            return {"status": 0, "message": "this changed nothing: somebody else has leased the sample"}
    raise Unavailable("the sample is not delivered just now: try again")


def _outcome(content: Content, loss: float | str) -> Outcome:
    """As whoever has leased it where somebody has: a result counts from anybody, a failure only from who holds it."""
    if isinstance(loss, str):
        return Outcome(content.id, 0, done=False, retry=False, reason=loss)
    attempt = content.attempt if content.status is ContentStatus.LEASED else 0
    return Outcome(content.id, attempt, done=True, objective_values=(loss,))


def _read_loss(call: Call) -> float | str:
    """The loss, or why there is none. Raises InvalidInput."""
    try:
        loss = float(call.argument("loss") or "")
    except ValueError:
        raise InvalidInput([Problem("{loss}", "give a number")]) from None
    if loss == FAILED:
        return "its workload manager says that its last attempt failed"
    return loss if math.isfinite(loss) else f"its loss was {loss}"


async def _sample(call: Call, number: int) -> TaskSample:
    request, workload = call.number("request"), call.number("workload")
    if request is None and workload is None:
        raise InvalidInput([Problem("", "give the number of the request or that of the task")])
    return await call.doors.tasks.sample(
        call.principal,
        ContentId(number),
        request=None if request is None else RequestId(request),
        workload_id=workload,
    )


_OF = "/idds/hpo/{workload}/{request}/{id}"
ROUTES = (
    FacadeRoute("GET", f"{_OF}/{{status}}/{{limit}}", "iddsFetchSamples", Caller.READER, fetch, of_payloads=True),
    FacadeRoute("PUT", f"{_OF}/{{loss}}", "iddsReportSample", Caller.USER, report, of_payloads=True),
)

"""Requests: looked at and ordered about, in the words of the official client."""

from collections.abc import Sequence
from typing import Any

from idds.api.facade.decoding import fields_of
from idds.api.facade.replies import request_rows, transform_row
from idds.api.facade.route import Call, FacadeRoute, NotTaken
from idds.api.facade.vocabulary import ORDERS
from idds.api.route import Caller
from idds.domain.errors import Conflict, InvalidInput, NotFound, Problem
from idds.domain.identifiers import RequestId
from idds.domain.statuses import Intent
from idds.services.tasks import Asked
from idds.store.requests import RequestFilter

_LONGEST_NAME = 128


async def show(call: Call) -> Any:
    found = await call.doors.tasks.asked(call.principal, request=_request(call), workload_id=call.number("workload"))
    in_detail = call.flag("detail") or call.flag("transform") or call.flag("processing")
    return [
        row
        for asked in found
        for row in request_rows(call, asked, in_detail=in_detail, with_metadata=call.flag("metadata"))
    ]


def _request(call: Call) -> RequestId | None:
    number = call.number("request")
    return None if number is None else RequestId(number)


async def find_by_name(call: Call) -> Any:
    name = call.argument("name") or ""
    wanted = RequestFilter(name=name[:_LONGEST_NAME])
    found = await call.doors.catalogue.requests(call.principal, wanted, limit=1000)
    return {request.name: request.id for request in reversed(found) if request.name == name[:_LONGEST_NAME]}


async def update(call: Call) -> Any:
    """An order, given as the status that a request is to have."""
    number = _request(call)
    if number is None:
        raise InvalidInput([Problem("{request}", "give the number of the request")])
    fields = fields_of(call.body, "")
    order = ORDERS.get(str(fields.get("status")))
    if set(fields) != {"status"} or order is None:
        raise NotTaken(f"only a status can be set, and only to one of these: {', '.join(ORDERS)}")
    await call.doors.submission.order(call.principal, number, order)
    return {"status": 0, "message": "ordered"}


async def show_transforms(call: Call) -> Any:
    """Of a request; with a number of one, that one. Raises NotFound."""
    found = await call.doors.tasks.asked(call.principal, request=_request(call))
    wanted = call.number("transform") if "transform" in call.request.match_info else None
    rows = [transform_row(call, asked, each) for asked in found for each in asked.transforms]
    if wanted is None:
        return rows
    for row in rows:
        if row["transform_id"] == wanted:
            return row
    raise NotFound(f"there is no transform {wanted} of this request")


_VERBS = {"abort": Intent.CANCEL, "close": Intent.FINISH}


async def order(call: Call) -> Any:
    """Abort, close or retry the requests of a task, or one."""
    if call.request.match_info.get("task", "null") != "null":
        raise NotTaken("single transforms cannot be aborted: abort the request")
    workload = call.number("workload")
    found = await call.doors.tasks.asked(call.principal, request=_request(call), workload_id=workload)
    if not found:
        return [[-1, {"status": -1, "message": "there is no such request"}]]
    return [await _ordered(call, asked) for asked in found]


async def _ordered(call: Call, asked: Asked) -> Sequence[Any]:
    verb = call.request.match_info["verb"]
    submission, number = call.doors.submission, asked.request.id
    try:
        if verb == "retry":
            await submission.retry(call.principal, number)
        else:
            await submission.order(call.principal, number, _VERBS[verb])
    except (Conflict, NotFound) as error:
        return [-1, {"status": -1, "message": str(error)}]
    return [0, {"status": 0, "message": f"request {number} is ordered to {verb}"}]


_ONE = "/idds/request/{request}"
_TRANSFORMS = "/idds/transform/{request}"
ROUTES = (
    FacadeRoute("GET", "/idds/request/name/{name}", "iddsFindByName", Caller.READER, find_by_name),
    FacadeRoute("PUT", "/idds/request/{verb:abort|close|retry}/{request}/{workload}", "iddsOrder", Caller.USER, order),
    FacadeRoute("PUT", "/idds/request/{verb:abort}/{request}/{workload}/{task}", "iddsAbortTask", Caller.USER, order),
    FacadeRoute("PUT", _ONE, "iddsUpdateRequest", Caller.USER, update, reads_body=True),
    FacadeRoute(
        "GET",
        f"{_ONE}/{{workload}}/{{detail}}/{{metadata}}/{{transform}}/{{processing}}",
        "iddsShowRequests",
        Caller.READER,
        show,
    ),
    FacadeRoute("GET", _TRANSFORMS, "iddsListTransforms", Caller.READER, show_transforms),
    FacadeRoute("GET", f"{_TRANSFORMS}/{{transform}}", "iddsShowTransform", Caller.READER, show_transforms),
)

"""Requests: asked for, looked at, ordered about, in the words of the official client."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from idds.api.facade.decoding import fields_of, is_storable
from idds.api.facade.replies import request_rows, transform_row
from idds.api.facade.route import Call, FacadeRoute, NotTaken
from idds.api.facade.vocabulary import ORDERS
from idds.api.route import Caller
from idds.domain.errors import Conflict, InvalidInput, NotFound, Problem
from idds.domain.identifiers import Did, RequestId
from idds.domain.request import Role, Terms
from idds.domain.statuses import Intent
from idds.domain.task import Task
from idds.domain.workflow import Input, Work, Workflow
from idds.services.tasks import Asked
from idds.store.requests import RequestFilter

DAY = 86_400_000_000
"""In microseconds: the client gives lifetimes in days."""
ORIGINAL_USER = "X-IDDS-Auth-Username-Original"
_LONGEST_NAME = 128
_LONGEST_OWNER = 256

Identifier = Annotated[int, Field(ge=0, le=2**63 - 1)]


class _Metadata(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    workload_id: Identifier | None = None
    rule_id: Annotated[str, Field(max_length=64)] | None = None


class _StageIn(BaseModel):
    """What is read of a request for files to be staged; what else comes is kept as it is."""

    model_config = ConfigDict(extra="allow", strict=True)

    scope: Annotated[str, Field(min_length=1, max_length=64, pattern="^[^:]+$")]
    name: Annotated[str, Field(min_length=1, max_length=255)]
    requester: Annotated[str, Field(max_length=256)] | None = None
    transform_tag: Annotated[str | int, Field()] | None = None
    workload_id: Identifier | None = None
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] | None = None
    lifetime: Annotated[int | float, Field(gt=0, le=10_000)] | None = None
    username: Annotated[str, Field(max_length=256)] | None = None
    request_metadata: _Metadata = _Metadata()


_INSTEAD = {
    "HyperParameterOpt": "submit a workflow with `samples` to /v1/requests",
    "ActiveLearning": "submit a workflow with `samples` to /v1/requests",
    "Workflow": "submit a workflow document to /v1/requests",
}


async def add(call: Call) -> Any:
    """Have a dataset staged. The client sends it again without saying so: what is the same is one request."""
    document = fields_of(call.body, "")
    kind = document.get("request_type")
    if kind != "StageIn":
        instead = _INSTEAD.get(str(kind), "submit a workflow document to /v1/requests")
        raise NotTaken(f"/request_type: only StageIn is taken here, not {kind}; {instead}")
    wanted = _read(document)
    workload = wanted.workload_id if wanted.workload_id is not None else wanted.request_metadata.workload_id
    dataset = Did(wanted.scope, wanted.name)
    source = Input(dataset=str(dataset), rule=wanted.request_metadata.rule_id or None)
    workflow = Workflow(name=str(dataset)[:_LONGEST_NAME], works=(Work(name="stagein", input=source),))
    principal = call.principal
    # Whose task it is only a workload manager knows: it is told on its bus what is staged for each.
    task = workload if principal.role.includes(Role.WFMS) else None
    request, _ = await call.doors.submission.submit(
        principal,
        workflow,
        Terms(
            share=next(iter(principal.shares)) if principal.shares and len(principal.shares) == 1 else "",
            priority=wanted.priority or 0,
            lifetime=None if wanted.lifetime is None else round(wanted.lifetime * DAY),
        ),
        owner=_owner(call, wanted.username),
        idempotency_key=_key(wanted, workload),
        task=Task(task, dataset, document),
    )
    return {"request_id": request.id}


def _read(document: Mapping[str, Any]) -> _StageIn:
    try:
        return _StageIn.model_validate(document)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        problems = [Problem("".join(f"/{part}" for part in each["loc"]), each["msg"]) for each in details]
        raise InvalidInput(problems) from None


def _owner(call: Call, username: str | None) -> str | None:
    """Whose it is. A workload manager says for whom it asks; of others it is not believed, and their token counts."""
    original = call.request.headers.get(ORIGINAL_USER)
    if original is not None:
        if not is_storable(original) or not 0 < len(original) <= _LONGEST_OWNER:
            raise InvalidInput([Problem(ORIGINAL_USER, f"give 1 to {_LONGEST_OWNER} characters")])
        return original  # refused below where the caller may not speak for others
    return (username or None) if call.principal.role.includes(Role.WFMS) else None


def _key(wanted: _StageIn, workload: int | None) -> str:
    """The same for the same dataset of the same task."""
    parts = [wanted.scope, wanted.name, wanted.requester, wanted.transform_tag, workload]
    named = json.dumps([*parts, wanted.request_metadata.rule_id])
    return f"idds-client:{hashlib.sha256(named.encode()).hexdigest()}"


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
    FacadeRoute("POST", "/idds/request", "iddsAddRequest", Caller.USER, add, reads_body=True),
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

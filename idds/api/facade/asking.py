"""What is asked for, in the words of the official client: datasets to be staged, and searches for hyperparameters."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from idds.api.documents import problems_of
from idds.api.facade.decoding import fields_of, is_storable
from idds.api.facade.route import Call, FacadeRoute, NotTaken
from idds.api.facade.studies import Search, study_of
from idds.api.route import Caller
from idds.domain.errors import Conflict, InvalidInput, Problem
from idds.domain.identifiers import Did
from idds.domain.request import Role, Terms
from idds.domain.task import Task
from idds.domain.workflow import Input, Work, Workflow
from idds.services.submission import KeyTaken, WrongWorkflow

DAY = 86_400_000_000
"""In microseconds: the client gives lifetimes in days."""
ORIGINAL_USER = "X-IDDS-Auth-Username-Original"
_LONGEST_NAME = 128
_LONGEST_OWNER = 256

Identifier = Annotated[int, Field(ge=0, le=2**63 - 1)]
Scope = Annotated[str, Field(min_length=1, max_length=64, pattern="^[^:]+$")]
Name = Annotated[str, Field(min_length=1, max_length=255)]


class _Document(BaseModel):
    """What is read of what was sent; what else comes is kept as it is."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Asking(_Document):
    requester: Annotated[str, Field(max_length=256)] | None = None
    transform_tag: Annotated[str | int, Field()] | None = None
    workload_id: Identifier | None = None
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] | None = None
    lifetime: Annotated[int | float, Field(gt=0, le=10_000)] | None = None
    username: Annotated[str, Field(max_length=256)] | None = None


class _OfTask(_Document):
    workload_id: Identifier | None = None


class _Staging(_OfTask):
    rule_id: Annotated[str, Field(max_length=64)] | None = None


class _StageIn(_Asking):
    scope: Scope
    name: Name
    request_metadata: _Staging = _Staging()


class _TaskSearch(_OfTask, Search):
    pass


class _HyperParameterOpt(_Asking):
    scope: Scope | None = None
    name: Name | None = None
    request_metadata: _TaskSearch


A = TypeVar("A", bound=_Asking)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request is made of. What has the same `key` is the same request."""

    asking: _Asking
    workload_id: int | None
    dataset: Did
    work: Work
    key: tuple[Any, ...]


def _stage_in(document: Mapping[str, Any]) -> _Asked:
    asking = _read(_StageIn, document)
    workload, rule = _workload(asking, asking.request_metadata), asking.request_metadata.rule_id
    dataset = Did(asking.scope, asking.name)
    work = Work(name="stagein", input=Input(dataset=str(dataset), rule=rule or None))
    return _Asked(asking, workload, dataset, work, (asking.scope, asking.name, rule))


def _study(document: Mapping[str, Any]) -> _Asked:
    """Without a task's number only the same search is the same request."""
    asking = _read(_HyperParameterOpt, document)
    workload = _workload(asking, asking.request_metadata)
    dataset = Did(asking.scope or "hpo", asking.name or (f"task.{workload}" if workload is not None else "study"))
    searched = None if workload is not None else document["request_metadata"]
    key = ("HyperParameterOpt", asking.scope, asking.name, searched)
    return _Asked(asking, workload, dataset, study_of(asking.request_metadata), key)


_KINDS: Mapping[str, Callable[[Mapping[str, Any]], _Asked]] = {"StageIn": _stage_in, "HyperParameterOpt": _study}
_INSTEAD = {
    "ActiveLearning": "submit a workflow with `samples` to /v1/requests",
    "Workflow": "submit a workflow document to /v1/requests",
}


async def add(call: Call) -> Any:
    """Take a request. The client sends it again without saying so: what is the same is one request."""
    document = fields_of(call.body, "")
    kind = str(document.get("request_type"))
    if kind not in _KINDS:
        instead = _INSTEAD.get(kind, "submit a workflow document to /v1/requests")
        raise NotTaken(f"/request_type: only {' and '.join(_KINDS)} are taken here, not {kind}; {instead}")
    # A space may have very many parts.
    asked, workflow = await asyncio.to_thread(_made, kind, document)
    principal, asking = call.principal, asked.asking
    # Whose task it is only a workload manager knows: it is told on its bus what comes for each.
    task = asked.workload_id if principal.role.includes(Role.WFMS) else None
    try:
        request, _ = await call.doors.submission.submit(
            principal,
            workflow,
            Terms(
                share=next(iter(principal.shares)) if principal.shares and len(principal.shares) == 1 else "",
                priority=asking.priority or 0,
                lifetime=None if asking.lifetime is None else round(asking.lifetime * DAY),
            ),
            owner=_owner(call, asking.username),
            idempotency_key=_key(asked),
            task=Task(task, asked.dataset, document),
        )
    except KeyTaken as taken:
        known = f"request {taken.request}, of the same task, name, requester and tag"
        raise Conflict(f"{known}, asks for something else, or on other terms: ask for this as another task") from None
    except WrongWorkflow as wrong:
        raise InvalidInput([Problem(_place(each.pointer), each.message) for each in wrong.problems]) from None
    return {"request_id": request.id}


def _made(kind: str, document: Mapping[str, Any]) -> tuple[_Asked, Workflow]:
    asked = _KINDS[kind](document)
    return asked, _checked(Workflow(name=str(asked.dataset)[:_LONGEST_NAME], works=(asked.work,)))


def _read(kind: type[A], document: Mapping[str, Any]) -> A:
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise InvalidInput(_problems(error, document)) from None


_WORKFLOW = TypeAdapter(Workflow)


def _checked(workflow: Workflow) -> Workflow:
    """A workflow within the limits of its document. Raises InvalidInput."""
    document = asdict(workflow)
    try:
        return _WORKFLOW.validate_python(document)
    except ValidationError as error:
        found = _problems(error, document)
        raise InvalidInput([Problem(_place(each.pointer), each.message) for each in found]) from None


def _problems(error: ValidationError, document: Mapping[str, Any]) -> list[Problem]:
    return problems_of(error.errors(include_url=False, include_input=False), document)


def _workload(asking: _Asking, metadata: _OfTask) -> int | None:
    return asking.workload_id if asking.workload_id is not None else metadata.workload_id


_PLACES = {
    "/works/0/input/samples/initial": "/request_metadata/initial_points",
    "/works/0/input/samples/sampler": "/request_metadata/method",
    "/works/0/input/samples/steering/argv": "/request_metadata/arguments",
    "/works/0/input/samples/count": "/request_metadata/max_points",
    "/works/0/input/samples": "/request_metadata",
}


def _place(pointer: str) -> str:
    """Where in what was sent that is which is wrong in what was made of it."""
    for ours, theirs in _PLACES.items():
        if pointer == ours or pointer.startswith(f"{ours}/"):
            return theirs + pointer[len(ours) :]
    return pointer


def _owner(call: Call, username: str | None) -> str | None:
    """Whose it is. A workload manager says for whom it asks; of others it is not believed, and their token counts."""
    original = call.request.headers.get(ORIGINAL_USER)
    if original is not None:
        if not is_storable(original) or not 0 < len(original) <= _LONGEST_OWNER:
            raise InvalidInput([Problem(ORIGINAL_USER, f"give 1 to {_LONGEST_OWNER} characters")])
        return original  # refused below where the caller may not speak for others
    return (username or None) if call.principal.role.includes(Role.WFMS) else None


def _key(asked: _Asked) -> str:
    """The same for the same of the same task."""
    *named, last = asked.key
    parts = [*named, asked.asking.requester, asked.asking.transform_tag, asked.workload_id, last]
    return f"idds-client:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


ROUTES = (FacadeRoute("POST", "/idds/request", "iddsAddRequest", Caller.USER, add, reads_body=True),)

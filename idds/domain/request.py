"""A request: what a client submits."""

from dataclasses import dataclass

from idds.domain.identifiers import RequestId
from idds.domain.statuses import Intent, Status
from idds.domain.workflow import Workflow


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: the owner of what is submitted, in a VO. An operator sees and changes everything of it."""

    owner: str
    vo: str
    is_operator: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """Times are microseconds UTC."""

    id: RequestId
    name: str
    status: Status
    intent: Intent
    owner: str
    vo: str
    share: str
    priority: int
    workflow: Workflow
    created_at: int
    changed_at: int
    reason: str | None = None

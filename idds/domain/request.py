"""A request: what a client submits."""

from dataclasses import dataclass
from enum import StrEnum

from idds.domain.identifiers import RequestId
from idds.domain.statuses import Intent, Status
from idds.domain.workflow import Workflow


class Role(StrEnum):
    """What somebody may do, each more than the one before."""

    READER = "reader"
    """Sees all of a VO, and changes nothing."""
    USER = "user"
    """Submits, sees and changes what is his own."""
    WFMS = "wfms"
    """A workload manager: submits for anybody of a VO, sees and changes all of it."""
    OPERATOR = "operator"
    """Runs the service: sees and changes everything, of every VO."""

    def includes(self, other: "Role") -> bool:
        """Whether who has this role may do what `other` may."""
        return _RANKS[self] >= _RANKS[other]


_RANKS = {role: rank for rank, role in enumerate(Role)}


HOUSE = "local"
"""The VO of those who run the service: of it is the operator whose token the first start makes."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: the owner of what is submitted, in a VO. `shares` are those that it is held to, None: any."""

    owner: str
    vo: str
    role: Role = Role.USER
    shares: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which a request is carried out. `lifetime` is in microseconds, None for the service's default."""

    share: str = ""
    priority: int = 0
    lifetime: int | None = None


@dataclass(frozen=True, slots=True)
class RequestSummary:
    """A request, without its workflow. Times are microseconds UTC; `retries` counts how often it was retried."""

    id: RequestId
    name: str
    status: Status
    intent: Intent
    owner: str
    vo: str
    share: str
    priority: int
    created_at: int
    changed_at: int
    expires_at: int | None
    retries: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class Request:
    """Times are microseconds UTC. It is ended at `expires_at`, if it has not by then; None: it may take for ever."""

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
    expires_at: int | None = None
    reason: str | None = None
    retries: int = 0

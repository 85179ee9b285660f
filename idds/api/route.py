"""What a route is: a row of the registry that drives routing, permissions, validation, documentation and tests."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel

from idds.api.listening import Listeners
from idds.api.waiting import Counters
from idds.domain.access import Grant
from idds.domain.request import Principal
from idds.runtime.doors import Doors
from idds.runtime.metrics import Metrics
from idds.runtime.settings import AccessSettings, ApiSettings

Query = TypeVar("Query")
Body = TypeVar("Body")


class Caller(StrEnum):
    """The least that may call; from READER on, each lets in the roles that come after it, and no payload."""

    PUBLIC = "public"
    HOLDER = "any token, a payload's too"
    PAYLOAD = "a payload for its own collection, and user"
    READER = "reader"
    HOUSE = "reader of the VO of those who run the service, and operator"
    USER = "user"
    WFMS = "wfms"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Call(Generic[Query, Body]):
    """One call of a route, admitted and validated. `number` is the `{id}` of its path, 0 where it has none.

    `identify` tells what the caller's token gives by now, and raises Unauthenticated when it has ended.
    """

    doors: Doors
    settings: ApiSettings
    access: AccessSettings
    counters: Counters
    listeners: Listeners
    metrics: Metrics
    identify: Callable[[], Awaitable[Grant]]
    request: web.Request
    grant: Grant | None
    number: int
    query: Query
    body: Body

    @property
    def principal(self) -> Principal:
        """Who is calling a route that is not public."""
        assert self.grant is not None
        return self.grant.principal

    @property
    def is_abandoned(self) -> bool:
        """The caller has hung up."""
        return self.request.transport is None or self.request.transport.is_closing()


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered, as JSON."""

    document: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Endpoint = Callable[[Call[Any, Any]], Awaitable[Reply | web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """`path` is as OpenAPI writes it; `{id}` stands for a number. `reply` is the type of the JSON it answers.

    `statuses` are those of success, then those of its own errors; what every route may answer is not listed.
    """

    method: str
    path: str
    name: str
    summary: str
    caller: Caller
    endpoint: Endpoint
    reply: Any = None
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    statuses: tuple[int, ...] = (200,)
    reads_lines: bool = False
    """It takes a body as lines, too: its endpoint reads them itself, and is given no `body` then."""
    also: str | None = None
    """Another media type that it answers, or its only one where `reply` is None."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that it reads, and what each is for."""

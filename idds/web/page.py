"""What a page is: a row of the registry that drives routing and tests."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel

from idds.api.authentication import admit
from idds.api.bodies import NoQuery
from idds.api.route import Caller
from idds.domain.access import Grant
from idds.domain.errors import Forbidden
from idds.domain.request import Principal
from idds.runtime.doors import Doors

Query = TypeVar("Query")


@dataclass(frozen=True, slots=True)
class Visit(Generic[Query]):
    """Somebody looks at a page. `number` is the `{id}` of its path, 0 where it has none; `query` is validated."""

    doors: Doors
    request: web.Request
    grant: Grant
    number: int
    query: Query

    @property
    def principal(self) -> Principal:
        return self.grant.principal


@dataclass(frozen=True, slots=True)
class View:
    """What a template is filled with. `events` says which events make it look again, None: none do."""

    template: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)
    events: str | None = None


def may(principal: Principal, caller: Caller) -> bool:
    """Whether somebody who is logged in may do what is for this kind of caller."""
    try:
        admit(caller, Grant(principal), 0)
    except Forbidden:
        return False
    return True


Show = Callable[[Visit[Any]], Awaitable[View]]


@dataclass(frozen=True, slots=True)
class Page:
    """`path` is as OpenAPI writes it; `{id}` and `{number}` stand for numbers.

    `json` are the calls that tell the same as JSON.
    """

    path: str
    name: str
    show: Show
    caller: Caller = Caller.READER
    query: type[BaseModel] = NoQuery
    json: tuple[str, ...] = ()

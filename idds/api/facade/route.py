"""What a route under `/idds` is: arguments in its path, `null` for none, and errors as that client raises them."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web

from idds.api.arrival import whole
from idds.api.authentication import Authentication, admit
from idds.api.facade.decoding import decode, is_storable
from idds.api.facade.vocabulary import ENUMERATIONS, tagged
from idds.api.problems import Malformed, Stalled, TooMany, UnsupportedMedia
from idds.api.rates import Rates
from idds.api.route import Caller
from idds.api.waiting import Counters
from idds.domain.access import Grant
from idds.domain.errors import (
    Conflict,
    Forbidden,
    IddsError,
    InvalidInput,
    NotFound,
    Problem,
    Unauthenticated,
    Unavailable,
    UnknownDid,
)
from idds.domain.request import Principal, Role
from idds.identity.options import OpenSamples
from idds.runtime.doors import Doors
from idds.runtime.settings import ApiSettings

TOKEN = "X-IDDS-Auth-Token"  # noqa: S105
NOTHING = "null"
_LARGEST = 2**63 - 1


class NotTaken(IddsError):
    """This way of calling is not served here; the message says what is."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of that client, admitted."""

    doors: Doors
    counters: Counters
    request: web.Request
    principal: Principal
    body: Any

    def argument(self, name: str) -> str | None:
        """An argument in the path. Raises InvalidInput."""
        text = self.request.match_info[name]
        if not is_storable(text):
            raise InvalidInput([Problem(f"{{{name}}}", "no text may hold NUL or half a character")])
        return None if text == NOTHING else text

    def number(self, name: str) -> int | None:
        """The same, where it is a number. Raises InvalidInput."""
        text = self.argument(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= _LARGEST):
            raise InvalidInput([Problem(f"{{{name}}}", "write a number, or null")])
        return int(text)

    def flag(self, name: str) -> bool:
        """Whether an argument in the path says so."""
        return self.request.match_info[name].lower() == "true"

    def member(self, kind: str, name: str) -> Any:
        """A member of an enumeration, as this caller reads it: as its object, or as its number."""
        return ENUMERATIONS[kind][name] if self.is_plain else tagged(kind, name)

    def named(self, kind: str, argument: str) -> str | None:
        """The member whose number is an argument in the path, or whose name, as in `ContentStatus.New`.

        Raises InvalidInput.
        """
        text = self.argument(argument)
        if text is None:
            return None
        for name, its in ENUMERATIONS[kind].items():
            if text in (str(its), name, f"{kind}.{name}"):
                return name
        raise InvalidInput([Problem(f"{{{argument}}}", f"there is no such {kind}")])

    @property
    def is_plain(self) -> bool:
        """The caller wants no objects in what it is answered."""
        return self.request.query.get("json_outputs", "").lower() == "true"


Endpoint = Callable[[Call], Awaitable[Any]]
"""Its answer is a JSON document, or is sent already."""


@dataclass(frozen=True, slots=True)
class FacadeRoute:
    """`path` is as aiohttp writes it, and `*` any method.

    Those `of_payloads` may be open to whoever calls from certain networks: payloads in the field show nothing.
    """

    method: str
    path: str
    name: str
    caller: Caller
    endpoint: Endpoint
    reads_body: bool = False
    of_payloads: bool = False


NOBODY = Principal("", "")
_CLASSES: Mapping[type[IddsError], tuple[int, str]] = {
    NotTaken: (501, "NotImplementedException"),
    Unauthenticated: (401, "AuthenticationException"),
    Forbidden: (403, "AuthenticationNoPermission"),
    NotFound: (404, "NoObject"),
    UnknownDid: (404, "NoObject"),
    Stalled: (408, "BadRequest"),
    Conflict: (409, "ConflictRequestException"),
    InvalidInput: (400, "BadRequest"),
    Malformed: (400, "BadRequest"),
    UnsupportedMedia: (415, "BadRequest"),
    TooMany: (429, "RestException"),
    Unavailable: (503, "RestException"),
}
"""A name of `idds.common.exceptions` for each: the client raises it."""


@dataclass(frozen=True, slots=True)
class Facade:
    """What all these routes share."""

    doors: Doors
    counters: Counters
    settings: ApiSettings
    open_samples: OpenSamples
    authentication: Authentication
    rates: Rates

    def handler(self, route: FacadeRoute) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                principal = NOBODY
                if route.caller is not Caller.PUBLIC:
                    principal = await self._admit(request, route)
                body = await self._read(request) if route.reads_body else None
                answer = await route.endpoint(Call(self.doors, self.counters, request, principal, body))
            except web.HTTPRequestEntityTooLarge:
                limit = self.settings.max_body_bytes
                return refusal(413, "BadRequest", f"the body is larger than {limit} bytes")
            except IddsError as error:
                return told(error)
            if isinstance(answer, web.StreamResponse):
                return answer
            return web.Response(body=msgspec.json.encode(answer), content_type="application/json")

        return handle

    async def _admit(self, request: web.Request, route: FacadeRoute) -> Principal:
        token = request.headers.get(TOKEN)
        try:
            if token is None:
                grant = await self.authentication.of(request)
            else:
                grant = await self.authentication.authenticate(f"Bearer {token}")
        except Unauthenticated:
            payload = self._payload(request) if route.of_payloads else None
            if payload is None:
                raise
            grant = payload
        self.rates.take(grant)
        admit(route.caller, grant, 0)
        return grant.principal

    def _payload(self, request: web.Request) -> Grant | None:
        """What somebody may who shows nothing and asks for one sample of a task, by its number and the task's."""
        shows = TOKEN in request.headers or "Authorization" in request.headers
        if shows or NOTHING in (request.match_info["workload"], request.match_info["id"]):
            return None
        vo = self.open_samples.vo_of(request.remote or "")
        # Each has a rate of its own, as far as it can be told from others.
        return None if vo is None else Grant(Principal(f"payload at {request.remote}", vo, Role.WFMS))

    async def _read(self, request: web.Request) -> Any:
        """The client says of no body what it is: it is JSON."""
        body = await whole(request, self.settings.max_stall_s)
        if not body:
            return None
        # However short it is: what is packed in it may be long.
        return await asyncio.to_thread(decode, body, self.settings.max_body_bytes)


def told(error: IddsError) -> web.Response:
    """An error as the client raises it."""
    status, name = next((kind for cls, kind in _CLASSES.items() if isinstance(error, cls)), (500, "IDDSException"))
    return refusal(status, name, str(error))


def refusal(status: int, name: str, message: str) -> web.Response:
    # A header holds one line of Latin-1.
    line = " ".join(message.split())[:2000].encode("latin-1", "replace").decode("latin-1")
    headers = {"ExceptionClass": name, "ExceptionMessage": line}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="idds"'
    body = json.dumps({"message": message}).encode()
    response = web.Response(body=body, status=status, headers=headers, content_type="application/json")
    if status in (408, 413):
        response.force_close()
    return response

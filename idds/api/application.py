"""The API as an aiohttp application, made from the registry."""

import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import msgspec
import structlog
from aiohttp import web

from idds.api import problems
from idds.api.authentication import Authentication, admit
from idds.api.bodies import NoQuery
from idds.api.documents import read_body, read_query
from idds.api.events import encode
from idds.api.lines import NDJSON
from idds.api.listening import Listeners
from idds.api.rates import Rates
from idds.api.registry import ROUTES
from idds.api.route import Call, Caller, Reply, Route
from idds.api.settings import ApiSettings
from idds.api.usage import Usage
from idds.api.waiting import Counters
from idds.domain.errors import IddsError
from idds.runtime.doors import Doors
from idds.store.audit import CALL

__all__ = ["LISTENERS", "ApiSettings", "make_application"]

LISTENERS = web.AppKey("listeners", Listeners)

COMPRESSED_FROM = 4096
_PATTERNS = {"{id}": r"{id:0|[1-9][0-9]{0,17}}", "{stream}": "{stream:stdout|stderr}"}
_REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9._-]{1,64}")

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class _Parts:
    """What all calls share."""

    doors: Doors
    settings: ApiSettings
    counters: Counters
    listeners: Listeners
    authentication: Authentication
    rates: Rates


def make_application(doors: Doors, settings: ApiSettings) -> web.Application:
    """The API over these services. Starting and stopping them is the caller's."""
    application = web.Application(client_max_size=settings.max_body_bytes, middlewares=[_answer])
    counters = Counters(doors.delivery, doors.wakeups)
    listeners = Listeners(doors.events, doors.wakeups, settings, encode)
    authentication = Authentication(doors.access, settings)
    usage = Usage(authentication, doors.access, settings.token_usage_interval_s)
    application.cleanup_ctx.append(usage.during)
    application[LISTENERS] = listeners
    parts = _Parts(doors, settings, counters, listeners, authentication, Rates(settings))
    for route in ROUTES:
        application.router.add_route(route.method, _pattern(route.path), _handler(route, parts), name=route.name)

    async def close(_application: web.Application) -> None:
        await counters.close()
        await listeners.close()

    application.on_shutdown.append(close)
    application.on_response_prepare.append(_mark)
    return application


def _pattern(path: str) -> str:
    for name, pattern in _PATTERNS.items():
        path = path.replace(name, pattern)
    return path


def _handler(route: Route, parts: _Parts) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        number = int(request.match_info.get("id", "0"))
        grant = None
        if route.caller is not Caller.PUBLIC:
            grant = await parts.authentication.of(request)
            parts.rates.take(grant)
            admit(route.caller, grant, number)
        query = read_query(request, route.query or NoQuery)
        lines = route.reads_lines and request.content_type == NDJSON
        body = await read_body(request, route.body, parts.settings.max_stall_s) if route.body and not lines else None
        call = Call(
            parts.doors,
            parts.settings,
            parts.counters,
            parts.listeners,
            partial(parts.authentication.of, request),
            request,
            grant,
            number,
            query,
            body,
        )
        answer = await route.endpoint(call)
        return _encode(answer) if isinstance(answer, Reply) else answer

    return handle


def _encode(reply: Reply) -> web.Response:
    body = msgspec.json.encode(reply.document)
    response = web.Response(
        body=body,
        status=reply.status,
        headers=reply.headers,
        content_type="application/json",
        zlib_executor_size=64 * 1024,
    )
    if len(body) >= COMPRESSED_FROM:
        response.enable_compression()
    return response


@web.middleware
async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error with a problem document; none of them tells of the inside."""
    given = request.headers.get("X-Request-Id", "")
    request_id = given if _REQUEST_ID_FORM.fullmatch(given) else uuid.uuid4().hex
    CALL.set(request_id)
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        try:
            return await handler(request)
        except web.HTTPException as refusal:
            return problems.of_refusal(refusal, request, request_id)
        except IddsError as error:
            return problems.of_error(error, request_id)
        except Exception:
            log.exception("a call broke", method=request.method, path=request.path)
            return problems.of_defect(request_id)


async def _mark(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["X-Request-Id"] = CALL.get() or ""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"

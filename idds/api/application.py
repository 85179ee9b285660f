"""The API as an aiohttp application, made from the registry."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from idds.api.answering import answering_with, mark
from idds.api.authentication import Authentication, admit
from idds.api.bodies import NoQuery
from idds.api.caching import answer_with
from idds.api.documents import read_body, read_query
from idds.api.events import encode
from idds.api.facade.route import Facade
from idds.api.facade.routes import FACADE
from idds.api.lines import NDJSON
from idds.api.listening import Listeners
from idds.api.metrics import Latencies, Streams
from idds.api.rates import Rates
from idds.api.registry import ROUTES
from idds.api.route import Call, Caller, Reply, Route
from idds.api.usage import Usage
from idds.api.waiting import Counters
from idds.runtime.doors import Doors
from idds.runtime.metrics import Metrics
from idds.runtime.settings import AccessSettings, ApiSettings

__all__ = ["LISTENERS", "PARTS", "Parts", "make_application"]

LISTENERS = web.AppKey("listeners", Listeners)

_NUMBER = "0|[1-9][0-9]{0,17}"
_PATTERNS = {
    "{id}": f"{{id:{_NUMBER}}}",
    "{number}": f"{{number:{_NUMBER}}}",
    "{stream}": "{stream:stdout|stderr}",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Parts:
    """What all calls share."""

    doors: Doors
    settings: ApiSettings
    access: AccessSettings
    counters: Counters
    listeners: Listeners
    metrics: Metrics
    authentication: Authentication
    rates: Rates


PARTS = web.AppKey("parts", Parts)


def make_application(doors: Doors, settings: ApiSettings, access: AccessSettings | None = None) -> web.Application:
    """The API over these services. Starting and stopping them is the caller's."""
    metrics = Metrics(doors.metering, doors.tallies)
    answering = answering_with(Latencies(metrics))
    application = web.Application(client_max_size=settings.max_body_bytes, middlewares=[answering])
    counters = Counters(doors.delivery, doors.wakeups)
    listeners = Listeners(doors.events, doors.wakeups, settings, encode)
    authentication = Authentication(doors.access, settings)
    usage = Usage(authentication, doors.access, settings.token_usage_interval_s)
    application.cleanup_ctx.append(usage.during)
    application[LISTENERS] = listeners
    metrics.registry.register(Streams(listeners))
    parts = application[PARTS] = Parts(
        doors, settings, access or AccessSettings(), counters, listeners, metrics, authentication, Rates(settings)
    )
    # aiohttp tries one after the other: first those that many payloads call, time and again.
    for route in sorted(ROUTES, key=lambda route: route.caller is not Caller.PAYLOAD):
        pattern, handler = _pattern(route.path), _handler(route, parts)
        application.router.add_route(route.method, pattern, handler, name=route.name)
        if route.method == "GET":
            application.router.add_route("HEAD", pattern, handler)

    facade = Facade(doors, counters, settings, parts.access.open_samples, authentication, parts.rates)
    for each in FACADE:
        application.router.add_route(each.method, each.path, facade.handler(each), name=each.name)

    async def close(_application: web.Application) -> None:
        await counters.close()
        await listeners.close()

    application.on_shutdown.append(close)
    application.on_response_prepare.append(mark)
    return application


def _pattern(path: str) -> str:
    for name, pattern in _PATTERNS.items():
        path = path.replace(name, pattern)
    return path


def _handler(route: Route, parts: Parts) -> Handler:
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
            parts.access,
            parts.counters,
            parts.listeners,
            parts.metrics,
            partial(parts.authentication.of, request),
            request,
            grant,
            number,
            query,
            body,
        )
        answer = await route.endpoint(call)
        return answer_with(answer, request) if isinstance(answer, Reply) else answer

    return handle

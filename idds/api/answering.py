"""What holds for every answer: it has a request id, an error is a problem document, and it is counted."""

import re
import time
import uuid

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from idds.api import problems
from idds.api.metrics import Latencies
from idds.domain.errors import IddsError
from idds.store.audit import CALL

_REQUEST_ID_FORM = re.compile(r"[A-Za-z0-9._-]{1,64}")
HEADERS = {
    # An answer that may be kept says so itself.
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "iDDS",
    "X-Content-Type-Options": "nosniff",
}

log = structlog.get_logger()


def answering_with(latencies: Latencies) -> Middleware:
    """The middleware around every call. At level debug it writes a line a call."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        begun = time.perf_counter()
        given = request.headers.get("X-Request-Id", "")
        request_id = given if _REQUEST_ID_FORM.fullmatch(given) else uuid.uuid4().hex
        CALL.set(request_id)
        structlog.contextvars.bind_contextvars(request_id=request_id)  # until the connection's next call
        with latencies.under_way():
            response = await _answer(request, handler, request_id)
            route = request.match_info.route.name or "none"
            if response.content_type != "text/event-stream":
                latencies.note(route, response.status, begun)
            log.debug(
                "answered",
                method=request.method,
                path=request.path,
                status=response.status,
                ms=round((time.perf_counter() - begun) * 1000, 1),
            )
            return response

    return answer


async def _answer(request: web.Request, handler: Handler, request_id: str) -> web.StreamResponse:
    """Answer every error with a problem document; none of them tells of the inside."""
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        return problems.of_refusal(refusal, request, request_id)
    except IddsError as error:
        return problems.of_error(error, request_id)
    except Exception:
        log.exception("a call broke", method=request.method, path=request.path)
        return problems.of_defect(request_id)


async def mark(_request: web.Request, response: web.StreamResponse) -> None:
    """Set the headers that every answer has."""
    headers = response.headers
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    headers["Server"] = HEADERS["Server"]
    headers["X-Request-Id"] = CALL.get() or ""

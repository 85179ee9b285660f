"""Errors as problem documents (RFC 9457)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import msgspec
from aiohttp import web

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

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2
_ENDS = frozenset({408, 413})
"""After these nobody knows where in the connection another call would begin."""


class Malformed(IddsError):
    """What was sent cannot be read, or is no JSON."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problems = (problem,)


class UnsupportedMedia(IddsError):
    """The body is of another media type than is read here."""


class TooMany(IddsError):
    """The caller does more at once than it may; in `retry_after_s` it may try again."""

    def __init__(self, message: str, retry_after_s: int = RETRY_AFTER_S) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Stale(Conflict):
    """The one report that was sent came too late."""


class NoContent(NotFound):
    """The one report that was sent is of a content that is none of the collection."""


class Stalled(IddsError):
    """Nothing more came of the body."""


@dataclass(frozen=True, slots=True)
class ProblemDocument:
    """What went wrong. `problems` name the places: JSON pointers into the body, `?name` for a query parameter."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    problems: tuple[Problem, ...] = field(default=())


_KINDS: Mapping[type[IddsError], tuple[int, str, str]] = {
    Malformed: (400, "malformed", "The body cannot be read"),
    Unauthenticated: (401, "unauthenticated", "A valid token is needed"),
    Forbidden: (403, "forbidden", "This may not be done with this token"),
    NoContent: (404, "no-content", "There is no such content in this collection"),
    NotFound: (404, "not-found", "There is no such thing"),
    UnknownDid: (404, "unknown-did", "Data management does not know it"),
    Stalled: (408, "stalled", "The body did not come"),
    Stale: (409, "stale-report", "The report came too late"),
    Conflict: (409, "conflict", "Its state does not allow this"),
    UnsupportedMedia: (415, "unsupported-media-type", "The body's media type is not read here"),
    InvalidInput: (422, "invalid-input", "The input cannot be taken"),
    TooMany: (429, "too-many", "This is more than you may do for now"),
    Unavailable: (503, "unavailable", "Not available for now"),
}

MEANINGS: Mapping[int, str] = {
    400: "The body, or the call itself, cannot be read",
    401: "A valid token is needed",
    403: "This may not be done with this token",
    404: "There is no such thing, or it is not the caller's to see",
    408: "Nothing more came of the body",
    409: "The state of the thing does not allow what was asked",
    413: "The body is larger than is taken",
    415: "The body's media type, charset or encoding is not read here",
    422: "The input cannot be taken, and nothing was changed; `problems` name the places",
    429: "Too many calls for now",
    500: "Something broke inside; the service's log tells more under the request id",
    503: "Not available for now; asking again later makes sense",
}
"""What an error's status means, whatever the route."""


def of_error(error: IddsError, request_id: str) -> web.Response:
    """What a caller is told of an error."""
    document = describe(error, request_id)
    headers = {}
    if document.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="idds"'
    if document.status in (429, 503):
        headers["Retry-After"] = str(error.retry_after_s if isinstance(error, TooMany) else RETRY_AFTER_S)
    return respond(document, headers)


def describe(error: IddsError, request_id: str) -> ProblemDocument:
    """An error in words that may be shown."""
    status, slug, title = next((kind for cls, kind in _KINDS.items() if isinstance(error, cls)), _UNKNOWN)
    problems = error.problems if isinstance(error, (InvalidInput, Malformed)) else ()
    detail = ". ".join([str(error) or title, *getattr(error, "__notes__", ())])
    return ProblemDocument(f"urn:idds:problem:{slug}", title, status, detail, request_id, problems)


_UNKNOWN = (500, "internal", "Something broke inside")


def of_refusal(refusal: web.HTTPException, request: web.Request, request_id: str) -> web.Response:
    """What a caller is told that the web server itself refused."""
    status = HTTPStatus(refusal.status)
    headers = {name: refusal.headers[name] for name in ("Allow", "Location") if name in refusal.headers}
    match status:
        case HTTPStatus.NOT_FOUND:
            detail = f"there is nothing at {request.path}"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            detail = f"{request.method} is not for {request.path}; allowed: {headers.get('Allow', '')}"
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            detail = f"the body is larger than {request.client_max_size} bytes"
        case _:
            detail = status.description or status.phrase
    slug = status.phrase.lower().replace(" ", "-")
    document = ProblemDocument(f"urn:idds:problem:{slug}", status.phrase, status.value, detail, request_id)
    return respond(document, headers)


def of_head(status: HTTPStatus, request_id: str) -> web.Response:
    """What a caller is told of a call whose head cannot be read."""
    slug = status.phrase.lower().replace(" ", "-")
    detail = MEANINGS[status.value]
    return respond(ProblemDocument(f"urn:idds:problem:{slug}", status.phrase, status.value, detail, request_id), {})


def of_defect(request_id: str) -> web.Response:
    """What a caller is told of a defect: nothing but where its log line is to be found."""
    status, slug, title = _UNKNOWN
    detail = f"the service's log tells more under request id {request_id}"
    return respond(ProblemDocument(f"urn:idds:problem:{slug}", title, status, detail, request_id), {})


def respond(document: ProblemDocument, headers: Mapping[str, str]) -> web.Response:
    body = msgspec.json.encode(document)
    response = web.Response(body=body, status=document.status, headers=headers, content_type=MEDIA_TYPE)
    if document.status in _ENDS:
        response.force_close()
    return response

"""Sessions of browsers: a token is pasted once, and becomes a token of the session's own, in a cookie.

The cookie cannot be read by scripts and is sent by pages of this service only. It is a token like any other: it is
listed among its owner's, never reaches further or lasts longer than the one it came of, and logging out revokes it.
With it a browser reads; to change something a form has to show, besides, what only a page of the session knows.
"""

import hashlib
import hmac
from urllib.parse import parse_qsl

from aiohttp import web

from idds.api.application import Parts
from idds.api.arrival import check_form, whole
from idds.api.authentication import SESSION
from idds.api.problems import Malformed
from idds.domain.access import Grant
from idds.domain.errors import Forbidden, Problem, Unauthenticated

LONGEST_S = 12 * 3600
MAX_FORM_BYTES = 64 * 1024
MAX_FIELDS = 100
_OF_THIS_PAGE = ("same-origin", "none")


async def log_in(parts: Parts, request: web.Request, secret: str) -> str:
    """A session for who has this token, or (without one) is told of by a trusted proxy; its cookie.

    Raises Unauthenticated, Forbidden for a payload's token, and TooMany.
    """
    known = parts.authentication.authenticate(f"Bearer {secret}") if secret else parts.authentication.of(request)
    grant = await known
    parts.rates.take(grant)
    return await parts.doors.access.open_session(grant, longest=LONGEST_S * 1_000_000)


async def log_out(parts: Parts, grant: Grant) -> None:
    """End a session: its cookie is worth nothing from now on."""
    if grant.token_id is not None:
        await parts.doors.access.revoke(grant.principal, grant.token_id)


async def session(parts: Parts, request: web.Request) -> Grant:
    """Whose session this is. Raises Unauthenticated."""
    secret = request.cookies.get(SESSION)
    if not secret:
        raise Unauthenticated("log in first")
    return await parts.authentication.authenticate(f"Bearer {secret}")


def csrf(request: web.Request) -> str:
    """What a form of this session shows: it is derived of the cookie, which no other page can read."""
    return hmac.new(request.cookies.get(SESSION, "").encode(), b"idds form", hashlib.sha256).hexdigest()


async def read_form(parts: Parts, request: web.Request) -> dict[str, str]:
    """The fields of a form that a page of this service sent. Raises Forbidden, and what `whole` does."""
    check_origin(request)
    if request.content_type != "application/x-www-form-urlencoded":
        raise Forbidden("this is for the forms of the page")
    if (request.content_length or 0) > MAX_FORM_BYTES:
        raise web.HTTPRequestEntityTooLarge(MAX_FORM_BYTES, request.content_length or 0)
    check_form(request)
    body = await whole(request, parts.settings.max_stall_s)
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError:
        raise Malformed(Problem("", "this is no form")) from None


def check_csrf(request: web.Request, fields: dict[str, str]) -> None:
    """Raises Forbidden for a form that no page of this session made."""
    if not hmac.compare_digest(fields.get("csrf", "").encode(), csrf(request).encode()):
        raise Forbidden("this form is of another session: load the page again")


def check_origin(request: web.Request) -> None:
    """Raises Forbidden for what another site's page sends (https://www.w3.org/TR/fetch-metadata/)."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in _OF_THIS_PAGE:
        raise Forbidden("another site's page sent this")


def keep(response: web.StreamResponse, request: web.Request, cookie: str) -> None:
    """Have the browser keep a session; without `cookie` forget it."""
    # What a caller claims of itself here makes the cookie stricter only.
    is_secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
    if cookie:
        response.set_cookie(
            SESSION, cookie, max_age=LONGEST_S, httponly=True, samesite="Strict", secure=is_secure, path="/"
        )
    else:
        response.del_cookie(SESSION, httponly=True, samesite="Strict", secure=is_secure, path="/")


def inside(target: str) -> str:
    """Where to go on: a page of this service, whatever is asked for."""
    is_path = target.startswith("/") and not target.startswith("//") and "\\" not in target
    return target if is_path and target.isprintable() else "/"

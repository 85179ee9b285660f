"""The pages beside the API, on the same application: they ask the same services, in the name of who is logged in."""

import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from idds.api import problems
from idds.api.application import PARTS, Parts
from idds.api.authentication import SESSION, admit
from idds.api.documents import read_query
from idds.domain.access import Grant
from idds.domain.errors import IddsError, Unauthenticated
from idds.store.audit import CALL
from idds.web import assets, ordering, sessions
from idds.web.page import Page, View, Visit
from idds.web.registry import PAGES
from idds.web.rendering import render

_NUMBER = "0|[1-9][0-9]{0,17}}"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_pages(application: web.Application) -> None:
    """Serve the pages, too. What the API serves stays as it is."""
    parts = application[PARTS]
    for page in PAGES:
        handler = _shown(parts, _showing(parts, page))
        path = re.sub("{(id|number)}", r"{\1:" + _NUMBER, page.path)
        application.router.add_route("GET", path, handler, name=f"page-{page.name}")
    for method, path, handle in (("GET", "/login", _ask), ("POST", "/login", _log_in), ("POST", "/logout", _log_out)):
        application.router.add_route(method, path, _shown(parts, handle), name=f"page-{handle.__name__[1:]}")
    for at in ordering.AT:
        path = at.replace("{id}", "{id:" + _NUMBER).replace("{verb}", "{verb:[a-z-]+}")
        name = "page-order-of-request" if "{id}" in at else "page-order"
        application.router.add_route("GET", path, _shown(parts, ordering.preview), name=name)
        application.router.add_route("POST", path, _shown(parts, ordering.carry_out))
    application.router.add_route("GET", assets.AT, assets.serve, name="assets")


def _showing(parts: Parts, page: Page) -> Callable[[Parts, web.Request], Awaitable[web.StreamResponse]]:
    async def show(_parts: Parts, request: web.Request) -> web.StreamResponse:
        grant = await sessions.session(parts, request)
        parts.rates.take(grant)
        number = int(request.match_info.get("id", "0"))
        admit(page.caller, grant, number)
        query = read_query(_without_blanks(request), page.query)
        view = await page.show(Visit(parts.doors, request, grant, number, query))
        return _respond(request, grant, page, view)

    return show


def _respond(request: web.Request, grant: Grant, page: Page, view: View) -> web.Response:
    return render(
        view.template,
        {
            **view.values,
            "title": view.title,
            "events": view.events,
            "page": page,
            "here": request.rel_url,
            "who": grant.principal,
            "csrf": sessions.csrf(request),
            "json": [call.format_map(request.match_info) for call in page.json],
        },
    )


def _without_blanks(request: web.Request) -> web.Request:
    """A form sends also what was not filled in."""
    query = [(name, value) for name, value in request.query.items() if value]
    return request.clone(rel_url=request.rel_url.with_query(query))


def _shown(parts: Parts, handle: Callable[[Parts, web.Request], Awaitable[web.StreamResponse]]) -> Handler:
    """Errors become pages; who is not logged in is asked to."""

    async def shown(request: web.Request) -> web.StreamResponse:
        try:
            return await handle(parts, request)
        except Unauthenticated:
            return _to_login(request)
        except IddsError as error:
            return _refused(request, error)

    return shown


def _refused(request: web.Request, error: IddsError) -> web.Response:
    document = problems.describe(error, CALL.get() or "")
    values = {"problem": document, "title": document.title, "has_session": SESSION in request.cookies}
    return render("problem.html", values, document.status)


def _to_login(request: web.Request) -> web.Response:
    if request.method == "GET" and request.headers.get("Sec-Fetch-Site") == "cross-site":
        # A browser that comes by a link of another site keeps the cookie back; from this page it does not.
        return render("arrive.html", {"target": str(request.rel_url), "title": "iDDS"})
    target = str(request.rel_url) if request.method == "GET" else "/"
    response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": f"/login?{urlencode({'next': target})}"})
    if "HX-Request" in request.headers:
        # A part of a page is asked for: it is the whole that has to go.
        response = web.Response(headers={"HX-Redirect": response.headers["Location"]})
    return response


async def _ask(_parts: Parts, request: web.Request) -> web.Response:
    return _login(request.query.get("next", "/"))


def _login(target: str, refusal: str | None = None) -> web.Response:
    values: Mapping[str, Any] = {"target": sessions.inside(target), "refusal": refusal, "title": "Log in"}
    return render("login.html", values, HTTPStatus.OK if refusal is None else HTTPStatus.UNAUTHORIZED)


async def _log_in(parts: Parts, request: web.Request) -> web.Response:
    fields = await sessions.read_form(parts, request)
    target = fields.get("next", "/")
    try:
        cookie = await sessions.log_in(parts, request, fields.get("token", "").strip())
    except Unauthenticated:
        return _login(target, "This token is not known, or has ended.")
    response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": sessions.inside(target)})
    sessions.keep(response, request, cookie)
    return response


async def _log_out(parts: Parts, request: web.Request) -> web.Response:
    fields = await sessions.read_form(parts, request)
    grant = await sessions.session(parts, request)
    sessions.check_csrf(request, fields)
    await sessions.log_out(parts, grant)
    response = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": "/login"})
    sessions.keep(response, request, "")
    return response

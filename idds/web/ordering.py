"""Orders on the page: what one would touch is shown first, and it is carried out by a form that shows that it was."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ValidationError

from idds.api.application import Parts
from idds.api.authentication import admit
from idds.domain.access import Grant
from idds.domain.carousel import Touched
from idds.domain.errors import InvalidInput, NotFound, Problem
from idds.services.steering import Order
from idds.web import sessions
from idds.web.orders import OF_CAROUSEL, OF_REQUEST, Verb
from idds.web.quantities import read_size
from idds.web.rendering import render

AT = ("/requests/{id}/orders/{verb}", "/carousel/orders/{verb}")
_PREVIEWED = "previewed"


async def preview(parts: Parts, request: web.Request) -> web.StreamResponse:
    """The form of an order; once it is filled in, what the order would touch. Nothing is changed."""
    grant = await sessions.session(parts, request)
    parts.rates.take(grant)
    verb, number = _verb(request), int(request.match_info.get("id", "0"))
    admit(verb.caller, grant, number)
    fields = {name: value for name, value in request.query.items() if value}
    touched: Touched | None = None
    problems: tuple[Problem, ...] = ()
    if not verb.asks or _PREVIEWED in fields or _is_known(verb, fields):
        try:
            touched = await verb.carry(parts.doors, Order(grant.principal, dry_run=True), number, _body(verb, fields))
        except InvalidInput as error:
            problems = error.problems
    return _show(request, grant, verb, (fields, touched, problems))


async def carry_out(parts: Parts, request: web.Request) -> web.StreamResponse:
    """Have an order carried out, and go back to where it was given."""
    fields = await sessions.read_form(parts, request)
    grant = await sessions.session(parts, request)
    sessions.check_csrf(request, fields)
    parts.rates.take(grant)
    verb, number = _verb(request), int(request.match_info.get("id", "0"))
    admit(verb.caller, grant, number)
    filled = {name: value for name, value in fields.items() if value}
    await verb.carry(parts.doors, Order(grant.principal), number, _body(verb, filled))
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": _back(request)})


def _verb(request: web.Request) -> Verb:
    verbs = OF_REQUEST if "id" in request.match_info else OF_CAROUSEL
    name = request.match_info["verb"]
    if name not in verbs:
        raise NotFound(f"there is no order {name!r}")
    return verbs[name]


def _is_known(verb: Verb, fields: Mapping[str, str]) -> bool:
    """Whether the page that leads here gave all that the order asks for."""
    return all(asked.is_hidden and (asked.name in fields or asked.is_optional) for asked in verb.asks)


def _body(verb: Verb, fields: Mapping[str, str]) -> BaseModel | None:
    if verb.body is None:
        return None
    given: dict[str, Any] = {}
    for asked in verb.asks:
        if asked.name in fields:
            given[asked.name] = _size(asked.name, fields[asked.name]) if asked.is_size else fields[asked.name]
    try:
        return verb.body.model_validate_strings(given)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        labels = {asked.name: asked.label for asked in verb.asks}
        raise InvalidInput([Problem(labels.get(str(e["loc"][0]), str(e["loc"][0])), e["msg"]) for e in found]) from None


def _size(name: str, value: str) -> str:
    try:
        return str(read_size(value))
    except ValueError as error:
        raise InvalidInput([Problem(name, str(error))]) from None


def _show(
    request: web.Request,
    grant: Grant,
    verb: Verb,
    outcome: tuple[Mapping[str, str], Touched | None, tuple[Problem, ...]],
) -> web.Response:
    fields, touched, problems = outcome
    values = {
        "title": verb.label,
        "verb": verb,
        "fields": fields,
        "touched": touched,
        "problems": problems,
        "back": _back(request),
        "action": request.path,
        "who": grant.principal,
        "csrf": sessions.csrf(request),
        "previewed": _PREVIEWED,
    }
    # Within a page it is a dialog; without scripts, or by its address, a page of its own.
    if "HX-Request" in request.headers:
        return render("order.html", {**values, "level": 2})
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problems else HTTPStatus.OK
    return render("order-page.html", {**values, "level": 1}, status)


def _back(request: web.Request) -> str:
    number = request.match_info.get("id")
    return f"/requests/{number}" if number else "/carousel"

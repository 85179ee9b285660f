"""Templates into pages: everything is escaped, and a page runs nothing but the scripts that are served here."""

import json
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from idds.web import quantities
from idds.web.assets import address

if TYPE_CHECKING:
    from jinja2 import Environment

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
COMPRESSED_FROM = 4096
# No script stands in a page, none is made of text, and nothing is asked of others.
_HTMX = {
    "allowEval": False,
    "allowScriptTags": False,
    "disableInheritance": True,
    "includeIndicatorStyles": False,
    "selfRequestsOnly": True,
    "historyCacheSize": 0,
    "refreshOnHistoryMiss": True,
}


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined  # loaded with the first page

    environment = Environment(
        loader=PackageLoader("idds.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    for name in ("size", "rate", "number", "span", "micros", "moment", "stamp"):
        environment.filters[name] = getattr(quantities, name)
    environment.globals.update(asset=address, htmx_config=json.dumps(_HTMX))
    return environment


def render(template: str, values: Mapping[str, Any], status: int = HTTPStatus.OK) -> web.Response:
    """A page. Nobody keeps it: it shows what is so now, to who may see it."""
    text = _environment().get_template(template).render(**values)
    response = web.Response(text=text, status=status, content_type="text/html")
    response.headers["Content-Security-Policy"] = POLICY
    if len(text) >= COMPRESSED_FROM:
        response.enable_compression()
    return response

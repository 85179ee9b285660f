"""The OpenAPI document as a page: for reading, without scripts, and with nothing from elsewhere."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from aiohttp import web

from idds.api import reference

_PAGES = files("idds.api") / "pages"


@dataclass(frozen=True, slots=True)
class Page:
    """HTML, and the policy that lets it load nothing and run nothing."""

    text: str
    policy: str

    def respond(self) -> web.Response:
        headers = {"Content-Security-Policy": self.policy, "Referrer-Policy": "no-referrer"}
        response = web.Response(text=self.text, content_type="text/html", headers=headers)
        response.enable_compression()
        return response


def present(document: Mapping[str, Any]) -> Page:
    """An OpenAPI document as a page."""
    style = (_PAGES / "reference.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Page(_render(document, style), policy)


def _render(document: Mapping[str, Any], style: str) -> str:
    from jinja2 import Environment, StrictUndefined  # for this page only

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((_PAGES / "reference.html").read_text(encoding="utf-8"))
    return template.render(
        info=document["info"],
        style=style,
        who=document["components"]["securitySchemes"]["token"]["description"],
        nouns=tuple(reference.nouns(document)),
        errors=tuple(reference.errors(document)),
        schemas=tuple(reference.schemas(document)),
    )

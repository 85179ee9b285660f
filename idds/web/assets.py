"""Scripts and styles: files of this package, at addresses that name what is in them, so that browsers keep them."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from aiohttp import web

AT = "/assets/{digest}/{name}"
_KEPT = "public, max-age=31536000, immutable"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Asset:
    body: bytes
    digest: str
    media_type: str


@cache
def assets() -> dict[str, Asset]:
    """All of them, by name."""
    folder = files("idds.web") / "assets"
    found = [*folder.iterdir(), *(folder / "vendor").iterdir()]
    return {file.name: _asset(file) for file in found if _suffix(file) in _TYPES}


def address(name: str) -> str:
    """Where a page finds one. Raises KeyError."""
    return AT.format(digest=assets()[name].digest, name=name)


async def serve(request: web.Request) -> web.Response:
    """One of them, also at an address of another version: a page that is open keeps working over an upgrade."""
    asset = assets().get(request.match_info["name"])
    if asset is None:
        raise web.HTTPNotFound
    response = web.Response(body=asset.body, content_type=asset.media_type, charset="utf-8")
    is_current = request.match_info["digest"] == asset.digest
    response.headers["Cache-Control"] = _KEPT if is_current else "no-cache"
    response.enable_compression()
    return response


def _asset(file: Traversable) -> Asset:
    body = file.read_bytes()
    return Asset(body, hashlib.sha256(body).hexdigest()[:16], _TYPES[_suffix(file)])


def _suffix(file: Traversable) -> str:
    return file.name[file.name.rfind(".") :]

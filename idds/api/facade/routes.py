"""All routes under `/idds`."""

from collections.abc import Sequence
from typing import Any, Never

from idds import __version__
from idds.api.facade import catalogue, messages, requests
from idds.api.facade.route import Call, FacadeRoute, NotTaken
from idds.api.route import Caller
from idds.domain.errors import NotFound
from idds.services.telling import reports_topic_of, topic_of


async def ping(_call: Call) -> Any:
    return {"Status": "OK"}


async def show_metainfo(call: Call) -> Any:
    """What a client may want to know of this service, by name."""
    vo = call.principal.vo
    known: dict[str, Any] = {
        "version": {"version": __version__},
        "topics": {"told": topic_of(vo), "listened_to": reports_topic_of(vo)},
    }
    name = call.request.match_info["name"]
    if name not in known:
        raise NotFound(f"nothing is told under this name; there are: {', '.join(known)}")
    return known[name]


def _not_taken(instead: str) -> Any:
    async def refuse(_call: Call) -> Never:
        raise NotTaken(instead)

    return refuse


_samples = _not_taken("samples are not delivered by this door yet: lease them at /v1/collections/{id}:lease")
_transforms = _not_taken("transforms are the service's own to make: submit a workflow document to /v1/requests")
_files = _not_taken("this service keeps no files for others, and shows logs at /v1/processings/{id}/logs")
_login = _not_taken("this service hands out no tokens of an issuer: `idds login` gets one, or ask the issuer itself")
_builds = _not_taken("there are no builds here: submit a workflow document to /v1/requests")

REFUSED: Sequence[FacadeRoute] = tuple(
    FacadeRoute(method, f"/idds/{path}", f"iddsRefused{number}", Caller.PUBLIC, refuse)
    for number, (method, path, refuse) in enumerate(
        (
            ("GET", "hpo/{workload}/{request}/{id}/{status}/{limit}", _samples),
            ("PUT", "hpo/{workload}/{request}/{id}/{loss}", _samples),
            ("POST", "transform/{request}", _transforms),
            ("POST", "request/build/{request}", _builds),
            ("GET", "logs/{workload}/{request}", _files),
            ("GET", "cacher/{file}", _files),
            ("POST", "cacher/{file}", _files),
            ("GET", "auth/url/{vo}/{type}", _login),
            ("GET", "auth/token/{vo}/{code}/{interval}/{expires}", _login),
            ("POST", "auth/token/{vo}", _login),
        )
    )
)
"""What that client may call, and is told why not."""

FACADE: Sequence[FacadeRoute] = (
    FacadeRoute("GET", "/idds/ping", "iddsPing", Caller.PUBLIC, ping),
    FacadeRoute("GET", "/idds/metainfo/{name}", "iddsMetainfo", Caller.READER, show_metainfo),
    *requests.ROUTES,
    *catalogue.ROUTES,
    *messages.ROUTES,
    *REFUSED,
)

"""All routes under `/idds`."""

from collections.abc import Mapping, Sequence
from typing import Any, Never

from idds import __version__
from idds.api.facade import asking, catalogue, messages, requests, samples
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


_WORKFLOWS = "submit a workflow document to /v1/requests"
_INSTEAD: Mapping[str, str] = {
    "transform": f"transforms are the service's own to make: {_WORKFLOWS}",
    "workflow_task": f"workers are not steered by this door: {_WORKFLOWS}",
    "request": f"there are no builds here: {_WORKFLOWS}",
    "catalog": "contents are registered at /v1/collections/{id}:register",
    "logs": "logs are shown at /v1/processings/{id}/logs",
    "cacher": "this service keeps no files for others",
    "auth": "this service hands out no tokens of an issuer: `idds login` gets one, or ask the issuer itself",
}


async def refuse(call: Call) -> Never:
    """What that client may call besides: told why not."""
    kind = call.request.path.split("/")[2]
    raise NotTaken(_INSTEAD.get(kind, "this call is not served here; docs/workload-manager.md tells which are"))


FACADE: Sequence[FacadeRoute] = (
    FacadeRoute("GET", "/idds/ping", "iddsPing", Caller.PUBLIC, ping),
    FacadeRoute("GET", "/idds/metainfo/{name}", "iddsMetainfo", Caller.READER, show_metainfo),
    *asking.ROUTES,
    *requests.ROUTES,
    *samples.ROUTES,
    *catalogue.ROUTES,
    *messages.ROUTES,
    FacadeRoute("*", "/idds/{rest:.*}", "iddsRefused", Caller.PUBLIC, refuse),
)

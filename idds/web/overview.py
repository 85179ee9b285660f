"""The first page: what is under way."""

from idds.domain.request import Role
from idds.domain.statuses import Status
from idds.store.requests import RequestFilter
from idds.web.page import Page, View, Visit
from idds.web.progress import bar

UNDER_WAY = frozenset({Status.NEW, Status.READY, Status.RUNNING, Status.SUSPENDED})
SHOWN = 50
SPAN = 3 * 3600 * 1_000_000


async def show(visit: Visit[None]) -> View:
    catalogue, principal = visit.doors.catalogue, visit.principal
    found = await catalogue.campaigns(principal, RequestFilter(UNDER_WAY), limit=SHOWN + 1)
    campaigns = [(request, bar(collections)) for request, collections in found[:SHOWN]]
    is_operator = principal.role is Role.OPERATOR
    values = {
        "campaigns": campaigns,
        "has_more": len(found) > SHOWN,
        "waiting": sum(found.waiting for _, found in campaigns),
        "on_disk": sum(found.on_disk for _, found in campaigns),
        "done": sum(found.done for _, found in campaigns),
        "bad": sum(found.bad for _, found in campaigns),
        "windows": [each for each in await catalogue.windows() if each.kind == "rse"] if is_operator else [],
        "replicas": await catalogue.replicas() if is_operator else [],
        "is_operator": is_operator,
        "landings": await visit.doors.series.landings(SPAN),
    }
    return View("overview.html", "Overview", values, events="/v1/events")


PAGES = (Page("/", "overview", show, json=("/v1/requests", "/v1/landings", "/v1/windows", "/v1/replicas")),)

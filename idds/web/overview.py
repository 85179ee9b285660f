"""The first page: what is under way."""

from idds.domain.statuses import Status
from idds.store.requests import RequestFilter
from idds.web.page import Page, View, Visit
from idds.web.progress import bar

UNDER_WAY = frozenset({Status.NEW, Status.READY, Status.RUNNING, Status.SUSPENDED})
SHOWN = 50


async def show(visit: Visit[None]) -> View:
    found = await visit.doors.catalogue.campaigns(visit.principal, RequestFilter(UNDER_WAY), limit=SHOWN + 1)
    campaigns = [(request, bar(collections)) for request, collections in found[:SHOWN]]
    values = {
        "campaigns": campaigns,
        "has_more": len(found) > SHOWN,
        "waiting": sum(each.waiting for _, each in campaigns),
        "on_disk": sum(each.on_disk for _, each in campaigns),
        "done": sum(each.done for _, each in campaigns),
        "bad": sum(each.bad for _, each in campaigns),
        "carousel": await visit.doors.forecast.carousel(visit.principal),
    }
    return View("overview.html", "Overview", values, events="/v1/events")


PAGES = (Page("/", "overview", show, json=("/v1/requests", "/v1/carousel")),)

"""The page of tapes and disks."""

from idds.web.page import Page, View, Visit

SPAN = 3 * 3600 * 1_000_000


async def show(visit: Visit[None]) -> View:
    values = {
        "carousel": await visit.doors.forecast.carousel(visit.principal),
        "landings": await visit.doors.series.landings(visit.principal, SPAN),
    }
    return View("carousel.html", "Tapes and disks", values, events="/v1/events")


PAGES = (Page("/carousel", "carousel", show, json=("/v1/carousel", "/v1/landings", "/v1/holds")),)

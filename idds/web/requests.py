"""The pages of requests."""

from idds.api.bodies import RequestsQuery
from idds.domain.identifiers import RequestId
from idds.domain.statuses import Status
from idds.store.requests import RequestFilter
from idds.web.orders import may_be_ordered
from idds.web.page import Page, View, Visit, may
from idds.web.progress import bar

SHOWN = 50
MOVES = 30
AT_ONCE = 300_000
"""Of requests with more contents the page does not wait for the series: its charts ask for them."""


async def show_list(visit: Visit[RequestsQuery]) -> View:
    query = visit.query
    wanted = RequestFilter(frozenset(query.status), query.owner, query.share, query.name)
    limit = min(query.limit, SHOWN)
    found = await visit.doors.catalogue.campaigns(visit.principal, wanted, before=query.before, limit=limit + 1)
    page = found[:limit]
    values = {
        "requests": [(request, bar(collections)) for request, collections in page],
        "query": query,
        "statuses": list(Status),
        "next": page[-1][0].id if len(found) > limit else None,
    }
    return View("requests.html", "Requests", values, events="/v1/events")


async def show(visit: Visit[None]) -> View:
    identifier = RequestId(visit.number)
    overview = await visit.doors.catalogue.overview(visit.principal, identifier)
    request = overview.request
    found = bar(overview.collections)
    forecast = await visit.doors.forecast.request(visit.principal, identifier)
    values = {
        "request": request,
        "transforms": {transform.id: transform for transform in overview.transforms},
        "collections": overview.collections,
        "bar": found,
        "bars": {each.id: bar([each]) for each in overview.collections},
        "answer": await visit.doors.explanation.why(visit.principal, identifier),
        "series": await visit.doors.series.request(visit.principal, identifier) if found.total <= AT_ONCE else None,
        "moves": await visit.doors.catalogue.latest(visit.principal, identifier, limit=MOVES),
        "troubles": await visit.doors.files.troubles(visit.principal, identifier),
        "forecast": {each.collection: each for each in forecast.inputs},
        "orders": [
            verb
            for verb in may_be_ordered(request, is_staged=bool(forecast.inputs))
            if may(visit.principal, verb.caller)
        ],
        "has_files": bool(forecast.inputs),
    }
    events = None if request.status.is_terminal else f"/v1/events?request={identifier}"
    return View("request.html", f"{request.name} · request {identifier}", values, events)


PAGES = (
    Page("/requests", "requests", show_list, query=RequestsQuery, json=("/v1/requests",)),
    Page(
        "/requests/{id}",
        "request",
        show,
        json=(
            "/v1/requests/{id}",
            "/v1/requests/{id}/series",
            "/v1/requests/{id}/why",
            "/v1/requests/{id}/troubles",
            "/v1/carousel/requests/{id}",
            "/v1/requests/{id}/history",
        ),
    ),
)

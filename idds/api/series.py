"""What happened when, for charts."""

from idds.api.bodies import LandingsQuery
from idds.api.route import Call, Caller, Reply, Route
from idds.domain.identifiers import RequestId
from idds.domain.series import Landings, RequestSeries

_MICROSECONDS = 1_000_000


async def request(call: Call[None, None]) -> Reply:
    return Reply(await call.doors.series.request(call.principal, RequestId(call.number)))


async def landings(call: Call[LandingsQuery, None]) -> Reply:
    return Reply(await call.doors.series.landings(call.principal, call.query.span_s * _MICROSECONDS))


ROUTES = (
    Route(
        "GET",
        "/v1/requests/{id}/series",
        "showSeries",
        "A request over time: files staged, processed and released, bytes on disk, what landed a second",
        Caller.READER,
        request,
        reply=RequestSeries,
        statuses=(200, 404),
    ),
    Route(
        "GET",
        "/v1/landings",
        "showLandings",
        "What landed on disk of late, over time, by source",
        Caller.READER,
        landings,
        reply=Landings,
        query=LandingsQuery,
    ),
)

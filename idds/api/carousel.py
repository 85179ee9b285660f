"""How the carousel runs, and when a request will have all its files."""

from idds.api.route import Call, Caller, Reply, Route
from idds.domain.carousel import Carousel, RequestForecast
from idds.domain.identifiers import RequestId


async def carousel(call: Call[None, None]) -> Reply:
    return Reply(await call.doors.forecast.carousel(call.principal))


async def request(call: Call[None, None]) -> Reply:
    return Reply(await call.doors.forecast.request(call.principal, RequestId(call.number)))


ROUTES = (
    Route(
        "GET",
        "/v1/carousel",
        "showCarousel",
        "Every tape and disk: what comes, how fast, what waits, and what is held",
        Caller.READER,
        carousel,
        reply=Carousel,
    ),
    Route(
        "GET",
        "/v1/carousel/requests/{id}",
        "forecastRequest",
        "When each input of a request will have come, and from what that is known",
        Caller.READER,
        request,
        reply=RequestForecast,
        statuses=(200, 404),
    ),
)

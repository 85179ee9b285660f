"""Files one by one."""

from idds.api.route import Call, Caller, Reply, Route
from idds.domain.identifiers import ContentId, RequestId
from idds.domain.story import Story, Troubles


async def story(call: Call[None, None]) -> Reply:
    return Reply(await call.doors.files.story(call.principal, ContentId(call.number)))


async def troubles(call: Call[None, None]) -> Reply:
    return Reply(await call.doors.files.troubles(call.principal, RequestId(call.number)))


ROUTES = (
    Route(
        "GET",
        "/v1/contents/{id}",
        "showContent",
        "A content, its replica, and what happened to both",
        Caller.READER,
        story,
        reply=Story,
        statuses=(200, 404),
    ),
    Route(
        "GET",
        "/v1/requests/{id}/troubles",
        "listTroubles",
        "The files of a request that are longest on their way, and those that failed or went missing last",
        Caller.READER,
        troubles,
        reply=Troubles,
        statuses=(200, 404),
    ),
)

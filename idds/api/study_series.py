"""What a study found, for charts: each answer is bounded, however many samples there are."""

from idds.api.route import Call, Caller, Reply, Route
from idds.domain.identifiers import CollectionId
from idds.domain.study_series import StudyCurves, StudyDelivery, StudyImportance, StudyPoints, StudySeries


async def series(call: Call[None, None]) -> Reply:
    return Reply(await call.doors.study_charts.series(call.principal, CollectionId(call.number)))


async def points(call: Call[None, None]) -> Reply:
    return Reply(await call.doors.study_charts.points(call.principal, CollectionId(call.number)))


async def importance(call: Call[None, None]) -> Reply:
    return Reply(await call.doors.study_charts.importance(call.principal, CollectionId(call.number)))


async def curves(call: Call[None, None]) -> Reply:
    return Reply(await call.doors.study_charts.curves(call.principal, CollectionId(call.number)))


async def delivery(call: Call[None, None]) -> Reply:
    return Reply(await call.doors.study_charts.delivery(call.principal, CollectionId(call.number)))


ROUTES = (
    Route(
        "GET",
        "/v1/studies/{id}/series",
        "showStudySeries",
        "A study's best value over time",
        Caller.READER,
        series,
        reply=StudySeries,
        statuses=(200, 404),
    ),
    Route(
        "GET",
        "/v1/studies/{id}/points",
        "showStudyPoints",
        "A study's best samples, and an even choice of the others",
        Caller.READER,
        points,
        reply=StudyPoints,
        statuses=(200, 404),
    ),
    Route(
        "GET",
        "/v1/studies/{id}/importance",
        "weighParameters",
        "How much each parameter had to do with a study's best results",
        Caller.READER,
        importance,
        reply=StudyImportance,
        statuses=(200, 404),
    ),
    Route(
        "GET",
        "/v1/studies/{id}/curves",
        "showStudyCurves",
        "What was said of a study's newest samples on the way",
        Caller.READER,
        curves,
        reply=StudyCurves,
        statuses=(200, 404),
    ),
    Route(
        "GET",
        "/v1/studies/{id}/delivery",
        "showStudyDelivery",
        "A study's samples that are being evaluated, and those that came back without a result of late",
        Caller.READER,
        delivery,
        reply=StudyDelivery,
        statuses=(200, 404),
    ),
)

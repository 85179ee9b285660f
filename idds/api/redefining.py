"""Studies redefined while they run."""

from idds.api.bodies import RedefineBody, VersionsQuery
from idds.api.replies import VersionsReply
from idds.api.route import Call, Caller, Reply, Route
from idds.domain.identifiers import CollectionId
from idds.domain.redefinition import StudyVersion
from idds.services.redefining import Order


async def redefine(call: Call[None, RedefineBody]) -> Reply:
    body = call.body
    order = Order(call.principal, body.changes, body.reason, body.if_version)
    return Reply(await call.doors.redefining.redefine(CollectionId(call.number), order))


async def versions(call: Call[VersionsQuery, None]) -> Reply:
    query = call.query
    found = await call.doors.redefining.versions(
        call.principal, CollectionId(call.number), after=query.after, limit=query.limit
    )
    return Reply(VersionsReply(found.versions, found.next))


ROUTES = (
    Route(
        "POST",
        "/v1/studies/{id}:redefine",
        "redefineStudy",
        "Change the space of a study while it runs: what was found stays, and counts where it fits",
        Caller.USER,
        redefine,
        reply=StudyVersion,
        body=RedefineBody,
        statuses=(200, 404, 409),
    ),
    Route(
        "GET",
        "/v1/studies/{id}/versions",
        "listVersions",
        "What a study was, from the first version on, and why it was changed",
        Caller.READER,
        versions,
        reply=VersionsReply,
        query=VersionsQuery,
        statuses=(200, 404),
    ),
)

"""Transforms and processings: what became of each work, and of each submission to a provider."""

from idds.api.bodies import ProcessingsQuery
from idds.api.replies import ProcessingPage, TransformReply, TransformsReply, of_transform
from idds.api.route import Call, Caller, Reply, Route
from idds.domain.identifiers import ProcessingId, RequestId, TransformId
from idds.domain.processing import Processing


async def transforms(call: Call[None, None]) -> Reply:
    return Reply(TransformsReply(await call.doors.catalogue.transforms(call.principal, RequestId(call.number))))


async def transform(call: Call[None, None]) -> Reply:
    return Reply(of_transform(*await call.doors.catalogue.transform(call.principal, TransformId(call.number))))


async def processings(call: Call[ProcessingsQuery, None]) -> Reply:
    query = call.query
    found = await call.doors.catalogue.processings(
        call.principal,
        RequestId(call.number),
        statuses=frozenset(query.status),
        transform=query.transform,
        after=query.after,
        limit=query.limit + 1,
    )
    page = found[: query.limit]
    return Reply(ProcessingPage(page, page[-1].id if len(found) > query.limit else None))


async def processing(call: Call[None, None]) -> Reply:
    return Reply(await call.doors.catalogue.processing(call.principal, ProcessingId(call.number)))


ROUTES = (
    Route(
        "GET",
        "/v1/requests/{id}/transforms",
        "listTransforms",
        "Transforms of a request, one a work, oldest first",
        Caller.READER,
        transforms,
        reply=TransformsReply,
        statuses=(200, 404),
    ),
    Route(
        "GET",
        "/v1/transforms/{id}",
        "showTransform",
        "A transform with its collections",
        Caller.READER,
        transform,
        reply=TransformReply,
        statuses=(200, 404),
    ),
    Route(
        "GET",
        "/v1/requests/{id}/processings",
        "listProcessings",
        "Processings of a request, oldest first",
        Caller.READER,
        processings,
        reply=ProcessingPage,
        query=ProcessingsQuery,
        statuses=(200, 404),
    ),
    Route(
        "GET",
        "/v1/processings/{id}",
        "showProcessing",
        "A processing",
        Caller.READER,
        processing,
        reply=Processing,
        statuses=(200, 404),
    ),
)

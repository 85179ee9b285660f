"""Studies: what they are, how far they are, and what came of their samples."""

from collections.abc import Sequence
from contextlib import aclosing
from typing import cast

import msgspec
from aiohttp import web

from idds.api.bodies import BestQuery, SamplesQuery, StudiesQuery
from idds.api.lines import NDJSON
from idds.api.replies import BestReply, StudyPage, StudySamplePage
from idds.api.route import Call, Caller, Reply, Route
from idds.api.streams import stream_lines
from idds.domain.identifiers import CollectionId, RequestId
from idds.domain.study import Sample, SampleStory, Study
from idds.store.study_listings import SampleFilter, SampleRow


async def list_studies(call: Call[StudiesQuery, None]) -> Reply:
    query = call.query
    request = None if query.request is None else RequestId(query.request)
    found = await call.doors.studies.studies(
        call.principal, request=request, before=query.before, limit=query.limit + 1
    )
    page = found[: query.limit]
    return Reply(StudyPage(page, page[-1].id if len(found) > query.limit else None))


async def show(call: Call[None, None]) -> Reply:
    return Reply(await call.doors.studies.study(call.principal, CollectionId(call.number)))


async def best(call: Call[BestQuery, None]) -> Reply:
    found = await call.doors.studies.best(call.principal, CollectionId(call.number), call.query.limit)
    return Reply(BestReply(found))


async def samples(call: Call[SamplesQuery, None]) -> Reply | web.StreamResponse:
    query, study, studies = call.query, CollectionId(call.number), call.doors.studies
    wanted = SampleFilter(query.status, query.version)
    if NDJSON in call.request.headers.get("Accept", ""):
        async with aclosing(studies.stream(call.principal, study, wanted, after=query.after)) as pages:
            return await stream_lines(call.request, pages, _lines)
    page = await studies.samples(call.principal, study, wanted, after=query.after, limit=query.limit)
    return Reply(StudySamplePage(cast("list[Sample]", _told(page.samples)), page.next))


async def sample(call: Call[None, None]) -> Reply:
    number = int(call.request.match_info["number"])
    return Reply(await call.doors.studies.sample(call.principal, CollectionId(call.number), number))


_Told = msgspec.defstruct("_Told", SampleRow._fields, frozen=True, gc=False)
_encoder = msgspec.json.Encoder()


def _lines(page: Sequence[SampleRow]) -> bytes:
    return _encoder.encode_lines(_told(page))


def _told(page: Sequence[SampleRow]) -> list[msgspec.Struct]:
    """What becomes a `Sample` as JSON, without being one: they are many."""
    return [
        _Told(
            *each[:5],
            _stored(each.parameters),
            _stored(each.objective_values),
            _stored(each.constraint_values),
            *each[8:],
        )
        for each in page
    ]


def _stored(json: str | None) -> msgspec.Raw | None:
    return None if json is None else msgspec.Raw(json.encode())


_OF_STUDY = "/v1/studies/{id}"

ROUTES = (
    Route(
        "GET",
        "/v1/studies",
        "listStudies",
        "Studies, newest first; of a request, or all",
        Caller.READER,
        list_studies,
        reply=StudyPage,
        query=StudiesQuery,
    ),
    Route(
        "GET",
        _OF_STUDY,
        "showStudy",
        "A study: its definition, how far it is, the best it found. Its id is that of its samples' collection",
        Caller.READER,
        show,
        reply=Study,
        statuses=(200, 404),
    ),
    Route(
        "GET",
        f"{_OF_STUDY}/best",
        "listBest",
        "The samples with the best values; of several objectives, the Pareto front in the order of the first",
        Caller.READER,
        best,
        reply=BestReply,
        query=BestQuery,
        statuses=(200, 404),
    ),
    Route(
        "GET",
        f"{_OF_STUDY}/samples",
        "listSamples",
        "Samples by their numbers; accepting application/x-ndjson, all of them as a stream, one JSON object a line. A "
        "page of those of a status or version may have fewer than `limit`, and yet a `next`",
        Caller.READER,
        samples,
        reply=StudySamplePage,
        query=SamplesQuery,
        statuses=(200, 404),
        also=NDJSON,
    ),
    Route(
        "GET",
        f"{_OF_STUDY}/samples/{{number}}",
        "showSample",
        "A sample, and what was said of it on its way",
        Caller.READER,
        sample,
        reply=SampleStory,
        statuses=(200, 404),
    ),
)

"""Requests: submitted, listed, ordered about, explained."""

import re

from idds.api.bodies import ExtendBody, HistoryQuery, RequestsQuery, RetryBody, SubmitBody
from idds.api.replies import (
    MovePage,
    RequestPage,
    RequestReply,
    of_move,
    of_request,
    of_whole_request,
)
from idds.api.route import Call, Caller, Endpoint, Reply, Route
from idds.domain.errors import InvalidInput, Problem
from idds.domain.identifiers import RequestId
from idds.domain.request import RequestSummary, Terms
from idds.domain.statuses import Intent
from idds.services.explanation import Answer
from idds.services.submission import WrongWorkflow
from idds.store.requests import RequestFilter

_KEY = "Idempotency-Key"
_KEY_FORM = re.compile(r"[\x21-\x7e]{1,255}")


async def submit(call: Call[None, SubmitBody]) -> Reply:
    key = call.request.headers.get(_KEY)
    if key is not None and not _KEY_FORM.fullmatch(key):
        raise InvalidInput([Problem(_KEY, "give 1 to 255 printable ASCII characters without blanks")])
    try:
        request, is_new = await call.doors.submission.submit(
            call.principal,
            call.body.workflow,
            Terms(call.body.share, call.body.priority, _microseconds(call.body.lifetime_s)),
            owner=call.body.owner,
            idempotency_key=key,
        )
    except WrongWorkflow as error:
        raise InvalidInput([Problem(f"/workflow{p.pointer}", p.message) for p in error.problems]) from None
    headers = {"Location": f"/v1/requests/{request.id}"}
    return Reply(of_request(request), 201 if is_new else 200, headers)


async def list_requests(call: Call[RequestsQuery, None]) -> Reply:
    query = call.query
    wanted = RequestFilter(frozenset(query.status), query.owner, query.share, query.name)
    found = await call.doors.catalogue.requests(call.principal, wanted, before=query.before, limit=query.limit + 1)
    page = found[: query.limit]
    return Reply(RequestPage(page, page[-1].id if len(found) > query.limit else None))


async def show(call: Call[None, None]) -> Reply:
    found = await call.doors.catalogue.overview(call.principal, RequestId(call.number))
    return Reply(of_whole_request(found.request, found.transforms, found.collections))


def _microseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e6)


async def retry(call: Call[None, RetryBody]) -> Reply:
    lifetime = _microseconds(call.body.lifetime_s)
    return Reply(of_request(await call.doors.submission.retry(call.principal, RequestId(call.number), lifetime)))


async def extend(call: Call[None, ExtendBody]) -> Reply:
    lifetime = _microseconds(call.body.lifetime_s)
    return Reply(of_request(await call.doors.submission.extend(call.principal, RequestId(call.number), lifetime)))


def _order(intent: Intent) -> Endpoint:
    async def order(call: Call[None, None]) -> Reply:
        return Reply(of_request(await call.doors.submission.order(call.principal, RequestId(call.number), intent)))

    return order


async def history(call: Call[HistoryQuery, None]) -> Reply:
    query = call.query
    found = await call.doors.catalogue.history(
        call.principal, RequestId(call.number), entity=query.entity, after=query.after, limit=query.limit + 1
    )
    page = found[: query.limit]
    told = [of_move(move, with_ids=query.with_ids) for move in page]
    return Reply(MovePage(told, page[-1].id if len(found) > query.limit else None))


async def why(call: Call[None, None]) -> Reply:
    return Reply(await call.doors.explanation.why(call.principal, RequestId(call.number)))


_ORDERS = (
    ("cancel", Intent.CANCEL, "Stop it; what was delivered stays delivered"),
    ("suspend", Intent.SUSPEND, "Start nothing new until it is resumed"),
    ("resume", Intent.RUN, "Go on after a suspension"),
    ("finish", Intent.FINISH, "Start nothing new, and end with what is under way"),
)

ROUTES = (
    Route(
        "POST",
        "/v1/requests",
        "submitRequest",
        "Submit a workflow to be carried out",
        Caller.USER,
        submit,
        reply=RequestSummary,
        body=SubmitBody,
        statuses=(201, 200, 409),
        headers={_KEY: "Sent again with the same document, no second request is made: 200 instead of 201."},
    ),
    Route(
        "GET",
        "/v1/requests",
        "listRequests",
        "Requests, newest first",
        Caller.READER,
        list_requests,
        reply=RequestPage,
        query=RequestsQuery,
    ),
    Route(
        "GET",
        "/v1/requests/{id}",
        "showRequest",
        "A request with its workflow, transforms and collections",
        Caller.READER,
        show,
        reply=RequestReply,
        statuses=(200, 404),
    ),
    *(
        Route(
            "POST",
            f"/v1/requests/{{id}}:{verb}",
            f"{verb}Request",
            summary,
            Caller.USER,
            _order(intent),
            reply=RequestSummary,
            statuses=(200, 404, 409),
        )
        for verb, intent, summary in _ORDERS
    ),
    Route(
        "POST",
        "/v1/requests/{id}:retry",
        "retryRequest",
        "Go on with what did not succeed; 200, too, for one that was retried and is under way",
        Caller.USER,
        retry,
        reply=RequestSummary,
        body=RetryBody,
        statuses=(200, 404, 409),
    ),
    Route(
        "POST",
        "/v1/requests/{id}:extend",
        "extendRequest",
        "Say anew when it expires",
        Caller.USER,
        extend,
        reply=RequestSummary,
        body=ExtendBody,
        statuses=(200, 404, 409),
    ),
    Route(
        "GET",
        "/v1/requests/{id}/history",
        "listMoves",
        "What happened to a request and all that belongs to it, oldest first",
        Caller.READER,
        history,
        reply=MovePage,
        query=HistoryQuery,
        statuses=(200, 404),
    ),
    Route(
        "GET",
        "/v1/requests/{id}/why",
        "explainRequest",
        "What a request waits for, since when, and what happens next; or why it ended as it did",
        Caller.READER,
        why,
        reply=Answer,
        statuses=(200, 404),
    ),
)

"""Contents leased, kept, and reported."""

from typing import Any

from idds.api.bodies import HeartbeatBody, IntermediateBody, LeaseBody, NextLease, ReportBody, ReturnBody
from idds.api.problems import NoContent, Stale
from idds.api.replies import (
    AdviceReply,
    HeartbeatReply,
    IntermediateReply,
    LeaseReply,
    ReportReply,
    ReturnReply,
    StopReply,
    of_delivered,
    of_receipt,
)
from idds.api.route import Call, Caller, Reply, Route
from idds.domain.content import Intermediate, Outcome, Verdict
from idds.domain.errors import InvalidInput, Problem
from idds.domain.identifiers import CollectionId, ContentId
from idds.services.delivery import GiveBack, Heartbeat, Lease, Report, Said

MICROSECONDS = 1_000_000


async def lease(call: Call[None, LeaseBody]) -> Reply:
    order = _lease_of(call, call.body)
    wait_s = min(call.body.wait_s, call.settings.max_wait_s)
    leased = await call.counters.lease(
        CollectionId(call.number), order, wait_s, lambda: call.is_abandoned, call.identify
    )
    return Reply(LeaseReply([of_delivered(delivered) for delivered in leased.contents], leased.has_ended))


async def heartbeat(call: Call[None, HeartbeatBody]) -> Reply:
    order = Heartbeat(call.principal, _held(call.body), _ttl(call, call.body.ttl_s))
    kept = await call.counters.keep(CollectionId(call.number), order)
    stop = [StopReply(content, reason) for content, reason in sorted(kept.stop.items())]
    return Reply(HeartbeatReply(sorted(kept.held), stop))


async def intermediate(call: Call[None, IntermediateBody]) -> Reply:
    said = [Intermediate(ContentId(v.id), v.attempt, v.step, float(v.value)) for v in call.body.values]
    advice = await call.counters.hear(CollectionId(call.number), Said(call.principal, said))
    return Reply(IntermediateReply([AdviceReply(each.content_id, each.stop, each.reason) for each in advice]))


async def give_back(call: Call[None, ReturnBody]) -> Reply:
    order = GiveBack(call.principal, _held(call.body))
    return Reply(ReturnReply(sorted(await call.counters.give_back(CollectionId(call.number), order))))


def _held(body: HeartbeatBody | ReturnBody) -> dict[int, int]:
    held = {each.id: each.attempt for each in body.held}
    if len(held) < len(body.held):
        raise InvalidInput([Problem("/held", "the same content stands in it twice")])
    return held


def _lease_of(call: Call[None, Any], wanted: NextLease, place: str = "") -> Lease:
    if wanted.lessee.startswith("processing:"):
        raise InvalidInput([Problem(f"{place}/lessee", "names that begin with 'processing:' are the service's own")])
    return Lease(call.principal, wanted.count, _ttl(call, wanted.ttl_s, place), wanted.lessee)


def _ttl(call: Call[None, Any], ttl_s: float | None, place: str = "") -> int:
    longest = call.settings.max_lease_s
    if ttl_s is not None and ttl_s > longest:
        raise InvalidInput([Problem(f"{place}/ttl_s", f"a lease lasts {longest:g} s at most")])
    return max(1, round((ttl_s if ttl_s is not None else call.settings.default_lease_s) * MICROSECONDS))


async def report(call: Call[None, ReportBody]) -> Reply:
    outcomes = [
        Outcome(
            ContentId(each.id),
            each.attempt,
            done=each.status == "done",
            reason=each.reason,
            retry=each.retry,
            objective_values=tuple(map(float, each.objective_values)),
            events=each.events,
            constraint_values=tuple(map(float, each.constraint_values)),
            is_pruned=each.pruned,
        )
        for each in call.body.reports
    ]
    following = call.body.lease
    wanted = _lease_of(call, following, "/lease") if following is not None else None
    order = Report(call.principal, outcomes, wanted)
    reported = await call.counters.report(CollectionId(call.number), order, lambda: call.is_abandoned)
    receipts = [of_receipt(receipt) for receipt in reported.receipts]
    leased = reported.leased
    if leased is not None:
        # Never an error, which would lose what was leased.
        return Reply(ReportReply(receipts, [of_delivered(each) for each in leased.contents], leased.has_ended))
    if len(receipts) == 1:
        _check_counts(call, receipts[0].verdict)
    return Reply(ReportReply(receipts))


def _check_counts(call: Call[None, ReportBody], verdict: Verdict) -> None:
    """Who reports one content alone may look at the status of the answer only. Raises Stale and NoContent."""
    (sent,) = call.body.reports
    if verdict is Verdict.STALE:
        raise Stale(f"content {sent.id} is not held under attempt {sent.attempt}: the report changed nothing")
    if verdict is Verdict.UNKNOWN:
        raise NoContent(f"content {sent.id} is none of collection {call.number}: the report changed nothing")


_OF_COLLECTION = "/v1/collections/{id}"

ROUTES = (
    Route(
        "POST",
        f"{_OF_COLLECTION}/contents:lease",
        "leaseContents",
        "Lease contents, waiting for some where none is available",
        Caller.PAYLOAD,
        lease,
        reply=LeaseReply,
        body=LeaseBody,
        statuses=(200, 404, 409),
    ),
    Route(
        "POST",
        f"{_OF_COLLECTION}/contents:heartbeat",
        "extendLeases",
        "Keep leases; answers those that still held, and which samples are to stop",
        Caller.PAYLOAD,
        heartbeat,
        reply=HeartbeatReply,
        body=HeartbeatBody,
        statuses=(200, 404, 409),
    ),
    Route(
        "POST",
        f"{_OF_COLLECTION}/contents:return",
        "returnContents",
        "Give back contents that were not begun: such a lease counts as no attempt",
        Caller.PAYLOAD,
        give_back,
        reply=ReturnReply,
        body=ReturnBody,
        statuses=(200, 404, 409),
    ),
    Route(
        "POST",
        f"{_OF_COLLECTION}/contents:intermediate",
        "reportIntermediates",
        "Say what samples are on their way; answers which of them are to stop",
        Caller.PAYLOAD,
        intermediate,
        reply=IntermediateReply,
        body=IntermediateBody,
        statuses=(200, 404, 409),
    ),
    Route(
        "POST",
        f"{_OF_COLLECTION}/contents:report",
        "reportContents",
        "Report what came of contents, and lease the next; a single one, with no lease, that is stale is answered 409",
        Caller.PAYLOAD,
        report,
        reply=ReportReply,
        body=ReportBody,
        statuses=(200, 404, 409),
    ),
)

"""Collections: shown, and opened to payloads by a token."""

from idds.api.bodies import TokenBody
from idds.api.replies import CollectionReply, TokenReply, of_collection
from idds.api.route import Call, Caller, Reply, Route
from idds.domain.errors import InvalidInput, Problem
from idds.domain.identifiers import CollectionId

MICROSECONDS = 1_000_000


async def show(call: Call[None, None]) -> Reply:
    return Reply(of_collection(await call.doors.catalogue.collection(call.principal, CollectionId(call.number))))


async def issue_token(call: Call[None, TokenBody]) -> Reply:
    lifetime_s, longest = call.body.lifetime_s, call.access.max_payload_token_s
    if lifetime_s is None:
        lifetime_s = min(longest, call.access.default_payload_token_s)
    if lifetime_s > longest:
        raise InvalidInput([Problem("/lifetime_s", f"a token for payloads lasts {longest:g} s at most")])
    assert call.grant is not None
    token = await call.doors.access.issue_for_payloads(
        call.grant, CollectionId(call.number), lifetime=max(1, round(lifetime_s * MICROSECONDS))
    )
    return Reply(TokenReply(token), 201)


async def close(call: Call[None, None]) -> Reply:
    return Reply(of_collection(await call.doors.registration.close(call.principal, CollectionId(call.number))))


_OF_COLLECTION = "/v1/collections/{id}"

ROUTES = (
    Route(
        "GET",
        _OF_COLLECTION,
        "showCollection",
        "A collection and the counters of its contents",
        Caller.READER,
        show,
        reply=CollectionReply,
        statuses=(200, 404),
    ),
    Route(
        "POST",
        f"{_OF_COLLECTION}:close",
        "closeCollection",
        "Say that nothing more will be registered in an open collection; saying it again changes nothing",
        Caller.USER,
        close,
        reply=CollectionReply,
        statuses=(200, 404, 409),
    ),
    Route(
        "POST",
        f"{_OF_COLLECTION}:token",
        "issueToken",
        "A token for payloads: good for leases and reports of this collection, and nothing else",
        Caller.USER,
        issue_token,
        reply=TokenReply,
        body=TokenBody,
        statuses=(201, 404),
    ),
)

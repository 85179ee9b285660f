"""Who is calling, tokens for others, and who changed what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from idds.api.bodies import AuditQuery, NewTokenBody, TokensQuery
from idds.api.route import Call, Caller, Reply, Route
from idds.domain.access import Proof, Token
from idds.domain.errors import InvalidInput, Problem
from idds.domain.identifiers import CollectionId, TokenId
from idds.domain.request import Role
from idds.services.access import NewToken

MICROSECONDS = 1_000_000


@dataclass(frozen=True, slots=True)
class WhoamiReply:
    """Who the caller is, and by what it is known. `collection` is the only one that a payload's token is good for."""

    owner: str
    vo: str
    role: Role
    shares: Sequence[str] | None
    collection: CollectionId | None
    by: Proof
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class TokenEntry:
    """A token, without its secret. Whether it has ended is told by `expires_at` and `revoked_at`."""

    id: TokenId
    owner: str
    vo: str
    role: Role
    shares: Sequence[str] | None
    collection: CollectionId | None
    note: str | None
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    revoked_at: int | None


@dataclass(frozen=True, slots=True)
class NewTokenReply:
    """A new token. `token` is its secret, shown this once."""

    token: str = field(repr=False)
    id: TokenId
    owner: str
    vo: str
    role: Role
    shares: Sequence[str] | None
    collection: CollectionId | None
    note: str | None
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    revoked_at: int | None


@dataclass(frozen=True, slots=True)
class TokenPage:
    tokens: Sequence[TokenEntry]
    next: int | None


@dataclass(frozen=True, slots=True)
class IssuerReply:
    """Who gives tokens that are taken here, and what to ask for in the device flow (RFC 8628)."""

    name: str
    issuer: str
    client_id: str
    scopes: Sequence[str]
    audience: str | None


@dataclass(frozen=True, slots=True)
class LoginReply:
    issuers: Sequence[IssuerReply]


@dataclass(frozen=True, slots=True)
class AuditEntryReply:
    """That somebody ordered a change of `entity`. `call` is the X-Request-Id under which it did."""

    id: int
    at: int
    owner: str
    vo: str
    role: Role
    action: str
    entity: str
    call: str | None
    details: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class AuditPage:
    entries: Sequence[AuditEntryReply]
    next: int | None


async def whoami(call: Call[None, None]) -> Reply:
    grant = call.grant
    assert grant is not None
    principal = grant.principal
    return Reply(
        WhoamiReply(
            owner=principal.owner,
            vo=principal.vo,
            role=principal.role,
            shares=_sorted(principal.shares),
            collection=grant.collection_id,
            by=grant.by,
            expires_at=grant.expires_at,
        )
    )


async def login(call: Call[None, None]) -> Reply:
    known = call.doors.access.issuers
    return Reply(LoginReply([IssuerReply(i.name, i.issuer, i.client_id, i.scopes, i.audience) for i in known]))


async def make(call: Call[None, NewTokenBody]) -> Reply:
    body, longest = call.body, call.access.max_token_s
    lifetime_s = min(longest, call.access.default_token_s) if body.lifetime_s is None else body.lifetime_s
    if lifetime_s > longest:
        raise InvalidInput([Problem("/lifetime_s", f"a token lasts {longest:g} s at most")])
    wanted = NewToken(
        lifetime=max(1, round(lifetime_s * MICROSECONDS)),
        role=body.role,
        owner=body.owner,
        vo=body.vo,
        shares=None if body.shares is None else frozenset(body.shares),
        note=body.note,
    )
    assert call.grant is not None
    token, secret = await call.doors.access.issue_for(call.grant, wanted)
    return Reply(NewTokenReply(secret, **_fields(token)), 201)


async def list_tokens(call: Call[TokensQuery, None]) -> Reply:
    query = call.query
    found = await call.doors.access.tokens(call.principal, owner=query.owner, after=query.after, limit=query.limit + 1)
    page = found[: query.limit]
    following = page[-1].id if len(found) > query.limit else None
    return Reply(TokenPage([TokenEntry(**_fields(token)) for token in page], following))


async def revoke(call: Call[None, None]) -> Reply:
    return Reply(TokenEntry(**_fields(await call.doors.access.revoke(call.principal, TokenId(call.number)))))


async def list_audit(call: Call[AuditQuery, None]) -> Reply:
    query = call.query
    found = await call.doors.access.audit(
        entity=query.entity, owner=query.owner, after=query.after, limit=query.limit + 1
    )
    page = found[: query.limit]
    entries = [AuditEntryReply(e.id, e.at, e.owner, e.vo, e.role, e.action, e.entity, e.call, e.details) for e in page]
    return Reply(AuditPage(entries, page[-1].id if len(found) > query.limit else None))


def _fields(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "owner": token.owner,
        "vo": token.vo,
        "role": token.role,
        "shares": _sorted(token.shares),
        "collection": token.collection_id,
        "note": token.note,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
        "revoked_at": token.revoked_at,
    }


def _sorted(shares: frozenset[str] | None) -> Sequence[str] | None:
    return None if shares is None else sorted(shares)


ROUTES = (
    Route("GET", "/v1/whoami", "whoami", "Who the caller is", Caller.HOLDER, whoami, reply=WhoamiReply),
    Route("GET", "/v1/login", "listIssuers", "Where to get a token", Caller.PUBLIC, login, reply=LoginReply),
    Route(
        "POST",
        "/v1/tokens",
        "makeToken",
        "A token for oneself or, from wfms on, for somebody else; never for more than one may oneself",
        Caller.USER,
        make,
        reply=NewTokenReply,
        body=NewTokenBody,
        statuses=(201,),
    ),
    Route(
        "GET",
        "/v1/tokens",
        "listTokens",
        "One's own tokens, ended ones too; for wfms those of its VO, for operators all",
        Caller.USER,
        list_tokens,
        reply=TokenPage,
        query=TokensQuery,
    ),
    Route(
        "POST",
        "/v1/tokens/{id}:revoke",
        "revokeToken",
        "End a token now, and all that were made with it; doing so again changes nothing",
        Caller.USER,
        revoke,
        reply=TokenEntry,
        statuses=(200, 404),
    ),
    Route(
        "GET",
        "/v1/audit",
        "listAudit",
        "Who ordered which change, oldest first",
        Caller.OPERATOR,
        list_audit,
        reply=AuditPage,
        query=AuditQuery,
    ),
)

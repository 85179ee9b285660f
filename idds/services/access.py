"""Who is calling, and tokens for it."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from idds.domain.access import AuditEntry, Grant, Proof, Token
from idds.domain.errors import Forbidden, InvalidInput, NotFound, Problem, Unauthenticated
from idds.domain.identifiers import CollectionId, TokenId
from idds.domain.request import Principal, Role
from idds.ports.identity import Issuer, Issuers, Proxy
from idds.store.database import Database, Transaction

PREFIX = "idds_"
SESSION_NOTE = "session of a browser"


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that somebody wants, good for `lifetime` microseconds. What is None is the caller's own."""

    lifetime: int
    role: Role | None = None
    owner: str | None = None
    vo: str | None = None
    shares: frozenset[str] | None = None
    note: str | None = None


class Access:
    """What the API does to know its callers.

    `issuers` are those whose tokens are taken beside the service's own, `proxy` tells of certificates.
    """

    def __init__(self, database: Database, issuers: Issuers | None = None, proxy: Proxy | None = None) -> None:
        self._database = database
        self._issuers = issuers
        self.proxy = proxy
        self.revocations = 0
        """How many tokens were revoked by this process: whoever remembers grants asks anew when it has grown."""

    @property
    def issuers(self) -> Sequence[Issuer]:
        """Where people can get a token that is taken here."""
        return () if self._issuers is None else self._issuers.known

    async def authenticate(self, secret: str) -> Grant:
        """What a bearer token gives. Raises Unauthenticated, and what `Issuers.verify` raises."""
        if self._issuers is not None and not secret.startswith(PREFIX):
            return await self._issuers.verify(secret)
        async with self._database.snapshot(brief=True) as tx:
            grant = await tx.tokens.find(secret)
        if grant is None:
            raise Unauthenticated("this token is not known, or has ended")
        return grant

    async def issue(self, principal: Principal, *, lifetime: int | None = None, note: str | None = None) -> str:
        """A new token of this principal, good for `lifetime` microseconds. It is shown this once."""
        secret = _secret()
        async with self._database.transaction("access") as tx:
            expires = None if lifetime is None else tx.now + lifetime
            token = await tx.tokens.add(secret, principal, expires_at=expires, note=note)
            tx.audit.record(principal, "issue", f"token:{token.id}", {"by": "the service"})
        return secret

    async def issue_for(self, grant: Grant, wanted: NewToken) -> tuple[Token, str]:
        """A token for the caller or for somebody that it may speak for, and its secret, shown this once.

        Raises Forbidden for more than the caller may itself, and InvalidInput for a token that would outlive its own.
        """
        principal = _at_most(grant.principal, wanted)
        secret = _secret()
        async with self._database.transaction("access") as tx:
            expires = tx.now + wanted.lifetime
            if grant.by is Proof.TOKEN and grant.expires_at is not None and expires > grant.expires_at:
                left = max(0, grant.expires_at - tx.now) // 1_000_000
                raise InvalidInput([Problem("/lifetime_s", f"the token that makes it ends itself in {left} s")])
            token = await tx.tokens.add(
                secret, principal, expires_at=expires, note=wanted.note, made_by=await _mother(tx, grant)
            )
            details = {"owner": token.owner, "vo": token.vo, "role": token.role, "expires_at": token.expires_at}
            tx.audit.record(grant.principal, "issue", f"token:{token.id}", details)
        return token, secret

    async def open_session(self, grant: Grant, *, longest: int) -> str:
        """The secret of a token for the session of a browser: it may what the grant may, and ends with it, or sooner.

        It is good for `longest` microseconds at most. Raises Forbidden for a payload's token.
        """
        principal, secret = check_reach(grant, None), _secret()
        async with self._database.transaction("access") as tx:
            expires = tx.now + longest
            if grant.expires_at is not None:
                expires = min(expires, grant.expires_at)
            token = await tx.tokens.add(
                secret, principal, expires_at=expires, note=SESSION_NOTE, made_by=await _mother(tx, grant)
            )
            tx.audit.record(principal, "log-in", f"token:{token.id}", {"by": grant.by, "expires_at": expires})
        return secret

    async def issue_for_payloads(self, grant: Grant, collection: CollectionId, *, lifetime: int) -> str:
        """A token that can lease from one collection and report to it, and nothing else. Raises NotFound.

        Its owner is the request's, as a user of all shares, whoever makes it: it reaches no further than it must.
        """
        principal, secret = grant.principal, _secret()
        async with self._database.transaction("access") as tx:
            found = await tx.collections.get(collection, principal)
            if found is None:
                raise NotFound(f"there is no collection {collection}")
            request = await tx.requests.get(found.request_id)
            assert request is not None
            token = await tx.tokens.add(
                secret,
                Principal(request.owner, request.vo),
                collection=collection,
                expires_at=tx.now + lifetime,
                note="payload",
                made_by=await _mother(tx, grant),
            )
            details = {"collection": collection, "expires_at": token.expires_at}
            tx.audit.record(principal, "issue", f"token:{token.id}", details)
        return secret

    async def tokens(
        self, principal: Principal, *, owner: str | None = None, after: int = 0, limit: int = 100
    ) -> Sequence[Token]:
        """Tokens that the principal may see, in the order of their ids, with ids above `after`."""
        async with self._database.snapshot() as tx:
            return await tx.tokens.list(principal, owner=owner, after=after, limit=limit)

    async def revoke(self, principal: Principal, token_id: TokenId) -> Token:
        """End a token, and all that were made with it. Doing so again changes nothing.

        Raises NotFound, and Forbidden for somebody else's of a higher role.
        """
        async with self._database.transaction("access") as tx:
            token = await tx.tokens.get(token_id, principal)
            if token is None:
                raise NotFound(f"there is no token {token_id}")
            if token.owner != principal.owner and not principal.role.includes(token.role):
                raise Forbidden(f"token {token_id} is of the role {token.role}, above yours")
            revoked = await tx.tokens.revoke(token_id)
            if revoked is not None:
                tx.audit.record(principal, "revoke", f"token:{token_id}", {"owner": token.owner})
        self.revocations += 1
        return revoked or token

    async def note_used(self, tokens: frozenset[TokenId]) -> None:
        """Note that these were used about now."""
        async with self._database.transaction("access") as tx:
            await tx.tokens.note_used(tokens)

    async def audit(
        self, *, entity: str | None = None, owner: str | None = None, after: int = 0, limit: int = 100
    ) -> Sequence[AuditEntry]:
        """Who ordered which change, oldest first, with ids above `after`."""
        async with self._database.snapshot() as tx:
            return await tx.audit.page(entity=entity, owner=owner, after=after, limit=limit)


def check_reach(grant: Grant, collection: CollectionId | None) -> Principal:
    """The principal, if its token reaches this collection (None: anything else). Raises Forbidden."""
    if grant.collection_id is not None and grant.collection_id != collection:
        raise Forbidden(f"this token is good for leases and reports of collection {grant.collection_id} only")
    return grant.principal


def acting_for(principal: Principal, owner: str | None) -> Principal:
    """As whom the principal submits. Raises Forbidden where it may not speak for this owner of its VO."""
    if owner is None or owner == principal.owner:
        return principal
    if not principal.role.includes(Role.WFMS):
        raise Forbidden(f"/owner: only the roles wfms and operator speak for others; this token's is {principal.role}")
    return replace(principal, owner=owner)


def _at_most(caller: Principal, wanted: NewToken) -> Principal:
    """Whom the wanted token is to be of, if that is no more than the caller is itself."""
    principal = acting_for(caller, wanted.owner)
    role = caller.role if wanted.role is None else wanted.role
    if not caller.role.includes(role):
        raise Forbidden(f"/role: your own is {caller.role}, and {role} is above it")
    if role is Role.READER and caller.role is Role.USER:
        # The order of the roles is one of deeds: a reader does less than a user, and sees more.
        raise Forbidden("/role: a reader sees all of its VO, and you only what is your own")
    if wanted.vo not in (None, caller.vo) and caller.role is not Role.OPERATOR:
        raise Forbidden(f"/vo: only operators make tokens for other VOs than their own, {caller.vo}")
    shares = caller.shares if wanted.shares is None else wanted.shares
    if caller.shares is not None and not (shares or frozenset()) <= caller.shares:
        raise Forbidden(f"/shares: yours are {', '.join(sorted(caller.shares))}")
    return replace(principal, vo=wanted.vo or caller.vo, role=role, shares=shares)


async def _mother(tx: Transaction, grant: Grant) -> TokenId | None:
    """With which token another one is made. Raises Unauthenticated where it has just been revoked."""
    if grant.token_id is not None and not await tx.tokens.hold(grant.token_id):
        raise Unauthenticated("this token is not known, or has ended")
    return grant.token_id


def _secret() -> str:
    return PREFIX + secrets.token_urlsafe(32)

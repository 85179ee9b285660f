"""Who is calling, and tokens for it."""

import secrets

from idds.domain.errors import Forbidden, NotFound, Unauthenticated
from idds.domain.identifiers import CollectionId
from idds.domain.request import Principal
from idds.store.database import Database
from idds.store.tokens import Grant

PREFIX = "idds_"


class Access:
    """What the API does to know its callers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def authenticate(self, secret: str) -> Grant:
        """What a bearer token gives. Raises Unauthenticated."""
        async with self._database.snapshot() as tx:
            grant = await tx.tokens.find(secret)
        if grant is None:
            raise Unauthenticated("this token is not known, or has ended")
        return grant

    async def issue(self, principal: Principal, *, lifetime: int | None = None, note: str | None = None) -> str:
        """A new token of this principal, good for `lifetime` microseconds. It is shown this once."""
        secret = PREFIX + secrets.token_urlsafe(32)
        async with self._database.transaction("access") as tx:
            expires = None if lifetime is None else tx.now + lifetime
            await tx.tokens.add(secret, principal, expires_at=expires, note=note)
        return secret

    async def issue_for_payloads(self, principal: Principal, collection: CollectionId, *, lifetime: int) -> str:
        """A token that can lease from one collection and report to it, and nothing else. Raises NotFound."""
        secret = PREFIX + secrets.token_urlsafe(32)
        async with self._database.transaction("access") as tx:
            if await tx.collections.get(collection, principal) is None:
                raise NotFound(f"there is no collection {collection}")
            expires = tx.now + lifetime
            await tx.tokens.add(secret, principal, collection=collection, expires_at=expires, note="payload")
        return secret

    async def revoke(self, secret: str) -> None:
        """End a token. Raises NotFound."""
        async with self._database.transaction("access") as tx:
            if not await tx.tokens.revoke(secret):
                raise NotFound("this token is not known")


def check_reach(grant: Grant, collection: CollectionId | None) -> Principal:
    """The principal, if its token reaches this collection (None: anything else). Raises Forbidden."""
    if grant.collection_id is not None and grant.collection_id != collection:
        raise Forbidden(f"this token is good for leases and reports of collection {grant.collection_id} only")
    return grant.principal

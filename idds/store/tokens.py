"""Bearer tokens. Only their hashes are stored: random tokens need no slow hash."""

import hashlib
from dataclasses import dataclass

from sqlalchemy import and_, delete, insert, or_, select

from idds.domain.identifiers import CollectionId
from idds.domain.request import Principal, Role
from idds.store.noun import Noun
from idds.store.schema import tokens


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token gives. With a `collection_id` it is good for that collection's leases and reports only."""

    principal: Principal
    collection_id: CollectionId | None


class Tokens(Noun):
    async def add(
        self,
        secret: str,
        principal: Principal,
        *,
        collection: CollectionId | None = None,
        expires_at: int | None = None,
        note: str | None = None,
    ) -> None:
        """Make `secret` a token of this principal."""
        values = {
            "sha256": _hash(secret),
            "owner": principal.owner,
            "vo": principal.vo,
            "role": principal.role,
            "shares": None if principal.shares is None else sorted(principal.shares),
            "collection_id": collection,
            "note": note,
            "created_at": self._tx.now,
            "expires_at": expires_at,
        }
        await self._execute(insert(tokens).values(values))

    async def find(self, secret: str) -> Grant | None:
        """What this token gives, if it is known and has not ended."""
        alive = and_(
            tokens.c.revoked_at.is_(None),
            or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > self._tx.now),
        )
        row = (await self._execute(select(tokens).where(tokens.c.sha256 == _hash(secret), alive))).first()
        if row is None:
            return None
        shares = None if row.shares is None else frozenset(row.shares)
        return Grant(Principal(row.owner, row.vo, Role(row.role), shares), row.collection_id)

    async def revoke(self, secret: str) -> bool:
        """End a token; False when it is not known."""
        return (await self._execute(delete(tokens).where(tokens.c.sha256 == _hash(secret)))).rowcount == 1


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()

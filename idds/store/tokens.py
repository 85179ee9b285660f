"""Bearer tokens. Only their hashes are stored: random tokens need no slow hash."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Row, and_, delete, insert, or_, select, update

from idds.domain.access import Grant, Proof, Token
from idds.domain.identifiers import CollectionId, TokenId
from idds.domain.request import Principal, Role
from idds.store.noun import Noun
from idds.store.schema import tokens
from idds.store.sets import among_bound, among_selected
from idds.store.visibility import visible_tokens

_COLUMNS = [column for column in tokens.c if column.name not in ("sha256", "made_by")]
_UNLOCKED = select(tokens.c.id).where(among_bound(tokens.c.id, "ids")).with_for_update(skip_locked=True)


class Tokens(Noun):
    async def add(
        self,
        secret: str,
        principal: Principal,
        *,
        collection: CollectionId | None = None,
        expires_at: int | None = None,
        note: str | None = None,
    ) -> Token:
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
        return _token((await self._execute(insert(tokens).values(values).returning(*_COLUMNS))).one())

    async def find(self, secret: str) -> Grant | None:
        """What this token gives, if it is known and has not ended."""
        alive = and_(
            tokens.c.revoked_at.is_(None),
            or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > self._tx.now),
        )
        row = (await self._execute(select(*_COLUMNS).where(tokens.c.sha256 == _hash(secret), alive))).first()
        if row is None:
            return None
        token = _token(row)
        principal = Principal(token.owner, token.vo, token.role, token.shares)
        return Grant(principal, token.collection_id, Proof.TOKEN, token.expires_at, token.id)

    async def get(self, token: TokenId, principal: Principal) -> Token | None:
        """A token, if it is there and the principal may see it."""
        row = (await self._execute(visible_tokens(select(*_COLUMNS).where(tokens.c.id == token), principal))).first()
        return None if row is None else _token(row)

    async def list(
        self, principal: Principal, *, owner: str | None = None, after: int = 0, limit: int = 100
    ) -> Sequence[Token]:
        """Tokens that the principal may see, in the order of their ids, with ids above `after`; also ended ones."""
        query = visible_tokens(select(*_COLUMNS).where(tokens.c.id > after), principal)
        if owner is not None:
            query = query.where(tokens.c.owner == owner)
        return [_token(row) for row in await self._execute(query.order_by(tokens.c.id).limit(limit))]

    async def revoke(self, token: TokenId) -> Token | None:
        """End a token; None when it has been revoked before, or is not there. Its row stays, marked."""
        ended = update(tokens).where(tokens.c.id == token, tokens.c.revoked_at.is_(None))
        row = (await self._execute(ended.values(revoked_at=self._tx.now).returning(*_COLUMNS))).first()
        return None if row is None else _token(row)

    async def note_used(self, ids: Iterable[TokenId]) -> None:
        """Note that these were used about now. Those that somebody else is noting are left to him."""
        used = update(tokens).where(among_selected(tokens.c.id, _UNLOCKED)).values(last_used_at=self._tx.now)
        await self._execute(used, {"ids": list(ids)})

    async def forget_before(self, at: int, *, limit: int) -> int:
        """Delete up to `limit` tokens that ended before; how many."""
        ended = select(tokens.c.id).where(or_(tokens.c.expires_at < at, tokens.c.revoked_at < at)).limit(limit)
        return (await self._execute(delete(tokens).where(tokens.c.id.in_(ended)))).rowcount


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _token(row: Row[Any]) -> Token:
    shares = None if row.shares is None else frozenset(row.shares)
    return Token(**(row._asdict() | {"role": Role(row.role), "shares": shares}))

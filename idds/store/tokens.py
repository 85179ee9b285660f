"""Bearer tokens. Only their hashes are stored: random tokens need no slow hash."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, delete, exists, insert, or_, select, update

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
        made_by: TokenId | None = None,
    ) -> Token:
        """Make `secret` a token of this principal; it ends with the token `made_by`, if that is revoked."""
        values = {
            "sha256": _hash(secret),
            "owner": principal.owner,
            "vo": principal.vo,
            "role": principal.role,
            "shares": None if principal.shares is None else sorted(principal.shares),
            "collection_id": collection,
            "made_by": made_by,
            "note": note,
            "created_at": self._tx.now,
            "expires_at": expires_at,
        }
        return _token((await self._execute(insert(tokens).values(values).returning(*_COLUMNS))).one())

    async def find(self, secret: str) -> Grant | None:
        """What this token gives, if it is known and has not ended."""
        row = (await self._execute(select(*_COLUMNS).where(tokens.c.sha256 == _hash(secret), self._alive()))).first()
        if row is None:
            return None
        token = _token(row)
        principal = Principal(token.owner, token.vo, token.role, token.shares)
        return Grant(principal, token.collection_id, Proof.TOKEN, token.expires_at, token.id)

    async def hold(self, token: TokenId) -> bool:
        """Whether this token has not ended; nobody revokes it while this transaction goes on."""
        held = select(tokens.c.id).where(tokens.c.id == token, self._alive()).with_for_update(read=True)
        return (await self._execute(held)).first() is not None

    def _alive(self) -> ColumnElement[bool]:
        is_endless = tokens.c.expires_at.is_(None)
        return and_(tokens.c.revoked_at.is_(None), or_(is_endless, tokens.c.expires_at > self._tx.now))

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
        """End a token, and all that were made with it, by those in turn; their rows stay, marked.

        None when it has been revoked before, or is not there.
        """
        ended = update(tokens).where(tokens.c.id.in_(_made_with(token)), tokens.c.revoked_at.is_(None))
        ended = ended.values(revoked_at=self._tx.now).returning(*_COLUMNS)
        revoked: dict[TokenId, Token] = {}
        # Once more: what was just being made with one of them is seen when that one's lock was waited for.
        while rows := (await self._execute(ended)).all():
            revoked.update((row.id, _token(row)) for row in rows)
        return revoked.get(token)

    async def note_used(self, ids: Iterable[TokenId]) -> None:
        """Note that these were used about now. Those that somebody else is noting are left to him."""
        used = update(tokens).where(among_selected(tokens.c.id, _UNLOCKED)).values(last_used_at=self._tx.now)
        await self._execute(used, {"ids": list(ids)})

    async def forget_before(self, at: int, *, limit: int) -> int:
        """Delete up to `limit` tokens that ended before; how many. One stays as long as any that was made with it."""
        has_ended = or_(tokens.c.expires_at < at, tokens.c.revoked_at < at)
        made = tokens.alias("made")
        ended = select(tokens.c.id).where(has_ended, ~exists().where(made.c.made_by == tokens.c.id)).limit(limit)
        return (await self._execute(delete(tokens).where(tokens.c.id.in_(ended)))).rowcount


def _made_with(token: TokenId) -> Select[tuple[TokenId]]:
    """The token and all that it begot."""
    made = select(tokens.c.id).where(tokens.c.id == token).cte("made", recursive=True)
    made = made.union(select(tokens.c.id).join(made, tokens.c.made_by == made.c.id))
    return select(made.c.id)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _token(row: Row[Any]) -> Token:
    shares = None if row.shares is None else frozenset(row.shares)
    return Token(**(row._asdict() | {"role": Role(row.role), "shares": shares}))

"""Calls about tokens: who we are, tokens for others, and who changed what."""

from collections.abc import AsyncGenerator, Collection

from idds.domain.request import Role
from idds.sdk.calls import Calls
from idds.sdk.exchange import Again, Call
from idds.sdk.views import AuditEntry, Issuer, TokenView, Whoami


class TokenCalls(Calls):
    """Who we are, and tokens for others."""

    async def whoami(self) -> Whoami:
        """Who our token says that we are, and what we may."""
        return await self._ask(Whoami, Call("GET", "/v1/whoami"))

    async def issuers(self) -> tuple[Issuer, ...]:
        """Who gives tokens that this service takes."""
        return await self._ask(tuple[Issuer, ...], Call("GET", "/v1/login"), "issuers")

    async def new_token(
        self,
        role: Role | str | None = None,
        *,
        owner: str | None = None,
        vo: str | None = None,
        shares: Collection[str] | None = None,
        lifetime_s: float | None = None,
        note: str | None = None,
    ) -> TokenView:
        """A token; its secret is shown this once. What is not given is as we are. Raises Forbidden for more."""
        given: dict[str, object] = {"role": role, "owner": owner, "vo": vo, "lifetime_s": lifetime_s, "note": note}
        given |= {"shares": None if shares is None else sorted(shares)}
        body = {name: value for name, value in given.items() if value is not None}
        return await self._ask(TokenView, Call("POST", "/v1/tokens", body=body, again=Again.UNSENT))

    def tokens(self, owner: str | None = None) -> AsyncGenerator[TokenView]:
        """Tokens that we may see, without their secrets; all, or those of an owner."""
        return self._pages(TokenView, "/v1/tokens", "tokens", {"owner": owner})

    async def revoke_token(self, token: int) -> TokenView:
        """End a token now."""
        return await self._ask(TokenView, Call("POST", f"/v1/tokens/{token}:revoke"))

    def audit(
        self, *, entity: str | None = None, owner: str | None = None, after: int | None = None
    ) -> AsyncGenerator[AuditEntry]:
        """Who changed what, oldest first; all, or of one entity (`request:7`) or by one owner. For operators."""
        return self._pages(AuditEntry, "/v1/audit", "entries", {"entity": entity, "owner": owner, "after": after})

    async def payload_token(self, collection: int, lifetime_s: float) -> str:
        """A token that can lease from this collection and report to it for `lifetime_s`, and nothing else."""
        call = Call("POST", f"/v1/collections/{collection}:token", body={"lifetime_s": lifetime_s}, again=Again.UNSENT)
        return await self._ask(str, call, "token")

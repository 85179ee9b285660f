"""Calls about tokens, and who may what with them."""

from idds.sdk.calls import Calls
from idds.sdk.exchange import Again, Call


class TokenCalls(Calls):
    """Who we are, and tokens for others."""

    async def payload_token(self, collection: int, lifetime_s: float) -> str:
        """A token that can lease from this collection and report to it for `lifetime_s`, and nothing else."""
        call = Call("POST", f"/v1/collections/{collection}:token", body={"lifetime_s": lifetime_s}, again=Again.UNSENT)
        return await self._ask(str, call, "token")

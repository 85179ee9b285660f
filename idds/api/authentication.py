"""Who is calling, remembered for a moment, so that a busy consumer does not cost a query a call."""

import hashlib
import re
import time
from collections.abc import Callable

from idds.api.route import Caller
from idds.api.settings import ApiSettings
from idds.domain.errors import Forbidden, Unauthenticated
from idds.domain.identifiers import CollectionId
from idds.domain.request import Role
from idds.services.access import Access, check_reach
from idds.store.tokens import Grant

_BEARER = re.compile(r"Bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)


class Authentication:
    """A token that ended, or was revoked, is taken for `authentication_memory_s` more at most."""

    def __init__(self, access: Access, settings: ApiSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._memory_s = settings.authentication_memory_s
        self._size = settings.authentication_memory_size
        self._clock = clock
        self._known: dict[bytes, tuple[Grant, float]] = {}

    async def authenticate(self, header: str | None) -> Grant:
        """What the token in an Authorization header gives. Raises Unauthenticated."""
        if header is None:
            raise Unauthenticated("send a token: Authorization: Bearer ...")
        found = _BEARER.fullmatch(header.strip())
        if found is None:
            raise Unauthenticated("the Authorization header holds no bearer token")
        secret = found.group(1)
        key = hashlib.sha256(secret.encode()).digest()
        now = self._clock()
        known = self._known.get(key)
        if known is not None and now < known[1]:
            return known[0]
        grant = await self._access.authenticate(secret)
        self._remember(key, grant, now)
        return grant

    def _remember(self, key: bytes, grant: Grant, now: float) -> None:
        self._known.pop(key, None)
        while self._known:
            oldest = next(iter(self._known))
            if self._known[oldest][1] > now and len(self._known) < self._size:
                break
            del self._known[oldest]
        self._known[key] = (grant, now + self._memory_s)


_LEAST = {
    Caller.PAYLOAD: Role.USER,
    Caller.READER: Role.READER,
    Caller.USER: Role.USER,
    Caller.WFMS: Role.WFMS,
    Caller.OPERATOR: Role.OPERATOR,
}


def admit(caller: Caller, grant: Grant, number: int) -> None:
    """Let in whom a route is for; `number` is the `{id}` of its path. Raises Forbidden."""
    if caller not in _LEAST:
        return
    check_reach(grant, CollectionId(number) if caller is Caller.PAYLOAD else None)
    if not grant.principal.role.includes(_LEAST[caller]):
        raise Forbidden(
            f"this is for the role {_LEAST[caller]} and those above it; this token's is {grant.principal.role}"
        )

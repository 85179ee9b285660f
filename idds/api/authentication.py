"""Who is calling, remembered for a moment, so that a busy consumer does not cost a query a call."""

import asyncio
import hashlib
import re
import time
from collections.abc import Callable

from aiohttp import web

from idds.api.route import Caller
from idds.domain.access import Grant
from idds.domain.errors import Forbidden, Unauthenticated
from idds.domain.identifiers import CollectionId, TokenId
from idds.domain.request import HOUSE, Role
from idds.runtime.settings import ApiSettings
from idds.services.access import Access, check_reach

_BEARER = re.compile(r"Bearer +([A-Za-z0-9._~+/-]+=*)", re.IGNORECASE)
LONGEST_TOKEN = 8192
SESSION = "idds_session"
"""The cookie of a browser, which holds a token of its own. It reads only: a browser sends it whoever wrote the page."""
_READING = ("GET", "HEAD")


class Authentication:
    """A token that was revoked by another process is taken for `authentication_memory_s` more at most.

    One that was revoked here, or has ended, is not. `clock` counts seconds.
    """

    def __init__(self, access: Access, settings: ApiSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._memory_s = settings.authentication_memory_s
        self._size = settings.authentication_memory_size
        self._clock = clock
        self._known: dict[bytes, tuple[Grant, float]] = {}
        self._asked: dict[tuple[bytes, int], asyncio.Task[Grant]] = {}
        self._revocations = access.revocations
        self.used: set[TokenId] = set()
        """Local tokens that were shown; whoever notes that takes them out."""

    async def of(self, request: web.Request) -> Grant:
        """What the caller may be. Raises Unauthenticated, and what `Access.authenticate` raises."""
        header = request.headers.get("Authorization")
        if header is None and request.method in _READING and (secret := request.cookies.get(SESSION)):
            header = f"Bearer {secret}"
        proxy = self._access.proxy
        if header is None and proxy is not None and (names := request.headers.getall(proxy.header, ())):
            grant = proxy.identify(request.remote or "", names)
            if grant is not None:
                return grant
        return await self.authenticate(header)

    async def authenticate(self, header: str | None) -> Grant:
        """What the token in an Authorization header gives. Raises as `of` does."""
        if header is None:
            raise Unauthenticated("send a token: Authorization: Bearer ...")
        found = _BEARER.fullmatch(header.strip())
        if found is None or len(header) > LONGEST_TOKEN:
            raise Unauthenticated("the Authorization header holds no bearer token")
        grant = await self._grant(found.group(1))
        if grant.token_id is not None:
            self.used.add(grant.token_id)
        return grant

    async def _grant(self, secret: str) -> Grant:
        key = hashlib.sha256(secret.encode()).digest()
        if self._revocations != self._access.revocations:
            self._known.clear()
        # Taken before the question is asked: an answer that a revocation overtakes is not kept.
        revocations = self._revocations = self._access.revocations
        now = self._clock()
        known = self._known.get(key)
        if known is not None and now < known[1]:
            return known[0]
        # Whoever shows the same token meanwhile waits for the same answer, unless something was revoked since.
        asked = self._asked.get((key, revocations))
        if asked is None:
            asked = asyncio.create_task(self._ask(secret, key, revocations), name="authentication")
            self._asked[key, revocations] = asked
            # Looked at here, for nobody may be left who waits for it.
            asked.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(asked)

    async def _ask(self, secret: str, key: bytes, revocations: int) -> Grant:
        now = self._clock()
        try:
            grant = await self._access.authenticate(secret)
        finally:
            del self._asked[key, revocations]
        if revocations == self._access.revocations:
            self._remember(key, grant, now)
        return grant

    def _remember(self, key: bytes, grant: Grant, now: float) -> None:
        self._known.pop(key, None)
        while self._known:
            oldest = next(iter(self._known))
            if self._known[oldest][1] > now and len(self._known) < self._size:
                break
            del self._known[oldest]
        left_s = (
            self._memory_s if grant.expires_at is None else min(self._memory_s, grant.expires_at / 1e6 - time.time())
        )
        self._known[key] = (grant, now + left_s)


_LEAST = {
    Caller.PAYLOAD: Role.USER,
    Caller.READER: Role.READER,
    Caller.HOUSE: Role.READER,
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
    if caller is Caller.HOUSE and grant.principal.role is not Role.OPERATOR and grant.principal.vo != HOUSE:
        raise Forbidden(f"this tells of all VOs together: it is for operators, and for readers of the VO {HOUSE!r}")

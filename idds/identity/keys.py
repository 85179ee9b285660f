"""The public keys of an issuer: fetched when they are needed, kept for a while."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from idds.domain.errors import Unavailable
from idds.identity.documents import Documents
from idds.identity.options import IssuerOptions

DESCRIBED_AT = "/.well-known/openid-configuration"

log = structlog.get_logger()


class Keys:
    """Keys by their `kid`, as JSON Web Keys (RFC 7517). `clock` counts seconds."""

    def __init__(
        self, options: IssuerOptions, documents: Documents, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._options = options
        self._documents = documents
        self._clock = clock
        self._keys: Mapping[str, Mapping[str, Any]] = {}
        self._loaded_at: float | None = None
        self._tried_at: float | None = None
        self._refreshing = asyncio.Lock()

    async def find(self, kid: str) -> Mapping[str, Any] | None:
        """A key. One that is not known is looked for anew, but not more often than the issuer can stand.

        Raises Unavailable when the issuer cannot be reached and what is known of it is too old.
        """
        if not (self._is_younger(self._options.keys_refresh_s) and kid in self._keys):
            await self._refresh(kid)
        if not self._is_younger(self._options.keys_kept_s):
            raise Unavailable(f"the keys of {self._options.url} cannot be had for now, and no token of it be checked")
        return self._keys.get(kid)

    async def _refresh(self, kid: str) -> None:
        """Once for all that wait for it. Who can do with what there is does not wait."""
        if self._refreshing.locked() and kid in self._keys and self._is_younger(self._options.keys_kept_s):
            return
        asked_at = self._clock()
        async with self._refreshing:
            if self._tried_at is not None and asked_at - self._tried_at < self._options.keys_pause_s:
                return
            try:
                keys = await self._load()
            except Unavailable as error:
                log.warning("the keys of an issuer were not fetched", issuer=self._options.url, error=str(error))
            else:
                self._keys, self._loaded_at = keys, self._clock()
            finally:
                self._tried_at = self._clock()

    def _is_younger(self, age_s: float) -> bool:
        return self._loaded_at is not None and self._clock() - self._loaded_at < age_s

    async def _load(self) -> Mapping[str, Mapping[str, Any]]:
        described = await self._documents.get(self._options.url.rstrip("/") + DESCRIBED_AT)
        if described.get("issuer") != self._options.url:
            raise Unavailable("its description is of another issuer")
        where = described.get("jwks_uri")
        if not isinstance(where, str):
            raise Unavailable("its description tells of no keys")
        listed = (await self._documents.get(where)).get("keys")
        if not isinstance(listed, list):
            raise Unavailable(f"{where} holds no keys")
        return {
            key["kid"]: key
            for key in listed
            if isinstance(key, dict) and isinstance(key.get("kid"), str) and key.get("use", "sig") == "sig"
        }

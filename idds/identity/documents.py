"""Documents of issuers, over HTTPS."""

import json
from typing import Any

import aiohttp

from idds.domain.addresses import is_safe
from idds.domain.errors import Unavailable

TIMEOUT_S = 10.0
LARGEST = 2**20


class Documents:
    """Fetches JSON; follows nobody elsewhere."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def get(self, url: str) -> dict[str, Any]:
        """The object at this URL. Raises Unavailable, whatever is wrong with it."""
        if not is_safe(url):
            raise Unavailable(f"{url} is neither https nor on this machine")
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        try:
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise Unavailable(f"{url} answers with status {response.status}")
                body = await response.content.read(LARGEST + 1)
                while len(body) <= LARGEST and (more := await response.content.read(LARGEST + 1 - len(body))):
                    body += more
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(f"{url} cannot be read: {type(error).__name__}") from error
        if len(body) > LARGEST:
            raise Unavailable(f"{url} is larger than {LARGEST} bytes")
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise Unavailable(f"{url} is no JSON object")
        return document

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

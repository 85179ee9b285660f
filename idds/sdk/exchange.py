"""One call over HTTP: its errors as exceptions, and again where it may be made again."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import aiohttp

from idds import __version__
from idds.domain.errors import (
    Conflict,
    Forbidden,
    IddsError,
    InvalidInput,
    NotFound,
    Problem,
    Unauthenticated,
    Unavailable,
)
from idds.sdk.connection import Connection
from idds.sdk.errors import Broken, Stale, Unreachable

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 10.0
CONNECT_TIMEOUT_S = 10.0
MAX_DETAIL = 500
PROBLEM_BYTES = 2**20
STALE = "urn:idds:problem:stale-report"


class Again(StrEnum):
    """When a call that failed may be made again."""

    ALWAYS = "always"
    """Made twice, it does the same as made once."""
    UNSENT = "unsent"
    """Only when no connection was made, so that nobody can have done it."""


@dataclass(frozen=True, slots=True)
class Call:
    """`path` begins with a slash; `wait_s` is how much longer than others the service may take to answer."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    again: Again = Again.ALWAYS
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Received:
    """A whole answer."""

    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Raises Broken."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise Broken("the answer is not the JSON of this service; is the URL right?") from None


class Exchange:
    """Calls of one client, over connections that are kept.

    A call is made again for `patience_s` at most, at growing, uneven intervals or when the service says.
    """

    def __init__(self, connection: Connection, *, timeout_s: float, patience_s: float) -> None:
        self._url = connection.url
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._headers = {"User-Agent": f"idds-client/{__version__}"}
        if connection.token is not None:
            self._headers["Authorization"] = f"Bearer {connection.token}"
        self._session: aiohttp.ClientSession | None = None

    async def call(self, call: Call) -> Received:
        """The answer. Raises IddsError."""
        delays = Delays(self._patience_s)
        while True:
            try:
                async with self.stream(call, whole=True) as response:
                    return Received(response.headers, await response.read())
            except Unavailable as error:
                if call.again is Again.UNSENT and not isinstance(error, Unreachable):
                    raise
                await delays.wait(error)

    @asynccontextmanager
    async def stream(self, call: Call, *, whole: bool = False) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer as it comes, once, its status seen to. Raises IddsError, also while it is read."""
        data = None if call.body is None else _encode(call.body)
        content_type = {} if data is None else {"Content-Type": "application/json"}
        seconds = self._timeout_s + call.wait_s
        timeout = aiohttp.ClientTimeout(
            total=seconds if whole else None, sock_connect=CONNECT_TIMEOUT_S, sock_read=seconds
        )
        try:
            async with self._connected().request(
                call.method,
                self._url + call.path,
                params=[(name, str(value)) for name, value in call.query.items() if value is not None],
                data=data,
                headers={**content_type, **call.headers},
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                if not 200 <= response.status < 300:
                    raise await _error(response)
                yield response
        except aiohttp.ClientSSLError as error:
            raise Broken(f"no safe connection to {self._url}: {_reason(error)}") from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unreachable(f"cannot connect to {self._url}: {_reason(error)}") from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            raise Unavailable(f"the connection to {self._url} broke: {_reason(error)}") from error
        except TimeoutError as error:
            raise Unavailable(f"{self._url} did not answer within {seconds:g} s") from error
        except aiohttp.ClientError as error:
            raise Broken(f"{self._url} does not speak as this service does: {_reason(error)}") from error

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers)
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


class Delays:
    """How long to wait before the next try: longer each time, never beyond the patience."""

    def __init__(self, patience_s: float) -> None:
        self._end = asyncio.get_running_loop().time() + patience_s
        self._next_s = FIRST_DELAY_S

    async def wait(self, error: Unavailable) -> None:
        """Return when the next try is due. Raises the error when patience would have ended by then."""
        delay = max(self._next_s * random.uniform(0.5, 1.0), getattr(error, "retry_after_s", 0.0))  # noqa: S311
        if asyncio.get_running_loop().time() + delay > self._end:
            raise error
        self._next_s = min(LONGEST_DELAY_S, self._next_s * 2)
        await asyncio.sleep(delay)


class AskedToWait(Unavailable):
    """The service asks to be left alone for `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def _encode(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, TypeError) as error:
        raise InvalidInput([Problem("", f"this is not to be written as JSON: {error}")]) from None


async def _error(response: aiohttp.ClientResponse) -> IddsError:
    """What the service refused, and why, as it said it."""
    document = _problem_document(await response.content.read(PROBLEM_BYTES))
    detail = document.get("detail") or document.get("title") or f"{response.status} {response.reason}"
    detail = str(detail)[:MAX_DETAIL]
    match response.status:
        case 400 | 413 | 415 | 422:
            return InvalidInput(_problems(document) or [Problem("", detail)])
        case 401:
            return Unauthenticated(detail)
        case 403:
            return Forbidden(detail)
        case 404 if document:
            return NotFound(detail)
        case 409:
            return Stale(detail) if document.get("type") == STALE else Conflict(detail)
        case 429 | 502 | 503 | 504:
            return AskedToWait(detail, _retry_after_s(response))
        case _:
            number = document.get("request_id") or response.headers.get("X-Request-Id")
            return Broken(f"the answer was {response.status}: {detail}" + (f" (request id {number})" if number else ""))


def _problem_document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _problems(document: Mapping[str, Any]) -> list[Problem]:
    entries = document.get("problems")
    if not isinstance(entries, list):
        return []
    return [Problem(str(e.get("pointer", "")), str(e.get("message", ""))) for e in entries if isinstance(e, dict)]


def _retry_after_s(response: aiohttp.ClientResponse) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0


def _reason(error: BaseException) -> str:
    """What the operating system says, where it does."""
    cause = getattr(error, "os_error", error)
    return getattr(cause, "strerror", None) or str(error) or type(error).__name__

"""One call over HTTP: its errors as exceptions, and again where it may be made again."""

import asyncio
import gzip
import json
import random
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
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
from idds.sdk.errors import Broken, NoContent, Stale, Unreachable
from idds.sdk.study import FIRST_OF_SERVERS, is_unsafe, why_unsafe

FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 10.0
CONNECT_TIMEOUT_S = 10.0
MAX_DETAIL = 500
PROBLEM_BYTES = 2**20
STALE = "urn:idds:problem:stale-report"
NO_CONTENT = "urn:idds:problem:no-content"


class Again(StrEnum):
    """When a call that failed may be made again."""

    ALWAYS = "always"
    """Made twice, it does the same as made once."""
    UNSENT = "unsent"
    """Only when nobody can have done it: no connection was made, or too many calls were (429)."""


@dataclass(frozen=True, slots=True)
class Call:
    """`path` begins with a slash; `wait_s` is how much longer than others the service may take to answer.

    What is None in `query` is not sent, and a tuple once for each of its items. `lines` are JSON objects, one a line;
    they are sent compressed.
    """

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    lines: bytes | None = field(default=None, repr=False)
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
        self._short: aiohttp.ClientSession | None = None
        self._long: aiohttp.ClientSession | None = None

    async def call(self, call: Call) -> Received:
        """The answer. Raises IddsError."""
        delays = Delays(self._patience_s)
        while True:
            try:
                async with self.stream(call, whole=True) as response:
                    return Received(response.headers, await response.read())
            except Unavailable as error:
                if call.again is Again.UNSENT and not is_undone(error):
                    raise
                await delays.wait(error)

    @asynccontextmanager
    async def stream(self, call: Call, *, whole: bool = False) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer as it comes, once, its status seen to. Raises IddsError, also while it is read."""
        data, described = await _encode(call)
        seconds = self._timeout_s + call.wait_s
        timeout = aiohttp.ClientTimeout(
            total=seconds if whole else None, sock_connect=CONNECT_TIMEOUT_S, sock_read=seconds
        )
        try:
            async with self._session(is_long=not whole or call.wait_s > 0).request(
                call.method,
                self._url + call.path,
                params=_parameters(call.query),
                data=data,
                headers={**described, **call.headers},
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                if not 200 <= response.status < 300:
                    raise await _error(response)
                yield response
        except aiohttp.ClientSSLError as error:
            raise _without_tls(self._url, error) from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise Unreachable(f"cannot connect to {self._url}: {_reason(error)}") from error
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            raise Unavailable(f"the connection to {self._url} broke: {_reason(error)}") from error
        except TimeoutError as error:
            raise Unavailable(f"{self._url} did not answer within {seconds:g} s") from error
        except aiohttp.ClientError as error:
            raise Broken(f"{self._url} does not speak as this service does: {_reason(error)}") from error

    def _session(self, *, is_long: bool) -> aiohttp.ClientSession:
        """Calls that wait for something have connections of their own, so that they keep no other call waiting."""
        if is_long:
            if self._long is None:
                connector = aiohttp.TCPConnector(limit=0)
                self._long = aiohttp.ClientSession(headers=self._headers, connector=connector)
            return self._long
        if self._short is None:
            self._short = aiohttp.ClientSession(headers=self._headers)
        return self._short

    async def close(self) -> None:
        for session in (self._short, self._long):
            if session is not None:
                await session.close()
        self._short = self._long = None


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
    """The service asks to be left alone for `retry_after_s`; `is_undone` says that it did nothing."""

    def __init__(self, message: str, retry_after_s: float, *, is_undone: bool) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.is_undone = is_undone


def is_undone(error: Unavailable) -> bool:
    """Whether a call that failed like this has certainly changed nothing."""
    return isinstance(error, Unreachable) or (isinstance(error, AskedToWait) and error.is_undone)


def encode(document: Any) -> bytes:
    """As JSON. Raises InvalidInput for what has no such form."""
    try:
        return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, TypeError) as error:
        raise InvalidInput([Problem("", f"this is not to be written as JSON: {error}")]) from None


async def _encode(call: Call) -> tuple[bytes | None, dict[str, str]]:
    """The body of a call, and the headers that describe it."""
    if call.lines is not None:
        # In a thread: a block of lines takes tens of milliseconds.
        compressed = await asyncio.to_thread(gzip.compress, call.lines, 1)
        return compressed, {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
    return (None, {}) if call.body is None else (encode(call.body), {"Content-Type": "application/json"})


def _parameters(query: Mapping[str, Any]) -> list[tuple[str, str]]:
    each = ((name, value if isinstance(value, tuple) else (value,)) for name, value in query.items())
    return [(name, str(value)) for name, values in each for value in values if value is not None]


async def _error(response: aiohttp.ClientResponse) -> IddsError:
    """What the service refused, and why, as it said it."""
    document = _problem_document(await response.content.read(PROBLEM_BYTES))
    detail = document.get("detail") or document.get("title") or _foreign(response)
    detail = str(detail)[:MAX_DETAIL]
    match response.status:
        case 400 | 413 | 415 | 422:
            return InvalidInput(_problems(document) or [Problem("", detail)])
        case 401:
            return Unauthenticated(detail)
        case 403:
            return Forbidden(detail)
        case 404 if document:
            return NoContent(detail) if document.get("type") == NO_CONTENT else NotFound(detail)
        case 409:
            return Stale(detail) if document.get("type") == STALE else Conflict(detail)
        case 429 | 502 | 503 | 504:
            return AskedToWait(detail, _retry_after_s(response), is_undone=response.status == 429)
        case 301 | 302 | 307 | 308:
            # Not followed: it could take the token elsewhere.
            place = response.headers.get("Location", "nowhere")[:MAX_DETAIL]
            return Broken(f"the service has another URL: the answer was {response.status}, to {place}")
        case _ if not document:
            return Broken(detail)
        case _:
            number = document.get("request_id") or response.headers.get("X-Request-Id")
            return Broken(f"the answer was {response.status}: {detail}" + (f" (request id {number})" if number else ""))


def _foreign(response: aiohttp.ClientResponse) -> str:
    """Of an answer that does not come from this service, but from what stands before it, or is there instead."""
    said = f"the answer was {response.status} {response.reason}"
    return said if response.status >= FIRST_OF_SERVERS else f"{said}, not of this service; is the URL right?"


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
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _without_tls(url: str, error: aiohttp.ClientSSLError) -> IddsError:
    """A connection that was to be safe, and was not, or broke while it was made."""
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", error)
    if not isinstance(cause, ssl.SSLError):
        return Broken(f"no safe connection to {url}: {_reason(error)}")
    if is_unsafe(cause):
        return Broken(f"no safe connection to {url}: {why_unsafe(cause)}")
    return Unreachable(f"cannot connect to {url}: {_reason(error)}")


def _reason(error: BaseException) -> str:
    """What the operating system says, where it does."""
    cause = getattr(error, "os_error", error)
    return getattr(cause, "strerror", None) or str(error) or type(error).__name__

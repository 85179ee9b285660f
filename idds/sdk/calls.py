"""What the calls of every noun are made of."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from idds.domain.errors import Unavailable
from idds.sdk.errors import Broken
from idds.sdk.exchange import Call, Delays, Exchange
from idds.sdk.reading import Unreadable, read

T = TypeVar("T")

PAGE = 1000
NDJSON = {"Accept": "application/x-ndjson"}


class Calls:
    """Calls over one exchange; each noun has its own, and the client has them all."""

    def __init__(self, exchange: Exchange, *, patience_s: float) -> None:
        self._exchange = exchange
        self._patience_s = patience_s

    async def _ask(self, kind: type[T], call: Call, name: str | None = None) -> T:
        """The answer, or its field `name`, as a record of this kind."""
        document = (await self._exchange.call(call)).json()
        return record(kind, document if name is None else _member(document, name))

    async def _pages(
        self,
        kind: type[T],
        path: str,
        name: str,
        query: Mapping[str, Any],
        limit: int | None = None,
        cursor: str = "after",
    ) -> AsyncGenerator[T]:
        """Records page by page, `limit` at most. Pages have them under `name`, and are turned with `cursor`."""
        asked = {**query, "limit": PAGE if limit is None else max(1, min(PAGE, limit))}
        given = 0
        while given != limit:
            document = (await self._exchange.call(Call("GET", path, asked))).json()
            for item in record(tuple[kind, ...], _member(document, name)):  # type: ignore[valid-type]
                yield item
                given += 1
                if given == limit:
                    return
            following = document.get("next")
            if following is None:
                return
            asked[cursor] = following

    async def _lines(
        self, kind: type[T], path: str, query: Mapping[str, Any], *, after: int, place: Callable[[T], int]
    ) -> AsyncGenerator[T]:
        """Records that come line by line, those behind `after`; a stream that breaks is gone on with at its place."""
        delays = Delays(self._patience_s)
        while True:
            call = Call("GET", path, {**query, "after": after}, headers=NDJSON)
            try:
                async with (
                    self._exchange.stream(call) as response,
                    aclosing(split_lines(response.content.iter_any())) as lines,
                ):
                    async for line in lines:
                        item = record(kind, decode(line))
                        yield item
                        after, delays = place(item), Delays(self._patience_s)
            except Unavailable as error:
                await delays.wait(error)
            else:
                return


def record(kind: type[T], document: Any) -> T:
    """The document as a record of this kind. Raises Broken."""
    try:
        return read(kind, document)
    except Unreadable as error:
        raise Broken(f"the answer is not understood at {error}; is the client older than the service?") from None


def decode(line: bytes | str) -> Any:
    """A line of a stream. Raises Broken."""
    try:
        return json.loads(line)
    except ValueError:
        raise Broken("a line of the answer is no JSON") from None


async def split_lines(blocks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Whole lines, of any length."""
    rest: list[bytes] = []
    async for block in blocks:
        first, newline, after = block.partition(b"\n")
        rest.append(first)
        if not newline:
            continue
        yield b"".join(rest)
        *lines, last = after.split(b"\n")
        for line in lines:
            yield line
        rest = [last]
    if whole := b"".join(rest):
        yield whole


def _member(document: Any, name: str) -> Any:
    if not isinstance(document, Mapping) or name not in document:
        raise Broken(f"the answer has no {name!r}")
    return document[name]

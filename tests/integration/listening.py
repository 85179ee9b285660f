"""A client of the stream of events, by hand."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientResponse

from tests.integration.api import Api

DEADLINE_S = 30.0


@dataclass(frozen=True)
class Told:
    """An event as it came: its kind, what it tells, and the id that the stream then stands at."""

    kind: str
    document: Any
    id: int


class Stream:
    """What comes, until a deadline."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.id = -1
        self.beats = 0

    async def next(self) -> Told | None:
        """The next event; None at the end of the stream."""
        async with asyncio.timeout(DEADLINE_S):
            while (block := await self._block()) is not None:
                self.id = int(block.get("id", self.id))
                if "data" in block:
                    return Told(block.get("event", "message"), json.loads(block["data"]), self.id)
                self.beats += "" in block
        return None

    async def take(self, number: int) -> list[Told]:
        """The next so many events."""
        found = [await self.next() for _ in range(number)]
        assert None not in found, "the stream ended early"
        return [told for told in found if told is not None]

    async def rest(self) -> list[Told]:
        """All events until the stream ends."""
        found = []
        while (told := await self.next()) is not None:
            found.append(told)
        return found

    async def alive(self) -> int:
        """Wait for the next sign of life; the id that the stream then stands at."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                block = await self._block()
                assert block is not None, "the stream ended early"
                assert "data" not in block, block
                self.id = int(block.get("id", self.id))
                if "" in block:
                    return self.id

    async def _block(self) -> dict[str, str] | None:
        block: dict[str, str] = {}
        while True:
            line = (await self.response.content.readline()).decode()
            if not line:
                return None
            if line == "\n":
                return block
            name, _, value = line.rstrip("\n").partition(":")
            block[name] = value.removeprefix(" ")


@asynccontextmanager
async def listening(
    api: Api, path: str = "/v1/events", *, token: str | None = None, after: int | None = None, **more: Any
) -> AsyncIterator[Stream]:
    """A stream that stands: what is committed from now on will come."""
    headers: Mapping[str, str] = {
        "Authorization": f"Bearer {api.token if token is None else token}",
        **({} if after is None else {"Last-Event-ID": str(after)}),
    }
    async with api.client.get(path, headers=headers, **more) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        yield Stream(response)

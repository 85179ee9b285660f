"""Talking to the service below HTTP: bytes as they are."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

DEADLINE_S = 30.0


@dataclass(frozen=True)
class Wire:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, some: bytes) -> None:
        """Send, unless the service has hung up already."""
        self.writer.write(some)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(DEADLINE_S):
                await self.writer.drain()

    async def head(self) -> str:
        """The head of the next answer, in small letters, once its body is read; empty where the service hung up."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = re.search(r"^content-length: (\d+)", head, flags=re.MULTILINE)
                await self.reader.readexactly(int(length[1]) if length else 0)
        except (asyncio.IncompleteReadError, ConnectionError):
            return ""
        return head

    async def status(self) -> int | None:
        """The status of the next answer; None where the service hung up instead."""
        head = await self.head()
        return int(head.split()[1]) if head else None

    async def end(self) -> bytes:
        """All that comes until the service hangs up."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                return await self.reader.read()
        except ConnectionError:
            return b""


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def call(method: str, path: str, token: str = "", body: bytes = b"", **headers: str) -> bytes:
    """A call as it goes over the wire. Headers are named with underscores."""
    lines = [f"{method} {path} HTTP/1.1", "Host: idds"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if body and "Transfer_Encoding" not in headers:
        headers.setdefault("Content_Length", str(len(body)))
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

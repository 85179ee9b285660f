"""Talking to the service below HTTP: bytes as they are."""

import asyncio
import contextlib
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

    async def status(self) -> int | None:
        """The status of the next answer, whose body is read; None where the service hung up instead."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                head = await self.reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").lower().split("\r\n")
                length = next((int(line[15:]) for line in lines if line.startswith("content-length:")), 0)
                await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return int(head.split()[1])

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

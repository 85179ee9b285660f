"""Bodies of many lines, read as they come."""

from collections.abc import AsyncGenerator

from aiohttp import web

from idds.api.arrival import check_form, more
from idds.domain.errors import InvalidInput, Problem

NDJSON = "application/x-ndjson"
BLOCK_LINES = 5000
BLOCK_BYTES = 4 * 2**20
MAX_LINE_BYTES = 2**20


async def blocks(request: web.Request, stall_s: float) -> AsyncGenerator[list[bytes]]:
    """The lines of a body of any length, some thousands at a time: what is held of it is bounded.

    Raises UnsupportedMedia, Malformed where it is cut off, InvalidInput where a line is too long, and Stalled where
    nothing comes for `stall_s`.
    """
    check_form(request)
    lines: list[bytes] = []
    given = size = 0
    rest = b""
    while some := await more(request, stall_s):
        *whole, rest = (rest + some).split(b"\n")
        lines += whole
        size += len(some)
        if any(len(line) > MAX_LINE_BYTES for line in (*whole, rest)):
            raise InvalidInput([_too_long(given, lines, rest)])
        while len(lines) >= BLOCK_LINES or (lines and size >= BLOCK_BYTES):
            block, lines = lines[:BLOCK_LINES], lines[BLOCK_LINES:]
            given, size = given + len(block), sum(map(len, lines)) + len(rest)
            yield block
    if rest:
        lines.append(rest)
    if lines:
        yield lines


def _too_long(given: int, lines: list[bytes], rest: bytes) -> Problem:
    number = next((number for number, line in enumerate(lines) if len(line) > MAX_LINE_BYTES), len(lines))
    return Problem(f"/{given + number}", f"a line has {MAX_LINE_BYTES:,} bytes at most")

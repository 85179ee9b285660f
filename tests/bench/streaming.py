"""A million contents read as one stream, and a thousand as a page."""

import tempfile
import time
from pathlib import Path

import aiohttp

from tests.bench.calling import Caller, Target, busy, ours
from tests.bench.leases import collection
from tests.bench.rows import put_in

ROWS = 1_000_000
PAGE = 1000
SECONDS = 5.0
PATIENCE = aiohttp.ClientTimeout(None)
BASELINE_PAGES = 7.5
"""A second, as measured of HSF/iDDS 2.6.21 (docs/benchmarks.md)."""


async def _stream(target: Target, number: int, encoding: str) -> tuple[float, float]:
    """Seconds, and by how many MB the service grew."""
    headers = {"Accept": "application/x-ndjson", "Accept-Encoding": encoding}
    before = most = target.process.memory_info().rss
    begun, rows, parts = time.perf_counter(), 0, 0
    async with (
        target.client(1) as session,
        session.get(f"/v1/collections/{number}/contents", headers=headers, timeout=PATIENCE) as response,
    ):
        async for part in response.content.iter_any():
            rows += part.count(b"\n")
            parts += 1
            if parts % 100 == 0:
                most = max(most, target.process.memory_info().rss)
    assert rows == ROWS, rows
    return time.perf_counter() - begun, (most - before) / 2**20


async def measure(database_url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, against)."""
    with tempfile.TemporaryDirectory() as folder:
        async with ours(database_url, Path(folder)) as target:
            number = await collection(target, 0)
            await put_in(database_url, number, ROWS)
            streams = {encoding: await _stream(target, number, encoding) for encoding in ("identity", "gzip")}

            async def page(caller: Caller) -> bool:
                found = await caller.call("GET", f"/v1/collections/{number}/contents?limit={PAGE}")
                return len(found["contents"]) == PAGE

            pages = await busy(target, 1, SECONDS, page)
    return [
        *(
            (f"{ROWS:,} contents as lines, {name}", f"{ROWS / took:,.0f} rows/s", f"memory grew by {grown:.0f} MB")
            for name, (took, grown) in streams.items()
        ),
        (
            f"{PAGE:,} contents as a page, one client",
            f"{pages.rate:.0f}/s",
            f"{pages.rate / BASELINE_PAGES:.0f}x the baseline's {BASELINE_PAGES}/s; "
            f"{pages.cpu_us / 1000:.1f} ms of a core each",
        ),
    ]

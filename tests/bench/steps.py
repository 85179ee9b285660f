"""Step latency, a chain of 10, a fan of 100, and what idling costs."""

import asyncio
import statistics
import time
from itertools import pairwise

from sqlalchemy import select

from idds.domain.statuses import Status
from idds.domain.workflow import Workflow
from idds.runtime.wiring import Wired
from idds.store.schema import processings
from tests.bench.service import OWNER, chain, fan, finish, running

# The baseline: HSF/iDDS 2.6.21 with every poll period set to 1 s (design/baseline.md)
BASELINE_CHAIN_S = 110.0
BASELINE_FAN_S = 129.0
IDLE_S = 20.0


async def _timed(parts: Wired, workflow: Workflow) -> tuple[float, int]:
    begun = time.perf_counter()
    request, _ = await parts.doors.submission.submit(OWNER, workflow)
    ended = await finish(parts, request.id)
    assert ended.status is Status.FINISHED, ended
    return time.perf_counter() - begun, request.id


async def _step_latencies(parts: Wired, request: int) -> list[float]:
    """Milliseconds from a processing having ended to the one that waited for it having been submitted."""
    query = select(processings.c.ended_at, processings.c.submitted_at).where(processings.c.request_id == request)
    async with parts.database.snapshot() as tx:
        rows = (await tx.connection.execute(query.order_by(processings.c.id))).all()
    return [(after.submitted_at - before.ended_at) / 1000 for before, after in pairwise(rows)]


async def measure(database_url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, against)."""
    async with running(database_url) as parts:
        await _timed(parts, chain(3))  # warm
        latencies: list[float] = []
        chains = []
        for _ in range(10):
            took, request = await _timed(parts, chain(10))
            chains.append(took)
            latencies += await _step_latencies(parts, request)
        fans = [(await _timed(parts, fan(100)))[0] for _ in range(3)]
        await asyncio.sleep(2)
        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.sleep(IDLE_S)
        idle = (time.process_time() - cpu) / (time.perf_counter() - wall)
    p50, p99 = statistics.median(latencies), sorted(latencies)[int(len(latencies) * 0.99)]
    one_chain, one_fan = statistics.median(chains), statistics.median(fans)
    return [
        ("step: ended -> dependent submitted, p50", f"{p50:.1f} ms", "aim 20 ms"),
        ("step: p99", f"{p99:.1f} ms", ""),
        ("chain of 10", f"{one_chain:.2f} s", f"{BASELINE_CHAIN_S / one_chain:.0f}x faster than the baseline"),
        ("fan of 100", f"{one_fan:.2f} s", f"{BASELINE_FAN_S / one_fan:.0f}x faster than the baseline"),
        ("idle, whole service in one process", f"{100 * idle:.2f} % of a core", "aim 1 %"),
    ]

"""The memory of sessions, watched while there is one with a limit."""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from idds.providers.local.process import all_stats

log = logging.getLogger(__name__)

INTERVAL_S = 0.5


@dataclass(eq=False, slots=True)
class Gauge:
    """`exceeded` is set, with the bytes seen, when the session takes more than `limit`; `peak` is the most seen."""

    session: int
    limit: int
    exceeded: asyncio.Future[int]
    peak: int = 0

    def see(self, size: int) -> None:
        self.peak = max(self.peak, size)
        if size > self.limit and not self.exceeded.done():
            self.exceeded.set_result(size)


class MemoryWatch:
    """Looks at /proc every half second while there are gauges, and not at all while there are none."""

    def __init__(self) -> None:
        self._gauges: set[Gauge] = set()
        self._task: asyncio.Task[None] | None = None

    def add(self, session: int, limit: int) -> Gauge:
        """Watch a session until `remove`."""
        gauge = Gauge(session, limit, asyncio.get_running_loop().create_future())
        self._gauges.add(gauge)
        if self._task is None:
            self._task = asyncio.create_task(self._watch(), name="memory of local jobs")
        return gauge

    def remove(self, gauge: Gauge) -> None:
        self._gauges.discard(gauge)
        if not self._gauges and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _watch(self) -> None:
        while True:
            try:
                sizes = await asyncio.to_thread(sizes_of, {gauge.session: gauge.limit for gauge in self._gauges})
            except OSError as error:
                log.warning("the memory of local jobs cannot be measured: %s", error.strerror)
                sizes = {}
            for gauge in self._gauges:
                gauge.see(sizes.get(gauge.session, 0))
            await asyncio.sleep(INTERVAL_S)


def sizes_of(limits: dict[int, int]) -> dict[int, int]:
    """The memory of each session of `limits`, in bytes.

    It is the sum of the resident sets, which counts pages that processes share once for each of them; a session
    that would be beyond its limit by it is measured by its proportional sets, which count them once, but cost more.
    """
    sizes: Counter[int] = Counter()
    members: dict[int, list[int]] = {}
    page = os.sysconf("SC_PAGE_SIZE")
    for stat in all_stats():
        if stat.session in limits:
            sizes[stat.session] += stat.rss_pages * page
            members.setdefault(stat.session, []).append(stat.pid)
    return {
        session: _proportional(members[session], size) if size > limits[session] else size
        for session, size in sizes.items()
    }


def _proportional(pids: Collection[int], resident: int) -> int:
    """The proportional sets of these processes together; `resident` where the system does not tell."""
    if not Path("/proc/self/smaps_rollup").exists():
        return resident
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
        except (ProcessLookupError, FileNotFoundError, StopIteration):
            continue
        except OSError:
            return resident
    return total

"""The life of a job that runs, from its start, or its adoption, to its end."""

import asyncio
import errno
import logging
import signal
import time
from dataclasses import replace

from idds.domain.job import JobSpec, JobState
from idds.domain.statuses import Blame, JobStatus
from idds.providers.local import artifacts
from idds.providers.local.folder import Cause, Claim, Folder, Order, Traces
from idds.providers.local.memory import MemoryWatch
from idds.providers.local.outcome import outcome
from idds.providers.local.process import Consumption, Process, kill_session, signal_session
from idds.providers.local.wrapper import spawn

log = logging.getLogger(__name__)


def now() -> int:
    """Microseconds UTC."""
    return time.time_ns() // 1000


class Run:
    """Drives one job; cancelling `to_end` leaves the job itself alone."""

    def __init__(self, folder: Folder, spec: JobSpec, *, grace_s: float, memory: MemoryWatch) -> None:
        self._folder = folder
        self._spec = spec
        self._grace_s = grace_s
        self._memory = memory
        self._order: asyncio.Future[Order] = asyncio.get_running_loop().create_future()
        self._peak = 0

    def order(self, order: Order) -> None:
        """End the job, for a cause that is recorded already. The first order stands."""
        if not self._order.done():
            self._order.set_result(order)

    async def to_end(self, claim: Claim | None) -> JobState:
        """The final state of the job, started by `claim` or still to be started. Raises OSError."""
        consumption: Consumption | None = None
        if claim is None and self._order.done() and await asyncio.to_thread(self._folder.claim):
            claim = Claim(None, now())
        process = await self._follow(claim)
        if claim is None:
            pid_or_state = await asyncio.to_thread(self._start)
            if isinstance(pid_or_state, JobState):
                return pid_or_state
            process = Process.child(pid_or_state)
        while process is not None:
            consumption = await self._attend(process)
            claim = (await asyncio.to_thread(self._folder.traces)).claim
            # Another wrapper, of a service that died just after it started it, may have been faster than ours.
            faster = claim is not None and claim.identity != process.identity
            process = await self._follow(claim) if faster else None
        return await asyncio.to_thread(self._conclude, consumption)

    def _start(self) -> int | JobState:
        try:
            return spawn(self._folder.path, self._spec)
        except OSError as error:
            blame = Blame.USER if error.errno == errno.E2BIG else Blame.SITE
            return JobState(
                JobStatus.FAILED, now(), "not started", blame=blame, reason=f"cannot be started: {error.strerror}"
            )

    async def _follow(self, claim: Claim | None) -> Process | None:
        if claim is None or claim.identity is None:
            return None
        process = Process.adopt(claim.identity)
        if process is None:
            await asyncio.to_thread(kill_session, claim.identity)
        return process

    async def _attend(self, process: Process) -> Consumption | None:
        """Wait for the process to end, and end it when it goes beyond a limit or on order."""
        try:
            order = await self._until_order(process)
            if order is not None:
                await asyncio.to_thread(signal_session, process.identity, signal.SIGTERM)
                await asyncio.wait({process.exited}, timeout=self._grace_s)
            # A wrapper that ended in peace took its group with it; after any other end its session is swept, which
            # also holds what moved to a group of its own. That comes before reaping, which gives its number away.
            if order is not None or not await asyncio.to_thread(self._folder.has_exit):
                await asyncio.to_thread(kill_session, process.identity)
                await process.exited
            return process.reap()
        finally:
            process.close()

    async def _until_order(self, process: Process) -> Order | None:
        """None when the process ended by itself."""
        limits = self._spec.resources
        gauge = self._memory.add(process.identity.pid, limits.memory_bytes) if limits.memory_bytes else None
        awaited: set[asyncio.Future[None] | asyncio.Future[Order] | asyncio.Future[int]] = {process.exited, self._order}
        if gauge is not None:
            awaited.add(gauge.exceeded)
        try:
            left_s = limits.walltime_s - process.age_s()
            await asyncio.wait(awaited, timeout=max(0.0, left_s), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if gauge is not None:
                self._memory.remove(gauge)
                self._peak = max(self._peak, gauge.peak)
        if process.exited.done():
            return None
        if not self._order.done():
            if gauge is not None and gauge.exceeded.done():
                reason = f"took {gauge.exceeded.result()} bytes of memory, allowed are {gauge.limit}"
                order = Order(Cause.MEMORY, reason)
            else:
                order = Order(Cause.WALLTIME, f"exceeded its walltime of {limits.walltime_s} s")
            await asyncio.to_thread(record, self._folder, order)
            self.order(order)
        return self._order.result()

    def _conclude(self, consumption: Consumption | None) -> JobState:
        traces = self._folder.traces()
        if self._order.done():
            traces = replace(traces, order=self._order.result())
        usage = _usage(traces, consumption, self._peak)
        return outcome(traces, artifacts.last_words(self._folder.path), usage, now())


def record(folder: Folder, order: Order) -> None:
    """Write the order down, so that a service that follows this one knows of it too."""
    try:
        folder.record_order(order)
    except OSError as error:
        # It is carried out all the same: only who comes after us will not know why.
        log.warning("the ending of local job %s cannot be recorded: %s", folder.key, error.strerror)


def conclude(folder: Folder) -> JobState:
    """The final state of a job that ended unseen."""
    traces = folder.traces()
    return outcome(traces, artifacts.last_words(folder.path), _usage(traces, None, 0), now())


def _usage(traces: Traces, consumption: Consumption | None, peak: int) -> dict[str, float]:
    usage: dict[str, float] = {}
    if traces.claim is not None and traces.claim.identity is not None:
        ended_at = traces.exit.at if traces.exit else now()
        usage["wall_s"] = (ended_at - traces.claim.at) / 1e6
    cpu_s = consumption.cpu_s if consumption else traces.exit.cpu_s if traces.exit else None
    if cpu_s is not None:
        usage["cpu_s"] = cpu_s
    rss = max(peak, (consumption and consumption.max_rss_bytes) or 0)
    if rss:
        usage["max_rss_bytes"] = rss
    return usage

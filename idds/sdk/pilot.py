"""A pilot: on a worker node it leases contents, runs a command on them, and reports each as soon as it is known.

    async with Client(url, patience_s=600) as client:
        pilot = Pilot(client, collection, ["python3", "payload.py"], Limits(walltime_s=3600))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, pilot.stop)
        print(await pilot.run())

It goes on until nothing more will come, or no time is left for one more; what comes next is leased with the last
report on what came before. What is finished when it is stopped is reported; what was under way fails, to be tried
again; what was not begun, or can be gone on with, is given back.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from idds.domain.errors import IddsError, Unavailable
from idds.sdk.client import Client
from idds.sdk.command import Command
from idds.sdk.dialects import Dialect, Jobs, Run, Told
from idds.sdk.exchange import Delays
from idds.sdk.guard import Guard
from idds.sdk.holding import Holding, Tally
from idds.sdk.views import Lease

LOOK_S = 0.2
"""How often a running command's outcomes are looked for."""
LONG_POLL_S = 20.0
PREEMPTED = "preempted"
OUT_OF_TIME = "the walltime of its pilot was over"
LOST = "its lease was lost"
UNWANTED = "no more was wanted of it"
RUNS_TO_SUCCEED = 3
"""A node on which the first runs of a command all fail would fail everything, and quickly."""


class Useless(Exception):
    """The first runs of the command failed with all that they were given: this node cannot run it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a pilot keeps to; all in seconds but `count`, how many contents the command is given at once.

    Of `walltime_s` (None: without end) the last `margin_s` are for winding up. `ttl_s` is how long a lease outlasts a
    pilot that dies. The service may be away for `patience_s`; nothing may come for `idle_s` (None: for ever). A command
    that is to end has `grace_s` for it.
    """

    count: int = 1
    walltime_s: float | None = None
    margin_s: float = 60.0
    ttl_s: float = 300.0
    grace_s: float = 10.0
    patience_s: float = 600.0
    idle_s: float | None = None


class Pilot:
    """Runs `argv` on what it leases, a run after the other."""

    def __init__(
        self,
        client: Client,
        collection: int,
        argv: Sequence[str],
        limits: Limits | None = None,
        dialect: Dialect | None = None,
    ) -> None:
        self._client = client
        self._collection = collection
        self._argv = argv
        self._limits = limits or Limits()
        self._dialect: Dialect = dialect or Jobs()
        self._stopping = asyncio.Event()
        walltime_s = self._limits.walltime_s
        self._end = None if walltime_s is None else time.monotonic() + walltime_s - self._limits.margin_s
        self._slowest_s: float | None = None
        self._ahead: Lease | None = None
        self._guard = Guard()
        self.tally = Tally()

    def stop(self) -> None:
        """Have it wind up: `run` returns soon."""
        self._stopping.set()

    async def run(self) -> Tally:
        """Work until the collection has ended, time is up, nothing came for too long, or it is stopped.

        Raises OSError where the command cannot be run, Useless, and IddsError: Unavailable where the service is away
        for longer than there is patience, others at once.
        """
        async with self._guard:
            try:
                await self._run_all()
            finally:
                await self._give_back_ahead()
        return self.tally

    async def _run_all(self) -> None:
        runs = 0
        while (count := self._affordable()) > 0 and (lease := await self._next(count)) is not None:
            await self._process(lease)
            runs += 1
            if runs >= RUNS_TO_SUCCEED and not self.tally.done and self.tally.failed and not self._is_stopping:
                raise Useless(f"the command failed {runs} times, and never succeeded: this node cannot run it")

    @property
    def _is_stopping(self) -> bool:
        return self._stopping.is_set()

    def _affordable(self) -> int:
        """How many contents can be finished in the time that is left, as far as is known."""
        if self._end is None:
            return self._limits.count
        left_s = self._end - time.monotonic()
        if self._dialect.is_resumable:
            return self._limits.count if left_s > 0 else 0
        if self._slowest_s is None:
            # The first one alone tells how long one takes.
            return 1 if left_s > 0 else 0
        return max(0, min(self._limits.count, int(left_s / self._slowest_s)))

    def _wanted(self) -> int:
        """How many contents to take with a report. A node that has not brought any result yet takes none."""
        return self._affordable() if self.tally.done and not self._is_stopping else 0

    async def _next(self, count: int) -> Lease | None:
        """What came with the last report, or something else to do; None where there is nothing more to be had."""
        if self._ahead is None or self._is_stopping:
            return await self._lease(count)
        ahead, self._ahead = self._ahead, None
        if ahead.contents:
            return ahead
        return None if ahead.ended else await self._lease(count)

    async def _give_back_ahead(self) -> None:
        """What was taken and is not begun; where that cannot be said it is delivered again when its lease ends."""
        if self._ahead is None:
            return
        with suppress(IddsError, TimeoutError):
            async with asyncio.timeout(self._limits.margin_s):
                held = await self._client.give_back(self._collection, self._ahead.contents)
                self.tally.given_back += len(held)

    async def _lease(self, count: int) -> Lease | None:
        """Something to do; None where there is nothing more to be had, or no time to wait for it."""
        ends = [self._end] if self._end is not None else []
        if self._limits.idle_s is not None:
            ends.append(time.monotonic() + self._limits.idle_s)
        delays = Delays(self._limits.patience_s)
        while not self._is_stopping:
            wait_s = max(0.0, min([LONG_POLL_S, *(end - time.monotonic() for end in ends)]))
            try:
                lease = await self._ask(count, wait_s)
            except Unavailable as error:
                await delays.wait(error)
                continue
            if lease is None or lease.contents:
                return lease
            if lease.ended or wait_s == 0.0:
                return None
            delays = Delays(self._limits.patience_s)
        return None

    async def _ask(self, count: int, wait_s: float) -> Lease | None:
        """None where it is stopped while it waits; what came all the same is delivered again when its lease ends."""
        call = self._client.lease(self._collection, count=count, ttl_s=self._limits.ttl_s, wait_s=wait_s)
        asking, stopping = asyncio.create_task(call), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((asking, stopping), return_when=asyncio.FIRST_COMPLETED)
            return await asking if asking.done() else None
        finally:
            await _cancel(asking, stopping)

    async def _process(self, lease: Lease) -> None:
        """Run the command on these contents, and see to each of them."""
        begun = time.monotonic()
        holding = Holding(self._client, self._collection, lease, self._limits.ttl_s, self.tally)
        keeping, reporting = asyncio.create_task(holding.keep()), asyncio.create_task(holding.report())
        run = self._dialect.begin(lease.contents)
        try:
            try:
                await self._run(run, holding, reporting)
            finally:
                # What reporting takes is of the margin.
                elapsed_s = (time.monotonic() - begun) / len(lease.contents)
                self._slowest_s = max(self._slowest_s or 0.0, elapsed_s)
                await self._wind_up(run, holding, reporting)
        finally:
            self._ahead = holding.following
            await _cancel(keeping, reporting)

    async def _wind_up(self, run: Run, holding: Holding, reporting: "asyncio.Task[None]") -> None:
        # Whoever stopped it will not wait for ever.
        seconds = self._limits.margin_s if self._is_stopping else None
        try:
            async with asyncio.timeout(seconds):
                await holding.conclude(reporting, self._wanted)
        except TimeoutError:
            raise Unavailable(f"what is finished could not be reported within {seconds:g} s") from None
        finally:
            await asyncio.to_thread(run.close, frozenset(holding.finished))

    async def _run(self, run: Run, holding: Holding, reporting: "asyncio.Task[None]") -> None:
        environment = await asyncio.to_thread(run.open)
        command = Command(self._argv, run.folder, environment, self._guard)
        await command.start()
        try:
            why = await self._watch(command, run, holding, reporting)
        finally:
            await command.end(self._limits.grace_s)
        await _settle(run, holding)
        holding.settle_unwanted()
        code = await command.wait()
        if why is None and code == 0:
            holding.settle_rest(run.silence)
        elif why is None and not self._is_stopping:
            holding.settle_rest(lambda content: Told(content, "failed", f"the command ended with exit code {code}"))
        elif not await asyncio.to_thread(run.is_resumable):
            holding.fail_first(why or PREEMPTED)

    async def _watch(self, command: Command, run: Run, holding: Holding, reporting: "asyncio.Task[None]") -> str | None:
        """Pass on outcomes while it runs; why it is to be ended, None when it has ended by itself."""
        ending, stopping = asyncio.create_task(command.wait()), asyncio.create_task(self._stopping.wait())
        try:
            while True:
                waited = (ending, stopping, reporting)
                await asyncio.wait(waited, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
                for told in await asyncio.to_thread(run.news):
                    holding.hear(told)
                if ending.done():
                    return None
                if stopping.done():
                    return PREEMPTED
                if self._end is not None and time.monotonic() >= self._end:
                    return OUT_OF_TIME
                if reporting.done():
                    await reporting
                if holding.is_lost:
                    return LOST
                if holding.is_unwanted:
                    return UNWANTED
        finally:
            await _cancel(ending, stopping)


async def _settle(run: Run, holding: Holding) -> None:
    """See to all that the command has told by its end."""
    for told in await asyncio.to_thread(run.news):
        holding.hear(told)
    try:
        for told in await asyncio.to_thread(run.conclusion):
            holding.hear(told)
    except ValueError as error:
        reason = str(error)
        holding.settle_rest(lambda content: Told(content, "failed", reason))


async def _cancel(*tasks: "asyncio.Task[object]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

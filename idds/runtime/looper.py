"""Agents are event loops: duties of one shape, run until they are told to stop."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from idds.domain.errors import Unavailable
from idds.engine.retry import backoff
from idds.ports.wakeups import Channel, Wakeups
from idds.runtime.tallies import Tallies, Tally
from idds.store.effects import Fenced

DRAIN_S = 30.0
LINGER_S = 0.05
"""After a step, so long the next wake-up is waited for before the database is asked what is due when."""
HELD_S = 0.02
"""What is due and could not be taken is held by somebody else: so long it is left alone, unless a wake-up comes."""
LONGEST_PAUSE = 30_000_000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Duty:
    """`step` does what is due, at most `batch` things at once, and says how many; it is called when its channel wakes.

    `due_in` only reads, and tells in how many microseconds there is something to do without being woken, if ever.
    The distance is by the clock that the time was written by: this machine's may be wrong. A duty that has none is
    stepped every `fallback_s` seconds. After a step that did something it rests for `rest_s`: what comes meanwhile is
    done together.
    """

    name: str
    channel: Channel
    step: Callable[[], Awaitable[int]]
    batch: int
    due_in: Callable[[], Awaitable[int | None]] | None = None
    fallback_s: float = 5.0
    rest_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Listener:
    """Something that goes on for ever: it is started again when it breaks, and cancelled at the end."""

    name: str
    listen: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Agent:
    name: str
    duties: Sequence[Duty]
    listeners: Sequence[Listener] = ()


class Looper:
    """Runs agents in this process, and keeps `tallies` of what their duties do."""

    def __init__(self, wakeups: Wakeups, tallies: Tallies | None = None) -> None:
        self._wakeups = wakeups
        self._tallies = [] if tallies is None else tallies
        self._told = asyncio.Event()

    @property
    def _stopping(self) -> bool:
        return self._told.is_set()

    async def run(self, agents: Sequence[Agent]) -> None:
        """Run until `stop`; or until cancelled, which does not wait for steps under way."""
        self._told.clear()
        listeners = [
            asyncio.create_task(self._keep(listener), name=f"{agent.name}.{listener.name}")
            for agent in agents
            for listener in agent.listeners
        ]
        duties = [
            asyncio.create_task(self._loop(duty, self._tally(agent, duty)), name=f"{agent.name}.{duty.name}")
            for agent in agents
            for duty in agent.duties
        ]
        try:
            await asyncio.gather(*duties, self._told.wait())
        finally:
            for task in (*duties, *listeners):
                task.cancel()
            await asyncio.gather(*duties, *listeners, return_exceptions=True)

    def stop(self) -> None:
        """Let each duty finish the step it is in, and `run` return."""
        self._told.set()
        for channel in Channel:
            self._wakeups.wake(channel)

    def _tally(self, agent: Agent, duty: Duty) -> Tally:
        tally = Tally(agent.name, duty.name)
        self._tallies.append(tally)
        return tally

    async def _loop(self, duty: Duty, tally: Tally) -> None:
        failures, due = 0, True
        while not self._stopping:
            seen = self._wakeups.count(duty.channel)
            try:
                did = await self._step(duty, tally) if due else 0
                if did >= duty.batch:
                    continue
                if did and duty.rest_s:
                    await asyncio.sleep(duty.rest_s)
                pause = LINGER_S if did else await self._pause(duty)
                if due and not did:
                    pause = max(pause, HELD_S)
                failures = 0
            except Fenced as fenced:
                log.info("another one took this over", duty=duty.name, effect=str(fenced))
                pause = LINGER_S
            except Exception as error:  # noqa: BLE001
                # A loop must outlive its step: what broke this one is logged, and may be gone the next time.
                failures, due = failures + 1, True
                tally.failures += 1
                # Of what is no plain outage only its kind: the text may hold what is not for everybody.
                tally.last_error = str(error) if isinstance(error, Unavailable) else type(error).__name__
                await self._rest(duty, failures, error)
                continue
            due = pause == 0 or await self._wakeups.wait(duty.channel, seen, pause) != seen or duty.due_in is None

    async def _step(self, duty: Duty, tally: Tally) -> int:
        begun = time.perf_counter()
        try:
            did = await duty.step()
            tally.did += did
            return did
        finally:
            tally.steps += 1
            tally.seconds += time.perf_counter() - begun
            tally.stepped_at = time.time_ns() // 1000

    async def _rest(self, duty: Duty, failures: int, error: Exception) -> None:
        """Wait longer with each failure. Whoever wakes meanwhile does not make it work again."""
        pause = backoff(failures, longest=LONGEST_PAUSE) / 1e6
        if isinstance(error, Unavailable):
            log.warning("not available for now", duty=duty.name, error=str(error), pause_s=pause)
        else:
            log.error("a step broke", duty=duty.name, pause_s=pause, exc_info=error)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._told.wait()

    async def _pause(self, duty: Duty) -> float:
        """Seconds until it is due by itself: 0 when it is."""
        if duty.due_in is None:
            return duty.fallback_s
        distance = await duty.due_in()
        return duty.fallback_s if distance is None else min(duty.fallback_s, max(0.0, distance / 1e6))

    async def _keep(self, listener: Listener) -> None:
        failures = 0
        while True:
            try:
                await listener.listen()
            except Unavailable as error:
                log.warning("not available for now", listener=listener.name, error=str(error))
            except Exception:
                log.exception("a listener broke", listener=listener.name)
            failures += 1
            await asyncio.sleep(backoff(min(failures, 6)) / 1e6)

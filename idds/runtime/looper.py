"""Agents are event loops: duties of one shape, run until they are told to stop."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from idds.domain.errors import Unavailable
from idds.engine.retry import backoff
from idds.ports.clock import Clock
from idds.ports.wakeups import Channel, Wakeups
from idds.store.effects import Fenced

DRAIN_S = 30.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Duty:
    """`step` does what is due and says how much that was; it is called again until there is nothing.

    Then the duty sleeps until its channel is woken, until `next_due` (microseconds UTC), or for `fallback_s`.
    """

    name: str
    channel: Channel
    step: Callable[[], Awaitable[int]]
    next_due: Callable[[], Awaitable[int | None]] | None = None
    fallback_s: float = 5.0


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
    """Runs agents in this process."""

    def __init__(self, wakeups: Wakeups, clock: Clock) -> None:
        self._wakeups = wakeups
        self._clock = clock
        self._stopping = False

    async def run(self, agents: Sequence[Agent]) -> None:
        """Run until `stop`; or until cancelled, which does not wait for steps under way."""
        self._stopping = False
        listeners = [
            asyncio.create_task(self._keep(listener), name=f"{agent.name}.{listener.name}")
            for agent in agents
            for listener in agent.listeners
        ]
        duties = [
            asyncio.create_task(self._loop(duty), name=f"{agent.name}.{duty.name}")
            for agent in agents
            for duty in agent.duties
        ]
        try:
            await asyncio.gather(*duties)
        finally:
            for task in (*duties, *listeners):
                task.cancel()
            await asyncio.gather(*duties, *listeners, return_exceptions=True)

    def stop(self) -> None:
        """Let each duty finish the step it is in, and `run` return."""
        self._stopping = True
        for channel in Channel:
            self._wakeups.wake(channel)

    async def _loop(self, duty: Duty) -> None:
        failures = 0
        while not self._stopping:
            seen = self._wakeups.count(duty.channel)
            try:
                did = await duty.step()
                failures = 0
                if did:
                    await asyncio.sleep(0)
                    continue
                pause = await self._pause(duty)
            except Fenced as fenced:
                log.info("another one took this over", duty=duty.name, effect=str(fenced))
                continue
            except Unavailable as error:
                failures += 1
                pause = backoff(failures) / 1e6
                log.warning("not available for now", duty=duty.name, error=str(error), pause_s=pause)
            except Exception:
                # A loop must outlive its step: what broke this one is logged, and may be gone the next time.
                failures += 1
                pause = backoff(failures) / 1e6
                log.exception("a step broke", duty=duty.name, pause_s=pause)
            if failures:
                seen = self._wakeups.count(duty.channel)
            if not self._stopping:
                await self._wakeups.wait(duty.channel, seen, min(pause, 30.0))

    async def _pause(self, duty: Duty) -> float:
        due = await duty.next_due() if duty.next_due is not None else None
        if due is None:
            return duty.fallback_s
        return min(duty.fallback_s, max(0.0, (due - self._clock.now()) / 1e6))

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

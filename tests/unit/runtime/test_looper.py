"""Duties: stepped when they are due, and never without a pause where they can do nothing."""

import asyncio

from idds.ports.wakeups import Channel
from idds.runtime.looper import HELD_S, Agent, Duty, Looper
from idds.runtime.wakeups import LocalWakeups


class Pauses(LocalWakeups):
    """Notes how long it is waited for, and waits for nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []

    async def wait(self, channel: Channel, seen: int, timeout: float) -> int:
        self.waited.append(timeout)
        return self.count(channel)


async def test_what_is_due_and_held_by_somebody_else_is_left_alone_for_a_moment() -> None:
    wakeups = Pauses()
    looper = Looper(wakeups)
    steps = 0

    async def step() -> int:
        nonlocal steps
        steps += 1
        if steps == 5:
            looper.stop()
        return 0

    async def due_in() -> int:
        return -1_000_000

    await looper.run([Agent("transformer", [Duty("requests", Channel.REQUESTS, step, 10, due_in)])])
    assert steps == 5
    assert wakeups.waited == [HELD_S] * 5


async def test_what_comes_while_a_duty_rests_is_done_together() -> None:
    wakeups = LocalWakeups()
    looper = Looper(wakeups)
    done: list[int] = []
    came = 1

    async def more() -> None:
        nonlocal came
        for _ in range(10):
            came += 1
            wakeups.wake(Channel.MESSAGES)
            await asyncio.sleep(0)

    async def step() -> int:
        nonlocal came
        did, came = came, 0
        done.append(did)
        if len(done) == 1:
            tasks.append(asyncio.create_task(more()))
        if sum(done) == 11:
            looper.stop()
        return did

    tasks: list[asyncio.Task[None]] = []
    await looper.run([Agent("conductor", [Duty("publishing", Channel.MESSAGES, step, 100, rest_s=0.05)])])
    await asyncio.gather(*tasks)
    assert done == [1, 10]

"""A task that swallows a cancellation is ended all the same."""

import asyncio

from idds.sdk.ending import end


async def test_a_task_that_swallows_what_it_is_told_is_told_again() -> None:
    swallowed = 0

    async def deaf() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 2:
                    raise

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    await end(task)
    assert task.cancelled()
    assert swallowed == 2

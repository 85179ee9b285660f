"""The threads of SQLite: what they began is ended, whatever befalls who asked for it."""

import asyncio
import threading

from idds.store.connection import Threads


async def test_what_was_begun_is_undone_though_it_is_cancelled_again_and_again() -> None:
    """Else a write transaction stays open, and everybody else is told that the database is locked."""
    threads, begun, may_go = Threads(2), asyncio.Event(), threading.Event()
    loop, undone = asyncio.get_running_loop(), list[str]()

    def begin() -> str:
        loop.call_soon_threadsafe(begun.set)
        may_go.wait(10)
        return "a transaction"

    try:
        task = asyncio.create_task(threads.run(begin, undo=undone.append))
        await begun.wait()
        for _ in range(3):
            task.cancel()
            for _ in range(3):
                await asyncio.sleep(0)
        assert not task.done(), "what follows needs the connection"
        may_go.set()
        assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
        assert undone == ["a transaction"]
    finally:
        may_go.set()
        threads.stop()

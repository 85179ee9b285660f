"""The follower: reads what changes in the catalogue, tells it as hints, and has it carried out.

Any number of processes may share a root, as they would share a data management server. One of them, whoever holds the
lock file, moves the files; when it ends, however abruptly, the next one takes over.
"""

import asyncio
import fcntl
import logging
import os
from contextlib import suppress

from idds.ddm.posix import rules
from idds.ddm.posix.catalogue import Catalogue
from idds.ddm.posix.hints import Hints
from idds.ddm.posix.mover import Mover
from idds.ddm.posix.options import PosixOptions
from idds.ddm.posix.paths import Layout
from idds.domain.errors import Unavailable

log = logging.getLogger(__name__)

POLL_S, IDLE_POLL_S = 0.1, 1.0
"""How soon a change made by another process is seen, while there are changes and after a quiet time.

Those of this process wake at once.
"""


class Follower:
    """One task. `wake` may be called at any time."""

    def __init__(self, options: PosixOptions, layout: Layout, catalogue: Catalogue, hints: Hints) -> None:
        self._options = options
        self._layout = layout
        self._catalogue = catalogue
        self._hints = hints
        self._woken = asyncio.Event()
        self._seq = 0
        self._lock: int | None = None
        self._mover: Mover | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def mover(self) -> Mover | None:
        """None while another process moves the files."""
        return self._mover

    def wake(self) -> None:
        self._woken.set()

    async def start(self) -> None:
        """Raises Unavailable. Where this process is the mover, it has taken up what was unfinished."""
        self._seq = await self._catalogue.read(rules.last_change)
        await self._take_over()
        self._task = asyncio.create_task(self._follow(), name="ddm follower")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._mover is not None:
            await self._mover.stop()
            self._mover = None
        self._unlock()

    async def _follow(self) -> None:
        pause = POLL_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            self._woken.clear()
            try:
                await self._take_over()
                pause = POLL_S if await self._step() else min(pause * 1.2, IDLE_POLL_S)
            except Unavailable as error:
                log.warning("waiting for the catalogue: %s", error)
            except Exception:
                log.exception("following the catalogue")

    async def _step(self) -> bool:
        """Whether anything had changed."""
        last, changes = await self._catalogue.read(rules.changes_after, self._seq)
        if last == self._seq:
            return False
        if self._mover is not None:
            await self._mover.obey(await self._catalogue.read(rules.orders, changes))
            if last // rules.KEPT_CHANGES > self._seq // rules.KEPT_CHANGES:
                await self._catalogue.write(rules.forget_changes, last)
        self._hints.tell(changes)
        self._seq = last
        return True

    async def _take_over(self) -> None:
        if self._mover is not None or not self._try_lock():
            return
        mover = Mover(self._options, self._layout, self._catalogue)
        mover.start()
        try:
            await asyncio.to_thread(self._layout.remove_leftovers, self._options.rses)
            await mover.obey(await self._catalogue.read(rules.unfinished))
        except BaseException:
            await mover.stop()
            self._unlock()
            raise
        self._mover = mover

    def _try_lock(self) -> bool:
        lock = os.open(self._layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

"""Who ends a payload's command when the payload itself was killed, and can end nothing any more."""

import asyncio
import subprocess
from types import TracebackType
from typing import Self

_SCRIPT = 'trap "" HUP INT TERM; while read -r line; do group=$line; done; [ -z "$group" ] || kill -s KILL -- "-$group"'
"""Reads on until nobody holds the other end of the pipe any more."""


class Guard:
    """A shell beside this process, in an `async with` block: it outlives a SIGKILL of this one, and then ends a group.

    Raises OSError where there is no `/bin/sh`.
    """

    def __init__(self) -> None:
        self._shell: asyncio.subprocess.Process | None = None

    def watch(self, group: int | None) -> None:
        """The process group that is to end with this process; None: there is none now."""
        assert self._shell is not None
        assert self._shell.stdin is not None
        self._shell.stdin.write(b"%d\n" % group if group is not None else b"\n")

    async def __aenter__(self) -> Self:
        self._shell = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", _SCRIPT),
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._shell is not None
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        await self._shell.wait()

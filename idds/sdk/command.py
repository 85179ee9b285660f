"""A payload's command: a process group of its own, ended with all that it started, whatever ends the payload."""

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from idds.sdk.guard import Guard

SECRETS = ("IDDS_TOKEN", "IDDS_TOKEN_FILE")
"""What a payload needs not know."""


class Command:
    """One run of it, in `folder`, with `environment` beside that of this process."""

    def __init__(self, argv: Sequence[str], folder: Path, environment: Mapping[str, str], guard: Guard) -> None:
        self._guard = guard
        self._argv = tuple(argv)
        self._folder = folder
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Raises OSError where the command cannot be run."""
        inherited = {name: value for name, value in os.environ.items() if name not in SECRETS}
        self._process = await asyncio.create_subprocess_exec(
            *self._argv, cwd=self._folder, env={**inherited, **self._environment}, start_new_session=True
        )
        self._guard.watch(self._process.pid)

    async def wait(self) -> int:
        """Its exit code, as a shell has it: 128 and the signal's number where one ended it."""
        assert self._process is not None
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    async def end(self, grace_s: float) -> None:
        """Let it know that it is to end, and end it after `grace_s`; with all that it started."""
        assert self._process is not None
        if self._process.returncode is None:
            self._signal(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._process.wait()
        self._signal(signal.SIGKILL)
        self._guard.watch(None)
        await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

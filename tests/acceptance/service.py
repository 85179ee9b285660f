"""A service as a user starts it: a process of its own, spoken to over HTTP."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from idds.sdk.client import Client
from tests.servers.loopback import free_port

PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Running:
    """A process of `idds serve`."""

    process: asyncio.subprocess.Process
    url: str
    token: str
    mqtt: str
    said: Mapping[str, str]
    """What it said when it began, by the first word of each line."""

    def client(self) -> Client:
        return Client(self.url, self.token)

    async def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


async def start(state: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> Running:
    """Start `idds serve` over a state folder, and wait until it says where it is.

    Where no port is among `arguments` it is one that is still free when the service is killed and comes back.
    """
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("idds")),
        "serve",
        *("--state", str(state), "--port", str(free_port()), *arguments),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "IDDS_LOG__LEVEL": "warning", **(environment or {})},
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        said = {}
        while len(said) < 3:
            line = (await process.stdout.readline()).decode()
            assert line, "the service did not start"
            name, _, value = line.strip().partition(" ")
            said[name] = value.strip()
    return Running(process, said["API"], (state / "token").read_text().strip(), said["MQTT"], said)


@asynccontextmanager
async def service(state: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[Running]:
    """A service that is stopped cleanly at the end."""
    running = await start(state, *arguments, environment=environment)
    try:
        yield running
    finally:
        if running.process.returncode is None:
            running.process.terminate()
        async with asyncio.timeout(PATIENCE_S):
            await running.process.wait()

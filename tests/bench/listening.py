"""What it costs to tell 1,000 who listen, and how soon they know."""

import asyncio
import os
import resource
import subprocess
import sys
import time

from aiohttp import web

from idds.api.application import make_application
from idds.domain.request import Principal, Role
from idds.runtime.settings import ApiSettings
from tests.bench.service import running

LISTENERS, EVENTS, LONE = 1000, 200, 100

_CLIENT = """
import asyncio, sys, time
port, number = int(sys.argv[1]), int(sys.argv[2])
token = sys.stdin.readline().strip()
seen = 0
last = b""

class Stream(asyncio.Protocol):
    def connection_made(self, transport):
        transport.write(f"GET /v1/events HTTP/1.1\\r\\nHost: x\\r\\nAuthorization: Bearer {token}\\r\\n\\r\\n".encode())
        self.is_first = True
    def data_received(self, data):
        global seen
        count = data.count(b"event: move")
        seen += count
        if count and number == 1:
            print(time.time_ns(), flush=True)

async def main():
    loop = asyncio.get_running_loop()
    streams = [await loop.create_connection(Stream, "127.0.0.1", port) for _ in range(number)]
    print("ready", flush=True)
    if number > 1:
        want = number * int(sys.argv[3])
        while seen < want:
            await asyncio.sleep(0.005)
        print("all", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)

asyncio.run(main())
"""


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(database_url: str) -> list[tuple[str, str, str]]:
    async with running(database_url) as parts:
        settings = ApiSettings(max_streams_each=LISTENERS)
        runner = web.AppRunner(make_application(parts.doors, settings), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        token = await parts.doors.access.issue(Principal("bench", "bench", Role.OPERATOR))

        async def happen() -> int:
            async with parts.database.transaction("bench") as tx:
                tx.moves.record("bench", "happened", (None, "new"), request=None)
            return time.time_ns()

        try:
            lone = await _client(port, token, 1)
            late = []
            for _ in range(LONE):
                at = await happen()
                late.append((int(await _line(lone)) - at) / 1e6)
                await asyncio.sleep(0.01)
            await _end(lone)
            before = _cpu_s()
            for _ in range(EVENTS):
                await happen()
                await asyncio.sleep(0.005)
            alone = _cpu_s() - before
            many = await _client(port, token, LISTENERS)
            before, at = _cpu_s(), time.perf_counter()
            for _ in range(EVENTS):
                await happen()
                await asyncio.sleep(0.005)
            assert await _line(many) == "all"
            took, used = time.perf_counter() - at, _cpu_s() - before - alone
            await _end(many)
        finally:
            await runner.cleanup()
    late.sort()
    deliveries = LISTENERS * EVENTS
    return [
        ("an event on the wire after its commit, median (99 %)", f"{late[LONE // 2]:.1f} ms ({late[-2]:.1f} ms)", ""),
        (f"telling {LISTENERS:,} who listen, an event and listener", f"{used / deliveries * 1e6:.1f} µs of a core", ""),
        (f"{EVENTS} events to {LISTENERS:,}", f"{deliveries / took:,.0f} a second", ""),
    ]


async def _client(port: int, token: str, number: int) -> asyncio.subprocess.Process:
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _CLIENT, str(port), str(number), str(EVENTS),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ,
    )  # fmt: skip
    assert client.stdin is not None
    client.stdin.write(f"{token}\n".encode())
    assert await _line(client) == "ready"
    await asyncio.sleep(1.0 + number / 500)
    return client


async def _line(client: asyncio.subprocess.Process) -> str:
    assert client.stdout is not None
    return (await asyncio.wait_for(client.stdout.readline(), 120)).decode().strip()


async def _end(client: asyncio.subprocess.Process) -> None:
    assert client.stdin is not None
    client.stdin.write(b"\n")
    client.stdin.close()
    await client.wait()

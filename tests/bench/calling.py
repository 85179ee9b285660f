"""Servers in processes of their own, and clients that keep them busy, or come at a pace."""

import asyncio
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.acceptance.service import service

HERE = Path(__file__).parents[2]
TURNS = 3
MANY = 8192
"""Open files: a thousand connections, twice."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server to be called."""

    url: str
    process: psutil.Process
    token: str = ""

    def client(self, connections: int) -> aiohttp.ClientSession:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        connector = aiohttp.TCPConnector(limit=connections)
        return aiohttp.ClientSession(self.url, headers=headers, connector=connector, timeout=aiohttp.ClientTimeout(120))

    def cpu_s(self) -> float:
        times = self.process.cpu_times()
        return times.user + times.system


@asynccontextmanager
async def ours(database_url: str, state: Path, *arguments: str) -> AsyncIterator[Target]:
    """The service, as `idds serve` runs it."""
    _allow_many_connections()
    environment = {"IDDS_STORE__URL": database_url, "IDDS_LOG__LEVEL": "error"}
    async with service(state, *arguments, environment=environment) as running:
        yield Target(running.url, psutil.Process(running.process.pid), running.token)


@asynccontextmanager
async def bar(database_url: str) -> AsyncIterator[Target]:
    """The bare server of `bars`."""
    _allow_many_connections()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.bars"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=HERE,
        env={**os.environ, "IDDS_BENCH_DATABASE": database_url},  # it holds a password
    )
    assert process.stdout is not None
    assert process.stdin is not None
    url = (await process.stdout.readline()).decode().strip()
    assert url, "the bare server did not start"
    try:
        yield Target(url, psutil.Process(process.pid))
    finally:
        process.stdin.close()
        await process.wait()


def _allow_many_connections() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY if most == resource.RLIM_INFINITY else min(MANY, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


@dataclass(slots=True)
class Run:
    """How it went: rounds done, how long each call took, and what it cost."""

    rounds: int = 0
    took_s: list[float] = field(default_factory=list)
    wall_s: float = 0.0
    cpu_s: float = 0.0

    def add(self, other: "Run") -> None:
        self.rounds += other.rounds
        self.took_s += other.took_s
        self.wall_s += other.wall_s
        self.cpu_s += other.cpu_s

    @property
    def rate(self) -> float:
        return self.rounds / self.wall_s

    @property
    def cpu_us(self) -> float:
        """Of the server, a round."""
        return self.cpu_s / max(1, self.rounds) * 1e6

    def ms(self, share: float) -> float:
        """How long at most this share of the calls took."""
        return sorted(self.took_s)[min(len(self.took_s) - 1, int(len(self.took_s) * share))] * 1000

    def __str__(self) -> str:
        return f"{self.rate:,.0f}/s, p50 {self.ms(0.5):.1f} ms, p99 {self.ms(0.99):.1f} ms, {self.cpu_us:.0f} µs"


class Caller:
    """One connection that calls, and notes how long it took."""

    def __init__(self, session: aiohttp.ClientSession, run: Run) -> None:
        self._session = session
        self._run = run

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        begun = time.perf_counter()
        async with self._session.request(method, path, json=body) as response:
            document = await response.json()
            assert response.status in (200, 201), document
        self._run.took_s.append(time.perf_counter() - begun)
        return document


Round = Callable[[Caller], Awaitable[bool]]
"""What a client does over and over; False when there is nothing more to do."""


async def busy(target: Target, clients: int, seconds: float, one_round: Round) -> Run:
    """Clients that begin the next round as soon as one is over."""
    run = Run()
    async with target.client(clients) as session:
        caller = Caller(session, run)
        cpu, begun = target.cpu_s(), time.perf_counter()
        end = begun + seconds

        async def work() -> None:
            while time.perf_counter() < end and await one_round(caller):
                run.rounds += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(work())
        run.wall_s, run.cpu_s = time.perf_counter() - begun, target.cpu_s() - cpu
    return run


async def paced(target: Target, connections: int, per_second: float, seconds: float, one_round: Round) -> Run:
    """Rounds that begin at a pace, each on one of many open connections, whoever is free."""
    run = Run()
    async with target.client(connections) as session:
        caller = Caller(session, run)
        async with asyncio.TaskGroup() as group:  # all connections are opened first
            for _ in range(connections):
                group.create_task(one_round(caller))
        run.took_s.clear()
        cpu, begun = target.cpu_s(), time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(int(per_second * seconds)):
                await asyncio.sleep(max(0.0, begun + number / per_second - time.perf_counter()))
                group.create_task(one_round(caller))
                run.rounds += 1
        run.wall_s, run.cpu_s = time.perf_counter() - begun, target.cpu_s() - cpu
    return run


async def in_turn(one: Target, other: Target, run: Callable[[Target], Awaitable[Run]]) -> tuple[Run, Run]:
    """The same on both, a few times one after the other: what else the machine has to do meets both alike."""
    runs = Run(), Run()
    for _ in range(TURNS):
        for target, whole in zip((one, other), runs, strict=True):
            whole.add(await run(target))
    return runs

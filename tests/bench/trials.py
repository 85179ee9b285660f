"""Trials a second with eight worker processes, beside what users would take instead: `python -m tests.bench trials`.

A worker takes a sample, computes a function of eight mixed parameters, and reports; nothing else is to be done, so this
is what the storage and the sampler cost. Optuna's workers share a study in its RDB storage (SQLite, PostgreSQL), its
journal, and its gRPC proxy over memory; google-vizier's share its service, where IDDS_VIZIER_PYTHON names an
interpreter that has it. Equal quality means the same sampler: TPE, or points at random, as each of them has it.
"""

import asyncio
import json
import math
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from tests.bench.calling import HERE, Target, ours
from tests.bench.trial_worker import SPACE

WORKERS = 8
SECONDS = 20
SAMPLERS = ("random", "tpe")
COUNT = 1_000_000
VIZIER = "IDDS_VIZIER_PYTHON"


@dataclass(frozen=True, slots=True)
class Found:
    """The losses that were found, in order."""

    losses: Sequence[float]

    @property
    def rate(self) -> float:
        """Trials a second."""
        return len(self.losses) / SECONDS

    def least(self, trials: int | None = None) -> str:
        """The least loss of all, or of the first so many."""
        seen = self.losses[:trials]
        return f"least {min(seen, default=math.inf):.3g} of {len(seen):,}"


async def measure(database_url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, against). The RDB storage is on a database of the same kind."""
    found: list[tuple[str, str, str]] = []
    for sampler in SAMPLERS:
        mine = await _ours(database_url, sampler)
        found.append((f"{sampler}: ours", f"{mine.rate:,.0f}/s, {mine.least()}", ""))
        for name, theirs in (await _peers(database_url, sampler)).items():
            against = f"ours is {mine.rate / max(theirs.rate, 1e-9):,.1f} of it; {mine.least(len(theirs.losses))}"
            found.append((f"{sampler}: {name}", f"{theirs.rate:,.0f}/s, {theirs.least()}", against))
    return found


async def _ours(database_url: str, sampler: str) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        async with ours(database_url, Path(folder)) as target:
            study = await _study(target, sampler)
            return await _worked(sys.executable, "ours", target.url, str(study), sampler, token=target.token)


async def _study(target: Target, sampler: str) -> int:
    samples = {"space": SPACE, "count": COUNT, "sampler": sampler}
    document = {"name": "bench", "works": [{"name": "w", "input": {"samples": samples, "window": {"files": 100}}}]}
    async with target.client(1) as session:
        async with session.post("/v1/requests", json={"workflow": document}) as response:
            made = await response.json()
            assert response.status == 201, made
        while True:
            async with session.get(f"/v1/requests/{made['id']}") as response:
                if collections := (await response.json())["collections"]:
                    return int(collections[0]["id"])
            await asyncio.sleep(0.05)


async def _peers(database_url: str, sampler: str) -> Mapping[str, Found]:
    found: dict[str, Found] = {}
    with tempfile.TemporaryDirectory() as folder:
        rdb = f"sqlite:///{folder}/optuna.sqlite"
        if not database_url.startswith("sqlite"):
            rdb = (await _beside(database_url, f"optuna_{sampler}")).replace("postgresql://", "postgresql+psycopg2://")
        found["Optuna, RDB storage"] = await _worked(sys.executable, "rdb", rdb, f"bench-{sampler}", sampler)
        if not database_url.startswith("sqlite"):
            return found  # the others have no database
        journal = f"{folder}/journal"
        found["Optuna, journal"] = await _worked(sys.executable, "journal", journal, "bench", sampler)
        async with _server(sys.executable, "grpc-server") as port:
            found["Optuna, gRPC over memory"] = await _worked(sys.executable, "grpc", port, "bench", sampler)
        if (vizier := os.environ.get(VIZIER)) and sampler == "random":
            async with _server(vizier, "vizier-server") as endpoint:
                found["google-vizier"] = await _worked(vizier, "vizier", endpoint, "bench", sampler)
    return found


async def _beside(database_url: str, name: str) -> str:
    """A new database on the same server: two tools of migrations in one would take each other's table for their own."""
    url = database_url.replace("+asyncpg", "")
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return urlsplit(url)._replace(path=f"/{name}").geturl()


async def _worked(python: str, kind: str, where: str, study: str, sampler: str, *, token: str = "") -> Found:
    """What eight workers did, who begin together. The place goes by the environment: it may hold a password."""
    workers: list[asyncio.subprocess.Process] = []
    for _ in range(WORKERS):  # one after the other: Optuna's first one makes the tables
        worker = await _started(python, kind, study, sampler, where=where, token=token)
        workers.append(worker)
        assert worker.stdout is not None
        assert (await worker.stdout.readline()).strip() == b"ready"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(f"{SECONDS}\n".encode())
        await worker.stdin.drain()
    told = [json.loads((await worker.communicate())[0]) for worker in workers]
    return Found([loss for _, loss in sorted((at, loss) for each in told for at, loss in each)])


async def _started(python: str, *arguments: str, where: str, token: str = "") -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(python, "-m", "tests.bench.trial_worker", *arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=HERE,
        env={**os.environ, "BENCH_WHERE": where, "BENCH_TOKEN": token, "GRPC_VERBOSITY": "NONE"},
    )


@asynccontextmanager
async def _server(python: str, kind: str) -> AsyncIterator[str]:
    """A peer's server; where it is."""
    process = await _started(python, kind, "", "", where="")
    assert process.stdout is not None
    try:
        where = (await process.stdout.readline()).decode().strip()
        await _listens(int(where.rpartition(":")[2]))
        yield where
    finally:
        process.kill()
        await process.wait()


async def _listens(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("localhost", port)
                writer.close()
                return
            await asyncio.sleep(0.05)

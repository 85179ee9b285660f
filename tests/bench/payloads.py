"""A thousand payloads on a study with ten thousand finished trials: `python -m tests.bench payloads`.

Each takes a sample, evaluates it for as long as the pace asks for, and reports; with the report it takes the next, and
only where none came it asks for one and waits. How long both calls take, and how many samples came with a report; how
many points are fall-backs, and what the service holds in memory, its samplers' process included. The ten thousand are
put into the tables between two runs of the service, which reads them as after any start.
"""

import asyncio
import json
import random
import resource
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import psutil

from tests.bench.calling import Caller, Run, Target, ours
from tests.bench.trial_worker import SPACE, loss

PAYLOADS = 1000
FINISHED = 10_000
SECONDS = 30.0
PACES = {None: (17, 40, 100, 500), 0: (100, 500)}
"""Samples a second by all payloads together, evaluations of 60, 25, 10 and 2 seconds; by their patience (None: as it is
where nothing is said).
"""
_CONTENT = (
    "INSERT INTO contents (request_id, collection_id, name, bytes, group_no, status, attempt, payload, changed_at)"
    " VALUES ({}, {}, {}, 0, {}, 'done', 1, {}, 1) RETURNING id"
)
_SAMPLE = "INSERT INTO samples (content_id, study_id, number, objective_values, score) VALUES ({}, {}, {}, {}, {})"
_COUNT = "UPDATE collections SET n_done = n_done + {}, next_no = next_no + {} WHERE id = {}"
_TRANSFORMED = "SELECT request_id, next_no FROM collections WHERE id = {}"


async def measure(database_url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, against)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most if most != resource.RLIM_INFINITY else 8192, most))
    found: list[tuple[str, str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        async with ours(database_url, Path(folder)) as target:
            studies = {patience: await _study(target, patience) for patience in PACES}
        for study in studies.values():
            await _fill(database_url, study)
        async with ours(database_url, Path(folder)) as target:
            for patience, paces in PACES.items():
                await _begun(target, studies[patience])
                for pace in paces:
                    paced = await _paced(target, studies[patience], pace)
                    what = f"{pace} a second" + (f", patience {patience}" if patience is not None else "")
                    aim = "aim p99 under 20 ms" if pace >= 100 else ""
                    found += [
                        (f"{what}: report, and the next with it", _said(paced.reporting), aim),
                        (f"{what}: reports that brought one", f"{paced.brought:.1%}", ""),
                        (f"{what}: the others, waited for", _said(paced.waiting), aim),
                        (f"{what}: fall-backs", paced.drawn, ""),
                    ]
            found.append(("memory of service and samplers", f"{_memory(target):,.0f} MB", ""))
    return found


@dataclass(frozen=True, slots=True)
class Paced:
    """Calls that report and take the next, the share of them that brought one, and calls that wait for one.

    `drawn`: how many points were drawn at random.
    """

    reporting: Run
    brought: float
    waiting: Run
    drawn: str


def _said(run: Run) -> str:
    if not run.took_s:
        return "none"
    return f"{run.rate:,.0f}/s, p50 {run.ms(0.5):.1f} ms, p99 {run.ms(0.99):.1f} ms"


def _memory(target: Target) -> float:
    processes = [target.process, *target.process.children(recursive=True)]
    return sum(psutil.Process(each.pid).memory_info().rss for each in processes) / 1e6


async def _study(target: Target, patience: float | None) -> int:
    options = {} if patience is None else {"patience": patience}
    samples = {"space": SPACE, "count": 1_000_000, "sampler": "tpe", "options": options}
    document = {"name": "bench", "works": [{"name": "w", "input": {"samples": samples, "window": {"files": 4000}}}]}
    async with target.client(1) as session:
        async with session.post("/v1/requests", json={"workflow": document}) as response:
            made = await response.json()
            assert response.status == 201, made
        while True:
            async with session.get(f"/v1/requests/{made['id']}") as response:
                if collections := (await response.json())["collections"]:
                    return int(collections[0]["id"])
            await asyncio.sleep(0.05)


def _points(first: int) -> list[tuple[int, str, float]]:
    """Finished trials: number, parameters and loss of points drawn at random."""
    draws = random.Random(1)
    found: list[tuple[int, str, float]] = []
    for number in range(first, first + FINISHED):
        point: dict[str, Any] = {}
        for name, parameter in SPACE.items():
            if parameter["type"] == "categorical":
                point[name] = draws.choice(parameter["choices"])
            elif parameter["type"] == "int":
                point[name] = draws.randint(parameter["low"], parameter["high"])
            else:
                point[name] = draws.uniform(parameter["low"], parameter["high"])
        found.append((number, json.dumps({"parameters": point, "number": number}), loss(point)))
    return found


async def _fill(database_url: str, study: int) -> None:
    if database_url.startswith("sqlite"):
        await asyncio.to_thread(_fill_sqlite, database_url.removeprefix("sqlite:///"), study)
        return
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        async with connection.transaction():
            request, first = await connection.fetchrow(_TRANSFORMED.format(study))
            for number, payload, scored in _points(first):
                content = _CONTENT.format("$1", "$2", "$3", "$4", "$5")
                made = await connection.fetchval(content, request, study, f"sample-{number:08d}", number, payload)
                sample = _SAMPLE.format("$1", "$2", "$3", "$4", "$5")
                await connection.execute(sample, made, study, number, json.dumps([scored]), scored)
            await connection.execute(_COUNT.format("$1", "$1", "$2"), FINISHED, study)
    finally:
        await connection.close()


def _fill_sqlite(path: str, study: int) -> None:
    connection = sqlite3.connect(path, timeout=60)
    with connection:
        request, first = connection.execute(_TRANSFORMED.format("?"), (study,)).fetchone()
        for number, payload, scored in _points(first):
            content = _CONTENT.format(*"?????")
            (made,) = connection.execute(content, (request, study, f"sample-{number:08d}", number, payload)).fetchone()
            connection.execute(_SAMPLE.format(*"?????"), (made, study, number, json.dumps([scored]), scored))
        connection.execute(_COUNT.format("?", "?", "?"), (FINISHED, FINISHED, study))
    connection.close()


async def _begun(target: Target, study: int) -> None:
    """Have its sampler told of all that is finished: a new process takes some seconds for that, whatever the pace."""
    path, order = f"/v1/collections/{study}/contents", {"lessee": "bench", "count": 8, "wait_s": 30}
    async with target.client(1) as session:
        caller = Caller(session, Run())
        leased = (await caller.call("POST", f"{path}:lease", order))["contents"]
        await caller.call("POST", f"{path}:lease", order)
        held = [{"id": each["id"], "attempt": each["attempt"]} for each in leased]
        await caller.call("POST", f"{path}:return", {"held": held})


async def _paced(target: Target, study: int, pace: int) -> Paced:
    evaluation_s = PAYLOADS / pace
    waiting, reporting, brought = Run(), Run(), list[bool]()
    path = f"/v1/collections/{study}/contents"
    begun = time.perf_counter()
    measured_from = begun + min(evaluation_s, 10.0)
    end = measured_from + SECONDS
    order = {"lessee": "bench", "count": 1, "ttl_s": 600}
    draws = random.Random(pace)

    async with target.client(PAYLOADS) as session:
        before = await _origins(session, study)

        async def payload(number: int) -> None:
            wait, report, last = Caller(session, waiting), Caller(session, reporting), Caller(session, Run())
            contents: Sequence[Any] = ()
            await asyncio.sleep(number / PAYLOADS * evaluation_s)  # they do not begin all at once
            while time.perf_counter() < end:
                if not contents:
                    contents = (await wait.call("POST", f"{path}:lease", {**order, "wait_s": 30}))["contents"]
                    continue
                content = contents[0]
                if time.perf_counter() < measured_from:
                    for found in (waiting.took_s, reporting.took_s, brought):
                        found.clear()
                takes_s = evaluation_s * draws.uniform(0.5, 1.5)
                await asyncio.sleep(max(0.0, min(takes_s, end - time.perf_counter())))
                values = [loss(content["parameters"])]
                done = {
                    "id": content["id"],
                    "attempt": content["attempt"],
                    "status": "done",
                    "objective_values": values,
                }
                if time.perf_counter() < end:
                    answer = await report.call("POST", f"{path}:report", {"reports": [done], "lease": order})
                    contents = answer["contents"]
                    brought.append(bool(contents))
                else:  # all at once, which tells of nothing else
                    await last.call("POST", f"{path}:report", {"reports": [done]})

        async with asyncio.TaskGroup() as group:
            for number in range(PAYLOADS):
                group.create_task(payload(number))
        for run in (waiting, reporting):
            run.rounds, run.wall_s = len(run.took_s), time.perf_counter() - measured_from
        after = await _origins(session, study)
    fallbacks = after.get("fallback", 0) - before.get("fallback", 0)
    drawn = f"{fallbacks / max(1, sum(after.values()) - sum(before.values())):.1%}"
    return Paced(reporting, sum(brought) / max(1, len(brought)), waiting, drawn)


async def _origins(session: aiohttp.ClientSession, study: int) -> dict[str, int]:
    async with session.get(f"/v1/studies/{study}") as response:
        document = await response.json()
        assert response.status == 200, document
    found: dict[str, int] = document["origins"]
    return found

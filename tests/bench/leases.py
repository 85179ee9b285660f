"""Lease and report, one content a call and ten, over a bare server that does the same statements in groups."""

import asyncio
import json
import tempfile
from functools import partial
from pathlib import Path

from tests.bench.calling import Caller, Round, Run, Target, bar, busy, in_turn, ours, paced

WORKFLOW = {"name": "bench", "works": [{"name": "w", "input": {"registered": {}}}]}
SECONDS = 2.0
CONTENTS = 40_000
"""So many times what is leased at once are there: enough for all turns of both."""
FEW, MOST = 32, 1000
BUSY = {f"{count} a call, {clients:,} clients": (count, clients) for clients in (FEW, MOST) for count in (1, 10)}
PACED = {f"1 a call, {pace} pairs a second over {MOST:,} connections": pace for pace in (100, 500)}


async def collection(target: Target, contents: int) -> int:
    """A new one, with contents that are available."""
    async with target.client(1) as session:

        async def call(method: str, path: str, **more: object) -> dict[str, object]:
            async with session.request(method, path, **more) as response:  # type: ignore[arg-type]
                document: dict[str, object] = await response.json()
                assert response.status in (200, 201), document
                return document

        request = (await call("POST", "/v1/requests", json={"workflow": WORKFLOW}))["id"]
        while not (found := (await call("GET", f"/v1/requests/{request}"))["collections"]):
            await asyncio.sleep(0.01)
        assert isinstance(found, list)
        number = int(found[0]["id"])
        lines = b"".join(json.dumps({"name": f"f{n:07d}"}).encode() + b"\n" for n in range(contents))
        path, headers = f"/v1/collections/{number}/contents", {"Content-Type": "application/x-ndjson"}
        await call("POST", path, data=lines, headers=headers)
    return number


def pairs(number: int, count: int) -> Round:
    """Lease so many and report them done."""
    path = f"/v1/collections/{number}/contents"
    order = {"lessee": "bench", "count": count}

    async def one_round(caller: Caller) -> bool:
        leased = (await caller.call("POST", f"{path}:lease", order))["contents"]
        if len(leased) < count:
            return False
        reports = [{"id": each["id"], "attempt": each["attempt"], "status": "done"} for each in leased]
        receipts = (await caller.call("POST", f"{path}:report", {"reports": reports}))["receipts"]
        assert all(receipt["verdict"] == "accepted" for receipt in receipts)
        return True

    return one_round


async def measure(database_url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, against).

    On PostgreSQL the agents are left out, as the bar has nothing of what they do; on SQLite they are in the process.
    """
    names = [*BUSY, *PACED]
    arguments = () if database_url.startswith("sqlite") else ("--no-agents",)
    found: list[tuple[str, str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        async with ours(database_url, state) as target:
            numbers = {name: await collection(target, BUSY.get(name, (1, 0))[0] * CONTENTS) for name in names}
            if arguments:
                whole = pairs(await collection(target, CONTENTS), 1)
                name = f"1 a call, {FEW} clients, agents in the same process"
                found.append((name, str(await busy(target, FEW, SECONDS, whole)), ""))
        async with ours(database_url, state, *arguments) as target, bar(database_url) as bare:
            for name, (count, clients) in BUSY.items():
                one_round = pairs(numbers[name], count)
                run, against = await in_turn(target, bare, partial(_busy, clients=clients, one_round=one_round))
                found.append((name, str(run), f"{against}: {run.rate / against.rate:.2f} of it"))
            for name, pace in PACED.items():
                one_round = pairs(numbers[name], 1)
                run, against = await in_turn(target, bare, partial(_paced, pace=pace, one_round=one_round))
                found.append((name, str(run), str(against)))
    return found


async def _busy(target: Target, *, clients: int, one_round: Round) -> Run:
    return await busy(target, clients, SECONDS, one_round)


async def _paced(target: Target, *, pace: int, one_round: Round) -> Run:
    return await paced(target, MOST, pace, SECONDS, one_round)

"""Lease and report, one content a call and ten, over a bare server that does the same statements in groups."""

import asyncio
import json
import tempfile
from pathlib import Path

from tests.bench.calling import Caller, Round, Run, Target, bar, busy, ours, paced

WORKFLOW = {"name": "bench", "works": [{"name": "w", "input": {"registered": {}}}]}
SECONDS = 5.0
CONTENTS = 20_000
"""So many times what is leased at once are there: enough for `SECONDS`."""
MOST = 1000
BUSY = {f"{count} a call, {clients:,} clients": (count, clients) for clients in (32, MOST) for count in (1, 10)}
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


async def _runs(target: Target, numbers: dict[str, int]) -> dict[str, Run]:
    found: dict[str, Run] = {}
    for name, (count, clients) in BUSY.items():
        found[name] = await busy(target, clients, SECONDS, pairs(numbers[name], count))
    for name, pace in PACED.items():
        found[name] = await paced(target, MOST, pace, SECONDS, pairs(numbers[name], 1))
    return found


async def measure(database_url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, against)."""
    names = [*BUSY, *PACED]
    sizes = {name: BUSY.get(name, (1, 0))[0] * CONTENTS for name in names}
    with tempfile.TemporaryDirectory() as folder:
        async with ours(database_url, Path(folder)) as target:
            first, second = [{name: await collection(target, sizes[name]) for name in names} for _ in range(2)]
            mine = await _runs(target, first)
        async with bar(database_url) as target:
            theirs = await _runs(target, second)
    found = []
    for name in names:
        run, against = mine[name], theirs[name]
        ratio = f"{run.rate / against.rate:.2f} of it" if name in BUSY else ""
        found.append((name, str(run), f"{against}: {ratio}"))
    return found

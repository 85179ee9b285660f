"""Submitting and showing a request over bare servers; listing a thousand contents over the baseline."""

import tempfile
from pathlib import Path

from tests.bench.calling import Caller, Round, Run, Target, bar, busy, ours
from tests.bench.leases import WORKFLOW, collection

SECONDS = 5.0
CLIENTS = (1, 32)
LISTED = 1000
BASELINE = 7.5
"""Listings of so many a second: HSF/iDDS 2.6.21 (design/baseline.md)."""


async def submit(caller: Caller) -> bool:
    await caller.call("POST", "/v1/requests", {"workflow": WORKFLOW})
    return True


def get(path: str) -> Round:
    async def one_round(caller: Caller) -> bool:
        await caller.call("GET", path)
        return True

    return one_round


async def _runs(target: Target) -> dict[str, Run]:
    found = {}
    for clients in CLIENTS:
        of = f"{clients} client{'s' if clients > 1 else ''}"
        found[f"GET of a request, {of}"] = await busy(target, clients, SECONDS, get("/v1/requests/1"))
    for clients in CLIENTS:
        of = f"{clients} client{'s' if clients > 1 else ''}"
        found[f"POST of a request, {of}"] = await busy(target, clients, SECONDS, submit)
    return found


async def measure(database_url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, against)."""
    with tempfile.TemporaryDirectory() as folder:
        async with ours(database_url, Path(folder)) as target:
            number = await collection(target, LISTED)
            path = f"/v1/collections/{number}/contents?limit={LISTED}"
            listing = await busy(target, 1, SECONDS, get(path))
        # What advances the requests works elsewhere, or later: here it would be measured along.
        arguments = () if database_url.startswith("sqlite") else ("--no-agents",)
        async with ours(database_url, Path(folder), *arguments) as target:
            mine = await _runs(target)
        async with bar(database_url) as target:
            theirs = await _runs(target)
    found = [
        (name, str(run), f"{theirs[name]}: {run.rate / theirs[name].rate:.2f} of it") for name, run in mine.items()
    ]
    found.append(
        (f"listing {LISTED:,} contents, 1 client", str(listing), f"{listing.rate / BASELINE:.0f}x the baseline")
    )
    return found

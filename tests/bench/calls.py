"""Submitting and showing a request over bare servers."""

import tempfile
from functools import partial
from pathlib import Path

from tests.bench.calling import Caller, Round, Run, Target, bar, busy, in_turn, ours
from tests.bench.leases import WORKFLOW, collection

SECONDS = 2.0
CLIENTS = (1, 32)


async def submit(caller: Caller) -> bool:
    await caller.call("POST", "/v1/requests", {"workflow": WORKFLOW})
    return True


def get(path: str) -> Round:
    async def one_round(caller: Caller) -> bool:
        await caller.call("GET", path)
        return True

    return one_round


async def measure(database_url: str) -> list[tuple[str, str, str]]:
    """Rows of (what, figure, against). On PostgreSQL the agents are left out: they would advance what is submitted."""
    arguments = () if database_url.startswith("sqlite") else ("--no-agents",)
    found: list[tuple[str, str, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        async with ours(database_url, Path(folder)) as target:
            await collection(target, 1)  # of the request that is shown
        async with ours(database_url, Path(folder), *arguments) as target, bar(database_url) as bare:
            for name, one_round in {"GET": get("/v1/requests/1"), "POST": submit}.items():
                for clients in CLIENTS:
                    run, against = await in_turn(target, bare, partial(_busy, clients=clients, one_round=one_round))
                    what = f"{name} of a request, {clients} client{'s' if clients > 1 else ''}"
                    found.append((what, str(run), f"{against}: {run.rate / against.rate:.2f} of it"))
    return found


async def _busy(target: Target, *, clients: int, one_round: Round) -> Run:
    return await busy(target, clients, SECONDS, one_round)

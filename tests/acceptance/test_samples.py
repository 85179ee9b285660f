"""The bet of the design: a random sampler's collection walks the same tables, window, leases and messages as files.

200 samples are leased over HTTP by 8 payload processes, two of which are killed; all 200 end once.
"""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from idds.domain.workflow import Input, Parameter, Samples, WindowLimits, Work, Workflow
from idds.sdk.client import Client
from idds.sdk.views import MoveView
from tests.acceptance.service import service

SAMPLES = 200
SPACE = {
    "x": Parameter(type="float", low=0.0, high=1.0),
    "n": Parameter(type="int", low=1, high=64, log=True),
    "kind": Parameter(type="categorical", choices=("a", "b", "c")),
}


async def _study(client: Client) -> tuple[int, int]:
    """The request and the collection of a study that was submitted."""
    source = Input(samples=Samples(space=SPACE, sampler="random", count=SAMPLES, seed=7), window=WindowLimits(files=30))
    request = await client.submit(Workflow(name="scan", works=(Work(name="scan", input=source, attempts=5),)))
    while not (found := (await client.request(request.id)).collections):
        await asyncio.sleep(0.05)
    return request.id, found[0].id


async def _payload(name: str, url: str, collection: int, token: str, hold_after: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("evaluate.py")),
        *(name, "0.02", str(hold_after)),
        stdout=asyncio.subprocess.PIPE,
        env={
            "PATH": os.environ["PATH"],
            "IDDS_CONTENTS": f"{url}/v1/collections/{collection}/contents",
            "IDDS_TOKEN": token,
        },
    )


async def test_two_hundred_samples_by_eight_payloads_two_of_which_are_killed(tmp_path: Path) -> None:
    async with service(tmp_path) as running, running.client() as client:
        request, collection = await _study(client)
        token = await client.payload_token(collection, 600)
        payloads = [await _payload(f"payload-{n}", running.url, collection, token, 5 if n < 2 else 0) for n in range(8)]
        doomed = [asyncio.create_task(_until_it_holds(payload)) for payload in payloads[:2]]
        outputs = [asyncio.create_task(payload.communicate()) for payload in payloads[2:]]
        lines = []
        for payload, task in zip(payloads, doomed, strict=False):
            lines += await task
            payload.send_signal(signal.SIGKILL)
            await payload.wait()
        async with asyncio.timeout(120):
            ended = await client.wait(request)
            lines += [json.loads(line) for out, _ in await asyncio.gather(*outputs) for line in out.splitlines()]
        counts = (await client.collection(collection)).counts
        history = [move async for move in client.history(request)]
        contents = [content async for content in client.contents(collection)]
    assert ended.status == "finished"
    assert {status: n for status, n in counts.items() if n} == {"done": SAMPLES}
    assert sum(move.n for move in history if move.event == "processed") == SAMPLES, "each ended once"
    lines = [line for line in lines if "id" in line]
    accepted = Counter(line["id"] for line in lines for verdict in line["verdicts"] if verdict == "accepted")
    assert max(accepted.values()) == 1
    assert all(line["verdicts"].count("accepted") <= 1 for line in lines), "the same report twice counts once"
    # What the killed ones held came back, and was done by others.
    assert sum(move.n for move in history if move.event == "returned") >= 2
    # The window held at every moment, and every sample is a point of the space.
    assert _most_in_flight(history) <= 30
    points = [content.parameters for content in contents]
    assert all(0 <= p["x"] <= 1 and 1 <= p["n"] <= 64 and p["kind"] in "abc" for p in points if p)
    assert len({json.dumps(point, sort_keys=True) for point in points}) == SAMPLES
    assert [payload.returncode for payload in payloads[2:]] == [0] * 6


async def _until_it_holds(payload: asyncio.subprocess.Process) -> list[dict[str, Any]]:
    """What it said until it holds a lease and goes no further."""
    assert payload.stdout is not None
    lines: list[dict[str, Any]] = []
    while not lines or "holding" not in lines[-1]:
        line = await payload.stdout.readline()
        assert line, "the payload ended by itself"
        lines.append(json.loads(line))
    return lines


def _most_in_flight(history: list[MoveView]) -> int:
    """The most samples that were drawn and had not ended, by the history."""
    flying = most = 0
    for move in history:
        if move.entity.startswith("collection:"):
            flying += {"landed": move.n, "processed": -move.n, "failed": -move.n}.get(move.event, 0)
            most = max(most, flying)
    return most

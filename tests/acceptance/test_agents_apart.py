"""Agents as processes of their own, on one PostgreSQL and one Mosquitto; some are killed, and nothing is lost."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from idds.ddm.posix import PosixDDM
from idds.domain.identifiers import Did, RequestId
from idds.domain.statuses import ContentStatus, Relation
from idds.domain.workflow import Input, Output, Payload, WindowLimits, Work, Workflow
from idds.sdk.client import Client
from tests.acceptance.service import PATIENCE_S, service
from tests.servers.mosquitto import MosquittoServer

FILES = 40
COUNT = """
from idds.sdk import payload
with payload.job() as job:
    for content in job:
        with job.processing(content):
            job.output(content.name + ".size").write_text(str(len(open(content.path, "rb").read())))
"""
MERGE = """
from idds.sdk import payload
with payload.job() as job:
    total = 0
    for content in job:
        with job.processing(content):
            total += int(open(content.path).read())
    job.output("total").write_text(str(total))
"""
SETTINGS = """
state = "{folder}/state"
log.level = "warning"
store.url = "{database}"
bus.kind = "mqtt"
bus.options.url = "{broker}"
placement.outputs = "OUT"
rses.DISK.window_bytes = 60000

[ddm]
plugin = "posix"
options.root = "{folder}/rses"
options.rses.DISK.kind = "disk"
options.rses.OUT.kind = "disk"
options.rses.TAPE = {{kind = "tape", drives = 2, bytes_per_s = 200000}}
"""


async def _start(*command: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(*command, env={**os.environ, "IDDS_LOG__LEVEL": "warning"})


async def _agent(name: str, settings: Path) -> asyncio.subprocess.Process:
    return await _start(sys.executable, "-m", f"agents.{name}", str(settings))


async def _end(process: asyncio.subprocess.Process, number: signal.Signals) -> int:
    process.send_signal(number)
    async with asyncio.timeout(PATIENCE_S):
        return await process.wait()


async def _write_tape(folder: Path) -> int:
    """Put a dataset on tape; its size."""
    rses = {"DISK": {"kind": "disk"}, "OUT": {"kind": "disk"}, "TAPE": {"kind": "tape"}}
    ddm = PosixDDM.from_options({"root": str(folder / "rses"), "rses": rses})
    await ddm.start()
    dataset = Did("data", "set")
    await ddm.create_dataset(dataset)
    sizes = [5000 + 37 * number for number in range(FILES)]
    for number, size in enumerate(sizes):
        await ddm.write_tape("TAPE", dataset, Did("data", f"file{number}"), os.urandom(size), f"C{number % 2}")
    await ddm.close_dataset(dataset)
    await ddm.stop()
    return sum(sizes)


def _workflow() -> Workflow:
    count, merge = (Payload(argv=(sys.executable, "-c", code)) for code in (COUNT, MERGE))
    source = Input(dataset="data:set", batch=2, window=WindowLimits(bytes=50_000))
    return Workflow(
        name="apart",
        works=(
            Work(name="count", input=source, payload=count, output=Output(dataset="data:sizes")),
            Work(
                name="merge", input=Input(outputs="count", batch="all"), payload=merge, output=Output(dataset="data:t")
            ),
        ),
    )


async def _until_a_quarter_is_done(client: Client, request: int) -> None:
    done = 0
    while done < FILES // 4:
        await asyncio.sleep(0.1)
        found = await client.request(RequestId(request))
        done = found.collection("count").counts[ContentStatus.DONE] if found.collections else 0


async def test_agents_of_their_own_some_of_which_die(
    tmp_path: Path, bare_postgres_url: str, mosquitto: MosquittoServer
) -> None:
    settings = tmp_path / "idds.toml"
    settings.write_text(SETTINGS.format(folder=tmp_path, database=bare_postgres_url, broker=mosquitto.url))
    total = await _write_tape(tmp_path)
    idds = str(Path(sys.executable).with_name("idds"))
    assert await (await _start(idds, "db", "upgrade", "--settings", str(settings))).wait() == 0
    arguments = ("--settings", str(settings), "--no-agents")
    async with service(tmp_path / "state", *arguments) as running, running.client() as client:
        names = ("transformer", "transformer", "carrier", "conductor")
        agents = [await _agent(name, settings) for name in names]
        try:
            request = await client.submit(_workflow())
            await _until_a_quarter_is_done(client, request.id)
            assert await _end(agents.pop(0), signal.SIGKILL) == -signal.SIGKILL
            assert await _end(agents.pop(1), signal.SIGKILL) == -signal.SIGKILL
            agents.append(await _agent("carrier", settings))
            async with asyncio.timeout(150):
                ended = await client.wait(request.id)
            history = [move async for move in client.history(request.id)]
            outputs = [content async for content in client.contents(ended.collection("merge", Relation.OUTPUT).id)]
        finally:
            codes = [await _end(agent, signal.SIGTERM) for agent in agents]
    assert ended.status == "finished"
    assert codes == [0, 0, 0], "each stops cleanly when told"
    processed = sum(m.n for m in history if m.event == "processed" and m.entity.startswith("collection:"))
    assert processed == 2 * FILES, "each file once, and its output once by the merge"
    assert len(outputs) == 1
    [merged] = (tmp_path / "rses" / "OUT").rglob("*.total")
    assert int(merged.read_text()) == total

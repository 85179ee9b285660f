"""A consumer outside: it hears on MQTT what is on disk, reads it, and says over MQTT or HTTP that it is done."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiomqtt

from idds.ddm.posix import PosixDDM
from idds.domain.content import Outcome
from idds.domain.identifiers import ContentId, Did
from idds.domain.workflow import Input, WindowLimits, Work, Workflow
from idds.sdk.client import Client
from tests.acceptance.service import service

FILES = 24
SIZE = 1000
WINDOW = 4 * SIZE


async def _write_tape(state: Path) -> None:
    ddm = PosixDDM.from_options(
        {"root": str(state / "rses"), "rses": {"DISK": {"kind": "disk"}, "TAPE": {"kind": "tape"}}}
    )
    await ddm.start()
    dataset = Did("data", "announced")
    await ddm.create_dataset(dataset)
    for number in range(FILES):
        content = f"{number:04d}".encode() * (SIZE // 4)
        await ddm.write_tape("TAPE", dataset, Did("data", f"file{number}"), content, "C1")
    await ddm.close_dataset(dataset)
    await ddm.stop()


def _acknowledgement(number: int, contents: list[dict[str, Any]]) -> str:
    outcomes = [{"id": content["id"], "status": "done"} for content in contents]
    return json.dumps({"id": f"ack-{number}", "type": "contents.processed", "contents": outcomes})


def _bytes_in(folder: Path) -> int:
    total = 0
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # it may be renamed, or deleted, at this very moment
            total += file.stat().st_size
    return total


async def _consume(mqtt: aiomqtt.Client, client: Client) -> tuple[list[dict[str, Any]], int]:
    """Read and acknowledge whatever is announced, until all is; what was announced, and the most bytes on disk."""
    announced: list[dict[str, Any]] = []
    most = 0
    async for message in mqtt.messages:
        body = json.loads(bytes(message.payload))  # type: ignore[arg-type]
        if body["type"] == "contents.available":
            contents = body["contents"]
            announced += contents
            folder = Path(contents[0]["path"]).parent
            most = max(most, _bytes_in(folder))
            for content in contents:
                assert len(await asyncio.to_thread(Path(content["path"]).read_bytes)) == content["bytes"]
            if len(announced) % 2:
                acknowledgement = _acknowledgement(body["seq"], contents)
                for _ in range(2):  # the second one is a duplicate, and changes nothing
                    await mqtt.publish("idds/local/acknowledgements", acknowledgement, qos=1)
            else:
                outcomes = [Outcome(ContentId(content["id"]), 0, done=True) for content in contents]
                await client.report(body["collection"], outcomes)
        if body["type"] == "request.finished":
            return announced, most
    raise AssertionError("the broker went away")


async def test_files_are_announced_acknowledged_and_released(tmp_path: Path) -> None:
    await _write_tape(tmp_path)
    source = Input(dataset="data:announced", window=WindowLimits(bytes=WINDOW))
    workflow = Workflow(name="announced", works=(Work(name="deliver", input=source),))
    async with service(tmp_path) as running, running.client() as client:
        broker = urlsplit(running.mqtt)
        password = (tmp_path / "mqtt-password").read_text().strip()
        async with aiomqtt.Client(broker.hostname or "", broker.port or 0, username="idds", password=password) as mqtt:
            await mqtt.subscribe("idds/local/#", qos=1)
            request = await client.submit(workflow)
            async with asyncio.timeout(60):
                announced, most = await _consume(mqtt, client)
        ended = await client.wait(request.id)
        history = [move async for move in client.history(request.id)]
        async with asyncio.timeout(30):
            while any((tmp_path / "rses" / "DISK").rglob("file*")):
                await asyncio.sleep(0.05)
    assert ended.status == "finished"
    assert sorted(content["name"] for content in announced) == sorted(f"file{number}" for number in range(FILES))
    assert 0 < most <= WINDOW, "never more on disk than the window holds"
    assert sum(move.n for move in history if move.event == "processed") == FILES

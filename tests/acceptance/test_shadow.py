"""`idds shadow` beside a real Rucio: what somebody else stages is watched, and nothing is changed."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from rucio.client import Client

from idds.domain.identifiers import Did
from tests.contract.rucio_site import RucioSite
from tests.servers.rucio.server import SERVICE, RucioServer

FILES, SIZE = 12, 100_000
DEADLINE_S = 200.0


async def dataset(rucio: RucioServer, name: str) -> Did:
    """Of files on tape."""
    did = Did("test", name)
    async with aclosing(RucioSite(rucio)) as site:
        await site.create_dataset(did)
        for n in range(FILES):
            content = f"{name}.{n}".encode().ljust(SIZE, b".")
            await site.write_tape(did, Did("test", f"{name}.{n}"), content)
    return did


def settings(rucio: RucioServer, folder: Path) -> Path:
    options = "\n".join(f"{name} = {json.dumps(value)}" for name, value in rucio.ddm_options.items())
    path = folder / "idds.toml"
    path.write_text(f'[ddm]\nplugin = "rucio"\n[ddm.options]\n{options}\n')
    return path


@asynccontextmanager
async def shadow(*arguments: str) -> AsyncIterator[Process]:
    command = [str(Path(sys.executable).with_name("idds")), "shadow", *arguments]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def until_said(process: Process, words: str) -> None:
    assert process.stderr is not None
    async for line in process.stderr:
        if words in line.decode():
            return
    raise AssertionError(f"it never said {words!r}")


def stage(rucio: RucioServer, *dids: Did) -> None:
    """By somebody else than the service."""
    client = Client(**rucio.client_options)
    client.add_replication_rule([{"scope": did.scope, "name": did.name} for did in dids], 1, "DISK")
    client.session.close()


def rules_of_service(rucio: RucioServer) -> list[Any]:
    client = Client(**rucio.client_options)
    rules = list(client.list_replication_rules({"account": SERVICE}))
    client.session.close()
    return rules


async def test_a_dataset_that_is_staged_as_a_whole(rucio: RucioServer, tmp_path: Path) -> None:
    did = await dataset(rucio, "watched")
    trace = tmp_path / "trace.jsonl"
    common = ("--settings", str(settings(rucio, tmp_path)), "--dataset", str(did), "--rse", "DISK")
    assumed = ("--process-s", "0.1", "--recall-s", "0", "--deletion-s", "0", "--json")
    async with shadow(*common, *assumed, "--every-s", "0.3", "--trace", str(trace)) as process:
        await until_said(process, f"0 of {FILES} files came")
        await asyncio.to_thread(stage, rucio, did)
        out, _ = await process.communicate()
    verdict = json.loads(out)
    assert process.returncode == 0
    assert (verdict["files"], verdict["bytes"], verdict["before"]) == (FILES, FILES * SIZE, 0)
    assert verdict["used_bytes"] == FILES * SIZE
    assert SIZE <= verdict["enough_bytes"] <= FILES * SIZE
    assert rules_of_service(rucio) == []
    async with shadow(*assumed, "--trace", str(trace)) as process:
        out, _ = await process.communicate()
    assert json.loads(out) == verdict


async def test_who_has_seen_enough_is_told_what_was_seen(rucio: RucioServer, tmp_path: Path) -> None:
    did = await dataset(rucio, "interrupted")
    common = ("--settings", str(settings(rucio, tmp_path)), "--dataset", str(did), "--rse", "DISK")
    async with shadow(*common, "--every-s", "0.3") as process:
        await until_said(process, f"0 of {FILES} files came")
        files = [Did("test", f"{did.name}.{n}") for n in range(FILES - 2)]
        await asyncio.to_thread(stage, rucio, *files)
        await until_said(process, f"{FILES - 2} of {FILES} files came")
        process.send_signal(signal.SIGINT)
        out, _ = await process.communicate()
    assert process.returncode == 0
    assert f"{FILES - 2} files with 1.0 MB were seen to come" in out.decode()
    assert "would have been enough; 1.0 MB were used" in out.decode()


async def test_what_cannot_be_watched(rucio: RucioServer, tmp_path: Path) -> None:
    did = await dataset(rucio, "unwatched")
    path = str(settings(rucio, tmp_path))
    for arguments, words in (
        (("--dataset", "test:nowhere", "--rse", "DISK"), "test:nowhere is not known to Rucio"),
        (("--dataset", str(did), "--rse", "NOWHERE"), "NOWHERE"),
        (("--dataset", "nothing", "--rse", "DISK"), "--dataset"),
        (("--dataset", str(did)), "--rse"),
        ((), "--dataset"),
        (("--dataset", str(did), "--rse", "DISK", "--for-s", "0.1"), "nothing to judge"),
    ):
        async with shadow("--settings", path, *arguments) as process:
            out, said = await process.communicate()
        assert (process.returncode, out) != (0, b"")
        assert words in said.decode()
        assert "Traceback" not in said.decode()

"""A workload manager of today: it asks through the official idds-client, and listens and speaks as JEDI does."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from sqlalchemy import make_url

from idds.ddm.posix import PosixDDM
from idds.domain.identifiers import Did
from tests.acceptance.jedi import Jedi
from tests.acceptance.service import service
from tests.servers.idds_client import IddsClient
from tests.servers.mosquitto import MosquittoServer

FILES = 24
SIZE = 1000
WINDOW = 4
TASK = 30_000_077
PATIENCE_S = 60
SETTINGS = """
state = "{folder}/state"
log.level = "warning"
store.url = "{database}"
bus.kind = "mqtt"
bus.options.url = "{broker}"
rses.DISK.window_files = {window}

[ddm]
plugin = "posix"
options.root = "{folder}/rses"
options.rses.DISK.kind = "disk"
options.rses.TAPE.kind = "tape"
"""


@dataclass(frozen=True)
class Site:
    """The service, the official client, and JEDI."""

    client: IddsClient
    jedi: Jedi
    disk: Path

    async def ask(self) -> int:
        """As JEDI does when the first job of a task with pre-staging is fed."""
        number: int = await self.client.call(
            "add_request",
            scope="data",
            name="set",
            requester="panda",
            request_type="RequestType.StageIn",
            transform_tag=2,
            status="RequestStatus.New",
            priority=0,
            lifetime=30,
            request_metadata={"workload_id": TASK, "rule_id": None},
        )
        return number

    async def status(self, request: int) -> str:
        (row,) = await self.client.call("get_requests", request_id=request)
        status: str = row["status"]
        return status

    def on_disk(self) -> set[str]:
        return {file.name for file in self.disk.rglob("file*")} if self.disk.exists() else set()


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():
            await asyncio.sleep(0.05)


async def _write_tape(folder: Path) -> None:
    rses = {"DISK": {"kind": "disk"}, "TAPE": {"kind": "tape"}}
    ddm = PosixDDM.from_options({"root": str(folder / "rses"), "rses": rses})
    await ddm.start()
    dataset = Did("data", "set")
    await ddm.create_dataset(dataset)
    for number in range(FILES):
        await ddm.write_tape("TAPE", dataset, Did("data", f"file{number}"), os.urandom(SIZE), "C1")
    await ddm.close_dataset(dataset)
    await ddm.stop()


@asynccontextmanager
async def _site(folder: Path, database: str, broker: MosquittoServer, window: int) -> AsyncIterator[Site]:
    settings = folder / "idds.toml"
    settings.write_text(SETTINGS.format(folder=folder, database=database, broker=broker.url, window=window))
    await _write_tape(folder)
    idds = str(Path(sys.executable).with_name("idds"))
    upgrading = await asyncio.create_subprocess_exec(idds, "db", "upgrade", "--settings", str(settings))
    assert await upgrading.wait() == 0
    async with (
        service(folder / "state", "--settings", str(settings)) as running,
        IddsClient(running.url, running.token) as client,
        aiomqtt.Client("127.0.0.1", broker.port) as mqtt,
    ):
        jedi = Jedi(mqtt, "local", TASK)
        await jedi.subscribe()
        yield Site(client, jedi, folder / "rses" / "DISK")


@pytest.fixture
def database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Without its password, which has no place in a settings file."""
    url = make_url(database_url)
    if url.password:
        monkeypatch.setenv("PGPASSWORD", str(url.password))
    return url._replace(password=None).render_as_string()


async def test_files_are_told_processed_and_given_back_through_a_small_window(
    tmp_path: Path, database: str, mosquitto: MosquittoServer
) -> None:
    async with _site(tmp_path, database, mosquitto, WINDOW) as site:
        most = 0

        async def process(files: Sequence[dict[str, Any]]) -> None:
            nonlocal most
            most = max(most, len(site.on_disk()))
            for file in files:
                assert len(await asyncio.to_thread(Path(file["path"]).read_bytes)) == SIZE
            await site.jedi.say_processed([file["name"] for file in files], "failed")  # not processed: it stays
            for _ in range(2):  # the second one is a duplicate, and changes nothing
                await site.jedi.say_processed([file["name"] for file in files])

        request = await site.ask()
        assert await site.ask() == request, "a POST that comes again is the same request"
        async with asyncio.timeout(PATIENCE_S):
            await site.jedi.listen(process)

        async def is_finished() -> bool:
            return await site.status(request) == "RequestStatus.Finished" and not site.on_disk()

        await _until(is_finished)
        assert site.jedi.released == {("data", f"file{number}"): 1 for number in range(FILES)}
        assert site.jedi.closed == [("data", "set")]
        assert 0 < most <= WINDOW
        messages = await site.client.call("get_messages", request_id=request)
        assert [each["msg_type"] for each in messages].count("collection_stagein") == 1
        assert messages[-1]["msg_type"] == "collection_stagein"
        contents = await site.client.call("get_contents", request_id=request)
        assert {each["status"] for each in contents} == {"ContentStatus.Deleted"}


async def test_what_no_job_told_of_is_given_back_when_the_task_ends(
    tmp_path: Path, database: str, mosquitto: MosquittoServer
) -> None:
    async with _site(tmp_path, database, mosquitto, FILES) as site:

        async def keep_quiet(_files: Sequence[dict[str, Any]]) -> None: ...

        request = await site.ask()
        async with asyncio.timeout(PATIENCE_S):
            await site.jedi.listen(keep_quiet)
        assert len(site.on_disk()) == FILES
        assert await site.status(request) == "RequestStatus.Transforming"
        available = await site.client.call("get_contents", workload_id=TASK, status="ContentStatus.Available")
        assert len(available) == FILES
        assert {each["path"] for each in available} == {str(path) for path in site.disk.rglob("file*")}
        await site.jedi.say_nonsense()
        await site.jedi.say_ended("running")
        await site.jedi.say_ended("done")

        async def is_finished() -> bool:
            return await site.status(request) == "RequestStatus.Finished" and not site.on_disk()

        await _until(is_finished)


@pytest.mark.parametrize("by_message", [False, True])
async def test_a_task_that_is_aborted_leaves_nothing_and_is_never_told_complete(
    tmp_path: Path, sqlite_url: str, mosquitto: MosquittoServer, by_message: bool
) -> None:
    async with _site(tmp_path, sqlite_url, mosquitto, WINDOW) as site:
        request = await site.ask()

        async def window_is_full() -> bool:
            found = await site.client.call("get_contents", request_id=request, status="ContentStatus.Available")
            return len(found) == WINDOW

        await _until(window_is_full)
        if by_message:
            await site.jedi.say_ended("aborted")
        else:
            ((code, answer),) = await site.client.manage("abort", workload_id=TASK)
            assert (code, answer["status"]) == (0, 0)

        async def is_cancelled() -> bool:
            return await site.status(request) == "RequestStatus.Cancelled" and not site.on_disk()

        await _until(is_cancelled)
        messages = await site.client.call("get_messages", workload_id=TASK)
        assert {each["msg_type"] for each in messages} == {"file_stagein"}
        assert site.jedi.closed == []

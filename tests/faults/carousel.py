"""What the tests of the carousel on a real Rucio share: files on its tape, a consumer, a look at the disk itself."""

import asyncio
import json
import os
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from rucio.client import Client as RucioClient

from idds.domain.content import Outcome
from idds.domain.statuses import ContentStatus
from idds.domain.workflow import Input, Work, Workflow
from idds.sdk.client import Client
from idds.sdk.views import LeasedContent, RequestView
from tests.servers.rucio.server import SERVICE, RucioServer

SCOPE = "test"
SIZE = 10_000
EVENTS_SECRET = "only for tests"
LOOK_S = 0.1
AT_ONCE = 50


class Tape:
    """Puts files on the tape of a Rucio, as somebody else than the service, and looks what there is."""

    def __init__(self, server: RucioServer) -> None:
        self._server = server
        self.client = RucioClient(**server.client_options)

    def close(self) -> None:
        self.client.session.close()

    def write(self, names: Sequence[str], size: int, rse: str = "TAPE") -> None:
        """Files of so many bytes, each with others."""
        for start in range(0, len(names), AT_ONCE):
            self._write(names[start : start + AT_ONCE], size, rse)

    def _write(self, names: Sequence[str], size: int, rse: str) -> None:
        urls = self.client.lfns2pfns(rse, [f"{SCOPE}:{name}" for name in names], operation="write")
        described = []
        for name in names:
            content = f"{name} ".encode().ljust(size, b".")[:size]
            path = Path(urlsplit(urls[f"{SCOPE}:{name}"]).path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            described.append({**_did(name), "bytes": size, "adler32": f"{zlib.adler32(content):08x}"})
        self.client.add_replicas(rse, described)

    def dataset(self, name: str, files: Sequence[str]) -> str:
        """A closed dataset of files that are there already; its DID."""
        self.client.add_dataset(SCOPE, name)
        self.client.attach_dids(SCOPE, name, [_did(file) for file in files])
        self.client.close(SCOPE, name)
        return f"{SCOPE}:{name}"

    def path(self, name: str, rse: str = "TAPE") -> Path:
        return self._server.path(self.client, rse, f"{SCOPE}:{name}")

    def copy(self, name: str, size: int, rse: str) -> None:
        """Another replica of a file that is there already."""
        there, path = self.path(name), self.path(name, rse)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(there.read_bytes())
        described = {**_did(name), "bytes": size, "adler32": f"{zlib.adler32(there.read_bytes()):08x}"}
        self.client.add_replicas(rse, [described])

    def hide(self, name: str, rse: str = "TAPE") -> None:
        """Its replica there cannot be read any more."""
        self.client.update_replicas_states(rse, [{**_did(name), "state": "U"}])

    def allow(self, size: int) -> None:
        """The quota of the service's account on the disk; -1 for no limit."""
        self.client.set_local_account_limit(SERVICE, "DISK", size)
        # Rucio holds no account to a quota that has this attribute.
        if size < 0:
            self.client.add_account_attribute(SERVICE, "admin", "true")
        else:
            self.client.delete_account_attribute(SERVICE, "admin")

    def add_rule(self, name: str) -> str:
        """Somebody who uses the service's account makes a rule that is none of the service's."""
        made: list[str] = self.client.add_replication_rule([_did(name)], 1, "DISK", account=SERVICE)
        return made[0]

    def end_rule(self, rule: str) -> None:
        """An operator has it end now, and its replica deleted."""
        self.client.update_replication_rule(rule, {"lifetime": -10, "purge_replicas": True})

    def state(self, rule: str) -> str:
        state: str = self.client.get_replication_rule(rule)["state"]
        return state

    def rules(self) -> list[str]:
        """Those of the service's account that hold."""
        return [row["id"] for row in self.client.list_replication_rules({"account": SERVICE})]

    def replicas(self, names: Sequence[str], rse: str = "DISK") -> list[str]:
        """Which of the files have a replica there, in whatever state."""
        rows = self.client.list_replicas([_did(name) for name in names], rse_expression=rse, all_states=True)
        return [row["name"] for row in rows if rse in row.get("states", {})]


def _did(name: str) -> dict[str, str]:
    return {"scope": SCOPE, "name": name}


def settings(server: RucioServer, folder: Path, window_bytes: int = 4 * SIZE, more: str = "") -> Path:
    """A settings file for this Rucio, with `more` lines at its beginning."""
    secret = folder / "rucio-events"
    secret.write_text(EVENTS_SECRET)
    options = "\n".join(f"{name} = {json.dumps(value)}" for name, value in server.ddm_options.items())
    path = folder / "idds.toml"
    path.write_text(
        f'{more}\naccess.rucio_secret_file = "{secret}"\nplacement.disk = "DISK"\n'
        f"rses.DISK.window_bytes = {window_bytes}\n"
        f'[ddm]\nplugin = "rucio"\n[ddm.options]\n{options}\n'
    )
    return path


@dataclass
class Disk:
    """The files below a folder as the file system has them, and the most bytes that were ever seen at once."""

    folder: Path
    highest: int = 0

    def bytes(self) -> int:
        """Also of what is only half copied."""
        found: dict[int, int] = {}  # by inode: one that is renamed meanwhile is met twice
        for parent, _, names in os.walk(self.folder):
            for name in names:
                with suppress(FileNotFoundError):
                    seen = os.stat(os.path.join(parent, name))
                    found[seen.st_ino] = seen.st_size
        total = sum(found.values())
        self.highest = max(self.highest, total)
        return total

    @asynccontextmanager
    async def watched(self) -> AsyncIterator["Disk"]:
        """It is looked at all the time."""

        async def watch() -> None:
            while True:
                await asyncio.to_thread(self.bytes)
                await asyncio.sleep(LOOK_S)

        task = asyncio.create_task(watch())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@dataclass
class Deliveries:
    """What a consumer was given: how often each file, and which came with other bytes than the catalogue knows."""

    times: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def take(self, content: LeasedContent) -> Outcome:
        self.times[content.name] += 1
        assert content.path is not None
        found = Path(content.path).read_bytes()
        if (f"{zlib.adler32(found):08x}", len(found)) != (content.adler32, content.bytes):
            self.wrong.append(content.name)
        return content.done()


async def consume(client: Client, collection: int, into: Deliveries, *, at_once: int = 20) -> None:
    """Lease, read and report all that comes of a collection, until no more does."""
    ended = False
    while not ended:
        lease = await client.lease(collection, count=at_once, wait_s=5)
        ended = lease.ended
        await client.report(collection, [into.take(content) for content in lease.contents])


@dataclass(frozen=True)
class Told:
    """A service that is told what to deliver, and says why it does not."""

    client: Client
    tape: Tape
    url: str

    async def submit(self, dataset: str, **more: Any) -> int:
        """A request over a dataset, read file by file unless `more` of its input says otherwise."""
        work = Work(name="read", input=Input(dataset=dataset, **more))
        return (await self.client.submit(Workflow(name=f"all of {dataset}", works=(work,)))).id

    async def deliver(self, request: int) -> tuple[RequestView, Deliveries]:
        """Consume all that comes, until the request has ended and nothing of it is left on Rucio."""
        into = Deliveries()
        await consume(self.client, await collection_of(self.client, request), into)
        ended = await self.client.wait(request)
        await until(lambda: not self.tape.rules())
        return ended, into

    async def failures(self, request: int) -> dict[str, str | None]:
        """Why each content of a request failed that did, by its name."""
        collection = await collection_of(self.client, request)
        found = [each async for each in self.client.contents(collection, ContentStatus.FAILED)]
        return {each.name: each.reason for each in found}

    async def post_events(self, events: Sequence[tuple[str, str, str]], rse: str = "DISK") -> None:
        """(Id, type, file) of events, posted as Rucio's hermes does."""
        lines = [
            json.dumps(line) + "\n"
            for number, kind, name in events
            for line in ({"index": {}}, {"id": number, "event_type": kind, "payload": {**_did(name), "rse": rse}})
        ]
        secret = aiohttp.encode_basic_auth("hermes", EVENTS_SECRET)
        headers = {"Content-Type": "application/json", "Authorization": secret}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/v1/rucio/events", data="".join(lines), headers=headers) as answer,
        ):
            assert answer.status == 200, await answer.text()


async def collection_of(client: Client, request: int, work: str = "read") -> int:
    """The id of a work's input, when there is one."""
    while not (found := await client.request(request)).collections:
        await asyncio.sleep(LOOK_S)
    return found.collection(work).id


async def until(condition: Callable[[], bool], deadline_s: float = 60.0) -> None:
    """Wait for it, in a thread; raises TimeoutError."""
    async with asyncio.timeout(deadline_s):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(LOOK_S)


async def said(client: Client, request: int, words: Iterable[str], deadline_s: float = 60.0) -> str:
    """What `why` says of a request, as soon as all of these words are in it; TimeoutError tells what it said last."""
    text, wanted = "", tuple(words)
    try:
        async with asyncio.timeout(deadline_s):
            while not all(word in text for word in wanted):
                await asyncio.sleep(LOOK_S)
                text = await why(client, request)
    except TimeoutError:
        raise TimeoutError(f"{wanted} are not in:\n{text}") from None
    return text


async def why(client: Client, request: int) -> str:
    """All that is said of a request."""
    answer = await client.why(request)
    sentences = [*answer.sentences, *(each for transform in answer.transforms for each in transform.sentences)]
    return "\n".join(f"{each.text}; {each.next}" if each.next else each.text for each in sentences)

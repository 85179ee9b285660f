"""RucioDDM as a site under test: a real Rucio, a tape, one that never gets anywhere, and a disk."""

import asyncio
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rucio.client import Client

from idds.ddm.rucio import RucioDDM
from idds.domain.files import File
from idds.domain.identifiers import Did
from tests.servers.rucio.server import RucioServer


class RucioSite:
    disk = "DISK"
    tape = "TAPE"
    scope = "test"

    def __init__(self, server: RucioServer) -> None:
        self._server = server
        self._client = Client(**server.client_options)
        self._ddms: list[RucioDDM] = []

    async def ddm(self, **options: Any) -> RucioDDM:
        ddm = RucioDDM.from_options(self._server.ddm_options | options)
        await ddm.start()
        self._ddms.append(ddm)
        return ddm

    async def run(self, work: Callable[..., Any], *given: Any) -> Any:
        """What somebody else does on this Rucio."""
        return await asyncio.to_thread(work, self._client, *given)

    async def aclose(self) -> None:
        await self._stop_all()
        self._client.session.close()

    async def _stop_all(self) -> None:
        while self._ddms:
            await self._ddms.pop().stop()

    async def create_dataset(self, dataset: Did, *, is_open: bool = False) -> None:
        def create() -> None:
            self._client.add_dataset(dataset.scope, dataset.name)
            if not is_open:
                self._client.close(dataset.scope, dataset.name)

        await asyncio.to_thread(create)

    async def close_dataset(self, dataset: Did) -> None:
        await asyncio.to_thread(self._client.close, dataset.scope, dataset.name)

    async def write_tape(self, dataset: Did, did: Did, content: bytes, *, slow: bool = False) -> File:
        file = File(did, len(content), f"{zlib.adler32(content):08x}")
        await asyncio.to_thread(self._write, "SLOW" if slow else "TAPE", dataset, file, content)
        return file

    def _write(self, rse: str, dataset: Did, file: File, content: bytes) -> None:
        path = self._path(rse, file.did)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        described = {
            "scope": file.did.scope,
            "name": file.did.name,
            "bytes": file.bytes,
            "adler32": file.adler32,
        }
        self._client.add_replicas(rse, [described])
        is_open = self._client.get_did(dataset.scope, dataset.name)["open"]
        if not is_open:
            self._client.set_status(dataset.scope, dataset.name, open=True)
        self._client.attach_dids(dataset.scope, dataset.name, [described])
        if not is_open:
            self._client.close(dataset.scope, dataset.name)

    async def spoil(self, did: Did) -> None:
        path = await asyncio.to_thread(self._path, "TAPE", did)
        path.write_bytes(path.read_bytes()[::-1])

    async def lose(self, did: Did) -> None:
        (await asyncio.to_thread(self._path, "TAPE", did)).unlink()

    async def mend(self, did: Did, content: bytes) -> None:
        (await asyncio.to_thread(self._path, "TAPE", did)).write_bytes(content)

    async def place(self, did: Did, content: bytes) -> None:
        def put() -> None:
            path = self._path(self.disk, did)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            described = {
                "scope": did.scope,
                "name": did.name,
                "bytes": len(content),
                "adler32": f"{zlib.adler32(content):08x}",
            }
            self._client.add_replicas(self.disk, [described])
            self._client.add_replication_rule([{"scope": did.scope, "name": did.name}], 1, self.disk)

        await asyncio.to_thread(put)

    def _path(self, rse: str, did: Did) -> Path:
        return self._server.path(self._client, rse, str(did))

    async def stage_and_die(self, files: Sequence[File]) -> None:
        ddm = await self.ddm()
        await ddm.stage(self.disk, files)
        await self._stop_all()

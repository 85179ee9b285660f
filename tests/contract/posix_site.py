"""PosixDDM as a site under test: a fast tape, one that never gets anywhere, and two disks."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from idds.ddm.posix import PosixDDM
from idds.domain.files import File
from idds.domain.identifiers import Did

CRAWL = {"kind": "tape", "drives": 2, "bytes_per_s": 1}


class PosixSite:
    disk = "DISK"
    tape = "TAPE"
    scope = "user.test"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.options: dict[str, Any] = {
            "root": str(root),
            "rses": {
                "DISK": {"kind": "disk"},
                "OTHER": {"kind": "disk"},
                "TAPE": {"kind": "tape", "drives": 2},
                "SLOW": CRAWL,
            },
        }
        self._ddms: list[PosixDDM] = []

    async def ddm(self) -> PosixDDM:
        ddm = PosixDDM.from_options(self.options)
        await ddm.start()
        self._ddms.append(ddm)
        return ddm

    async def any(self) -> PosixDDM:
        return self._ddms[0] if self._ddms else await self.ddm()

    async def stop(self) -> None:
        while self._ddms:
            await self._ddms.pop().stop()

    async def create_dataset(self, dataset: Did, *, is_open: bool = False) -> None:
        await (await self.any()).create_dataset(dataset, is_open)

    async def close_dataset(self, dataset: Did) -> None:
        await (await self.any()).close_dataset(dataset)

    async def write_tape(self, dataset: Did, did: Did, content: bytes, *, slow: bool = False) -> File:
        return await (await self.any()).write_tape("SLOW" if slow else "TAPE", dataset, did, content, "T00001")

    async def spoil(self, did: Did) -> None:
        path = await self.tape_path(did)
        path.write_bytes(path.read_bytes()[::-1])

    async def lose(self, did: Did) -> None:
        (await self.tape_path(did)).unlink()

    async def mend(self, did: Did, content: bytes) -> None:
        (await self.tape_path(did)).write_bytes(content)

    async def place(self, did: Did, content: bytes) -> None:
        path = await self.disk_path(did)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    async def tape_path(self, did: Did) -> Path:
        return (await self.any()).tape_path("TAPE", did)

    async def disk_path(self, did: Did) -> Path:
        return self.root / self.disk / (await self.tape_path(did)).relative_to(self.root / "TAPE")

    async def stage_and_die(self, files: Sequence[File]) -> None:
        await self.stop()
        victim = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("posix_victim.py")),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert victim.stdin
        assert victim.stdout
        try:
            rses = {**self.options["rses"], "TAPE": CRAWL}
            named = [(file.did.scope, file.did.name, file.bytes, file.adler32) for file in files]
            order = {"options": {**self.options, "rses": rses}, "rse": self.disk, "files": named}
            victim.stdin.write(json.dumps(order).encode())
            victim.stdin.close()
            async with asyncio.timeout(60):
                assert await victim.stdout.readline() == b"moving\n"
        finally:
            victim.kill()
            await victim.communicate()

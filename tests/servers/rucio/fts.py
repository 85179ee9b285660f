"""A stand-in for FTS: it speaks the part of FTS3's REST API that Rucio uses, and really copies the bytes.

`python fts.py PORT`: transfers are between `file://` URLs. What is read from a tape needs a drive, and waits for one.
A file below a folder named `SLOW` is never read. `PUT /faults` orders what goes wrong from then on, see `Faults`; `GET`
tells what did.

https://fts3-docs.web.cern.ch/fts3-docs/fts-rest/docs/
"""

import asyncio
import json
import os
import random
import sys
import uuid
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

BLOCK = 2**20
DRIVES = 4


@dataclass
class Faults:
    """How likely each goes wrong with an attempt to transfer a file, and how often at most with one file.

    `fail`: the drive gives up. `spoil`: other bytes arrive, which the checksum tells. `hang`: nothing happens any more.
    `lose`: the whole job is not known any more. `seconds` is how long a drive takes for a file. The same
    `seed` decides the same for the same file and attempt.
    """

    fail: float = 0.0
    spoil: float = 0.0
    hang: float = 0.0
    lose: float = 0.0
    times: int = 2
    seed: int = 0
    seconds: float = 0.0
    _met: dict[str, int] = field(default_factory=dict)
    _attempts: dict[str, int] = field(default_factory=dict)

    def draw(self, name: str) -> str | None:
        """What goes wrong with this attempt."""
        attempt = self._attempts[name] = self._attempts.get(name, 0) + 1
        if self._met.get(name, 0) >= self.times:
            return None
        drawn = random.Random(f"{self.seed}/{name}/{attempt}").random()
        for kind, likely in (("fail", self.fail), ("spoil", self.spoil), ("hang", self.hang), ("lose", self.lose)):
            if drawn < likely:
                self._met[name] = self._met.get(name, 0) + 1
                return kind
            drawn -= likely
        return None

    @property
    def met(self) -> dict[str, int]:
        """How often something went wrong, by the file's name."""
        return dict(self._met)


@dataclass
class Transfer:
    """One file of a job."""

    source: Path
    destination: Path
    checksum: str
    bytes: int
    metadata: dict[str, Any]
    from_tape: bool
    state: str = "SUBMITTED"
    reason: str | None = None
    times: dict[str, str | None] = field(
        default_factory=lambda: dict.fromkeys(("start_time", "finish_time", "staging_start", "staging_finished"))
    )

    def mark(self, *names: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        self.times.update(dict.fromkeys(names, now))


@dataclass
class Job:
    transfers: list[Transfer]
    metadata: dict[str, Any]
    task: asyncio.Task[None] | None = None

    @property
    def state(self) -> str:
        states = {transfer.state for transfer in self.transfers}
        if len(states) == 1:
            return states.pop()
        open_ones = states - {"FINISHED", "FAILED", "CANCELED"}
        return "ACTIVE" if open_ones else "FINISHEDDIRTY"


class Fts:
    """Jobs in memory: when it dies, Rucio is told that they are not known, and submits anew."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._drives = asyncio.Semaphore(DRIVES)
        self._faults = Faults()

    def application(self) -> web.Application:
        application = web.Application(client_max_size=2**28)
        application.add_routes(
            [
                web.get("/whoami", self._whoami),
                web.post("/jobs", self._submit),
                web.get("/jobs/{ids}", self._query),
                web.post("/jobs/{id}", self._reprioritise),
                web.delete("/jobs/{id}", self._cancel),
                web.get("/faults", self._tell_faults),
                web.put("/faults", self._order_faults),
            ]
        )
        return application

    async def _order_faults(self, request: web.Request) -> web.Response:
        self._faults = Faults(**json.loads(await request.read()))
        return web.json_response({})

    async def _tell_faults(self, _request: web.Request) -> web.Response:
        return web.json_response(self._faults.met)

    async def _whoami(self, _request: web.Request) -> web.Response:
        return web.json_response({"base_id": str(uuid.UUID(int=0)), "vos": ["test"], "method": "certificate"})

    async def _submit(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        from_tape = body["params"].get("bring_online") is not None
        transfers = [
            Transfer(
                _path(each["sources"][0]),
                _path(each["destinations"][0]),
                each.get("checksum") or "",
                each.get("filesize") or 0,
                each["metadata"],
                from_tape,
            )
            for each in body["files"]
        ]
        job_id = str(uuid.uuid4())
        job = self._jobs[job_id] = Job(transfers, body["params"].get("job_metadata") or {})
        job.task = asyncio.create_task(self._carry_out(job_id, job))
        return web.json_response({"job_id": job_id})

    async def _query(self, request: web.Request) -> web.Response:
        return web.json_response([self._describe(job_id) for job_id in request.match_info["ids"].split(",")])

    def _describe(self, job_id: str) -> dict[str, Any]:
        job = self._jobs.get(job_id)
        if job is None:
            return {"job_id": job_id, "http_status": "404 Not Found", "http_message": "no such job"}
        files = [
            {
                "file_state": transfer.state,
                "file_metadata": transfer.metadata,
                "source_surl": f"file://localhost:0{transfer.source}",
                "dest_surl": f"file://localhost:0{transfer.destination}",
                "reason": transfer.reason,
                **transfer.times,
            }
            for transfer in job.transfers
        ]
        return {
            "job_id": job_id,
            "http_status": "200 Ok",
            "job_state": job.state,
            "job_metadata": job.metadata,
            "files": files,
        }

    async def _reprioritise(self, request: web.Request) -> web.Response:
        return web.json_response({"job_id": request.match_info["id"]})

    async def _cancel(self, request: web.Request) -> web.Response:
        job = self._jobs.get(request.match_info["id"])
        if job is not None and job.task is not None:
            job.task.cancel()
            for transfer in job.transfers:
                if transfer.state not in ("FINISHED", "FAILED"):
                    transfer.state, transfer.reason = "CANCELED", "cancelled by request"
                    transfer.mark("finish_time")
        return web.json_response(
            [{"job_id": request.match_info["id"], "http_status": "200 Ok", "job_state": "CANCELED"}]
        )

    async def _carry_out(self, job_id: str, job: Job) -> None:
        for transfer in job.transfers:
            fault = self._faults.draw(transfer.destination.name)
            if fault == "lose":
                del self._jobs[job_id]
                return
            if transfer.from_tape:
                await self._recall(transfer, hangs=fault == "hang")
            transfer.state = "ACTIVE"
            transfer.mark("start_time")
            try:
                await asyncio.to_thread(_copy, transfer, fault)
            except OSError as error:
                transfer.state, transfer.reason = "FAILED", f"TRANSFER [{error.errno}] {error.strerror or error}"
            else:
                transfer.state = "FINISHED"
            transfer.mark("finish_time")

    async def _recall(self, transfer: Transfer, *, hangs: bool) -> None:
        transfer.state = "STAGING"
        transfer.mark("staging_start")
        if hangs or "SLOW" in transfer.source.parts:
            await asyncio.Event().wait()
        async with self._drives:
            await asyncio.sleep(self._faults.seconds)
            transfer.mark("staging_finished")


def _path(url: str) -> Path:
    return Path(urlsplit(url).path)


def _copy(transfer: Transfer, fault: str | None) -> None:
    if fault == "fail":
        raise OSError(5, "the drive gave up, by order")
    part = transfer.destination.with_name(f".{transfer.destination.name}.{uuid.uuid4().hex}")
    transfer.destination.parent.mkdir(parents=True, exist_ok=True)
    try:
        is_spoiled = fault == "spoil"
        checksum, size = _copy_bytes(transfer.source, part, is_spoiled=is_spoiled)
        _compare(transfer, "DESTINATION" if is_spoiled else "SOURCE", checksum, size)
        part.replace(transfer.destination)
    finally:
        part.unlink(missing_ok=True)


def _copy_bytes(source: Path, target: Path, *, is_spoiled: bool) -> tuple[str, int]:
    """Checksum and size of what is in the target by now."""
    checksum, size = 1, 0
    with source.open("rb") as reading, target.open("wb") as writing:
        while block := reading.read(BLOCK):
            written = bytes([block[0] ^ 1]) + block[1:] if is_spoiled else block
            checksum, size = zlib.adler32(written, checksum), size + len(written)
            writing.write(written)
    return f"{checksum:08x}", size


def _compare(transfer: Transfer, side: str, checksum: str, size: int) -> None:
    """Raises OSError where this is not what was ordered, as FTS says it."""
    kind, _, expected = transfer.checksum.partition(":")
    if kind.upper() == "ADLER32" and expected.lower().zfill(8) != checksum:
        raise OSError(5, f"{side} CHECKSUM MISMATCH: {checksum} instead of {expected}")
    if transfer.bytes and size != transfer.bytes:
        raise OSError(5, f"{side} SIZE MISMATCH: {size} instead of {transfer.bytes}")


if __name__ == "__main__":
    os.umask(0o022)
    web.run_app(Fts().application(), host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)

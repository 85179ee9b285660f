"""A stand-in for FTS: it speaks the part of FTS3's REST API that Rucio uses, and really copies the bytes.

`python fts.py PORT`: transfers are between `file://` URLs. What is read from a tape needs a drive, and waits for one.
A file below a folder named `SLOW` is never read.

https://fts3-docs.web.cern.ch/fts3-docs/fts-rest/docs/
"""

import asyncio
import json
import os
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

    def application(self) -> web.Application:
        application = web.Application(client_max_size=2**28)
        application.add_routes(
            [
                web.get("/whoami", self._whoami),
                web.post("/jobs", self._submit),
                web.get("/jobs/{ids}", self._query),
                web.post("/jobs/{id}", self._reprioritise),
                web.delete("/jobs/{id}", self._cancel),
            ]
        )
        return application

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
        job.task = asyncio.create_task(self._carry_out(job))
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

    async def _carry_out(self, job: Job) -> None:
        for transfer in job.transfers:
            if transfer.from_tape:
                transfer.state = "STAGING"
                transfer.mark("staging_start")
                if "SLOW" in transfer.source.parts:
                    await asyncio.Event().wait()
                async with self._drives:
                    transfer.mark("staging_finished")
            transfer.state = "ACTIVE"
            transfer.mark("start_time")
            try:
                await asyncio.to_thread(_copy, transfer)
            except OSError as error:
                transfer.state, transfer.reason = "FAILED", f"TRANSFER [{error.errno}] {error.strerror or error}"
            else:
                transfer.state = "FINISHED"
            transfer.mark("finish_time")


def _path(url: str) -> Path:
    return Path(urlsplit(url).path)


def _copy(transfer: Transfer) -> None:
    part = transfer.destination.with_name(f".{transfer.destination.name}.{uuid.uuid4().hex}")
    transfer.destination.parent.mkdir(parents=True, exist_ok=True)
    checksum, size = 1, 0
    try:
        with transfer.source.open("rb") as source, part.open("wb") as target:
            while block := source.read(BLOCK):
                checksum, size = zlib.adler32(block, checksum), size + len(block)
                target.write(block)
        kind, _, expected = transfer.checksum.partition(":")
        if kind.upper() == "ADLER32" and expected.lower().zfill(8) != f"{checksum:08x}":
            raise OSError(5, f"SOURCE CHECKSUM MISMATCH: {checksum:08x} instead of {expected}")
        if transfer.bytes and size != transfer.bytes:
            raise OSError(5, f"SOURCE SIZE MISMATCH: {size} instead of {transfer.bytes}")
        part.replace(transfer.destination)
    finally:
        part.unlink(missing_ok=True)


if __name__ == "__main__":
    os.umask(0o022)
    web.run_app(Fts().application(), host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)

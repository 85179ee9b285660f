"""Uploading one file to a disk: copied, checked, registered, attached; then it gets its name."""

import asyncio
import sqlite3
import threading
from concurrent.futures import Executor
from pathlib import Path

from idds.ddm.posix import datasets, rules
from idds.ddm.posix.catalogue import Catalogue
from idds.ddm.posix.copying import Expected, Part, Unreadable, normal_adler32, write_part
from idds.ddm.posix.paths import Layout
from idds.ddm.posix.rules import Entry
from idds.domain.errors import Conflict, Unavailable
from idds.domain.files import File, Upload
from idds.domain.identifiers import Did
from idds.ports.ddm import Refused, Where


class Uploader:
    """Blocking work goes to `threads`."""

    def __init__(self, catalogue: Catalogue, layout: Layout, threads: Executor) -> None:
        self._catalogue = catalogue
        self._layout = layout
        self._threads = threads

    async def upload(self, rse: str, dataset: Did, upload: Upload, entry: Entry) -> str | Refused:
        """The replica's path; `entry` is what a survey has just said of the file. Raises Unavailable."""
        file = File(upload.did, upload.bytes, normal_adler32(upload.adler32))
        target = self._layout.path(rse, upload.did)
        rule = entry.rule
        try:
            if rule is not None and rule.state is Where.PRESENT and rule.seen is not None:
                await self._catalogue.write(_record, rse, dataset, file, rule.seen)
            else:
                await self._copy(rse, dataset, file, Path(upload.path), target)
        except (Unreadable, Conflict) as error:
            return Refused(f"{upload.did}: {error}")
        except OSError as error:
            raise Unavailable(f"{rse} takes no file: {error.strerror}") from error
        return str(target)

    async def _copy(self, rse: str, dataset: Did, file: File, source: Path, target: Path) -> None:
        part = await self._write_part(source, target, Expected(file.bytes, file.adler32))
        try:
            # Registered first: a crash in between leaves a rule without a file, which a survey sees and ends.
            await self._catalogue.write(_record, rse, dataset, file, part.seen)
            await asyncio.get_running_loop().run_in_executor(self._threads, part.publish, target)
        except BaseException:
            part.discard()
            raise

    async def _write_part(self, source: Path, target: Path, expected: Expected) -> Part:
        """A caller that is cancelled leaves no part behind: the thread, which cannot be, is told to give up."""
        cancelled = threading.Event()
        copying = asyncio.get_running_loop().run_in_executor(
            self._threads, write_part, source, target, expected, None, cancelled
        )
        try:
            return await asyncio.shield(copying)
        except asyncio.CancelledError:
            cancelled.set()
            copying.add_done_callback(_discard)
            raise


def _discard(copying: asyncio.Future[Part]) -> None:
    if copying.exception() is None:
        copying.result().discard()


def _record(db: sqlite3.Connection, rse: str, dataset: Did, file: File, seen: str) -> None:
    datasets.register(db, file)
    datasets.create(db, dataset, is_open=True)
    dataset_id, is_open = datasets.find(db, dataset)
    if not is_open and not datasets.is_attached(db, dataset_id, file.did):
        raise Conflict(f"the dataset {dataset} is closed")
    datasets.attach(db, dataset_id, file.did, None)
    rules.record_uploaded(db, rse, file.did, seen)

"""The mover: carries out what rules call for, recalls and deletions, in one process of those that share a root."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from idds.ddm.posix import datasets, rules
from idds.ddm.posix.catalogue import Catalogue
from idds.ddm.posix.copying import Cancelled, Expected, Pace, Unreadable, write_part
from idds.ddm.posix.datasets import TapeCopy
from idds.ddm.posix.drives import TapeLibrary, TapeStatistics
from idds.ddm.posix.options import PosixOptions
from idds.ddm.posix.paths import Layout
from idds.ddm.posix.recall import DiskCopy, Recall, Source
from idds.ddm.posix.rules import Order
from idds.domain.errors import Unavailable
from idds.ports.ddm import Where

R = TypeVar("R")
log = logging.getLogger(__name__)

DISK_COPIES = 2
"""So many files are copied from disk to disk at once."""
RETRY_S = 1.0
"""Between attempts to write the catalogue, and to delete a file that would not go."""


class Mover:
    """Keeps no state that is not in the catalogue: what it was told and has not finished, a later mover finds there."""

    def __init__(self, options: PosixOptions, layout: Layout, catalogue: Catalogue) -> None:
        self._options = options
        self._layout = layout
        self._catalogue = catalogue
        self._libraries = {rse: TapeLibrary(tape, self._transfer) for rse, tape in options.tapes.items()}
        self._recalls: dict[str, Recall] = {}
        self._from_disk: deque[tuple[Recall, DiskCopy]] = deque()
        self._deletions: dict[str, Order] = {}
        self._disk_work, self._deletion_work = asyncio.Event(), asyncio.Event()
        self._threads: ThreadPoolExecutor | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        drives = sum(tape.drives for tape in self._options.tapes.values())
        self._threads = ThreadPoolExecutor(drives + DISK_COPIES + 1, "ddm-mover")
        for library in self._libraries.values():
            library.start()
        self._tasks = [asyncio.create_task(self._copy_from_disk(), name="disk copy") for _ in range(DISK_COPIES)]
        self._tasks.append(asyncio.create_task(self._delete(), name="deletion"))

    async def stop(self) -> None:
        """Copies under way are broken off; their rules stay as they are."""
        for recall in self._recalls.values():
            recall.cancelled.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(
            *self._tasks, *(library.stop() for library in self._libraries.values()), return_exceptions=True
        )
        if self._threads is not None:
            await asyncio.to_thread(self._threads.shutdown)

    def statistics(self, rse: str) -> TapeStatistics:
        return self._libraries[rse].statistics

    async def obey(self, orders: Sequence[Order]) -> None:
        """Begin what is not begun; an order that is known already changes nothing. Raises Unavailable."""
        recalls = [order for order in orders if order.state is Where.STAGING and order.rule_id not in self._recalls]
        copies = await self._catalogue.read(datasets.tape_copies, [order.file.did for order in recalls])
        disks = await self._in_thread(self._layout.holding, self._options.disks, [order.file.did for order in recalls])
        for order, holding in zip(recalls, disks, strict=True):
            recall = Recall(order.rule_id, order.rse, order.file)
            tapes = (copy for copy in copies.get(order.file.did, ()) if copy.rse in self._libraries)
            disks_but_this = (DiskCopy(rse) for rse in holding if rse != order.rse)
            sources: list[Source] = [*tapes, *disks_but_this]
            recall.add_sources(each for each in sources if order.source in (None, each.rse))
            self._recalls[recall.rule_id] = recall
            await self._forward(recall)
        for order in orders:
            if order.state is Where.DELETING:
                self._order_deletion(order)

    async def _forward(self, recall: Recall) -> None:
        """Queue the recall at its next source, or end it when none is left or it was cancelled."""
        source = recall.sources.popleft() if recall.sources else None
        if recall.cancelled.is_set():
            self._end(recall)
        elif isinstance(source, TapeCopy):
            self._libraries[source.rse].add(recall, source)
        elif isinstance(source, DiskCopy):
            self._from_disk.append((recall, source))
            self._disk_work.set()
        else:
            await self._insist(self._catalogue.write, rules.record_failed, recall.rule_id, recall.reason)
            self._end(recall)

    def _end(self, recall: Recall) -> None:
        self._recalls.pop(recall.rule_id, None)
        if recall.deletion is not None:
            self._order_deletion(recall.deletion)

    def _order_deletion(self, order: Order) -> None:
        """Now, or when the recall, which is cancelled, has ended."""
        recall = self._recalls.get(order.rule_id)
        if recall is None:
            self._deletions[order.rule_id] = order
            self._deletion_work.set()
            return
        recall.deletion = order
        recall.cancelled.set()
        if any(library.remove(recall) for library in self._libraries.values()) or self._unqueue(recall):
            self._end(recall)

    def _unqueue(self, recall: Recall) -> bool:
        for pair in self._from_disk:
            if pair[0] is recall:
                self._from_disk.remove(pair)
                return True
        return False

    async def _copy_from_disk(self) -> None:
        while True:
            while not self._from_disk:
                self._disk_work.clear()
                await self._disk_work.wait()
            await self._transfer(*self._from_disk.popleft(), Pace())

    async def _transfer(self, recall: Recall, source: Source, pace: Pace) -> None:
        """Copy from this source; a bad source hands on to the next one, a bad target ends the recall."""
        try:
            seen = await self._in_thread(self._fetch, recall, source, pace)
        except Cancelled:
            self._end(recall)
        except Unreadable as error:
            recall.failures.append(f"{source}: {error}")
            await self._forward(recall)
        except OSError as error:
            recall.failures.append(f"{recall.rse}: {error.strerror}")
            recall.sources.clear()
            await self._forward(recall)
        except Exception as error:
            log.exception("recall of %s to %s", recall.file.did, recall.rse)
            recall.failures.append(f"{source}: {error!r}")
            await self._forward(recall)
        else:
            await self._insist(self._catalogue.write, rules.record_present, recall.rule_id, seen)
            self._end(recall)

    def _fetch(self, recall: Recall, source: Source, pace: Pace) -> str:
        target = self._layout.path(recall.rse, recall.file.did)
        expected = Expected(recall.file.bytes, recall.file.adler32)
        part = write_part(self._layout.path(source.rse, recall.file.did), target, expected, pace, recall.cancelled)
        part.publish(target)
        return part.seen

    async def _delete(self) -> None:
        while True:
            await self._deletion_work.wait()
            self._deletion_work.clear()
            batch, self._deletions = self._deletions, {}
            # An order that is told again may be over by now, and the file be back under another rule.
            due = await self._insist(self._catalogue.read, rules.deleting, list(batch))
            gone, stuck = await self._in_thread(self._unlink, [batch[rule_id] for rule_id in due])
            if gone:
                await self._insist(self._catalogue.write, rules.record_deleted, [order.rule_id for order in gone])
            if stuck:
                self._deletions.update({order.rule_id: order for order in stuck} | self._deletions)
                asyncio.get_running_loop().call_later(RETRY_S, self._deletion_work.set)

    def _unlink(self, batch: Iterable[Order]) -> tuple[list[Order], list[Order]]:
        """What is gone, and what would not go."""
        gone, stuck = [], []
        for order in batch:
            try:
                self._layout.path(order.rse, order.file.did).unlink(missing_ok=True)
                gone.append(order)
            except OSError as error:
                log.warning("%s cannot be deleted on %s: %s", order.file.did, order.rse, error.strerror)
                stuck.append(order)
        return gone, stuck

    async def _insist(self, run: Callable[..., Awaitable[R]], *args: object) -> R:
        """What happened must be written down, however long the catalogue is away."""
        while True:
            try:
                return await run(*args)
            except Unavailable as error:
                log.warning("waiting for the catalogue: %s", error)
                await asyncio.sleep(RETRY_S)

    def _in_thread(self, work: Callable[..., R], *args: object) -> Awaitable[R]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *args)

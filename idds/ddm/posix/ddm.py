"""PosixDDM: data management on the folders of one machine."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from idds.ddm.posix import datasets, rules
from idds.ddm.posix.catalogue import Catalogue
from idds.ddm.posix.copying import Expected, Unreadable, write_part
from idds.ddm.posix.drives import TapeStatistics
from idds.ddm.posix.follower import Follower
from idds.ddm.posix.hints import Hints
from idds.ddm.posix.options import PosixOptions
from idds.ddm.posix.paths import Layout
from idds.ddm.posix.rules import Entry, Rule
from idds.ddm.posix.survey import survey
from idds.ddm.posix.uploads import Uploader
from idds.domain.errors import InvalidInput, NotFound, Problem, Unavailable
from idds.domain.files import File, FilePage, Upload
from idds.domain.identifiers import Did
from idds.ports.ddm import NotNow, Refused, Residency, Source, Staging, Where
from idds.ports.ddm import Rule as RuleOnFile

R = TypeVar("R")
THREADS = 4
"""For looking at disks and for uploads; recalls have threads of their own."""


class PosixDDM:
    """Fulfils `idds.ports.ddm.DDM`; bytes are really copied and deleted.

    What `stage`, `release` and `upload` were told is durable when they return. Several processes may use one root.
    """

    def __init__(self, options: PosixOptions) -> None:
        self._options = options
        self._layout = Layout(options.root.absolute())
        self._hints = Hints()
        self._catalogue = Catalogue(self._layout.catalogue, self._wake)
        self._follower = Follower(options, self._layout, self._catalogue, self._hints)
        self._threads = ThreadPoolExecutor(THREADS, "ddm")

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Raises InvalidInput naming every place that is wrong. See `PosixOptions`."""
        return cls(PosixOptions.parse(options))

    async def start(self) -> None:
        """Make folders and catalogue where missing, and go on with what is unfinished. Raises Unavailable."""
        try:
            await asyncio.to_thread(self._layout.create, self._options.rses)
            await self._catalogue.start()
            await self._follower.start()
        except OSError as error:
            await self.stop()
            raise Unavailable(f"the root of data management cannot be used: {error}") from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Let go of everything; unfinished recalls and deletions go on at the next start. It cannot start again."""
        await self._follower.stop()
        await asyncio.to_thread(self._threads.shutdown)
        await self._catalogue.stop()

    async def list_files(self, dataset: Did, *, after: str | None, limit: int) -> FilePage:
        """The end of an open dataset has no `next` either: asking again from the last page's `after` finds what grew.

        Raises InvalidInput for a cursor that is none.
        """
        return await self._catalogue.read(datasets.page, dataset, after, limit)

    async def sources(self, dids: Sequence[Did]) -> dict[Did, tuple[Source, ...]]:
        copies = await self._catalogue.read(datasets.tape_copies, dids)
        holding = await self._in_thread(self._layout.holding, self._options.disks, dids)
        tapes = self._options.tapes
        return {
            did: (
                *(Source(copy.rse, is_tape=True) for copy in copies.get(did, ()) if copy.rse in tapes),
                *(Source(disk, is_tape=False) for disk in disks),
            )
            for did, disks in zip(dids, holding, strict=True)
        }

    async def stage(
        self, rse: str, files: Sequence[File], *, source: str | None = None
    ) -> list[Staging | NotNow | Refused]:
        if rse not in self._options.disks:
            return [Refused(f"{rse} is not a disk of this data management") for _ in files]
        dids = [file.did for file in files]
        entries = await self._survey(rse, dids)
        refused = await self._refused(rse, entries, source)
        await self._catalogue.write(rules.stage, rse, [did for did in entries if did not in refused], source)
        entries = await self._catalogue.read(rules.look, rse, dids)
        return [refused.get(did) or _staging(entries[did].rule) for did in dids]

    async def residency(self, rse: str, dids: Sequence[Did]) -> dict[Did, Residency]:
        if rse not in self._options.disks:
            return {did: Residency(Where.ABSENT) for did in dids}
        entries = await self._survey(rse, dids)
        return {did: self._residency(rse, did, entry.rule) for did, entry in entries.items()}

    async def release(self, rse: str, released: Mapping[Did, str | None]) -> None:
        await self._catalogue.write(rules.release, rse, released)

    async def keep(self, rse: str, rule_ids: Sequence[str]) -> frozenset[str]:
        """Rules hold for ever here: there is nothing to prolong."""
        files = await self._catalogue.read(rules.files_of, rse, rule_ids)
        found = await self.residency(rse, list(files.values()))
        return frozenset(rule_ids) - {rule for rule, did in files.items() if found[did].where is Where.PRESENT}

    async def boost(self, rse: str, rule_ids: Sequence[str]) -> None:
        """The emulated tape has an order of its own: only what failed is tried again."""
        await self._catalogue.write(rules.boost, rule_ids)

    async def destination(self, rule_id: str) -> str | None:
        return await self._catalogue.read(rules.destination, rule_id)

    async def rules(self) -> list[RuleOnFile]:
        return [RuleOnFile(*row) for row in await self._catalogue.read(rules.ours)]

    async def upload(self, rse: str, dataset: Did, files: Sequence[Upload]) -> list[str | Refused]:
        """Raises Unavailable also when the disk is full, and while one of the files is being deleted there."""
        if rse not in self._options.disks:
            return [Refused(f"{rse} is not a disk of this data management") for _ in files]
        entries = await self._survey(rse, [file.did for file in files])
        uploader = Uploader(self._catalogue, self._layout, self._threads)
        return [await uploader.upload(rse, dataset, file, entries[file.did]) for file in files]

    def changes(self) -> AsyncIterator[tuple[str, tuple[Did, ...]]]:
        """Every consumer gets what changes from this call on."""
        return self._hints.consumer()

    async def create_dataset(self, dataset: Did, is_open: bool = False) -> None:
        """One that is there already stays as it is."""
        await self._catalogue.write(datasets.create, dataset, is_open)

    async def close_dataset(self, dataset: Did) -> None:
        """Raises UnknownDid."""
        await self._catalogue.write(datasets.close, dataset)

    async def write_tape(
        self, rse: str, dataset: Did, did: Did, content: Path | bytes, cartridge: str, *, events: int | None = None
    ) -> File:
        """Write a file behind the last one of the cartridge and attach it, also to a closed dataset.

        `events` says how many events are in it, where that is known.

        Raises UnknownDid for the dataset, NotFound for the tape RSE, InvalidInput for a file that cannot be read,
        Conflict when the DID stands for other bytes already.
        """
        self._tape(rse)
        await self._catalogue.read(datasets.find, dataset)
        target = self._layout.path(rse, did)
        try:
            part = await self._in_thread(write_part, content, target, Expected())
        except Unreadable as error:
            raise InvalidInput([Problem("/content", str(error))]) from error
        file = File(did, part.bytes, part.adler32, events)
        try:
            await self._catalogue.write(datasets.record_tape_copy, rse, dataset, file, cartridge)
            await self._in_thread(part.publish, target)
        except BaseException:
            part.discard()
            raise
        return file

    def tape_path(self, rse: str, did: Did) -> Path:
        """Where the tape RSE keeps the bytes: for tests that spoil them. Raises NotFound."""
        self._tape(rse)
        return self._layout.path(rse, did)

    def tape_statistics(self, rse: str) -> TapeStatistics:
        """Zeros while another process moves the files. Raises NotFound."""
        self._tape(rse)
        mover = self._follower.mover
        return mover.statistics(rse) if mover is not None else TapeStatistics()

    async def bytes_on_disk(self, rse: str) -> int:
        """What lies in the RSE's folder this moment, files half copied too."""
        return await self._in_thread(self._layout.bytes_on, rse)

    def _tape(self, rse: str) -> None:
        if rse not in self._options.tapes:
            raise NotFound(f"{rse} is not a tape of this data management")

    async def _survey(self, rse: str, dids: Sequence[Did]) -> dict[Did, Entry]:
        return await survey(self._catalogue, self._layout, self._threads, rse, dids)

    async def _refused(self, rse: str, entries: Mapping[Did, Entry], source: str | None) -> dict[Did, Refused]:
        """Those that are unknown, or that have no rule yet and no source to make one worthwhile."""
        refused = {did: Refused(f"{did} is not in the catalogue") for did, entry in entries.items() if not entry.file}
        sought = [did for did, entry in entries.items() if entry.file and not (entry.rule and entry.rule.is_promising)]
        tapes, others = self._options.tapes, [disk for disk in self._options.disks if disk != rse]
        copies = await self._catalogue.read(datasets.tape_copies, sought)
        off_tape = [did for did in sought if not any(copy.rse in tapes for copy in copies.get(did, ()))]
        holding = await self._in_thread(self._layout.holding, others, off_tape)
        nowhere = [did for did, disks in zip(off_tape, holding, strict=True) if not disks]
        refused.update((did, Refused(f"{did} has a replica nowhere")) for did in nowhere)
        if source is not None:
            coming = [
                did for did, entry in entries.items() if entry.rule is None or entry.rule.state is not Where.PRESENT
            ]
            held = await self.sources([did for did in coming if did not in refused])
            without = [did for did, found in held.items() if source not in {one.rse for one in found}]
            refused.update((did, Refused(f"{did} has no replica on {source}")) for did in without)
        return refused

    def _residency(self, rse: str, did: Did, rule: Rule | None) -> Residency:
        if rule is None:
            return Residency(Where.ABSENT)
        if rule.next_rule_id is not None:
            return Residency(Where.STAGING, rule_id=rule.next_rule_id, source=rule.source)
        if rule.state is Where.DELETING:
            return Residency(Where.DELETING)
        path = str(self._layout.path(rse, did)) if rule.state is Where.PRESENT else None
        return Residency(rule.state, path, rule.reason, rule.rule_id if rule.ours else None, rule.source)

    def _wake(self) -> None:
        self._follower.wake()

    def _in_thread(self, work: Callable[..., R], *args: object) -> Awaitable[R]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *args)


def _staging(rule: Rule | None) -> Staging:
    # It may be gone again: somebody else's file that was deleted since it was found.
    if rule is None:
        raise Unavailable("a replica vanished while it was being staged")
    return Staging(rule.next_rule_id or rule.rule_id, rule.ours)

"""Data management in memory: files land and vanish when `tick` says so."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from random import Random

from idds.domain.errors import UnknownDid
from idds.domain.files import File, FilePage, Upload
from idds.domain.identifiers import Did
from idds.ports.ddm import Refused, Residency, Staging, Where
from idds.testing.faults import Faults


class MemoryDDM:
    """Fulfils `idds.ports.ddm.DDM`. `unreadable` files fail when recalled, `refused` ones at once."""

    def __init__(self, random: Random, faults: Faults | None = None) -> None:
        self._random = random
        self._faults = faults or Faults(random, rate=0.0)
        self._datasets: dict[Did, list[File]] = {}
        self._states: dict[tuple[str, Did], Where] = {}
        self._sizes: dict[Did, int] = {}
        self.unreadable: set[Did] = set()
        self.refused: set[Did] = set()
        self.foreign: set[tuple[str, Did]] = set()
        self.highest: dict[str, int] = {}
        self.staged: list[Did] = []

    def add_dataset(self, dataset: Did, files: Sequence[File]) -> None:
        self._datasets[dataset] = list(files)
        self._sizes.update({file.did: file.bytes for file in files})

    def put(self, rse: str, did: Did) -> None:
        """Somebody else's replica."""
        self.foreign.add((rse, did))
        self._states[rse, did] = Where.PRESENT

    def take(self, rse: str, did: Did) -> None:
        """It is gone, whosever it was, and with it what was ordered of it."""
        self.foreign.discard((rse, did))
        self._states.pop((rse, did), None)

    def bytes_on_disk(self, rse: str) -> int:
        """Of replicas staged for us, with room taken from the moment they are on their way."""
        return sum(
            self._sizes.get(did, 0)
            for (where, did), state in self._states.items()
            if where == rse and state is not Where.FAILED and (where, did) not in self.foreign
        )

    def replicas(self, rse: str) -> set[Did]:
        """What was staged for us and is not gone."""
        return {did for (where, did) in self._states if where == rse and (where, did) not in self.foreign}

    def tick(self) -> None:
        """Let some of what is under way happen."""
        for key, state in list(self._states.items()):
            if self._random.random() < 0.5:
                if state is Where.STAGING:
                    self._states[key] = Where.FAILED if key[1] in self.unreadable else Where.PRESENT
                elif state is Where.DELETING:
                    del self._states[key]

    async def list_files(self, dataset: Did, *, after: str | None, limit: int) -> FilePage:
        self._faults.before()
        if dataset not in self._datasets:
            raise UnknownDid(f"{dataset} is not known to the data management")
        start = int(after or 0)
        files = self._datasets[dataset]
        page = tuple(files[start : start + limit])
        self._faults.after()
        return FilePage(page, str(start + limit) if start + limit < len(files) else None)

    async def stage(self, rse: str, files: Sequence[File]) -> list[Staging | Refused]:
        self._faults.before()
        outcomes: list[Staging | Refused] = []
        for file in files:
            key = (rse, file.did)
            if file.did in self.refused:
                outcomes.append(Refused("no source"))
                continue
            if self._states.get(key) in (None, Where.FAILED, Where.DELETING):
                self._states[key] = Where.STAGING
                self.staged.append(file.did)
            self._sizes[file.did] = file.bytes
            outcomes.append(Staging(f"rule-{rse}-{file.did}", key not in self.foreign))
        self.highest[rse] = max(self.highest.get(rse, 0), self.bytes_on_disk(rse))
        self._faults.after()
        return outcomes

    async def residency(self, rse: str, dids: Sequence[Did]) -> dict[Did, Residency]:
        self._faults.before()
        found = {}
        for did in dids:
            where = self._states.get((rse, did), Where.ABSENT)
            reason = "the tape cannot be read" if where is Where.FAILED else None
            found[did] = Residency(where, f"/{rse}/{did}" if where is Where.PRESENT else None, reason)
        return found

    async def release(self, rse: str, dids: Sequence[Did]) -> None:
        self._faults.before()
        for did in dids:
            key = (rse, did)
            if key in self._states and key not in self.foreign:
                self._states[key] = Where.DELETING
        self._faults.after()

    async def upload(self, rse: str, dataset: Did, files: Sequence[Upload]) -> list[str | Refused]:
        self._faults.before()
        attached = self._datasets.setdefault(dataset, [])
        for upload in files:
            if upload.did not in {file.did for file in attached}:
                attached.append(File(upload.did, upload.bytes, upload.adler32))
            self.put(rse, upload.did)
        self._faults.after()
        return [f"/{rse}/{upload.did}" for upload in files]

    def files(self, dataset: Did) -> list[File]:
        return list(self._datasets.get(dataset, []))

    async def changes(self) -> AsyncIterator[tuple[str, tuple[Did, ...]]]:
        """None: who uses this one surveys everything."""
        await asyncio.Event().wait()
        yield "", ()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

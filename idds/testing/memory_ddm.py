"""Data management in memory: files land and vanish when `tick` says so."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from random import Random

from idds.domain.errors import UnknownDid
from idds.domain.files import File, FilePage, Upload
from idds.domain.identifiers import Did
from idds.ports.ddm import NotNow, Refused, Residency, Rule, Source, Staging, Where
from idds.testing.faults import Faults

TAPE = "TAPE"


class MemoryDDM:
    """Fulfils `idds.ports.ddm.DDM`. `unreadable` files fail when recalled, `refused` ones at once.

    Those that are `not_now` are ordered when they are so no more. All come from the one tape.
    """

    def __init__(self, random: Random, faults: Faults | None = None) -> None:
        self._random = random
        self._faults = faults or Faults(random, rate=0.0)
        self._datasets: dict[Did, list[File]] = {}
        self._states: dict[tuple[str, Did], Where] = {}
        self._sizes: dict[Did, int] = {}
        self._rules: dict[tuple[str, Did], str] = {}
        self._sources: dict[tuple[str, Did], str | None] = {}
        self.unreadable: set[Did] = set()
        self.refused: set[Did] = set()
        self.not_now: set[Did] = set()
        self.foreign: set[tuple[str, Did]] = set()
        self.highest: dict[str, int] = {}
        self.staged: list[Did] = []
        self.kept: set[str] = set()
        self.boosted: set[str] = set()

    def add_dataset(self, dataset: Did, files: Sequence[File]) -> None:
        self._datasets[dataset] = list(files)
        self._sizes.update({file.did: file.bytes for file in files})

    def put(self, rse: str, did: Did) -> None:
        """Somebody else's replica."""
        self.foreign.add((rse, did))
        self._states[rse, did] = Where.PRESENT

    def bring(self, rse: str, did: Did, rule_id: str) -> None:
        """Somebody else's replica that is on its way, under a rule of his."""
        self.foreign.add((rse, did))
        self._states[rse, did] = Where.STAGING
        self._rules[rse, did] = rule_id

    def take(self, rse: str, did: Did) -> None:
        """It is gone, whosever it was, and with it what was ordered of it."""
        self.foreign.discard((rse, did))
        self._states.pop((rse, did), None)
        self._rules.pop((rse, did), None)

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

    async def sources(self, dids: Sequence[Did]) -> dict[Did, tuple[Source, ...]]:
        self._faults.before()
        return {did: (Source(TAPE, is_tape=True),) if did in self._sizes else () for did in dids}

    async def stage(
        self, rse: str, files: Sequence[File], *, source: str | None = None
    ) -> list[Staging | NotNow | Refused]:
        self._faults.before()
        outcomes = [self._stage(rse, file, source) for file in files]
        self.highest[rse] = max(self.highest.get(rse, 0), self.bytes_on_disk(rse))
        self._faults.after()
        return outcomes

    def _stage(self, rse: str, file: File, source: str | None) -> Staging | NotNow | Refused:
        key = (rse, file.did)
        if file.did in self.refused:
            return Refused("no source")
        if file.did in self.not_now:
            return NotNow("there is no room")
        if self._states.get(key) in (None, Where.FAILED, Where.DELETING):
            self._states[key] = Where.STAGING
            self._sources[key] = source
            self.staged.append(file.did)
            self._rules[key] = f"rule-{len(self.staged)}-{rse}-{file.did}"
        self._sizes[file.did] = file.bytes
        return Staging(self._rules.get(key, f"rule-{rse}-{file.did}"), key not in self.foreign)

    async def residency(self, rse: str, dids: Sequence[Did]) -> dict[Did, Residency]:
        self._faults.before()
        return {did: self._residency((rse, did)) for did in dids}

    def _residency(self, key: tuple[str, Did]) -> Residency:
        where = self._states.get(key, Where.ABSENT)
        reason = "the tape cannot be read" if where is Where.FAILED else None
        path = f"/{key[0]}/{key[1]}" if where is Where.PRESENT else None
        if where in (Where.ABSENT, Where.DELETING) or key in self.foreign:
            return Residency(where, path, reason)
        return Residency(where, path, reason, self._rules[key], self._sources[key])

    async def release(self, rse: str, released: Mapping[Did, str | None]) -> None:
        self._faults.before()
        for did, rule_id in released.items():
            key = (rse, did)
            if key in self._states and key not in self.foreign and rule_id in (None, self._rules[key]):
                self._states[key] = Where.DELETING
        self._faults.after()

    async def keep(self, rse: str, rule_ids: Sequence[str]) -> frozenset[str]:
        self._faults.before()
        alive = [rule for rule in self._alive() if rule.rse == rse and rule.rule_id in set(rule_ids)]
        self.kept.update(rule.rule_id for rule in alive)
        return frozenset(rule_ids) - {r.rule_id for r in alive if self._states[rse, r.did] is Where.PRESENT}

    async def boost(self, rse: str, rule_ids: Sequence[str]) -> None:
        self._faults.before()
        self.boosted.update(rule_ids)

    async def destination(self, rule_id: str) -> str | None:
        self._faults.before()
        return next((rse for (rse, _), known in self._rules.items() if known == rule_id), None)

    async def rules(self) -> list[Rule]:
        self._faults.before()
        return self._alive()

    def _alive(self) -> list[Rule]:
        return [
            Rule(rule_id, *key)
            for key, rule_id in self._rules.items()
            if key not in self.foreign and self._states.get(key) not in (None, Where.DELETING)
        ]

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

"""RucioDDM: data management by Rucio."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self

from idds.ddm.rucio.changes import Changes
from idds.ddm.rucio.clients import Broke, Clients
from idds.ddm.rucio.destination import destination
from idds.ddm.rucio.listing import Listing
from idds.ddm.rucio.options import RucioOptions
from idds.ddm.rucio.replicas import Replicas, residency
from idds.ddm.rucio.rules import Rules
from idds.ddm.rucio.staging import Stager
from idds.ddm.rucio.uploads import Uploader
from idds.domain.errors import Unavailable
from idds.domain.files import File, FilePage, Upload
from idds.domain.identifiers import Did
from idds.ports.ddm import NotNow, Refused, Residency, Rule, Source, Staging

RELEASE_TRIES = 5


class RucioDDM:
    """Fulfils `idds.ports.ddm.DDM` on rucio-clients, with one rule a file, so that each can go by itself.

    Our rules carry the comment and belong to the account of the options, and end by themselves after `lifetime_s`
    unless they are kept.
    """

    def __init__(self, options: RucioOptions) -> None:
        self._clients = Clients(options)
        self._rules = Rules(self._clients, options)
        self._replicas = Replicas(self._clients)
        self._listing = Listing(self._clients)
        self._stager = Stager(self._clients, self._rules, self._replicas)
        self._uploader = Uploader(self._clients)
        self._changes = Changes(self._rules, options.changes_s)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Raises InvalidInput naming every place that is wrong. See `RucioOptions`."""
        return cls(RucioOptions.parse(options))

    async def start(self) -> None:
        """Raises Unavailable when Rucio does not answer or does not know us."""
        await self._clients.run(lambda client: client.whoami())

    async def stop(self) -> None:
        await self._changes.stop()
        await self._clients.stop()

    async def list_files(self, dataset: Did, *, after: str | None, limit: int) -> FilePage:
        """Raises InvalidInput for a cursor that is none."""
        return await self._listing.page(dataset, after, limit)

    async def sources(self, dids: Sequence[Did]) -> dict[Did, tuple[Source, ...]]:
        return await self._replicas.sources(dids)

    async def stage(
        self, rse: str, files: Sequence[File], *, source: str | None = None
    ) -> list[Staging | NotNow | Refused]:
        dids = [file.did for file in files]
        outcomes = await self._stager.stage(rse, dids, source) if dids else {}
        return [outcomes[did] for did in dids]

    async def residency(self, rse: str, dids: Sequence[Did]) -> dict[Did, Residency]:
        # Rules first: a replica that is there then was there under them.
        rules = await self._rules.find_changed(rse, dids)
        settled = [did for did in dids if did not in rules or (rules[did].state == "OK" and not rules[did].is_dying)]
        replicas = await self._replicas.find(rse, settled)
        without_rule = [did for did, found in replicas.items() if did not in rules and found.state != "BEING_DELETED"]
        kept = await self._rules.others(rse, without_rule, remembered=True)
        return {did: residency(rules.get(did), replicas.get(did), kept, did) for did in dids}

    async def release(self, rse: str, released: Mapping[Did, str | None]) -> None:
        ids = {rule_id for rule_id in released.values() if rule_id is not None}
        for left in reversed(range(RELEASE_TRIES)):
            whichever = await self._rules.find(rse, [did for did, rule_id in released.items() if rule_id is None])
            try:
                await self._rules.end(ids | {rule.rule_id for rule in whichever.values() if not rule.is_dying})
            except Broke:
                if not left:
                    raise
            else:
                self._rules.presume_unkept(rse, [did for did, rule_id in released.items() if rule_id is not None])
                return

    async def keep(self, rse: str, rule_ids: Sequence[str]) -> frozenset[str]:
        wanted = set(rule_ids)
        if not wanted:
            return frozenset()
        alive = [rule for rule in await self._rules.all(rse) if rule.rule_id in wanted and not rule.is_dying]
        await self._rules.prolong(alive)
        return frozenset(wanted - {rule.rule_id for rule in alive if rule.state == "OK"})

    async def boost(self, rse: str, rule_ids: Sequence[str]) -> None:
        wanted = set(rule_ids)
        if wanted:
            await self._rules.boost([rule for rule in await self._rules.all(rse) if rule.rule_id in wanted])

    async def destination(self, rule_id: str) -> str | None:
        return await destination(self._clients, rule_id)

    async def rules(self) -> list[Rule]:
        return [Rule(rule.rule_id, rule.rse, rule.did) for rule in await self._rules.all() if not rule.is_dying]

    async def upload(self, rse: str, dataset: Did, files: Sequence[Upload]) -> list[str | Refused]:
        refused = {file.did: await self._uploader.upload(rse, dataset, file) for file in files}
        replicas = await self._replicas.find(rse, [did for did, reason in refused.items() if reason is None])
        outcomes: list[str | Refused] = []
        for file in files:
            replica = replicas.get(file.did)
            reason = refused[file.did]
            if reason is None and (replica is None or replica.path is None):
                raise Unavailable(f"{file.did} was uploaded and is not to be found on {rse}")
            outcomes.append(reason or str(replica.path if replica else None))
        return outcomes

    def changes(self) -> AsyncIterator[tuple[str, tuple[Did, ...]]]:
        return self._changes.listen()

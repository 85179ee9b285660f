"""Having files staged: the rule that is there serves, one that failed or ends is replaced, the rest get new ones."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from idds.ddm.rucio.clients import Broke, Clients, chunks
from idds.ddm.rucio.replicas import Replicas
from idds.ddm.rucio.rules import Rules
from idds.domain.errors import Unavailable
from idds.domain.identifiers import Did
from idds.ports.ddm import Refused, Staging

if TYPE_CHECKING:
    from rucio.client import Client

PATIENCE_S = 15.0
"""So long an order waits for Rucio to end what stands in its way; then it is given again later."""
LOOK_AGAIN_S = 0.3
AT_ONCE = 500


class Stager:
    """Orders of one RucioDDM."""

    def __init__(self, clients: Clients, rules: Rules, replicas: Replicas) -> None:
        self._clients = clients
        self._rules = rules
        self._replicas = replicas

    async def stage(self, rse: str, dids: Sequence[Did]) -> dict[Did, Staging | Refused]:
        """An outcome for each. Raises Unavailable, with some of them staged, which are found when asked again."""
        outcomes: dict[Did, Staging | Refused] = {
            did: Refused(f"{did} is not in the catalogue") for did in await self._unknown(dids)
        }
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while waiting := [did for did in dids if did not in outcomes]:
            outcomes |= await self._try(rse, waiting)
            if all(did in outcomes for did in waiting):
                break
            if asyncio.get_running_loop().time() > deadline:
                raise Unavailable(f"Rucio still ends what was ordered before of {len(waiting)} files on {rse}")
            await asyncio.sleep(LOOK_AGAIN_S)
        return outcomes

    async def _try(self, rse: str, dids: Sequence[Did]) -> dict[Did, Staging | Refused]:
        """Those for which something could be said; the others wait for Rucio.

        A rule whose time is over is not revived: Rucio's cleaner, which has it in its list, would end it all the same.
        """
        rules = await self._rules.find(rse, dids)
        await self._rules.end([rule for rule in rules.values() if rule.is_stuck and not rule.is_dying])
        outcomes: dict[Did, Staging | Refused] = {
            did: Staging(rule.rule_id, ours=True)
            for did, rule in rules.items()
            if not rule.is_dying and not rule.is_stuck
        }
        without = [did for did in dids if did not in rules]
        if without:
            outcomes |= await self._without_rule(rse, without)
        return outcomes

    async def _without_rule(self, rse: str, dids: Sequence[Did]) -> dict[Did, Staging | Refused]:
        replicas = await self._replicas.find(rse, dids)
        there = [did for did in dids if did in replicas and replicas[did].state in ("AVAILABLE", "COPYING")]
        kept = await self._rules.others(rse, there)
        outcomes: dict[Did, Staging | Refused] = {did: Staging(rule_id, ours=False) for did, rule_id in kept.items()}
        deleted = {did for did, replica in replicas.items() if replica.state == "BEING_DELETED"}
        return outcomes | await self._add(rse, [did for did in dids if did not in kept and did not in deleted])

    async def _add(self, rse: str, dids: Sequence[Did]) -> dict[Did, Staging | Refused]:
        from rucio.common import exception as rucio

        if not dids:
            return {}
        try:
            made = await self._rules.add(rse, dids)
        except (
            Broke,
            rucio.DuplicateRule,
            rucio.InsufficientTargetRSEs,
            rucio.DataIdentifierNotFound,
            rucio.ReplicationRuleCreationTemporaryFailed,
        ):
            # Made by somebody else meanwhile, or begun to be deleted: what it is, the next look tells.
            return {}
        except (rucio.InsufficientAccountLimit, rucio.RSEOverQuota, rucio.RSEWriteBlocked) as error:
            raise Unavailable(f"Rucio takes no more on {rse}: {error}") from error
        except (rucio.InvalidRSEExpression, rucio.AccessDenied, rucio.InvalidReplicationRule) as error:
            # They go in several calls, some of which may have been taken: what has a rule now comes to the disk.
            taken = await self._rules.find(rse, dids)
            return {did: Refused(str(error)) for did in dids if did not in taken}
        return {did: Staging(rule_id, ours=True) for did, rule_id in made.items()}

    async def _unknown(self, dids: Sequence[Did]) -> set[Did]:
        def ask(client: "Client", some: Sequence[Did]) -> list[Did]:
            names = [{"scope": did.scope, "name": did.name} for did in some]
            return [Did(row["scope"], row["name"]) for row in client.get_metadata_bulk(names)]

        known = {did for found in await self._clients.run_each(ask, chunks(dids, AT_ONCE)) for did in found}
        return set(dids) - known

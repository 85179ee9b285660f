"""Having files staged: the rule that is there serves, one that failed or ends is replaced, the rest get new ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from idds.ddm.rucio.clients import Broke, Clients, chunks, first_line
from idds.ddm.rucio.replicas import Replicas
from idds.ddm.rucio.rules import Rule, Rules
from idds.domain.identifiers import Did
from idds.ports.ddm import NotNow, Refused, Staging

if TYPE_CHECKING:
    from rucio.client import Client

KNOWN_AT_ONCE = 500
ADDED_AT_ONCE = 200
ENDING = "Rucio still ends the rule that was on it before"

Outcome = Staging | NotNow | Refused
Outcomes = dict[Did, Outcome]


@dataclass(frozen=True, slots=True)
class _Order:
    """Where to, and from where if that was said."""

    rse: str
    source: str | None


class Stager:
    """Orders of one RucioDDM. What stands in the way of one file is told of that file, and never waited for."""

    def __init__(self, clients: Clients, rules: Rules, replicas: Replicas) -> None:
        self._clients = clients
        self._rules = rules
        self._replicas = replicas

    async def stage(self, rse: str, dids: Sequence[Did], source: str | None) -> Outcomes:
        """An outcome for each. Raises Unavailable, with some of them staged, which are found when asked again.

        A rule whose time is over is not revived: Rucio's cleaner, which has it in its list, would end it all the same.
        """
        order = _Order(rse, source)
        outcomes: Outcomes = {did: Refused(f"{did} is not in the catalogue") for did in await self._unknown(dids)}
        known = [did for did in dids if did not in outcomes]
        rules = await self._rules.find(rse, known)
        bad = [rule for rule in rules.values() if not rule.is_dying and _is_bad(rule, order)]
        await self._rules.end([rule.rule_id for rule in bad])
        for did, rule in rules.items():
            serves = not rule.is_dying and rule not in bad
            outcomes[did] = Staging(rule.rule_id, ours=True) if serves else NotNow(ENDING)
        return outcomes | await self._without_rule(order, [did for did in known if did not in rules])

    async def _without_rule(self, order: _Order, dids: Sequence[Did]) -> Outcomes:
        if not dids:
            return {}
        replicas = await self._replicas.find(order.rse, dids)
        there = [did for did in dids if did in replicas and replicas[did].state in ("AVAILABLE", "COPYING")]
        kept = await self._rules.others(order.rse, there)
        outcomes: Outcomes = {did: Staging(rule_id, ours=False) for did, rule_id in kept.items()}
        for did, replica in replicas.items():
            if replica.state == "BEING_DELETED":
                outcomes[did] = NotNow("Rucio is just deleting the replica that was there before")
        lacking = [did for did in dids if did not in outcomes]
        for some in chunks(lacking, ADDED_AT_ONCE):
            outcomes |= await self._add(order, some)
        return outcomes

    async def _add(self, order: _Order, dids: Sequence[Did]) -> Outcomes:
        """Make rules in one call; where one file hinders that, they are halved until it stands alone."""
        from rucio.common import exception as rucio

        try:
            made = await self._rules.add(order.rse, dids, order.source)
        except (rucio.RSEOverQuota, rucio.RSEWriteBlocked) as error:
            return dict.fromkeys(dids, NotNow(first_line(error)))
        except (
            rucio.InvalidRSEExpression,
            rucio.InvalidSourceReplicaExpression,
            rucio.InvalidReplicationRule,
            rucio.AccessDenied,
        ) as error:
            return dict.fromkeys(dids, Refused(first_line(error)))
        except (
            Broke,
            rucio.DataIdentifierNotFound,
            rucio.DuplicateRule,
            rucio.InsufficientAccountLimit,
            rucio.InsufficientTargetRSEs,
            rucio.ReplicationRuleCreationTemporaryFailed,
        ) as error:
            if len(dids) == 1:
                return {dids[0]: await self._alone(order, dids[0], error)}
            is_full = isinstance(error, rucio.InsufficientAccountLimit)
            return await self._halved(order, dids, NotNow(first_line(error)) if is_full else None)
        return {did: Staging(rule_id, ours=True) for did, rule_id in zip(dids, made, strict=True)}

    async def _halved(self, order: _Order, dids: Sequence[Did], full: NotNow | None) -> Outcomes:
        """Where the quota is `full`, what comes behind the first that has no room is not tried."""
        half = len(dids) // 2
        first = await self._add(order, dids[:half])
        if full is not None and full in first.values():
            return first | dict.fromkeys(dids[half:], full)
        return first | await self._add(order, dids[half:])

    async def _alone(self, order: _Order, did: Did, error: Exception) -> Outcome:
        from rucio.common import exception as rucio

        if isinstance(error, rucio.DataIdentifierNotFound):
            return Refused(f"{did} is not in the catalogue")
        if isinstance(error, rucio.DuplicateRule):
            return await self._doubled(order, did)
        return NotNow(first_line(error))

    async def _doubled(self, order: _Order, did: Did) -> Outcome:
        """Our account has such a rule: made by another process just now, or by others who use the account."""
        rules = await self._rules.of_account(order.rse, did)
        for rule in rules:
            if not rule.is_dying and not rule.is_stuck:
                return Staging(rule.rule_id, ours=rule.is_ours)
        if stuck := [rule for rule in rules if not rule.is_dying]:
            return NotNow(f"a rule of somebody else on the same account is in the way: {stuck[0].reason}")
        return NotNow(ENDING)

    async def _unknown(self, dids: Sequence[Did]) -> set[Did]:
        def ask(client: "Client", some: Sequence[Did]) -> list[Did]:
            names = [{"scope": did.scope, "name": did.name} for did in some]
            return [Did(row["scope"], row["name"]) for row in client.get_metadata_bulk(names)]

        known = {did for found in await self._clients.run_each(ask, chunks(dids, KNOWN_AT_ONCE)) for did in found}
        return set(dids) - known


def _is_bad(rule: Rule, order: _Order) -> bool:
    """Whether another rule is to be made in its stead."""
    comes_from_elsewhere = order.source is not None and rule.source != order.source and rule.state != "OK"
    return rule.is_stuck or comes_from_elsewhere

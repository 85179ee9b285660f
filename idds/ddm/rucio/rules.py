"""Our rules, one a file: looked up in bulk, made, kept, boosted and ended; and whether somebody else's keeps a file."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

from idds.ddm.rucio.clients import Clients
from idds.ddm.rucio.options import RucioOptions
from idds.domain.identifiers import Did

if TYPE_CHECKING:
    from rucio.client import Client

ONE_BY_ONE = 4
"""Up to so many files their rules are asked for one by one; for more, all of ours on that RSE are."""
RECENTLY = timedelta(minutes=2)
OUTPUTS = "idds outputs"
NOBODY_S = 60.0
"""So long it is believed that nobody else keeps a file."""
ENDED_S = 15.0
"""The same, where our own rule on it was just ended."""
URGENT = 5
"""The highest priority of FTS; rules have 3."""
HTTP_DATE = "%a, %d %b %Y %H:%M:%S UTC"
"""As Rucio reads times in filters."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule on one file. `is_dying` says that its time is over: Rucio's cleaner ends it soon."""

    rule_id: str
    rse: str
    did: Did
    state: str
    error: str | None
    source: str | None
    expires_at: datetime | None
    is_ours: bool

    @property
    def is_stuck(self) -> bool:
        return self.state in ("STUCK", "SUSPENDED")

    @property
    def is_dying(self) -> bool:
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)

    @property
    def reason(self) -> str:
        """Why it is stuck."""
        return self.error or f"the rule is {self.state.lower()}"


class Rules:
    """What is asked of Rucio about rules, and told to it. Those of ours have our account and our comment."""

    def __init__(self, clients: Clients, options: RucioOptions) -> None:
        self._clients = clients
        self._options = options
        self._kept_by_nobody: dict[tuple[str, Did], float] = {}

    async def find(self, rse: str, dids: Sequence[Did]) -> dict[Did, Rule]:
        """Ours on these files: the one that holds, where another is dying still."""
        if not dids:
            return {}
        if len(dids) > ONE_BY_ONE:
            rules = await self._ask(rse_expression=rse)
        elif len(dids) == 1:
            rules = await self._ask(rse_expression=rse, scope=dids[0].scope, name=dids[0].name)
        else:
            some = await self._clients.run_each(
                lambda client, did: self._list(client, rse_expression=rse, scope=did.scope, name=did.name), dids
            )
            rules = [rule for found in some for rule in found]
        return _by_did(rules, dids)

    async def find_changed(self, rse: str, dids: Sequence[Did]) -> dict[Did, Rule]:
        """The same, where Rucio is likely to have touched these rules just now: that costs one call."""
        if len(dids) <= 1:
            return await self.find(rse, dids)
        since = (datetime.now(UTC) - RECENTLY).strftime(HTTP_DATE)
        found = _by_did(await self._ask(rse_expression=rse, updated_after=since), dids)
        return found | await self.find(rse, [did for did in dids if did not in found])

    async def changed_since(self, then: datetime) -> list[Rule]:
        """Each of ours that Rucio touched since."""
        return await self._ask(updated_after=then.strftime(HTTP_DATE))

    async def all(self, rse: str | None = None) -> list[Rule]:
        """All of ours."""
        return await (self._ask() if rse is None else self._ask(rse_expression=rse))

    async def of_account(self, rse: str, did: Did) -> list[Rule]:
        """All rules of our account on one file and RSE, those of others of its users too."""
        account = self._options.account

        def ask(client: "Client") -> list[Rule]:
            filters = {"account": account, "rse_expression": rse, "scope": did.scope, "name": did.name}
            return [self._rule(row) for row in client.list_replication_rules(filters)]

        return await self._clients.run(ask)

    async def add(self, rse: str, dids: Sequence[Did], source: str | None) -> list[str]:
        """New rules in one call, in order; all or none. Raises what Rucio raises."""
        options = self._options

        def add(client: "Client") -> list[str]:
            made: list[str] = client.add_replication_rule(
                [{"scope": did.scope, "name": did.name} for did in dids],
                copies=1,
                rse_expression=rse,
                lifetime=options.lifetime_s,
                grouping="NONE",
                activity=options.activity,
                source_replica_expression=source,
                purge_replicas=True,
                notify="Y",  # hermes tells then when the rule is satisfied, and not only that bytes were copied
                comment=options.instance,
            )
            return made

        return await self._clients.run(add)

    async def end(self, rule_ids: Iterable[str]) -> None:
        """Have them end now, and their replicas deleted if nobody else keeps them."""
        # Deleting a rule lets it linger for an hour; one whose time is over goes with the cleaner's next round.
        await self._update(rule_ids, {"lifetime": -10, "purge_replicas": True})

    def presume_unkept(self, rse: str, dids: Iterable[Did]) -> None:
        """That nobody else keeps these: their rules were just ended, and most go before it would be asked."""
        until = monotonic() + ENDED_S
        self._kept_by_nobody |= {(rse, did): until for did in dids}

    async def prolong(self, rules: Sequence[Rule]) -> None:
        """Have those that have less than half of their lifetime left hold on for a whole one."""
        lifetime = timedelta(seconds=self._options.lifetime_s)
        soon = datetime.now(UTC) + lifetime / 2
        ending = [rule.rule_id for rule in rules if rule.expires_at is not None and rule.expires_at < soon]
        await self._update(ending, {"lifetime": self._options.lifetime_s})

    async def boost(self, rules: Sequence[Rule]) -> None:
        """Have the repairer take those that are stuck next, and FTS the transfers of the others."""
        await self._update([rule.rule_id for rule in rules if rule.is_stuck], {"boost_rule": True})
        await self._update([rule.rule_id for rule in rules if rule.state == "REPLICATING"], {"priority": URGENT})

    async def _update(self, rule_ids: Iterable[str], values: Mapping[str, Any]) -> None:
        from rucio.common.exception import RuleNotFound, UnsupportedOperation

        def update(client: "Client", rule_id: str) -> None:
            # It has gone, or its transfers have ended: nothing is left to be done.
            with suppress(RuleNotFound, UnsupportedOperation):
                client.update_replication_rule(rule_id, dict(values))

        await self._clients.run_each(update, rule_ids)

    async def others(self, rse: str, dids: Sequence[Did], *, remembered: bool = False) -> dict[Did, str]:
        """Rules on these files that are not ours and that hold on this RSE, on them or on a dataset of theirs.

        Rucio tells them file by file only; where it may be `remembered`, those that nobody kept just now are not
        asked for again.
        """

        def ask(client: "Client", did: Did) -> list[dict[str, Any]]:
            return list(client.list_associated_rules_for_file(did.scope, did.name))

        now = monotonic()
        asked = [did for did in dids if not (remembered and self._kept_by_nobody.get((rse, did), 0.0) > now)]
        alive = [
            (did, row)
            for did, rows in zip(asked, await self._clients.run_each(ask, asked), strict=True)
            for row in rows
            if not (rule := self._rule(row)).is_ours and not rule.is_dying
        ]
        expressions = sorted({row["rse_expression"] for _, row in alive})
        covered = dict(zip(expressions, await self._clients.run_each(_rses, expressions), strict=True))
        kept = {did: str(row["id"]) for did, row in alive if rse in covered[row["rse_expression"]]}
        self._kept_by_nobody = {key: until for key, until in self._kept_by_nobody.items() if until > now}
        self._kept_by_nobody |= {(rse, did): now + NOBODY_S for did in asked if did not in kept}
        return kept

    async def _ask(self, **filters: str) -> list[Rule]:
        return await self._clients.run(lambda client: self._list(client, **filters))

    def _list(self, client: "Client", **filters: str) -> list[Rule]:
        ours = {"account": self._options.account, "comments": self._options.instance}
        return [self._rule(row) for row in client.list_replication_rules(ours | filters)]

    def _rule(self, row: Mapping[str, Any]) -> Rule:
        expires = row["expires_at"]
        return Rule(
            rule_id=row["id"],
            rse=row["rse_expression"],
            did=Did(row["scope"], row["name"]),
            state=row["state"],
            error=row["error"],
            source=row["source_replica_expression"],
            expires_at=expires.replace(tzinfo=UTC) if expires is not None else None,
            is_ours=(row["account"], row["comments"]) == (self._options.account, self._options.instance),
        )


def _by_did(rules: Sequence[Rule], dids: Sequence[Did]) -> dict[Did, Rule]:
    wanted = set(dids)
    # The last one counts: one that holds comes behind those that are dying.
    return {rule.did: rule for rule in sorted(rules, key=lambda rule: not rule.is_dying) if rule.did in wanted}


def _rses(client: "Client", expression: str) -> frozenset[str]:
    from rucio.common.exception import InvalidRSEExpression

    try:
        return frozenset(row["rse"] for row in client.list_rses(expression))
    except InvalidRSEExpression:  # one that means nothing any more holds nothing
        return frozenset()

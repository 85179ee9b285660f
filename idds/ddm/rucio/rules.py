"""Our rules, one a file: looked up in bulk, made, revived and ended; and whether somebody else's rule keeps a file."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from idds.ddm.rucio.clients import Clients, chunks
from idds.ddm.rucio.options import RucioOptions
from idds.domain.identifiers import Did

if TYPE_CHECKING:
    from rucio.client import Client

ONE_BY_ONE = 16
"""Up to so many files their rules are asked for one by one; for more, all of ours on that RSE are."""
AT_ONCE = 200
OURS = "idds"
HTTP_DATE = "%a, %d %b %Y %H:%M:%S UTC"
"""As Rucio reads times in filters."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of ours on one file. `is_dying` says that its time is over: Rucio's cleaner ends it soon."""

    rule_id: str
    state: str
    error: str | None
    is_dying: bool

    @property
    def is_stuck(self) -> bool:
        return self.state in ("STUCK", "SUSPENDED")


class Rules:
    """What is asked of Rucio about rules, and told to it."""

    def __init__(self, clients: Clients, options: RucioOptions) -> None:
        self._clients = clients
        self._options = options

    async def find(self, rse: str, dids: Sequence[Did]) -> dict[Did, Rule]:
        """Ours on these files."""
        account = self._options.account
        if len(dids) > ONE_BY_ONE:
            rows = await self._clients.run(lambda client: list(_list(client, account=account, rse_expression=rse)))
        else:

            def ask(client: "Client", did: Did) -> list[dict[str, Any]]:
                return list(_list(client, account=account, rse_expression=rse, scope=did.scope, name=did.name))

            rows = [row for found in await self._clients.run_each(ask, dids) for row in found]
        wanted = set(dids)
        found = {Did(row["scope"], row["name"]): _rule(row) for row in rows if row["comments"] == OURS}
        return {did: rule for did, rule in found.items() if did in wanted}

    async def changed_since(self, then: datetime) -> list[tuple[str, Did]]:
        """The RSE and file of each of our rules that Rucio touched since."""
        account = self._options.account
        rows = await self._clients.run(
            lambda client: list(_list(client, account=account, updated_after=then.strftime(HTTP_DATE)))
        )
        return [(row["rse_expression"], Did(row["scope"], row["name"])) for row in rows if row["comments"] == OURS]

    async def add(self, rse: str, dids: Sequence[Did]) -> dict[Did, str]:
        """New rules, as many calls at once as there are threads. Raises what Rucio raises, some being made then."""
        ids = await self._clients.run_each(lambda client, some: self._add(client, rse, some), chunks(dids, AT_ONCE))
        return dict(zip(dids, (rule_id for some in ids for rule_id in some), strict=True))

    def _add(self, client: "Client", rse: str, dids: Sequence[Did]) -> list[str]:
        made: list[str] = client.add_replication_rule(
            [{"scope": did.scope, "name": did.name} for did in dids],
            copies=1,
            rse_expression=rse,
            lifetime=self._options.lifetime_s,
            grouping="NONE",
            activity=self._options.activity,
            purge_replicas=True,
            comment=OURS,
        )
        return made

    async def end(self, rules: Sequence[Rule]) -> None:
        """Have them end now, and their replicas deleted if nobody else keeps them."""
        from rucio.common.exception import RuleNotFound

        def end(client: "Client", rule: Rule) -> None:
            # Deleting a rule lets it linger for an hour; one whose time is over goes with the cleaner's next round.
            with suppress(RuleNotFound):
                client.update_replication_rule(rule.rule_id, {"lifetime": -10, "purge_replicas": True})

        await self._clients.run_each(end, rules)

    async def others(self, rse: str, dids: Sequence[Did]) -> dict[Did, str]:
        """Rules on these files that are not ours and that hold on this RSE, on them or on a dataset of theirs."""

        def ask(client: "Client", did: Did) -> list[dict[str, Any]]:
            return list(client.list_associated_rules_for_file(did.scope, did.name))

        account = self._options.account
        alive = [
            (did, row)
            for did, rows in zip(dids, await self._clients.run_each(ask, dids), strict=True)
            for row in rows
            if not (row["comments"] == OURS and row["account"] == account) and not _rule(row).is_dying
        ]
        expressions = sorted({row["rse_expression"] for _, row in alive})
        covered = dict(zip(expressions, await self._clients.run_each(_rses, expressions), strict=True))
        return {did: row["id"] for did, row in alive if rse in covered[row["rse_expression"]]}


def _rses(client: "Client", expression: str) -> frozenset[str]:
    from rucio.common.exception import InvalidRSEExpression

    try:
        return frozenset(row["rse"] for row in client.list_rses(expression))
    except InvalidRSEExpression:  # one that means nothing any more holds nothing
        return frozenset()


def _list(client: "Client", **filters: Any) -> Any:
    return client.list_replication_rules(filters)


def _rule(row: Mapping[str, Any]) -> Rule:
    expires = row["expires_at"]
    is_dying = expires is not None and expires.replace(tzinfo=UTC) <= datetime.now(UTC)
    return Rule(row["id"], row["state"], row["error"], is_dying)

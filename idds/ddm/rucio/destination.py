"""Where a rule brings files to, whosever rule it is."""

from typing import TYPE_CHECKING, Any

from idds.ddm.rucio.clients import Clients
from idds.domain.errors import Unavailable

if TYPE_CHECKING:
    from rucio.client import Client

UNDECIDED = frozenset({"INJECT", "WAITING_APPROVAL"})


async def destination(clients: Clients, rule_id: str) -> str | None:
    """The RSE of its first lock; None where there is no such rule, or it locks nothing.

    Raises Unavailable while Rucio has not chosen one.
    """

    def ask(client: "Client") -> str | None:
        from rucio.common.exception import RuleNotFound

        try:
            rule: dict[str, Any] = client.get_replication_rule(rule_id)
        except RuleNotFound:
            return None
        for lock in client.list_replica_locks(rule_id):
            return str(lock["rse"])
        if rule["state"] in UNDECIDED:
            raise Unavailable(f"Rucio has not chosen yet where rule {rule_id} brings its files to")
        return None

    return await clients.run(ask)
